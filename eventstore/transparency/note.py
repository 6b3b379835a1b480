"""Signed notes and their keys (C2SP signed-note), and the cosignatures of witnesses (C2SP tlog-cosignature)."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 0x01
COSIGNATURE_V1 = 0x04

_DASH = "\u2014 "
_KEY_ID_BYTES = 4
_TIMESTAMP_BYTES = 8


class Signature(NamedTuple):
    """One signature line: who signed, the id of the key, and what the key's algorithm made."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        return f"{_DASH}{self.name} {base64_of(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name: what auditors pin and what witnesses are known by."""

    name: str
    algorithm: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Reads `<name>+<key id in hex>+<base64 of algorithm and key>`; ValueError for anything else."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        material = _decode(encoded)
        if len(material) != 33 or material[0] not in (ED25519, COSIGNATURE_V1) or not is_key_name(name):
            raise ValueError("not a verifier key for Ed25519")
        key = cls(name, material[0], material[1:])
        if key.key_id.hex() != key_id:
            raise ValueError("the key's id does not belong to its name and value")
        return key

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ newline ‖ algorithm ‖ key), its first four bytes."""
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:_KEY_ID_BYTES]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the whole verifier key as text, in hex: what one person reads to another."""
        return sha256(str(self).encode()).hexdigest()

    @property
    def _material(self) -> bytes:
        return bytes([self.algorithm]) + self.public

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64_of(self._material)}"

    def verifies(self, text: str, signature: Signature) -> bool:
        """Whether the signature is by this key and right for the note's text."""
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            return False
        value, message = signature.value, text.encode()
        if self.algorithm == COSIGNATURE_V1:
            timestamp = int.from_bytes(value[:_TIMESTAMP_BYTES], "big")
            value, message = value[_TIMESTAMP_BYTES:], f"cosignature/v1\ntime {timestamp}\n".encode() + message
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of the log that signs notes. `seed` is the private key: 32 bytes, from the vault."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not is_key_name(self.name) or len(self.seed) != 32:
            raise ValueError("a signer needs a name without blanks and plus signs, and a seed of 32 bytes")

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, ED25519, _key_pair(self.seed)[1])

    def sign(self, text: str) -> Signature:
        """Signs a note's text, which ends in a newline."""
        return Signature(self.name, self.verifier.key_id, _key_pair(self.seed)[0].sign(text.encode()))


@lru_cache(maxsize=64)
def _key_pair(seed: bytes) -> tuple[Ed25519PrivateKey, bytes]:
    """Both halves of a key. To make them of the seed takes as long as to sign, and each log has one or two."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return private, private.public_key().public_bytes_raw()


def sign(text: str, signers: Sequence[Signer]) -> str:
    """The signed note (signed-note, "Format"); ValueError when the text cannot be one's."""
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text) or not signers:
        raise ValueError("a note's text ends in a newline and has no other control characters, and somebody signs it")
    return text + "\n" + "".join(signer.sign(text).line for signer in signers)


def text_of(note: str) -> str:
    """The text of a note that we signed ourselves."""
    return note[: note.rindex("\n\n") + 1]


def signatures_of(note: str) -> list[Signature]:
    """The signatures of a note that we signed ourselves."""
    return list(signatures(note[note.rindex("\n\n") + 2 :]))


def signatures(lines: str) -> Iterator[Signature]:
    """Reads signature lines; ValueError at the first that is none."""
    if not lines.endswith("\n"):
        raise ValueError("a signature line ends in a newline")
    for line in lines[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        value = _decode(encoded)
        if not line.startswith(_DASH) or not is_key_name(name) or len(value) <= _KEY_ID_BYTES:
            raise ValueError("not a signature line of a note")
        yield Signature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def add_signatures(note: str, added: Sequence[Signature]) -> str:
    """The note with further signatures behind those it has. One of a key that has signed already is left out."""
    known = {(signature.name, signature.key_id) for signature in signatures_of(note)}
    return note + "".join(s.line for s in added if (s.name, s.key_id) not in known)


def is_key_name(name: str) -> bool:
    """Whether a key may have that name: not empty, without blanks of any script, control characters and plus signs."""
    return name != "" and not any(c.isspace() or c < " " or c == "+" for c in name)


def base64_of(value: bytes) -> str:
    """Standard base64 as text."""
    return base64.b64encode(value).decode()


def _decode(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Bits that do not count would let one signature be written in several ways.
    return value if base64_of(value) == text else b""


# Checkpoints: the signed head of the tree (C2SP tlog-checkpoint).


class Checkpoint(NamedTuple):
    """What a checkpoint says: which log, how many leaves, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text. We sign no extension lines: nobody could audit them."""
        return f"{self.origin}\n{self.size}\n{base64_of(self.root)}\n"

    def signed(self, signers: Sequence[Signer]) -> str:
        """The signed note, with one signature for each of the log's keys."""
        return sign(self.text, signers)


def parse_checkpoint(note: str) -> Checkpoint:
    """Reads a note that we signed ourselves. What others signed is the verifier's business."""
    origin, size, root = text_of(note).split("\n")[:3]
    return Checkpoint(origin, int(size), base64.b64decode(root, validate=True))


def head_of(note: str | None) -> Checkpoint | None:
    """What a note says; None for none, and for what is no checkpoint."""
    try:
        return None if note is None else parse_checkpoint(note)
    except ValueError:
        return None


def is_signed_by(note: str, signers: Sequence[Signer]) -> bool:
    """Whether one of these keys signed it: anybody may have put it where we find it."""
    try:
        text, found = text_of(note), signatures_of(note)
    except ValueError:
        return False
    return any(signer.verifier.verifies(text, each) for signer in signers for each in found)
