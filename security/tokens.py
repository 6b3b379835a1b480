"""What is drawn at random: identifiers, and the secrets that the server hands out, all of one format."""

import os
import re
import threading
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Generic, NoReturn, TypeVar
from zlib import crc32

from security.clock import Moment

# Random values that are no secret, drawn many at a time: to ask the system for each lets other threads go first.

T = TypeVar("T", str, bytes)

AT_A_TIME = 2_048


class _Ahead(threading.local, Generic[T]):
    """What a thread drew and has not handed out yet. Each thread begins with nothing."""

    def __init__(self, draw: Callable[[int], T]) -> None:
        self._draw: Callable[[int], T] = draw
        self._drawn: T = draw(0)
        self._at = 0

    def forget(self) -> None:
        self._drawn, self._at = self._draw(0), 0

    def take(self, count: int) -> T:
        start = self._at
        end = self._at = start + count
        taken: T = self._drawn[start:end]
        if len(taken) == count:
            return taken
        self._drawn, self._at = self._draw(AT_A_TIME), count
        return self._drawn[:count]


def drawn_ahead(draw: Callable[[int], T]) -> Callable[[int], T]:
    """As `draw`, which gives so many characters or octets, but `AT_A_TIME` ahead. A forked process begins anew."""
    ahead = _Ahead(draw)
    os.register_at_fork(after_in_child=ahead.forget)
    return ahead.take


# Base62: the alphabet of every identifier and secret, in ASCII order, so that text order is byte order.

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# 248 is the largest multiple of 62 that fits a byte. Values from there on are thrown away, so each character is equally
# likely: taking every byte modulo 62 would favour the first eight.
_FAIR = 256 // 62 * 62
_TABLE = "".join(ALPHABET[value % 62] for value in range(256)).encode("ascii")
_UNFAIR = bytes(range(_FAIR, 256))

_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_PAIR = 62 * 62


def characters(count: int) -> str:
    """`count` characters from the system's generator, each uniform over the alphabet (5.95 bits a character)."""
    # One byte in 32 is thrown away. With a third more than needed, a second round is rarer than one in a million.
    drawn = os.urandom(count + count // 3 + 4).translate(_TABLE, _UNFAIR)
    while len(drawn) < count:
        drawn += os.urandom(count).translate(_TABLE, _UNFAIR)
    return drawn[:count].decode("ascii")


names = drawn_ahead(characters)
"""The same for what is no secret."""


def six_digits(number: int) -> str:
    """A number below 62⁶ (any 32-bit one) as six base62 digits, most significant first, padded with `0`."""
    rest, low = divmod(number, _PAIR)
    high, middle = divmod(rest, _PAIR)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def seven_digits(number: int) -> str:
    """A number as seven base62 digits, most significant first; of one with more than seven, the last seven."""
    rest, low = divmod(number, _PAIR**3)
    return ALPHABET[rest % 62] + six_digits(low)


# Identifiers: 22 base62 characters, 131 bits of randomness.

ID_LENGTH = 22
_TIME = 7


def new_id() -> str:
    """A fresh identifier. It says nothing about when or where it was made."""
    return characters(ID_LENGTH)


def event_id() -> str:
    """The same for what is made again and again and is no secret, yet must not be guessed before it is told."""
    return names(ID_LENGTH)


def ordered_id(moment: Moment) -> str:
    """A fresh identifier that sorts by the millisecond of its making; the other 15 characters are 89 random bits.

    For what is made with every request, such as grants: what is new stands together at the end of every index, where a
    random identifier would touch a page of its own in each. It is a name and no secret.
    """
    return _time(moment // 1000) + names(ID_LENGTH - _TIME)


# Seven digits last until the year 2081; what goes beyond begins anew and only sorts worse.
_time = lru_cache(maxsize=8)(seven_digits)


# Secrets: `<prefix>_<kind>_`, 30 random characters and 6 of checksum. Anyone can tell by eye what such a text is, a
# scanner can match it, and the checksum tells a typo from a secret that was never issued without asking the server. 30
# base62 characters are 178 bits, more than RFC 6749 §10.10 asks for, so a plain SHA-256 at rest is enough: there is
# nothing to guess that a slow hash would have to protect.

DEFAULT_PREFIX = "glog"
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
_SECRET_LENGTH = RANDOM_LENGTH + CHECKSUM_LENGTH
_PREFIX = re.compile(r"[a-z][a-z0-9]{1,15}", re.ASCII)


class Kind(StrEnum):
    """What a secret is for. This list is the only one: scanner rules and documentation are made from it."""

    description: str

    def __new__(cls, value: str, description: str = "") -> "Kind":
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    ACCESS_TOKEN = "at", "access token"
    REFRESH_TOKEN = "rt", "refresh token"
    AUTHORIZATION_CODE = "ac", "authorization code"
    CLIENT_SECRET = "cs", "client secret"
    BROWSER_SESSION = "ss", "browser session"
    DEVICE_CODE = "dc", "device code"
    INITIAL_ACCESS_TOKEN = "ia", "initial access token"
    REGISTRATION_ACCESS_TOKEN = "ra", "registration access token"
    PASSWORD_RESET = "pr", "link to a new password"
    EMAIL_CONFIRMATION = "ev", "link to confirm an address"


class Secret:
    """A secret in memory, shown by nothing but `reveal`. `sha256` is its digest, 32 bytes, and `hex` the same."""

    __slots__ = ("_raw", "kind", "sha256")

    _raw: str
    kind: Kind | None
    sha256: bytes

    def __init__(self, raw: str, kind: Kind | None = None) -> None:
        self._raw = raw
        self.kind = kind
        self.sha256 = digest(raw)

    @property
    def hex(self) -> str:
        return self.sha256.hex()

    @property
    def masked(self) -> str:
        """How logs and people may name it; see `mask`."""
        return _masked(self.kind, self.sha256)

    def reveal(self) -> str:
        """The secret itself: for the one answer that hands it out."""
        return self._raw

    def __repr__(self) -> str:
        return f"Secret({self.masked})"

    def __str__(self) -> str:
        return self.masked

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __eq__(self, other: object) -> bool:
        return compare_digest(self.sha256, other.sha256) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be serialised")


def checksum(body: bytes) -> str:
    """What a secret with this random part ends with."""
    return six_digits(crc32(body))


def has_checksum(raw: str) -> bool:
    """Whether a text ends as every secret of ours does, under whatever prefix. Nothing else was ever issued."""
    body, end = raw[-_SECRET_LENGTH:-CHECKSUM_LENGTH], raw[-CHECKSUM_LENGTH:]
    return len(body) == RANDOM_LENGTH and body.isascii() and end == checksum(body.encode("ascii"))


class Format:
    """The format under one prefix, which an installation may choose: 2 to 16 of `a-z0-9`, a letter first.

    Secrets with a `former` prefix are still read, so that changing it ends nothing and hides no leak. `signed` says
    whether a text is an access token that this server signed (RFC 9068), which has our form in no other way.
    """

    __slots__ = ("_former", "_heads", "_start", "_starts", "prefix", "prefixes", "signed")

    def __init__(self, prefix: str = DEFAULT_PREFIX, former: Iterable[str] = ()) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError("a token prefix is 2 to 16 lower-case letters and digits, a letter first")
        self.prefix = prefix
        self._start = len(prefix) + len("_at_")
        self._heads = {f"{prefix}_{kind.value}_": kind for kind in Kind}
        self._starts = {kind: start for start, kind in self._heads.items()}
        self._former = tuple(Format(each) for each in dict.fromkeys(former) if each != prefix)
        self.prefixes = (prefix, *(each.prefix for each in self._former))
        self.signed: Callable[[str], bool] = lambda token: False

    def mint(self, kind: Kind) -> Secret:
        """A new secret of that kind, from the system's generator."""
        body = characters(RANDOM_LENGTH)
        return Secret(f"{self._starts[kind]}{body}{six_digits(crc32(body.encode('ascii')))}", kind)

    def parse(self, raw: str) -> Kind | None:
        """The kind of a well-formed secret, ever issued or not; None for another prefix, kind, length or checksum."""
        start = self._start
        kind = self._heads.get(raw[:start])
        if kind is None:
            return self._of_former(raw)
        if len(raw) != start + _SECRET_LENGTH or not raw.isascii():
            return None
        secret = raw[start:]
        body = secret[:RANDOM_LENGTH]
        if not secret.isalnum() or secret[RANDOM_LENGTH:] != checksum(body.encode("ascii")):
            return None
        return kind

    def _of_former(self, raw: str) -> Kind | None:
        if raw.count(".") == 2 and self.signed(raw):
            return Kind.ACCESS_TOKEN
        return next((kind for each in self._former if (kind := each.parse(raw)) is not None), None)

    def read(self, raw: str) -> Secret | None:
        """The same check for a secret that somebody presented, and its digest at once."""
        kind = self.parse(raw)
        return None if kind is None else Secret(raw, kind)

    def mask(self, raw: str) -> str:
        """How logs and people may name a presented text: `<kind>:<first 8 hex of the digest>`, no character of it.

        What is not of our format is only `unknown`: it may be a password, and part of a password's plain digest is
        enough to try a dictionary against.
        """
        return _masked(self.parse(raw), digest(raw))

    def pattern(self, kind: Kind) -> str:
        """The regular expression that finds secrets of that kind in foreign text."""
        return rf"\b{self.prefix}_{kind.value}_[0-9A-Za-z]{{{_SECRET_LENGTH}}}\b"


def _masked(kind: Kind | None, sha256_: bytes) -> str:
    return "unknown" if kind is None else f"{kind.value}:{sha256_[:4].hex()}"


def digest(raw: str) -> bytes:
    """SHA-256 of the text, 32 bytes: the only form in which a secret is stored. No text makes it fail."""
    return sha256(raw.encode("utf-8", "surrogatepass")).digest()


def same(left: str | bytes, right: str | bytes) -> bool:
    """Whether two values are equal, in a time that depends on their length alone."""
    return compare_digest(_octets(left), _octets(right))


def _octets(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


DEFAULT = Format()
mint = DEFAULT.mint
parse = DEFAULT.parse
read = DEFAULT.read
mask = DEFAULT.mask
