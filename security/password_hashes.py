"""Hashes of passwords: our own, and those that other systems made, read by their PHC and crypt strings.

PHC strings (github.com/P-H-C/phc-string-format) name their parameters: `$argon2id$v=19$m=19456,t=2,p=1$…$…`,
`$scrypt$ln=14,r=8,p=1$…$…`, `$pbkdf2-sha256$i=600000$…$…`; passlib writes the last as `$pbkdf2-sha256$600000$…$…`.
crypt strings are bcrypt's `$2b$12$…` and scrypt's `$7$…` (crypt(5)).
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, scrypt
from hmac import compare_digest
from os import urandom
from typing import ClassVar, Protocol, Self

from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.low_level import Type, verify_secret

LONGEST = 512
"""Characters of the longest string that is read."""

# What a hash from elsewhere may cost at most: anyone who brings hashes along decides what every failed sign-in takes.

BCRYPT_COST = 14
PBKDF2_ROUNDS = 2_000_000
SCRYPT_MEMORY = 128
ARGON2_MEMORY = 256
"""In MiB."""
TIMES = 4
"""How often that memory may be gone through, in passes or lanes, and how many blocks so many rounds may make."""
LANES = 16

SALT = range(4, 129)
ARGON2_SALT = range(8, 129)
DIGEST = range(16, 129)
"""Octets. With a shorter digest other passwords would match too."""


class TooDear(ValueError):
    """A hash that would take more time or memory than one from elsewhere may. Says what the bounds are."""


UNLIKE = "is not what a hash of its kind looks like"
UNREADABLE = "its salt or its digest is too short, too long, or cannot be read"


class KeptHash(Protocol):
    """A hash of a password."""

    @property
    def costs(self) -> str:
        """Kind and parameters, without salt and digest: what it takes to look at a password."""

    @property
    def work(self) -> int:
        """About how many microseconds it takes, to put the kinds in an order."""

    @property
    def has_lanes(self) -> bool:
        """Whether it is computed in several threads."""

    @property
    def too_dear(self) -> str | None:
        """The bounds that it exceeds, in words; None for one that may come from elsewhere."""

    def matches(self, octets: bytes) -> bool:
        """Whether this is the password."""


@dataclass(frozen=True, slots=True)
class Argon2:
    """argon2 in all its variants (RFC 9106)."""

    encoded: str
    kind: Type
    memory: int
    passes: int
    lanes: int

    PREFIX: ClassVar = ("$argon2id$", "$argon2i$", "$argon2d$")
    PATTERN: ClassVar = re.compile(
        r"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=[1-9]\d{0,9},t=[1-9]\d{0,9},p=[1-9]\d{0,9}\$([^$]+)\$([^$]+)",
        re.ASCII,
    )

    @classmethod
    def read(cls, encoded: str) -> Self:
        # The library reads no other spelling, and says so when a password is looked at, which is too late.
        found = _found(cls.PATTERN, encoded)
        had = extract_parameters(encoded)
        for text, sizes in ((found[1], ARGON2_SALT), (found[2], DIGEST)):
            if _text(_octets(text, sizes)) != text:
                raise InvalidHashError(UNREADABLE)
        least = 8 * had.parallelism
        if not (had.memory_cost >= least >= 8 and had.time_cost):
            raise InvalidHashError("its parameters are none that argon2 has")
        return cls(encoded, had.type, had.memory_cost, had.time_cost, had.parallelism)

    @property
    def costs(self) -> str:
        return self.encoded.rpartition("$")[0].rpartition("$")[0]

    @property
    def work(self) -> int:
        return self.memory * self.passes * 2 // 3

    @property
    def has_lanes(self) -> bool:
        return self.lanes > 1

    @property
    def too_dear(self) -> str | None:
        most = ARGON2_MEMORY * 1024
        if self.memory <= most and self.memory * self.passes <= TIMES * most and self.lanes <= LANES:
            return None
        return f"argon2 may have {ARGON2_MEMORY} MiB, {TIMES} passes of so much, and {LANES} lanes"

    def matches(self, octets: bytes) -> bool:
        try:
            return verify_secret(self.encoded.encode(), octets, self.kind)
        except VerifyMismatchError:
            return False


@dataclass(frozen=True, slots=True)
class Bcrypt:
    """bcrypt; what PHP calls `2y` others call `2b`."""

    cost: int
    rest: str

    PREFIX: ClassVar = ("$2a$", "$2b$", "$2y$")
    PATTERN: ClassVar = re.compile(r"\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31})")
    OCTETS: ClassVar = 72
    """More of a password never counted, and the library takes no more."""

    @classmethod
    def read(cls, encoded: str) -> Self:
        # Loaded before anybody measures how long a look takes.
        import bcrypt  # noqa: F401

        found = _found(cls.PATTERN, encoded)
        if not 4 <= int(found[1]) <= 31:
            raise InvalidHashError("its cost is none that bcrypt has")
        return cls(int(found[1]), found[2])

    @property
    def costs(self) -> str:
        return f"$2b${self.cost:02}"

    @property
    def work(self) -> int:
        return 60 << self.cost

    has_lanes: ClassVar = False

    @property
    def too_dear(self) -> str | None:
        return None if self.cost <= BCRYPT_COST else f"bcrypt may have a cost of {BCRYPT_COST}"

    def matches(self, octets: bytes) -> bool:
        import bcrypt

        return bcrypt.checkpw(octets[: self.OCTETS], f"{self.costs}${self.rest}".encode())


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """PBKDF2 with HMAC (RFC 8018 §5.2)."""

    digest: str
    rounds: int
    salt: bytes
    key: bytes

    PREFIX: ClassVar = ("$pbkdf2$", "$pbkdf2-")
    PATTERN: ClassVar = re.compile(
        # passlib leaves the digest's name away where it is SHA-1.
        r"\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?([1-9]\d{0,9})(?:,l=\d{1,3})?\$([^$]+)\$([^$]+)"
    )
    BLOCK: ClassVar = {"sha1": 20, "sha256": 32, "sha512": 64}

    @classmethod
    def read(cls, encoded: str) -> Self:
        found = _found(cls.PATTERN, encoded)
        return cls(found[1] or "sha1", int(found[2]), _octets(found[3], SALT), _octets(found[4], DIGEST))

    @property
    def costs(self) -> str:
        return f"$pbkdf2-{self.digest}$i={self.rounds},l={len(self.key)}"

    @property
    def all_rounds(self) -> int:
        """Every block of what is derived takes as many."""
        return self.rounds * -(-len(self.key) // self.BLOCK[self.digest])

    @property
    def work(self) -> int:
        return self.all_rounds * 2 // 5

    has_lanes: ClassVar = False

    @property
    def too_dear(self) -> str | None:
        if self.rounds <= PBKDF2_ROUNDS and self.all_rounds <= TIMES * PBKDF2_ROUNDS:
            return None
        return f"PBKDF2 may have {PBKDF2_ROUNDS:,} rounds, for {TIMES} blocks"

    def matches(self, octets: bytes) -> bool:
        return compare_digest(pbkdf2_hmac(self.digest, octets, self.salt, self.rounds, len(self.key)), self.key)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """scrypt (RFC 7914), as a PHC string or as crypt(5) writes it."""

    log_n: int
    block: int
    lanes: int
    salt: bytes
    key: bytes

    PREFIX: ClassVar = ("$scrypt$", "$7$")
    PATTERN: ClassVar = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,5}),p=(\d{1,5})\$([^$]+)\$([^$]+)")
    OF_CRYPT: ClassVar = re.compile(r"\$7\$([./\w])([./\w]{5})([./\w]{5})([^$]{1,128})\$([./\w]{43})", re.ASCII)

    @classmethod
    def read(cls, encoded: str) -> Self:
        if encoded.startswith("$7$"):
            found = _found(cls.OF_CRYPT, encoded)
            log_n, block, lanes = (_crypt_number(found[place]) for place in (1, 2, 3))
            # The salt is text, and counts as it stands there.
            made = cls(log_n, block, lanes, found[4].encode(), _crypt_octets(found[5]))
        else:
            found = _found(cls.PATTERN, encoded)
            log_n, block, lanes = (int(found[place]) for place in (1, 2, 3))
            made = cls(log_n, block, lanes, _octets(found[4], SALT), _octets(found[5], DIGEST))
        # RFC 7914 §6.
        if not (1 <= log_n <= 40 and log_n < 16 * block and 1 <= lanes * block < 1 << 30):
            raise InvalidHashError("its parameters are none that scrypt has")
        return made

    @property
    def _memory(self) -> int:
        """Octets."""
        return 128 * self.block << self.log_n

    @property
    def costs(self) -> str:
        return f"$scrypt$ln={self.log_n},r={self.block},p={self.lanes}"

    @property
    def work(self) -> int:
        return self._memory * self.lanes // 350

    has_lanes: ClassVar = False

    @property
    def too_dear(self) -> str | None:
        most = SCRYPT_MEMORY << 20
        # What is kept for each lane beside is little, unless there are many.
        if self._memory <= most and self._memory * self.lanes <= TIMES * most and 128 * self.block * self.lanes <= most:
            return None
        return f"scrypt may have {SCRYPT_MEMORY} MiB, in {TIMES} lanes of so much"

    def matches(self, octets: bytes) -> bool:
        room = self._memory + 128 * self.block * (self.lanes + 4)
        n, size = 1 << self.log_n, len(self.key)
        found = scrypt(octets, salt=self.salt, n=n, r=self.block, p=self.lanes, maxmem=2 * room, dklen=size)
        return compare_digest(found, self.key)


KINDS: tuple[type[Argon2 | Bcrypt | Pbkdf2 | Scrypt], ...] = (Argon2, Bcrypt, Pbkdf2, Scrypt)


def read(encoded: str) -> KeptHash:
    """The hash that a string tells of, whatever it costs. Raises argon2's InvalidHashError."""
    if len(encoded) <= LONGEST and encoded.isascii():
        for kind in KINDS:
            if encoded.startswith(kind.PREFIX):
                return kind.read(encoded)
    raise InvalidHashError("is no hash that is known here")


def from_elsewhere(encoded: str) -> KeptHash:
    """The hash that another system made. Raises argon2's InvalidHashError, and TooDear."""
    found = read(encoded)
    if found.too_dear is not None:
        raise TooDear(found.too_dear)
    return found


def of_nobody(costs: str) -> str:
    """A hash of no known password that takes what its `costs` say.

    It is put together from random bytes instead of being computed, so it costs nothing to make, and to look at a
    password against it takes exactly as long as against a real one.
    """
    if costs.startswith(Bcrypt.PREFIX):
        letters = "".join(_CRYPT[octet & 63] for octet in urandom(53))
        # Of the salt's last character but two bits count, and the others are none.
        return f"{costs}${letters[:21]}.{letters[22:]}"
    size = re.search(r",l=(\d+)$", costs)
    return f"{costs}${_text(urandom(16))}${_text(urandom(int(size[1]) if size else 32))}"


_CRYPT = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _found(pattern: re.Pattern[str], encoded: str) -> re.Match[str]:
    found = pattern.fullmatch(encoded)
    if found is None:
        raise InvalidHashError(UNLIKE)
    return found


def _octets(text: str, sizes: range = range(1, LONGEST)) -> bytes:
    """What base64 without padding stands for; passlib writes a dot for the plus."""
    letters = text.rstrip("=").replace(".", "+")
    try:
        octets = b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        octets = b""
    if len(octets) not in sizes:
        raise InvalidHashError(UNREADABLE)
    return octets


def _text(octets: bytes) -> str:
    return b64encode(octets).rstrip(b"=").decode()


def _crypt_number(text: str) -> int:
    """Six bits a character, the lowest first."""
    return sum(_CRYPT.find(letter) << 6 * place for place, letter in enumerate(text))


def _crypt_octets(text: str) -> bytes:
    """Three octets in four characters; of 32 octets the last have three."""
    groups = [_crypt_number(text[at : at + 4]).to_bytes(3, "little") for at in range(0, len(text), 4)]
    return b"".join(groups)[:32]
