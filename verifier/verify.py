"""The verdict over a whole log, out of what it publishes and what the auditor has kept."""

from collections.abc import Iterator, Sequence
from itertools import islice

from verifier.head import Head, Unfit, open_head
from verifier.note import Key
from verifier.source import Progress, Source, no_progress
from verifier.verdict import Fault, Outcome, SourceError, Verdict
from verifier.walk import Landmark, Walk

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
    """Checks a log from its first event to its last.

    `keys` are the log's verifier keys, pinned out of band. `kept` are older checkpoints that the auditor has from
    before: only they, or `quorum` of the `witnesses`, show a history that was rewritten with the log's own key.
    """
    try:
        return _Audit(source, keys, witnesses, quorum, progress).verdict(kept)
    except SourceError as error:
        return Verdict("unverifiable", str(error))


class _Audit:
    def __init__(
        self, source: Source, keys: Sequence[Key], witnesses: Sequence[Key], quorum: int, progress: Progress
    ) -> None:
        self._source = source
        self._keys = keys
        self._witnesses = witnesses
        self._quorum = quorum
        self._progress = progress

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
        if fault is not None:
            return _verdict("tampered", fault.reason, head, walk, fault)
        if cosigned is not head:
            return _verdict("unverifiable", self._too_few(head, cosigned), head, walk)
        return _verdict("verified", _praise(walk, size), head, walk)

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


def _verdict(outcome: Outcome, reason: str, head: Head, walk: Walk, fault: Fault | None = None) -> Verdict:
    return Verdict(
        outcome,
        reason,
        None if fault is None else fault.position,
        fault.until if fault is not None and fault.vague else None,
        head.checkpoint.origin,
        head.checkpoint.size,
        head.checkpoint.root,
        walk.checked,
        walk.pending,
        head.witnesses,
    )
