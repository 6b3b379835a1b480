"""Checkpoints: the signed head of the tree (C2SP tlog-checkpoint)."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

from eventstore.transparency.note import Signer, base64_of, sign, text_of


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


def parse(note: str) -> Checkpoint:
    """Reads a note that we signed ourselves. What others signed is the verifier's business."""
    origin, size, root = text_of(note).split("\n")[:3]
    return Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
