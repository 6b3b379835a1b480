"""Keys and certificates in any text, as they leak: a JWK or a set of them (RFC 7517), PEM (RFC 7468), either in base64
as a Kubernetes Secret has them, or a thumbprint alone. Of a private key its public half is named, and nothing of it is
kept.

A certificate has two names: its own, to which tokens are bound (RFC 8705 §3.1), and that of its key (RFC 7638).
"""

import json
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from math import lcm, prod
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_public_key,
)
from joserfc.errors import JoseError
from joserfc.jwk import import_key

MOST = 50
"""Keys that are looked for in one text."""

TRIED = 5
"""Private halves that are tried for one public one."""

TRIED_BITS = 2_048
"""Of the longest RSA key whose private exponent is tried: that takes some milliseconds."""

LONGEST_PEM = 16_384
"""Characters of one that is looked at."""

_OBJECT = re.compile(r"\{[^{}]*\}")
_BEGIN, _END = "-----BEGIN ", "-----END "
_GROUP, _RUN = re.compile(r"[0-9A-Za-z+/_-]{4}"), re.compile(r"[0-9A-Za-z+/_\s-]*", re.ASCII)
_STANDARD, _WITHOUT_BLANKS = str.maketrans("-_", "+/"), str.maketrans("", "", " \t\n\r\x0b\x0c")


def _encoded(head: str) -> Iterator[tuple[str, int]]:
    """What a beginning becomes in base64, by where in a group of three octets it stands, and how many characters of its
    group stand before what depends on it alone."""
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(head)) * 8 // 6
        yield b64encode(b"\0" * before + head.encode() + b"\0\0")[first:last].decode(), first


_HEADS: Mapping[str, int] = dict(chain.from_iterable(map(_encoded, ("-----BEGIN ", '"kty"'))))
_SHOWN = re.compile("|".join(_HEADS))
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE, _CERTIFICATE = "PRIVATE KEY", "CERTIFICATE"

Names = tuple[str, ...]
"""The thumbprints of one key, or of a certificate and its key."""


class PrivateHalf(NamedTuple):
    """What looks like a private key: the names of the public one that it says it belongs to, and how to compute those
    of the one that it does belong to."""

    says: Names
    fitting: Callable[[], Names]


_NO_KEY = (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion)

# A private key as DER has it, up to what says of which kind it is: RFC 5958 §2, RFC 8017 §A.1.2 and RFC 5915 §3.
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_CURVE = rb"(?:\x30|\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07|\x06\x05\x2b\x81\x04\x00[\x0a\x22\x23])"
_RSA, _EDWARDS = rb"\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01[\x01\x0a]", rb"\x03\x2b\x65[\x6e-\x71]"
_ELLIPTIC = rb"\x07\x2a\x86\x48\xce\x3d\x02\x01" + _CURVE
_KINDS = rb"\x30%b\x06(?:%b|%b|%b)" % (_LENGTH, _RSA, _EDWARDS, _ELLIPTIC)
_KEY = re.compile(rb"\x30%b\x02\x01(?:[\x00\x01]%b|\x00\x02|\x01\x04(.))" % (_LENGTH, _KINDS), re.DOTALL)
_OF_CURVE = re.compile(rb"\xa0%b%b" % (_LENGTH, _CURVE), re.DOTALL)


def found_in(text: str) -> tuple[Names, ...]:
    """The names of the keys in a text, each once, up to `MOST`. The time is linear in its length."""
    found = chain.from_iterable(_every(each) for each in _readings(text))
    return tuple(islice(dict.fromkeys(found), MOST))


def may_be_in(text: str) -> bool:
    """Whether it is worth looking for keys in a text. Most hold none, which takes next to no time to see."""
    return "kty" in text or "-----BEGIN" in text or any(head in text for head in _HEADS)


def count_private(text: str) -> int:
    """How much of a text says that it is a private key, which is counted far sooner than looked at."""
    return max(sum(1 for _ in _private_blocks(each)) for each in _readings(text))


def said_by_private(text: str) -> Names:
    """The names that the private keys in a text say, each once, up to `MOST`. Whether they fit is not computed."""
    says = chain.from_iterable(each.says for each in chain.from_iterable(map(_private_halves, _readings(text))))
    return tuple(islice(dict.fromkeys(says), MOST))


def private_in(text: str, wanted: Collection[str]) -> list[str]:
    """Those of the wanted thumbprints whose private half is in the text. That it fits is computed, of the first few."""
    halves = list(chain.from_iterable(map(_private_halves, _readings(text)))) if wanted else []
    return [each for each in wanted if any(each in fit() for fit in islice(_candidates(halves, each), TRIED))]


def _private_blocks(text: str) -> Iterator[tuple[str, str]]:
    """What says that it is a private key: the label of PEM, which a JWK has none of, and the block."""
    plain = _plain(text)
    for each in _OBJECT.findall(plain):
        if '"kty"' in each and '"d"' in each:
            yield "", each
    for label, pem in _pems(plain):
        if label.endswith(_PRIVATE):
            yield label, pem


def _private_halves(text: str) -> Iterator[PrivateHalf]:
    for label, block in _private_blocks(text):
        if label:
            yield PrivateHalf(_of_pem(label, block), partial(_of_private_pem, block))
        else:
            yield PrivateHalf(_of_jwk(block), partial(_of_private_jwk, block))


def _candidates(halves: Iterable[PrivateHalf], wanted: str) -> Iterator[Callable[[], Names]]:
    return (each.fitting for each in halves if wanted in each.says)


def _of_private_jwk(text: str) -> Names:
    """Of the private half alone, which is no key if it does not belong to the public one beside it."""
    try:
        said: Any = json.loads(text)
        kind, private = said["kty"], said["d"]
        public = {"kty": kind, **{name: said[name] for name in _MEMBERS[kind]}}
        if kind == "RSA":
            rsa: Any = import_key(public).public_key
            beside = ("p", "q") if rsa.key_size > TRIED_BITS else ()
            exponent, *factors = (int.from_bytes(urlsafe_b64decode(said[name] + "==")) for name in ("d", *beside))
            return _of_exponent(rsa, exponent, factors)
        key: Any = import_key(public | {"d": private})
        return _of_computed(key.private_key)
    except (*_NO_KEY, AttributeError, RecursionError):
        return ()


def _of_private_pem(pem: str) -> Names:
    try:
        return _of_computed(_private_key(pem))
    except _NO_KEY:
        return ()


def _private_key(pem: str) -> Any:
    """The key in a block. Raises ValueError for other kinds and curves than a client may have here: to load one is to
    compute its public half, which takes up to minutes, as its numbers are chosen."""
    der = a2b_base64(pem.split("-----")[2])
    found = _KEY.match(der)
    if found is None or (found[1] is not None and not _OF_CURVE.match(der, found.end() + found[1][0])):
        raise ValueError("a kind of key that is not known here")
    # Whether its numbers are primes takes long, and is nothing to us.
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def _of_computed(private: Any) -> Names:
    """Of RSA and elliptic curves the public half is told beside the private one, and was taken at its word."""
    if isinstance(private, RSAPrivateKey):
        numbers = private.private_numbers()
        return _of_exponent(private.public_key(), numbers.d, (numbers.p, numbers.q))
    if isinstance(private, EllipticCurvePrivateKey):
        private = derive_private_key(private.private_numbers().private_value, private.curve)
    return _of_public(private.public_key())


def _of_exponent(public: Any, exponent: int, factors: Sequence[int]) -> Names:
    """Of RSA the exponent alone proves it, up to `TRIED_BITS`; of longer ones the factors beside it do, since to try
    the exponent takes up to a second. Whether they are primes is not looked at: a text can hold such long ones that
    this takes minutes, and so long an exponent."""
    numbers = public.public_numbers()
    if exponent >= numbers.n or not _fits(numbers, exponent, factors):
        return ()
    return _of_public(public)


def _fits(numbers: RSAPublicNumbers, exponent: int, factors: Sequence[int]) -> bool:
    if numbers.n.bit_length() <= TRIED_BITS:
        return pow(pow(2, numbers.e, numbers.n), exponent, numbers.n) == 2
    if any(not 1 < each < numbers.n for each in factors) or prod(factors) != numbers.n:
        return False
    return numbers.e * exponent % lcm(*(each - 1 for each in factors)) == 1


def thumbprint_in(text: str) -> str | None:
    """The thumbprint that a text is, and nothing else."""
    word = text.strip()
    return word if _THUMBPRINT.fullmatch(word) else None


def hex_of(thumbprint: str) -> str:
    """A thumbprint as the digest that it is, in hexadecimal digits."""
    return urlsafe_b64decode(thumbprint + "=").hex()


def of_hex(sha256: str) -> str:
    """The thumbprint that such a digest is."""
    return urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode()


def _readings(text: str) -> Iterator[str]:
    """The text as it is, and as it was before an address or a form held it (RFC 3986 §2.1, URL Standard §5)."""
    yield text
    if "%22" in text or "-----BEGIN%20" in text or "-----BEGIN+" in text:
        yield unquote(text)
        yield unquote_plus(text)
    if decoded := "\n".join(_from_base64(text)):
        yield decoded


def _from_base64(text: str) -> Iterator[str]:
    """What base64 (RFC 4648 §4, §5) stands for, from the beginning of each run in which a key shows, line breaks or
    not."""
    for start, end in _runs(text):
        run = text[start:end].translate(_STANDARD)
        # The last group may be cut off.
        yield a2b_base64(run + "AAAA"[len(run.translate(_WITHOUT_BLANKS)) % 4 :]).decode("latin-1")


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """From where to where each run goes. It ends where a key shows that stands in other groups of four: words, and
    other base64 without padding, may run on into it."""
    start = end = group = behind = 0
    for found in _SHOWN.finditer(text):
        before, group = group, max(found.start() - _HEADS[found[0]], 0)
        if found.start() >= end:
            if end:
                yield start, end
            start = _beginning(text, group, max(end, behind))
            end = _end(text, start)
        elif len(text[before:group].translate(_WITHOUT_BLANKS)) % 4:
            # What lies between is read in the groups of either.
            yield start, group
            start = _beginning(text, group, behind)
        behind = found.end()
    if end:
        yield start, end


def _beginning(text: str, at: int, after: int) -> int:
    """The beginning of a run, by whole groups of four before `at`."""
    while at - 4 >= after and _GROUP.match(text, at - 4, at):
        at -= 4
    return at


def _end(text: str, start: int) -> int:
    found = _RUN.match(text, start)
    return start if found is None else found.end()


def _every(text: str) -> Iterator[Names]:
    plain = _plain(text)
    if '"kty"' in plain:
        for each in _OBJECT.findall(plain):
            if '"kty"' in each and (names := _of_jwk(each)):
                yield names
    for label, pem in _pems(plain):
        if names := _of_pem(label, pem):
            yield names


def _plain(text: str) -> str:
    """What stands in a string of JSON has its quotes and line breaks escaped."""
    return text.replace('\\"', '"').replace("\\r", "").replace("\\n", "\n")


def _pems(plain: str) -> Iterator[tuple[str, str]]:
    """What each block says that it is, and the block as it should be written."""
    for block in plain.split(_BEGIN)[1:]:
        label, _, rest = block[:LONGEST_PEM].partition("-----")
        body, end, _ = rest.partition(_END)
        if end:
            yield label, f"{_BEGIN}{label}-----\n{_stripped(body)}\n{_END}{label}-----\n"


def _stripped(body: str) -> str:
    """Its lines without what a log, a mail or a diff puts before each of them."""
    lines = [line.strip(" \t\r>|") for line in body.strip().split("\n")]
    if all(line.startswith("+") for line in lines):
        lines = [line[1:].lstrip() for line in lines]
    return "\n".join(filter(None, lines))


def _of_jwk(text: str) -> Names:
    """By its members as they are written, and as RFC 7518 §6 wants them, if that is something else."""
    try:
        said: Any = json.loads(text)
        names = _MEMBERS[said["kty"]]
        key: Any = import_key({"kty": said["kty"], **{name: said[name] for name in names}})
        written = str(key.thumbprint())
    except (*_NO_KEY, RecursionError):
        return ()
    try:
        return tuple(dict.fromkeys((written, *_of_public(key.public_key))))
    except _NO_KEY:
        return (written,)


def _of_pem(label: str, pem: str) -> Names:
    try:
        octets = pem.encode("ascii")
        if label == _CERTIFICATE:
            found = x509.load_pem_x509_certificate(octets)
            own = urlsafe_b64encode(found.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
            return (own, *_of_public(found.public_key()))
        if label.endswith(_PRIVATE):
            return _of_public(_private_key(pem).public_key())
        return _of_public(load_pem_public_key(octets))
    except _NO_KEY:
        return ()


def _of_public(key: Any) -> Names:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kind in _MEMBERS:
        try:
            return (str(import_key(pem, kind).thumbprint()),)  # type: ignore[call-overload]
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return ()
