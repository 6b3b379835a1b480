"""Signed notes, verifier keys, checkpoints and cosignatures as a reader meets them.

C2SP signed-note, tlog-checkpoint and tlog-cosignature. Whatever deviates from them is `Malformed`, and a signature by a
known key that does not verify spoils the whole note."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LOG, WITNESS = 1, 4
"""Signature types: Ed25519 over the note's text, and the timestamped cosignature/v1."""

LARGEST_NOTE = 1_000_000
MOST_SIGNATURES = 100

_SIZE = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)", re.ASCII)
_SECRET_KEY = re.compile(r"PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)", re.ASCII)


class Malformed(ValueError):
    """Text that is not what its specification says."""


class BadSignature(ValueError):
    """A signature by a known key that does not verify."""


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key: of a log (`kind` 1) or of a witness (`kind` 4)."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Reads `<name>+<id>+<base64>`; `Malformed` otherwise."""
        match = _KEY.fullmatch(text.strip())
        if match is None:
            raise Malformed("not a verifier key: it should look like name+1a2b3c4d+base64")
        name, key_id, encoded = match.groups()
        material = decode64(encoded)
        if len(material) != 33 or material[0] not in (LOG, WITNESS) or not is_name(name):
            raise Malformed("not a verifier key for Ed25519")
        key = cls(name, material[0], material[1:])
        if key.id.hex() != key_id:
            raise Malformed("the verifier key contradicts its own id, so it was changed or copied wrongly")
        return key

    @property
    def id(self) -> bytes:
        return _key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode64(bytes([self.kind]) + self.public)}"


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's own key. Its text form is that of Go's sumdb/note, with the cosignature's type byte."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Cosigner":
        """Reads `PRIVATE+KEY+<name>+<id>+<base64>`; `Malformed` otherwise, without showing any of it."""
        match = _SECRET_KEY.fullmatch(text.strip())
        material = decode64(match[3]) if match else b""
        if match is None or len(material) != 33 or material[0] != WITNESS or not is_name(match[1]):
            raise Malformed("not a witness's private key")
        cosigner = cls(match[1], material[1:])
        if cosigner.key.id.hex() != match[2]:
            raise Malformed("the private key contradicts its own id")
        return cosigner

    @property
    def key(self) -> Key:
        """The public half."""
        return Key(self.name, WITNESS, self._private.public_key().public_bytes_raw())

    def reveal(self) -> str:
        """The private key as text, for the file where it is kept."""
        return f"PRIVATE+KEY+{self.name}+{self.key.id.hex()}+{encode64(bytes([WITNESS]) + self.seed)}"

    def cosign(self, text: str, timestamp: int) -> str:
        """The signature line over a checkpoint's text, at a time in whole seconds (tlog-cosignature, "Format")."""
        signature = self._private.sign(_cosigned(text, timestamp))
        return f"\u2014 {self.name} {encode64(self.key.id + timestamp.to_bytes(8, 'big') + signature)}\n"

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class Note:
    """A note that was opened: its text, whose signatures verified, and every signature's name with the key's id."""

    text: str
    verified: tuple[Key, ...]
    signed_by: tuple[tuple[str, str], ...]

    def verified_by(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        return tuple(key for key in keys if key in self.verified)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first three lines of a checkpoint."""

    origin: str
    size: int
    root: bytes


def open_note(note: str, keys: Sequence[Key]) -> Note:
    """Parses a signed note and verifies the signatures of known keys; unknown keys are ignored. Raises `Malformed`, or
    `BadSignature` when a known key's signature is wrong. A note that no known key has signed is returned with
    `verified` empty: the caller must not believe it."""
    if len(note) > LARGEST_NOTE or any(c < " " and c != "\n" for c in note):
        raise Malformed("not a signed note: too large, or with control characters")
    split = note.rfind("\n\n")
    text, lines = note[: split + 1], note[split + 2 :]
    if split < 0 or not lines.endswith("\n"):
        raise Malformed("not a signed note: it has no signatures behind an empty line, or its last line is not ended")
    signed = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signed) > MOST_SIGNATURES:
        raise Malformed(f"a note with more than {MOST_SIGNATURES} signatures")
    known = {(key.name, key.id): key for key in keys}
    verified: dict[Key, None] = {}
    for name, key_id, value in signed:
        key = known.get((name, key_id))
        # Of several signatures by one key the first counts, as in Go's sumdb/note.
        if key is not None and key not in verified:
            _verify(key, text, value)
            verified[key] = None
    return Note(text, tuple(verified), tuple((name, key_id.hex()) for name, key_id, _ in signed))


def parse_checkpoint(text: str) -> Checkpoint:
    """Reads a note's text as a checkpoint (tlog-checkpoint, "Note text"); `Malformed` otherwise."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or "" in lines or not text.endswith("\n"):
        raise Malformed("not a checkpoint: it needs an origin, a size and a root, and no empty line")
    if _SIZE.fullmatch(lines[1]) is None:
        raise Malformed("not a checkpoint: its size is not a plain decimal number")
    root = decode64(lines[2])
    if len(root) != 32:
        raise Malformed("not a checkpoint: its root is not the base64 of 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def decode64(text: str) -> bytes:
    """Standard base64, written in the one canonical way; `Malformed` otherwise."""
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise Malformed("not base64") from None
    if encode64(value) != text:
        raise Malformed("not canonical base64")
    return value


def encode64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "\u2014" or not is_name(name):
        raise Malformed("not a signed note: a signature line is not one")
    value = decode64(encoded)
    if len(value) < 5:
        raise Malformed("not a signed note: a signature is too short")
    return name, value[:4], value[4:]


def _verify(key: Key, text: str, value: bytes) -> None:
    message = text.encode()
    if key.kind == WITNESS:
        timestamp, value = int.from_bytes(value[:8], "big"), value[8:]
        message = _cosigned(text, timestamp)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(value, message)
    except InvalidSignature:
        raise BadSignature(f"the signature by {key.name} ({key.id.hex()}) does not fit the text") from None


def _cosigned(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _key_id(name: str, kind: int, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def is_name(name: str) -> bool:
    """Whether a key may be called that (signed-note, "Format")."""
    return name != "" and "+" not in name and not any(c.isspace() for c in name)
