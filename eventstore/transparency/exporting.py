"""Exports that carry their proof: records as they are stored, and the hashes of what lies between them.

The format is described where it is read, in `verifier/export.py`: records, gaps, and the checkpoint as the last line.
"""

import json
from collections.abc import Iterator

from eventstore.transparency.merkle import leaf_hash
from eventstore.transparency.note import base64_of
from eventstore.transparency.proof import Hashes, Subtree, subtrees
from eventstore.transparency.tiles import WIDTH


class ProvenExport:
    """Writes the lines of one export under one checkpoint, in constant memory. Records come in order of position."""

    def __init__(self, hashes: Hashes, note: str) -> None:
        self._hashes = hashes
        self._note = note
        self._next = 1
        self.misfit: int | None = None
        """The first position whose record is not the one that the tree holds. It is in the export all the same: whoever
        checks that finds it tampered with, and has what stands there as evidence."""

    @property
    def size(self) -> int:
        """The last position that the checkpoint covers: the export may hold no record beyond it."""
        return self._hashes.size

    def record(self, position: int, leaf: bytes) -> Iterator[bytes]:
        """The lines for one record: a gap if positions before it were left out, and its stored form."""
        if not self._next <= position <= self.size:
            raise ValueError(f"position {position} is out of order, or not covered by the checkpoint")
        yield from self._gap(position)
        if self.misfit is None and leaf_hash(leaf) != self._hashes.of(Subtree(0, position - 1)):
            self.misfit = position
        if position % WIDTH == 0:
            self._hashes.forget()
        yield leaf + b"\n"
        self._next = position + 1

    def end(self) -> Iterator[bytes]:
        """The lines behind the last record."""
        yield from self._gap(self.size + 1)
        yield _line({"checkpoint": self._note})

    def _gap(self, upto: int) -> Iterator[bytes]:
        if self._next < upto:
            covering = [base64_of(self._hashes.of(subtree)) for subtree in subtrees(self._next - 1, upto - 1)]
            # A walk along the log needs every tile once; what lies behind it only takes memory.
            self._hashes.forget()
            yield _line({"gap": {"from": self._next, "to": upto - 1, "hashes": covering}})


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
