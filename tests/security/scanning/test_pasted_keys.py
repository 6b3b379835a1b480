"""Keys in any text: found in whatever form they leak, named by their public half, in a time that is linear."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64decode, urlsafe_b64encode
from time import process_time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from security import pasted_keys
from security.masking import masking

KEYS: dict[str, Any] = {
    "EC": ECKey.generate_key("P-256"),
    "RSA": RSAKey.generate_key(2_048),
    "OKP": OKPKey.generate_key("Ed25519"),
}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize("kind", KEYS)
def test_every_form_has_the_same_name(kind: str) -> None:
    key = KEYS[kind]
    pem, jwk = key.as_pem(private=True).decode(), json.dumps(key.as_dict(private=True))
    texts = {
        "private": jwk,
        "public": json.dumps(key.as_dict(private=False)),
        "a set in a string": json.dumps(f'{{"keys": [{jwk}]}}'),
        "PEM": f"here:\n{pem}there",
        "public PEM": key.as_pem(private=False).decode(),
        "PEM in a string": json.dumps({"key": pem}),
        "PEM in a diff": "".join(f"+{line}\n" for line in pem.splitlines()),
        "PEM in a mail": "".join(f"> {line}\r\n" for line in pem.splitlines()),
        "PEM in a Kubernetes Secret": f"data:\n  tls.key: {encoded(pem)}\n  other: {encoded(jwk[:9])}\n",
        "PEM amid base64": f"key {encoded('ab' + pem)}",
        "PEM in base64 of short lines": encodebytes(b"a" + pem.encode()).decode().replace("\n", "\n    "),
        "JWK in a Kubernetes Secret": f"data:\n  key.json: {encoded(jwk)}",
        "PEM behind much else in base64": encoded("words, and " * 4_000 + pem),
        "a set amid base64url": urlsafe_b64encode(f'{{"this": 1, "keys": [{jwk}]}}'.encode()).rstrip(b"=").decode(),
    }
    name = key.thumbprint()
    assert {form: pasted_keys.found_in(text) for form, text in texts.items()} == dict.fromkeys(texts, ((name,),))
    assert pasted_keys.found_in(f"{jwk} {pem}") == ((name,),)
    assert pasted_keys.of_hex(pasted_keys.hex_of(name)) == name
    masked = [masking("glog").text(text) for form, text in texts.items() if "public" not in form]
    assert not any(part in each for part in (key.as_dict(private=True)["d"], pem.split("\n")[1]) for each in masked)


@pytest.mark.parametrize("between", [" and ", "-", "\n", " of the ", "\n\tanother: "])
def test_keys_in_base64_one_behind_the_other_are_all_found(between: str) -> None:
    """Without padding what stands before one runs on into it."""
    texts = [KEYS[kind].as_pem(private=True).decode() for kind in ("EC", "OKP", "EC", "RSA")]
    for before in range(3):
        pasted = between.join(encoded("\n" * before + each).rstrip("=") for each in texts)
        found = pasted_keys.found_in(pasted)
        assert found == tuple((KEYS[kind].thumbprint(),) for kind in ("EC", "OKP", "RSA"))


def test_modulus_with_a_zero_octet_is_that_of_the_same_key() -> None:
    """As some libraries write it. The first name is that of the text, under which no key is registered here."""
    key = KEYS["RSA"]
    jwk = key.as_dict(private=False)
    zero = urlsafe_b64encode(b"\0" + urlsafe_b64decode(jwk["n"] + "==")).rstrip(b"=").decode()
    (names,) = pasted_keys.found_in(json.dumps(jwk | {"n": zero}))
    assert (len(names), names[1]) == (2, key.thumbprint())


def test_private_half_of_rsa_is_proved_by_its_exponent_alone() -> None:
    """A text can hold long primes and a long exponent, and to look at such takes minutes."""
    key = KEYS["RSA"]
    jwk, name = key.as_dict(private=True), key.thumbprint()
    numbers = key.private_key.private_numbers()
    other = RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp - 1, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    for text in (json.dumps(jwk | {"p": "AQ"}), pem):
        assert pasted_keys.private_in(text, {name}) == [name]
    for private in ("_" * 700_000, "", "=", 7, None, []):
        assert pasted_keys.private_in(json.dumps({**key.as_dict(private=False), "d": private}), {name}) == []


def test_factors_prove_the_private_half_of_a_long_rsa_key() -> None:
    """To try its exponent would take up to a second for each that somebody makes up."""
    key = RSAKey.generate_key(3_072)
    jwk, name = key.as_dict(private=True), key.thumbprint()
    for text in (json.dumps(jwk), key.as_pem(private=True).decode()):
        assert pasted_keys.private_in(text, {name}) == [name]
    alone = {**key.as_dict(private=False), "d": jwk["d"]}
    whole = {"p": jwk["n"], "q": "AQ"}
    for wrong in (alone, alone | whole, jwk | {"p": jwk["q"]}, jwk | {"d": jwk["p"]}, jwk | {"q": "_" * 700_000}):
        assert pasted_keys.private_in(json.dumps(wrong), {name}) == []


DSA, DIFFIE_HELLMAN = "2a8648ce380401", "2a864886f70d010301"


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    octets = len(content).to_bytes((len(content).bit_length() + 7) // 8 or 1)
    length = octets if len(content) < 0x80 else bytes((0x80 | len(octets),)) + octets
    return bytes((tag,)) + length + content


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1))


def private_pem(algorithm: str, *parameters: int) -> str:
    """A private key of this algorithm (RFC 5958 §2), whose last parameter is the private one."""
    public = der(0x30, *map(integer, parameters[:-1]))
    identifier = der(0x30, der(6, bytes.fromhex(algorithm)), public)
    key = der(0x30, integer(0), identifier, der(4, integer(parameters[-1])))
    return f"-----BEGIN PRIVATE KEY-----\n{b64encode(key).decode()}\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text",
    [
        private_pem(DSA, (1 << 32_000) + 1, (1 << 31_000) + 1, 3, (1 << 31_000) - 1),
        private_pem(DIFFIE_HELLMAN, (1 << 12_000) + 1, 3, (1 << 11_000) - 1),
        "-----BEGIN " * 90_000,
        "-----BEGIN PRIVATE KEY-----" * 38_000,
        "{" * 1_000_000,
        '{"kty"' * 170_000,
        '{"kty":1}' * 110_000,
        '{"kty":["RSA"],"n":{}}',
        '{"kty":"EC","crv":"P-256","x":"A","y":5}',
        '{"kty":"RSA","n":"","e":""}',
        "-----BEGIN PRIVATE KEY-----\né\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "\ud800",
        encoded("-----BEGIN ") * 60_000,
        (encoded('{"kty"') + " ") * 100_000,
        encoded('"kty"' * 150_000),
        encoded("-----BEGIN PRIVATE KEY-----" * 28_000),
    ],
    ids=range(17),
)
def test_what_is_none_takes_no_time(text: str) -> None:
    began = process_time()
    assert pasted_keys.found_in(text) == ()
    assert pasted_keys.said_by_private(text) == ()
    assert pasted_keys.thumbprint_in(text) is None
    masking("glog").text(text)
    assert process_time() - began < 10
