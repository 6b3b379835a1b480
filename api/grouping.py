"""Facts that repeat, grouped: each thing's first fact at once, what follows as one count for each interval.

A repetition costs a look-up and an addition. What is kept of each thing is small, and things are looked at again in the
order in which their intervals end, so that neither a hundred thousand of them nor a burst of new ones holds anybody up.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from domain.event import SECOND, Moment
from eventstore.commands import Origin, Single
from eventstore.ledger import Ledger, may_be_repeated

Thing = TypeVar("Thing")

LOOKED_AT = 2_000
"""Things that one call looks at: nobody waits long for it."""


class Due(NamedTuple, Generic[Thing]):
    """What is to be told: a thing's first fact, for which `seconds` is 0, or `number` more within so many seconds."""

    key: int
    thing: Thing
    number: int
    seconds: int
    first: Any = None
    """What was said of the first fact when it began."""


class _Bucket(Generic[Thing]):
    """Things whose interval began at the same moment; they are looked at when it is over."""

    __slots__ = ("keys", "look_at", "since", "things")

    def __init__(self, since: Moment, look_at: Moment) -> None:
        self.since = since
        self.look_at = look_at
        self.keys: list[int] = []
        self.things: list[Thing] = []

    def put(self, key: int, thing: Thing) -> None:
        self.keys.append(key)
        self.things.append(thing)


class Grouping(Generic[Thing]):
    """Counts by key: at most `kept` things, beyond which the oldest count as new again. Times in seconds.

    A thing that was not counted for an interval is forgotten once `forget` have passed since it was told last.
    """

    def __init__(self, interval: int, forget: int, kept: int) -> None:
        self._interval = interval * SECOND
        self._forget = forget * SECOND
        self._kept = kept
        self.counts: dict[int, int] = {}
        """Further facts by key, to be looked up and added to: a key that is not there has to `begin`."""
        self._new: deque[tuple[int, Thing, Any]] = deque()
        self._early: deque[Due[Thing]] = deque()
        """What is told before its time."""
        self._buckets: deque[_Bucket[Thing]] = deque()

    def begin(self, key: int, thing: Thing, first: Any = None) -> None:
        """The first fact of a thing; `first` is kept until it is told."""
        if len(self.counts) >= self._kept:
            self._make_room()
        self.counts[key] = 0
        self._new.append((key, thing, first))

    def _make_room(self) -> None:
        while self._buckets and not self._buckets[0].keys:
            self._buckets.popleft()
        if not self._buckets:
            # So many new ones that none of them has been told yet: the oldest is lost.
            self.counts.pop(self._new.popleft()[0], None)
            return
        bucket = self._buckets[0]
        key, thing = bucket.keys.pop(), bucket.things.pop()
        number = self.counts.pop(key, 0)
        if number and len(self._early) < self._kept:
            self._early.append(Due(key, thing, number, _seconds(bucket.since, bucket.look_at)))

    def hurry(self, now: Moment, wanted: Callable[[Thing], bool] = lambda thing: True) -> None:
        """What is wanted is to be told next, whether its interval is over or not."""
        new, self._new = self._new, deque()
        for key, thing, first in new:
            if wanted(thing):
                self._early.append(self._first(key, thing, first, now))
            else:
                self._new.append((key, thing, first))
        for bucket in list(self._buckets):
            keys, things = bucket.keys, bucket.things
            bucket.keys, bucket.things = [], []
            for key, thing in zip(keys, things, strict=True):
                if self.counts[key] and wanted(thing):
                    self._early.append(self._more(key, thing, bucket.since, now))
                else:
                    bucket.put(key, thing)

    @property
    def in_a_hurry(self) -> bool:
        """Whether something is to be told before its time."""
        return bool(self._early)

    def take(self, now: Moment, limit: int) -> tuple[list[Due[Thing]], bool]:
        """At most `limit` of what is to be told now, and whether there is more to look at."""
        due: list[Due[Thing]] = []
        while self._early and len(due) < limit:
            due.append(self._early.popleft())
        while self._new and len(due) < limit:
            due.append(self._first(*self._new.popleft(), now))
        looked = 0
        while self._buckets and self._buckets[0].look_at <= now and len(due) < limit and looked < LOOKED_AT:
            looked += self._look(self._buckets[0], now, due, limit, LOOKED_AT - looked)
            if not self._buckets[0].keys:
                self._buckets.popleft()
        return due, bool(self._early or self._new or (self._buckets and self._buckets[0].look_at <= now))

    def _look(self, bucket: _Bucket[Thing], now: Moment, due: list[Due[Thing]], limit: int, at_most: int) -> int:
        looked, old = 0, now - bucket.since >= self._forget
        idle: _Bucket[Thing] = _Bucket(bucket.since, now + self._interval)
        while bucket.keys and looked < at_most and len(due) < limit:
            looked += 1
            key, thing = bucket.keys.pop(), bucket.things.pop()
            if self.counts[key]:
                due.append(self._more(key, thing, bucket.since, now))
            elif old:
                del self.counts[key]
            else:
                idle.put(key, thing)
        if idle.keys:
            self._buckets.append(idle)
        return looked

    def give_back(self, due: Iterable[Due[Thing]]) -> None:
        """What could not be told is told next."""
        self._early.extendleft(reversed(list(due)))

    def _first(self, key: int, thing: Thing, first: Any, now: Moment) -> Due[Thing]:
        self._begin_interval(key, thing, now)
        return Due(key, thing, 1, 0, first)

    def _more(self, key: int, thing: Thing, since: Moment, now: Moment) -> Due[Thing]:
        number, self.counts[key] = self.counts[key], 0
        self._begin_interval(key, thing, now)
        return Due(key, thing, number, _seconds(since, now))

    def _begin_interval(self, key: int, thing: Thing, now: Moment) -> None:
        if not self._buckets or self._buckets[-1].since != now:
            self._buckets.append(_Bucket(now, now + self._interval))
        self._buckets[-1].put(key, thing)


def _seconds(since: Moment, now: Moment) -> int:
    return max(1, (now - since) // SECOND)


async def record(ledger: Ledger, grouping: Grouping[Thing], told: Sequence[tuple[Due[Thing], Single, Origin]]) -> None:
    """Records what is due. Gives back what could not be recorded, and only that, and raises the first error then."""
    errors = await ledger.execute_each([(command, origin) for _, command, origin in told])
    # What may have been committed, because the database went meanwhile, is not told again, as the ledger does nothing
    # again that may have been done: a use may be missing then, but the log never tells of one that was not made.
    grouping.give_back(due for (due, _, _), error in zip(told, errors, strict=True) if may_be_repeated(error))
    for error in errors:
        if error is not None:
            raise error
