"""What this process appended lately, for those who read right behind it: nothing is fetched and decoded again."""

from collections.abc import Sequence

from domain.event import Recorded

KEPT = 2_048
"""Events, and up to twice as many: more than a follower is behind in a process that keeps pace."""


class Recent:
    """The newest events of this process, as they are stored. Any thread may ask while the writer adds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._events: list[Recorded] = []

    def add(self, events: Sequence[Recorded]) -> None:
        """Events that are committed, in the order of the log. What another process wrote between is not known here."""
        known = self._events
        if not events:
            return
        # Whoever reads meanwhile has a list to which something comes at its end, or one that is changed no more.
        if known and known[-1].position + 1 != events[0].position:
            self._events = list(events)
        elif len(known) < 2 * self._kept:
            known.extend(events)
        else:
            self._events = [*known[-self._kept :], *events]

    def between(self, after: int, last: int) -> Sequence[Recorded] | None:
        """Every event with `after` < position ≤ `last`; None when they are not all known here."""
        known = self._events
        if not known or known[0].position > after + 1 or known[-1].position < last:
            return None
        first = after + 1 - known[0].position
        return known[first : first + last - after]
