"""Signed tokens: makes keys, signs and verifies with them (RFC 7515, RFC 7517, RFC 7519). joserfc does the work.

A key serves one algorithm and says so. Nothing of a token's own header chooses how it is verified: its `kid` finds one
of our keys, and with that key comes the algorithm.
"""

import asyncio
import json
import os
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

RSA_BITS = 2048
LONGEST_TOKEN = 16_384
"""Characters of a token that is looked at."""

COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""RFC 7515 §7.1: without padding, white space or anything else that a lenient decoder passes over."""

ON_THE_LOOP = frozenset(("ES256", "EdDSA"))
"""Algorithms whose signature takes less than handing it to a thread; RSA's takes ten times as long."""

_MAKERS: Mapping[str, Callable[[Any], Key]] = {
    "RS256": lambda says: RSAKey.generate_key(RSA_BITS, says),
    "PS256": lambda says: RSAKey.generate_key(RSA_BITS, says),
    "ES256": lambda says: ECKey.generate_key("P-256", says),
    "EdDSA": lambda says: OKPKey.generate_key("Ed25519", says),
}
_KINDS: Mapping[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class _Registry(JWSRegistry):
    """The algorithms of ours. joserfc warns of `EdDSA` each time, for which RFC 9864 has another name."""

    def get_alg(self, name: str) -> Any:
        if name not in _MAKERS:
            raise JoseError(f"{name} is not served")
        return self.algorithms[name]


_registry = _Registry(algorithms=list(_MAKERS))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")

TOGETHER = 0.004
"""Seconds that a signed token waits for those that are signed right behind it: each that wakes the event loop by itself
takes a sixth of an RSA signature's time there. Where none waits to be signed it goes at once."""

_Asked = tuple[asyncio.Future[str], Callable[[], str]]
_Settle = Callable[[], None]


class _SigningThread:
    """One thread for each process: a signature takes a processor, so several at once would gain nothing. An executor
    would do the same, and takes a quarter of an RSA signature's time besides. What is asked for together is handed over
    together."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[_Asked] = SimpleQueue()
        self._process = 0

    def sign(self, sign: Callable[[], str]) -> asyncio.Future[str]:
        """The token, once it is signed."""
        if self._process != os.getpid():
            # The first of its process: no thread goes on in one that was forked. Nothing is asked of one that did not
            # start, and anyone who comes meanwhile on another loop has a thread of their own at worst.
            asked: SimpleQueue[_Asked] = SimpleQueue()
            Thread(target=self._work, args=(asked,), name="signing", daemon=True).start()
            self._asked, self._process = asked, os.getpid()
        future = asyncio.get_running_loop().create_future()
        self._asked.put((future, sign))
        return future

    def _work(self, asked: SimpleQueue[_Asked]) -> None:
        while True:
            signed = [_signed(*asked.get())]
            until = monotonic() + TOGETHER
            while not asked.empty() and monotonic() < until:
                signed.append(_signed(*asked.get()))
            by_loop: dict[asyncio.AbstractEventLoop, list[_Settle]] = {}
            for future, settle in filter(None, signed):
                by_loop.setdefault(future.get_loop(), []).append(settle)
            for loop, settling in by_loop.items():
                with suppress(RuntimeError):
                    # Nobody waits in a loop that is closed.
                    loop.call_soon_threadsafe(_settle_all, settling)


def _signed(future: asyncio.Future[str], sign: Callable[[], str]) -> tuple[asyncio.Future[str], _Settle] | None:
    """How the future is settled; None where who asked has gone, as many do at once where nobody waits any longer."""
    if future.cancelled():
        return None
    try:
        return future, partial(_settle, future, future.set_result, sign())
    except Exception as error:  # It is raised where the token is waited for.
        return future, partial(_settle, future, future.set_exception, error)


def _settle_all(settling: Sequence[_Settle]) -> None:
    for settle in settling:
        settle()


def _settle(future: asyncio.Future[str], settle: Callable[[Any], None], outcome: str | Exception) -> None:
    if not future.done():
        settle(outcome)


_signing = _SigningThread()


def encoded(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515 §2)."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=")


def may_be_signed(token: str) -> bool:
    """Whether a text has the form of a signed token, which nothing else of ours has."""
    return len(token) <= LONGEST_TOKEN and COMPACT.fullmatch(token) is not None


def read_claims(token: str) -> dict[str, Any]:
    """What one of our own tokens says, which was verified or found by its digest."""
    return read_object(urlsafe_b64decode(token.split(".")[1].encode()))


class BadToken(Exception):
    """A token that was not signed by the key that it names, or is no token at all."""


class MadeKey(NamedTuple):
    """A new key: its thumbprint (RFC 7638), its public half, and the private one as it is kept."""

    key_id: str
    public: dict[str, str]
    private: bytes

    def __repr__(self) -> str:
        return f"MadeKey({self.key_id})"


def make_key(algorithm: str) -> MadeKey:
    """A key for one algorithm. RSA takes about a tenth of a second."""
    key = _MAKERS[algorithm]({"use": "sig", "alg": algorithm})
    key.ensure_kid()
    public: Any = key.as_dict(private=False)
    return MadeKey(str(key.kid), public, json.dumps(key.as_dict(private=True)).encode())


def _rsa_key(jwk: Mapping[str, str]) -> RSAKey:
    """A private key that was made here (RFC 7518 §6.3). To look once more whether its primes are any takes 40 ms; the
    vault would not have given out what is not as it was made."""
    n, e, d, p, q, dp, dq, qi = (
        int.from_bytes(urlsafe_b64decode(jwk[name].encode())) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")
    )
    numbers = RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n))
    return RSAKey.import_key(numbers.private_key(unsafe_skip_rsa_key_validation=True), {"alg": jwk["alg"]})


class _Signer:
    """What joserfc's algorithms ask of a key when they sign. A key of its own looks each time what it is."""

    def __init__(self, key: Key) -> None:
        self._private = key.get_op_key("sign")
        if isinstance(key, ECKey):
            self.curve_key_size = key.curve_key_size

    def get_op_key(self, operation: str) -> Any:
        return self._private


class PrivateKey:
    """A private key that is ready to sign."""

    def __init__(self, private: bytes) -> None:
        jwk = json.loads(private)
        self._key = _rsa_key(jwk) if jwk["kty"] == "RSA" else _KINDS[jwk["kty"]].import_key(jwk)
        self.key_id: str = jwk["kid"]
        self.algorithm: str = jwk["alg"]
        self._model = _registry.get_alg(self.algorithm)
        self._signer = _Signer(self._key)
        self._headers: dict[str | None, bytes] = {}

    def __repr__(self) -> str:
        return f"PrivateKey({self.key_id}, {self.algorithm})"

    def sign_now(self, claims: Mapping[str, Any], typ: str | None = None) -> str:
        """The signed token (RFC 7519 §7.1), `typ` in its header if it is told."""
        header = self._headers.get(typ)
        if header is None:
            # The same for every token of a kind, so that it is encoded and checked once.
            said = {"alg": self.algorithm, "kid": self.key_id} | ({} if typ is None else {"typ": typ})
            whole = jws.serialize_compact(said, b"", self._key, registry=_registry)
            header = self._headers[typ] = whole.partition(".")[0].encode() + b"."
        signed = header + encoded(msgspec.json.encode(claims))
        return (signed + b"." + encoded(self._model.sign(signed, self._signer))).decode()

    async def sign(self, claims: Mapping[str, Any], typ: str | None = None) -> str:
        """The same without holding up the event loop: what takes long is signed in a thread."""
        if self.algorithm in ON_THE_LOOP:
            return self.sign_now(claims, typ)
        return await _signing.sign(partial(self.sign_now, claims, typ))


class VerifiedToken(NamedTuple):
    """What a genuine token says. `typ` is its header's."""

    key_id: str
    claims: dict[str, Any]
    typ: str | None


def verify(token: str, keys: Callable[[str], Mapping[str, str] | None]) -> VerifiedToken:
    """What the token says, if the key that it names signed it; `keys` gives a public key by its id.

    Raises BadToken. Who issued it, to whom and until when is the caller's to judge.
    """
    if len(token) > LONGEST_TOKEN or not COMPACT.fullmatch(token):
        raise BadToken
    try:
        header = read_object(urlsafe_b64decode(token.partition(".")[0].encode()))
        kid = header.get("kid")
        jwk = keys(kid) if isinstance(kid, str) else None
        if jwk is None or header.get("alg") != jwk["alg"] or header.keys() - {"alg", "kid", "typ"}:
            raise BadToken
        key = _KINDS[jwk["kty"]].import_key(dict(jwk))
        signed = jws.deserialize_compact(token.encode(), key, registry=_registry)
        claims = read_object(signed.payload or b"")
    except (JoseError, ValueError, RecursionError) as error:
        raise BadToken from error
    return VerifiedToken(jwk["kid"], claims, header.get("typ"))


def read_object(text: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else, and for two members of one name (RFC 7519 §4, RFC 8725 §2.4)."""
    found = json.loads(text, object_pairs_hook=_members)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members of one name")
    return found
