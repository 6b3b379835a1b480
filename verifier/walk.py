"""One walk along the log: every event, every tile and every landmark, up to the first thing that does not fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.source import Progress, Source
from verifier.stored_form import Order, Row
from verifier.tree import HASH_BYTES, WIDTH, CompactRange, leaf_hash, perfect_root
from verifier.verdict import Fault

_REPORT_EVERY = 32 * WIDTH


@dataclass(frozen=True, slots=True)
class Landmark:
    """A root that the tree had at a size, and who says so."""

    size: int
    root: bytes
    what: str


class Walk:
    """A walk up to `size`, the newest checkpoint's, and through what the log holds beyond it.

    `landmarks` are in order of size; the last is the newest checkpoint itself.
    """

    def __init__(self, source: Source, size: int, landmarks: Sequence[Landmark], progress: Progress) -> None:
        self._source = source
        self._size = size
        self._landmarks = list(landmarks)
        self._progress = progress
        self._order = Order()
        self._range = CompactRange()
        self._tiles: dict[int, tuple[list[bytes], bytes | None]] = {}
        self._fitting = 0
        self.checked = 0
        self.pending = 0

    def run(self) -> Fault | None:
        """The first fault; None when everything fits."""
        rows = self._source.rows(self._size)
        # A checkpoint of the empty tree has a root too, and lies in no chunk.
        fault = self._compare_landmarks([], 0)
        if fault is not None:
            return fault
        for base in range(0, self._size, WIDTH):
            fault = self._chunk(rows, base, min(WIDTH, self._size - base))
            if fault is not None:
                return fault
            if base % _REPORT_EVERY == 0:
                self._progress(base, self._size)
        fault = self._beyond(rows) if rows is not None else None
        self._progress(self._size, self._size)
        return fault

    def _chunk(self, rows: Iterator[Row] | None, base: int, width: int) -> Fault | None:
        tile = self._source.tile(0, base // WIDTH, width)
        if tile is None:
            return Fault(base + 1, "the tile with the hash of that event is missing or too short")
        if rows is None:
            hashes, fault = [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)], None
        else:
            hashes, fault = self._read(rows, base, width)
            fault = _misfit(hashes, tile, base) or fault
        sound = width if fault is None else fault.position - 1 - base
        fault = self._compare_landmarks(hashes[:sound], base) or fault
        if fault is not None or width < WIDTH:
            return fault
        root = perfect_root(hashes)
        self._range.add(root, 8)
        return self._climb(1, base // WIDTH, root)

    def _read(self, rows: Iterator[Row], base: int, width: int) -> tuple[list[bytes], Fault | None]:
        hashes: list[bytes] = []
        fault_of = self._order.fault
        for position in range(base + 1, base + width + 1):
            row = next(rows, None)
            if row is None:
                ends = f"the log ends before it, although its checkpoint covers {self._size} events"
                return hashes, Fault(position, ends)
            reason = _misplaced(row, position) or fault_of(row)
            if reason is not None:
                return hashes, Fault(position, reason)
            hashes.append(leaf_hash(row.leaf))
            self.checked += 1
        return hashes, None

    def _compare_landmarks(self, hashes: Sequence[bytes], base: int) -> Fault | None:
        if not self._landmarks or self._landmarks[0].size > base + len(hashes):
            return None
        tree, added = self._range.copy(), 0
        while self._landmarks and self._landmarks[0].size <= base + len(hashes):
            landmark = self._landmarks.pop(0)
            for hash_ in hashes[added : landmark.size - base]:
                tree.add(hash_)
            added = max(added, landmark.size - base)
            if tree.root() != landmark.root:
                reason = f"the events up to {landmark.size} are not those that {landmark.what} was signed over"
                return Fault(self._fitting + 1, reason, landmark.size)
            self._fitting = landmark.size
        return None

    def _climb(self, level: int, number: int, root: bytes) -> Fault | None:
        """Compares the root of a full tile with the tile above, and goes on upwards when that one is full too."""
        place = number % WIDTH
        if place == 0:
            width = min(WIDTH, self._size // WIDTH**level - number)
            self._tiles[level] = [], self._source.tile(level, number // WIDTH, width)
        hashes, tile = self._tiles[level]
        hashes.append(root)
        if tile is None or tile[place * HASH_BYTES : (place + 1) * HASH_BYTES] != root:
            below = WIDTH**level
            what = "is missing" if tile is None else "does not fit them"
            return Fault(
                number * below + 1, f"the tile of level {level} over these events {what}", (number + 1) * below
            )
        if len(hashes) == WIDTH:
            return self._climb(level + 1, number // WIDTH, perfect_root(hashes))
        return None

    def _beyond(self, rows: Iterator[Row]) -> Fault | None:
        for position, row in enumerate(rows, self._size + 1):
            reason = _misplaced(row, position) or self._order.fault(row)
            if reason is not None:
                return Fault(position, reason)
            self.checked += 1
            self.pending += 1
        return None


def _misplaced(row: Row, position: int) -> str | None:
    if row.position == position:
        return None
    if row.position > position:
        return f"there is no event at that position; the next one stands at {row.position}"
    return f"an event stands at {row.position}, where no event can be"


def _misfit(hashes: Sequence[bytes], tile: bytes, base: int) -> Fault | None:
    joined = b"".join(hashes)
    if tile.startswith(joined):
        return None
    place = next(i for i, hash_ in enumerate(hashes) if tile[i * HASH_BYTES : (i + 1) * HASH_BYTES] != hash_)
    return Fault(base + place + 1, "the event there is not the one whose hash stands in the tree: it was changed")
