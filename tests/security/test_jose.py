"""Signed tokens: each algorithm signs and verifies, and nothing of a token's own header chooses how it is verified."""

import asyncio
import hmac
import json
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import RSAKey

from domain.keys.signing_key import ALGORITHMS
from security import jose
from security.jose import LONGEST_TOKEN, BadToken, PrivateKey, make_key, verify

CLAIMS = {"sub": "paul", "aud": "shop"}
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}

made = cache(make_key)


def keys(key_id: str) -> Mapping[str, str] | None:
    return {key.key_id: key.public for key in map(made, ALGORITHMS)}.get(key_id)


def part(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def token(header: Any, payload: Any = CLAIMS) -> str:
    """A token with this very header, under which the signature of the RS256 key is right."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(private().sign(signed.encode(), PKCS1v15(), SHA256()))}"


@cache
def private() -> RSAPrivateKey:
    """The RS256 key. To look whether it is sound takes as long as all else that is done with it."""
    found = RSAKey.import_key(json.loads(made("RS256").private)).private_key
    assert found is not None
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_signed_verifies(algorithm: str) -> None:
    signed = PrivateKey(made(algorithm).private).sign_now(CLAIMS, "at+jwt")
    assert verify(signed, keys) == (made(algorithm).key_id, CLAIMS, "at+jwt")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_signing_off_the_loop_gives_the_same(algorithm: str) -> None:
    signed = await PrivateKey(made(algorithm).private).sign(CLAIMS)
    assert verify(signed, keys).claims == CLAIMS


def test_one_thread_signs_for_every_loop_and_outlives_faults() -> None:
    key = PrivateKey(made("RS256").private)

    async def together() -> list[str | BaseException]:
        given: list[dict[str, Any]] = [{"n": 1}, {"n": object()}, {"n": 3}]
        gone = asyncio.ensure_future(key.sign(CLAIMS))
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(*map(key.sign, given), return_exceptions=True)

    for _ in range(2):
        first, wrong, last = asyncio.run(together())
        assert isinstance(wrong, TypeError)
        assert [verify(str(each), keys).claims["n"] for each in (first, last)] == [1, 3]
    assert sum(thread.name == "signing" for thread in threading.enumerate()) == 1


async def test_nothing_is_signed_for_who_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    key, free, signed = PrivateKey(made("RS256").private), threading.Event(), list[int]()

    def sign(claims: Mapping[str, int], _: str | None) -> str:
        free.wait(60)
        signed.append(claims["n"])
        return ""

    monkeypatch.setattr(key, "sign_now", sign)
    first, gone, last = (asyncio.ensure_future(key.sign({"n": n})) for n in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, last)
    assert signed == [0, 2]


async def test_what_waits_to_be_signed_is_handed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    key, free = PrivateKey(made("RS256").private), threading.Event()
    loop, handed_over = asyncio.get_running_loop(), list[int]()
    wake = loop.call_soon_threadsafe

    def told(settle: Any, settling: Any) -> Any:
        handed_over.append(len(settling))
        return wake(settle, settling)

    def sign(claims: Mapping[str, int], _: str | None) -> str:
        free.wait(60)
        return str(claims["n"])

    monkeypatch.setattr(key, "sign_now", sign)
    monkeypatch.setattr(jose, "TOGETHER", 60)
    monkeypatch.setattr(loop, "call_soon_threadsafe", told)
    asked = [asyncio.ensure_future(key.sign({"n": n})) for n in range(5)]
    await asyncio.sleep(0)
    free.set()
    assert await asyncio.gather(*asked) == ["0", "1", "2", "3", "4"]
    assert handed_over == [5]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_half_says_its_use_and_holds_nothing_private(algorithm: str) -> None:
    key = made(algorithm)
    assert (key.public["kid"], key.public["use"], key.public["alg"]) == (key.key_id, "sig", algorithm)
    assert not PRIVATE & key.public.keys()
    assert repr(key) == f"MadeKey({key.key_id})"
    assert repr(PrivateKey(key.private)) == f"PrivateKey({key.key_id}, {algorithm})"


def test_every_altered_part_is_found_out() -> None:
    for algorithm in ALGORITHMS:
        parts = PrivateKey(made(algorithm).private).sign_now(CLAIMS).split(".")
        for place in range(3):
            octets = bytearray(urlsafe_b64decode(parts[place] + "=" * (-len(parts[place]) % 4)))
            octets[len(octets) // 2] ^= 1
            altered = [*parts[:place], part(bytes(octets)), *parts[place + 1 :]]
            with pytest.raises(BadToken):
                verify(".".join(altered), keys)


def _confused() -> str:
    """Signed with the public key as if it were a shared secret."""
    key = made("RS256")
    secret = RSAKey.import_key(dict(key.public)).as_pem(private=False)
    signed = f"{part({'alg': 'HS256', 'kid': key.key_id})}.{part(CLAIMS)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


RSA = made("RS256")
NAMED = {"alg": "RS256", "kid": RSA.key_id}
BAD = {
    "nothing": "",
    "one part": "abc",
    "two parts": "a.b",
    "four parts": token(NAMED) + ".e30",
    "five parts": "a.b.c.d.e",
    "empty parts": "..",
    "no base64": "*.*.*",
    "not ASCII": "é.é.é",
    "header no JSON": token(b"x"),
    "header a list": token([]),
    "header a text": token("RS256"),
    "header null": token(None),
    "none": f"{part({'alg': 'none', 'kid': RSA.key_id})}.{part(CLAIMS)}.",
    "None": f"{part({'alg': 'None', 'kid': RSA.key_id})}.{part(CLAIMS)}.",
    "none without key": f"{part({'alg': 'none'})}.{part(CLAIMS)}.",
    "no alg": token({"kid": RSA.key_id}),
    "alg a list": token({"alg": ["RS256"], "kid": RSA.key_id}),
    "alg in small letters": token({"alg": "rs256", "kid": RSA.key_id}),
    "alg of another size": token({"alg": "RS512", "kid": RSA.key_id}),
    "alg of another padding": token({"alg": "PS256", "kid": RSA.key_id}),
    "alg of another key": token({"alg": "ES256", "kid": RSA.key_id}),
    "public key as secret": _confused(),
    "no kid": token({"alg": "RS256"}),
    "kid of nobody": token({"alg": "RS256", "kid": "nobody"}),
    "kid of another key": token({"alg": "RS256", "kid": made("ES256").key_id}),
    "kid a number": token({"alg": "RS256", "kid": 1}),
    "kid null": token({"alg": "RS256", "kid": None}),
    "kid a path": token({"alg": "RS256", "kid": "../../dev/null"}),
    "kid with NUL": token({"alg": "RS256", "kid": RSA.key_id + "\0"}),
    "jwk": token(NAMED | {"jwk": RSA.public}),
    "jku": token(NAMED | {"jku": "https://evil.example/keys"}),
    "x5u": token(NAMED | {"x5u": "https://evil.example/chain"}),
    "x5c": token(NAMED | {"x5c": ["AA=="]}),
    "critical": token(NAMED | {"crit": ["exp"], "exp": 1}),
    "critical of nothing": token(NAMED | {"crit": []}),
    "not encoded": token(NAMED | {"b64": False, "crit": ["b64"]}),
    "encrypted": token(NAMED | {"enc": "A128GCM"}),
    "nested": token(NAMED | {"cty": "JWT"}),
    "typ a number": token(NAMED | {"typ": 1}),
    "too long": token(NAMED, {"text": "x" * LONGEST_TOKEN}),
    "header doubled": token(b'{"alg":"none",' + json.dumps(NAMED).encode()[1:]),
    "signature empty": token(NAMED).rpartition(".")[0] + ".",
    "signature of another key": token({"alg": "ES256", "kid": made("ES256").key_id}),
    "claims doubled": token(NAMED, b'{"sub":"paul","sub":"eve"}'),
    "header without end": token(b"[" * 3_000),
    "claims without end": token(NAMED, b'{"a":' * 2_000 + b"1" + b"}" * 2_000),
    "white space": " " + token(NAMED),
    "line break": token(NAMED) + "\n",
    "padded": token(NAMED) + "=",
}


def test_bad_tokens_are_signed_well() -> None:
    assert verify(token(NAMED), keys).claims == CLAIMS
    assert verify(token(NAMED | {"typ": "JWT"}), keys).typ == "JWT"


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_token_is_refused(bad: str) -> None:
    with pytest.raises(BadToken):
        verify(bad, keys)


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b'"text"', b"null", b"\xff", b"1"])
def test_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    key = RSAKey.import_key(json.loads(RSA.private))
    signed = jws.serialize_compact(NAMED, payload, key, algorithms=["RS256"])
    with pytest.raises(BadToken):
        verify(signed, keys)
