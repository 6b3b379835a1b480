"""Verifies a whole log, from what it publishes and what the auditor has kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from verifier.note import Key
from verifier.order import Order, Progress, Row, no_progress
from verifier.source import Source
from verifier.tree import HASH_BYTES, WIDTH, CompactRange, leaf_hash, perfect_root
from verifier.verdict import Fault, Head, Outcome, SourceError, Unfit, Verdict, open_head

# One walk along the log: every event, every tile and every landmark, up to the first thing that does not fit.

_REPORT_EVERY = 32 * WIDTH


@dataclass(frozen=True, slots=True)
class Landmark:
    """A root that the tree had at a size, and who says so."""

    size: int
    root: bytes
    what: str


class Walk:
    """A walk up to `size`, the newest checkpoint's, and through what the log holds beyond it. `landmarks` are in order
    of size; the last is the newest checkpoint itself."""

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


_LANDMARKS = 1_000
"""How many of the log's own older checkpoints a first walk compares. A second walk looks closer where it has to."""


def verify(
    source: Source,
    keys: Sequence[Key],
    *,
    kept: Sequence[str] = (),
    witnesses: Sequence[Key] = (),
    quorum: int = 0,
    progress: Progress = no_progress,
) -> Verdict:
    """Checks a log from its first event to its last. `keys` are the log's verifier keys, pinned out of band. `kept` are
    older checkpoints that the auditor has from before: only they, or `quorum` of the `witnesses`, show a history that
    was rewritten with the log's own key."""
    try:
        return _Audit(source, keys, witnesses, quorum, progress).verdict(kept)
    except SourceError as error:
        return Verdict("unverifiable", str(error))


@dataclass(frozen=True, slots=True)
class _Audit:
    _source: Source
    _keys: Sequence[Key]
    _witnesses: Sequence[Key]
    _quorum: int
    _progress: Progress

    def verdict(self, kept: Sequence[str]) -> Verdict:
        old = [open_head(note, self._keys, what="the checkpoint that you kept") for note in kept]
        for unusable in old:
            if isinstance(unusable, Unfit):
                # The auditor's own file proves nothing about the log.
                return Verdict("unverifiable", unusable.reason)
        memory = [head.checkpoint for head in old if isinstance(head, Head)]
        note = self._source.newest()
        if note is None:
            return _without_checkpoint(max((c.size for c in memory), default=0))
        head = open_head(note, self._keys, self._witnesses, "the newest checkpoint")
        if isinstance(head, Unfit):
            return head.verdict
        size = head.checkpoint.size
        marks = [Landmark(c.size, c.root, "the checkpoint that you kept") for c in memory if c.size <= size]
        cosigned = self._cosigned(head)
        if cosigned is not None and cosigned is not head:
            mark = cosigned.checkpoint
            marks.append(Landmark(mark.size, mark.root, "the newest checkpoint with enough cosignatures"))
        fault, walk = self._walk(head, marks)
        largest = max((c.size for c in memory), default=0)
        if fault is None and largest > size:
            fault = Fault(size + 1, f"the log has shrunk: it had {largest} events once and has {size} now", largest)
        outcome: Outcome = "verified"
        if fault is not None:
            outcome, reason = "tampered", fault.reason
        elif cosigned is not head:
            outcome, reason = "unverifiable", self._too_few(head, cosigned)
        else:
            reason = _praise(walk, size)
        return head.verdict(outcome, reason, fault, checked=walk.checked, pending=walk.pending)

    def _walk(self, head: Head, marks: Sequence[Landmark]) -> tuple[Fault | None, Walk]:
        stored = [size for size in self._source.sizes() if 0 < size < head.checkpoint.size]
        step = max(1, -(-len(stored) // _LANDMARKS))
        fault, walk = self._walk_past(head, marks, stored[::step])
        if fault is not None and fault.vague and step > 1:
            # The stretch is narrowed by every checkpoint that was signed within it.
            within = [size for size in stored if fault.position - 1 <= size <= (fault.until or 0)]
            closer, second = self._walk_past(head, marks, within)
            if closer is not None:
                return closer, second
        return fault, walk

    def _walk_past(self, head: Head, marks: Sequence[Landmark], sizes: Sequence[int]) -> tuple[Fault | None, Walk]:
        own, changed = self._landmarks(sizes)
        final = Landmark(head.checkpoint.size, head.checkpoint.root, "the newest checkpoint")
        landmarks = sorted([*marks, *own, final], key=lambda landmark: landmark.size)
        walk = Walk(self._source, head.checkpoint.size, landmarks, self._progress)
        return walk.run() or changed, walk

    def _landmarks(self, sizes: Sequence[int]) -> tuple[list[Landmark], Fault | None]:
        """The log's own checkpoints of those sizes, and the first of them that somebody changed."""
        landmarks: list[Landmark] = []
        changed = None
        for size in sizes:
            what = f"the log's checkpoint of {size} events"
            head = open_head(self._source.note(size), self._keys, what=what)
            if isinstance(head, Head) and head.checkpoint.size == size:
                landmarks.append(Landmark(size, head.checkpoint.root, what))
            elif changed is None and isinstance(head, Head):
                changed = Fault(size, f"in place of {what} there is that of {head.checkpoint.size} events")
            elif changed is None and isinstance(head, Unfit) and not head.foreign:
                # One by a key that this auditor does not know may be from before a rotation, and says nothing.
                changed = Fault(size, head.reason)
        return landmarks, changed

    def _cosigned(self, head: Head) -> Head | None:
        """The newest checkpoint that enough witnesses cosigned; None when none did."""
        return next((h for h in self._newest_first(head) if len(h.cosigned_by) >= self._quorum), None)

    def _newest_first(self, head: Head) -> Iterator[Head]:
        yield head
        older = [s for s in self._source.sizes() if s < head.checkpoint.size]
        for size in islice(reversed(older), _LANDMARKS):
            found = open_head(self._source.note(size), self._keys, self._witnesses)
            if isinstance(found, Head) and found.checkpoint.size == size:
                yield found

    def _too_few(self, head: Head, cosigned: Head | None) -> str:
        upto = "" if cosigned is None else f"; {self._quorum} have cosigned the first {cosigned.checkpoint.size} events"
        return (
            f"everything fits, but only {len(head.cosigned_by)} of the {self._quorum} demanded witnesses"
            f" have cosigned the newest checkpoint{upto}"
        )


def _without_checkpoint(kept: int) -> Verdict:
    if kept:
        return Verdict("tampered", f"the log has shrunk: it had {kept} events once, and has no checkpoint now", 1, kept)
    return Verdict("unverifiable", "the log has published no checkpoint yet")


def _praise(walk: Walk, size: int) -> str:
    if walk.checked == 0 and size:
        return f"the tree over {size} events fits its checkpoint; the events themselves were not shown"
    newer = f", and {walk.pending} newer ones keep their order" if walk.pending else ""
    return f"all {size} events are those that the checkpoint was signed over{newer}"
