"""Search by merging the index: every filter is a sorted list of positions, and what all of them hold is the answer.

A list is read in stretches from where the others have come to, so that a rare name costs what is rare, whatever else is
asked for. Nothing here looks at an event; the texts of the events that were found are read by their position.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import chain, starmap
from math import isqrt
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, BindParameter, Connection, bindparam, func, select

from domain.event import Moment, Recorded
from eventstore.mapper import decoder
from eventstore.recorder import LogRecorder, positions_in
from eventstore.sealed import dropped, packed_rows
from eventstore.sealed.excerpt import is_excerpt
from eventstore.sealed.log_rows import EventRow, rows_found, standing_at
from eventstore.sealed.short_names import whole_type
from eventstore.stored import events, head
from projections import event_index, issued_with
from projections.event_index import NameKind
from projections.named import grant_runs, runs
from projections.prepared import Prepared
from security.clock import parse_rfc3339

FIRST_STRETCH = 32
LONGEST_STRETCH = 1_024
READS_AT_ONCE = 64
"""Stretches that one call reads before it says how far it came: nobody else waits long for it."""

LOOKED_AT = 256
"""Events that one call looks at where the index does not tell which are wanted."""

SearchName = tuple[NameKind, bytes]

OWN_STREAMS = {NameKind.GRANT: "grant", NameKind.SECRET: "usage"}
"""What has a stream of its own, where the log's own index finds it: that of the names need not have it."""


class Criteria(NamedTuple):
    """What is asked for: events that name one of each of `filters`, at positions `low` to `high`, both inclusive."""

    filters: tuple[tuple[SearchName, ...], ...]
    low: int
    high: int
    descending: bool = False
    passing: Callable[[Connection, Sequence[int]], list[int]] | None = None
    """What the index cannot tell: those of some positions whose events are wanted, in the same order."""


class SearchResult(NamedTuple):
    """Positions in the order that was asked for, and where to go on; None when there is nothing beyond."""

    positions: list[int]
    resume: int | None


class _Enough(Exception):
    """The reads of one call are used up."""


class _Budget:
    def __init__(self, reads: int) -> None:
        self._reads = reads

    def spend(self) -> None:
        if self._reads == 0:
            raise _Enough
        self._reads -= 1


class _Positions:
    """The positions of one name. Direction is hidden: descending, a position counts as its negative."""

    def __init__(
        self, connection: Connection, name: SearchName, criteria: Criteria, budget: _Budget, stretch: int
    ) -> None:
        self._connection = connection
        self._kind, self._key = name
        self._criteria = criteria
        self._budget = budget
        self._read: list[int] = []
        self._complete = False
        self._first = self._stretch = stretch

    def seek(self, place: int) -> int | None:
        """The first place at or behind `place`; None when there is none. Places asked for never go back."""
        if self._read and place <= self._read[-1]:
            return self._read[bisect_left(self._read, place)]
        if self._complete:
            return None
        near = bool(self._read) and place <= self._read[-1] + LONGEST_STRETCH
        self._stretch = min(self._stretch * 2, LONGEST_STRETCH) if near else self._first
        self._fetch(place)
        return self._read[0] if self._read else None

    def _fetch(self, place: int) -> None:
        self._budget.spend()
        criteria, descending = self._criteria, self._criteria.descending
        low, high = (criteria.low, -place) if descending else (place, criteria.high)
        found = _positions(self._connection, self._kind, self._key, low, high, self._stretch, descending=descending)
        self._complete = len(found) < self._stretch
        self._read = [-position for position in found] if descending else found


def _bound(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


def _positions(
    connection: Connection, kind: NameKind, key: bytes, low: int, high: int, limit: int, *, descending: bool
) -> list[int]:
    """What the index has of a name, and of a grant, or the uses of a token, what stands in a stream of its own."""
    found = event_index.positions(connection, kind, key, low, high, limit, descending=descending)
    if kind not in OWN_STREAMS:
        return found
    for each, name in names_of(kind, key)[1:]:
        found += event_index.positions(connection, each, name, low, high, limit, descending=descending)
    if kind is NameKind.GRANT:
        found += [each for each in grant_runs.positions(connection, (key,)).get(key, ()) if low <= each <= high]
    # No stream has such a name, and PostgreSQL does not know the character.
    if b"\0" not in key:
        found += positions_in(
            connection, f"{OWN_STREAMS[kind]}:{key.decode()}", low, high, limit, descending=descending
        )
    return sorted(set(found), reverse=descending)[:limit]


def issued_names(secret_id: str, what: Iterable[bytes] = issued_with.EVERYTHING) -> tuple[SearchName, ...]:
    """The names of the events by which a secret version had something issued, all of them or some."""
    return tuple((NameKind.ISSUED_WITH, secret_id.encode() + each) for each in what)


def names_of(kind: NameKind, key: bytes) -> tuple[SearchName, ...]:
    """The names under which the index has what names this."""
    return ((kind, key), *(issued_names(key.decode(errors="replace")) if kind is NameKind.SECRET else ()))


def own_grant(stream: str) -> set[event_index.IndexName]:
    """The grant whose stream it is, of which the index says nothing."""
    category, _, grant_id = stream.partition(":")
    return {(int(NameKind.GRANT), grant_id.encode())} if category == "grant" else set()


class _AnyOf:
    """Places that are in at least one of several lists: the types that a pattern stands for."""

    def __init__(self, lists: Sequence[_Positions]) -> None:
        self._lists = lists
        self._next: list[tuple[int, int]] | None = None
        """Where each list is, as a heap: those that are far ahead are not asked again."""

    def seek(self, place: int) -> int | None:
        if self._next is None:
            sought = ((one.seek(place), number) for number, one in enumerate(self._lists))
            self._next = [(found, number) for found, number in sought if found is not None]
            heapify(self._next)
        ahead = self._next
        while ahead and ahead[0][0] < place:
            number = ahead[0][1]
            if (found := self._lists[number].seek(place)) is None:
                heappop(ahead)
            else:
                heapreplace(ahead, (found, number))
        return ahead[0][0] if ahead else None


def search(connection: Connection, criteria: Criteria, limit: int, start: int | None = None) -> SearchResult:
    """At most `limit` positions from `start` on; to be called again from `resume` while that is not None."""
    if criteria.passing is None:
        return _named(connection, criteria, limit, start)
    # Few of those that the index names may pass, and each look is a read.
    found = _named(connection, criteria, max(limit, LOOKED_AT), start)
    passed = criteria.passing(connection, found.positions)
    if len(passed) > limit:
        return SearchResult(passed[:limit], passed[limit])
    return SearchResult(passed, found.resume)


def _named(connection: Connection, criteria: Criteria, limit: int, start: int | None) -> SearchResult:
    begin = (criteria.high if criteria.descending else criteria.low) if start is None else start
    if begin > criteria.high or begin < criteria.low:
        return SearchResult([], None)
    if not criteria.filters:
        return _every(criteria, begin, limit)
    # Each list is read at least twice, or a call with more lists than reads would never come anywhere.
    budget = _Budget(max(READS_AT_ONCE, 2 * sum(map(len, criteria.filters))))
    # Of a list alone all is wanted that is read.
    alone = len(criteria.filters) == len(criteria.filters[0]) == 1
    first = min(max(FIRST_STRETCH, limit), LONGEST_STRETCH) if alone else FIRST_STRETCH
    lists = [
        _AnyOf([_Positions(connection, name, criteria, budget, first) for name in alternatives])
        for alternatives in criteria.filters
    ]
    sign = -1 if criteria.descending else 1
    places, reached = _merge(lists, sign * begin, limit)
    return SearchResult([sign * place for place in places], None if reached is None else sign * reached)


class Count(NamedTuple):
    """How many events match, and whether that is exact: else so many were looked at, and the rest is like them."""

    events: int
    exact: bool


def counted_by_index(connection: Connection, criteria: Criteria) -> int | None:
    """How many events match, where the index knows without a list being read; None where it does not."""
    if criteria.high < criteria.low:
        return 0
    if criteria.passing is not None or len(criteria.filters) > 1:
        return None
    if not criteria.filters:
        return criteria.high - criteria.low + 1
    (names,) = criteria.filters
    # An event is of one type, and may name several clients.
    if len(names) > 1 and any(kind != NameKind.TYPE for kind, _ in names):
        return None
    # Of these their own streams know most.
    if any(kind in OWN_STREAMS for kind, _ in names):
        return None
    return sum(event_index.count(connection, kind, key, criteria.low, criteria.high) for kind, key in names)


def most_of(connection: Connection, criteria: Criteria, enough: int) -> int:
    """So many events match at most: as many as name one of what the rarest filter is. Not counted on beyond `enough`,
    which long lists say in their first rows."""
    fewest = max(0, criteria.high - criteria.low + 1)
    for names in criteria.filters:
        # Of these their own streams know most.
        if fewest and all(kind not in OWN_STREAMS for kind, _ in names):
            found, limit = 0, enough + 1
            for each in chain.from_iterable(starmap(names_of, names)):
                if found < limit:
                    few = event_index.positions(connection, *each, criteria.low, criteria.high, limit, descending=False)
                    found += len(few)
            fewest = min(fewest, found)
    return fewest


def extrapolated(criteria: Criteria, found: int, resume: int | None) -> Count:
    """What `found` events up to `resume` say of all of the stretch."""
    if resume is None:
        return Count(found, exact=True)
    whole = criteria.high - criteria.low + 1
    looked_at = criteria.high - resume if criteria.descending else resume - criteria.low
    return Count(round(found * whole / max(1, looked_at)), exact=False)


def _every(criteria: Criteria, begin: int, limit: int) -> SearchResult:
    if criteria.descending:
        last = max(criteria.low, begin - limit + 1)
        return SearchResult(list(range(begin, last - 1, -1)), last - 1 if last > criteria.low else None)
    last = min(criteria.high, begin + limit - 1)
    return SearchResult(list(range(begin, last + 1)), last + 1 if last < criteria.high else None)


def _merge(lists: Sequence[_AnyOf], place: int, limit: int) -> tuple[list[int], int | None]:
    """Leapfrog: each list in turn jumps to where the others are; where all meet is a match."""
    matches: list[int] = []
    agreed = turn = 0
    try:
        while len(matches) < limit:
            found = lists[turn].seek(place)
            if found is None:
                return matches, None
            agreed = agreed + 1 if found == place else 1
            place = found
            if agreed == len(lists):
                matches.append(place)
                place += 1
                agreed = 0
            turn = (turn + 1) % len(lists)
    except _Enough:
        pass
    return matches, place


_HEAD = Prepared(select(head.c.position).where(head.c.id == 1))


def newest(connection: Connection) -> int:
    """The log's head."""
    row = _HEAD.first(connection, {})
    return 0 if row is None else row[0]


def stored(connection: Connection, position: int) -> str | None:
    """The stored form of the event at a position; None where there is none. Raises `Forged`."""
    return next(iter(stored_forms(connection, (position,))), None)


def recorded_at(connection: Connection, position: int) -> Recorded | None:
    """The event at a position; None where there is none. Raises `Forged`."""
    return next(iter(recorded_forms(connection, (position,))), None)


def stored_forms(connection: Connection, positions: Sequence[int]) -> list[str]:
    """The stored forms at these positions, in order, without those that are not there. Raises `Forged`."""
    text = decoder(connection).text
    return [text(row) for row in rows_at(connection, positions)]


def evidence(connection: Connection, positions: Sequence[int]) -> list[str]:
    """The same whether they verify or not: for who holds each against the tree, which tells more than a MAC."""
    return [row[4].decode(errors="replace") for row in rows_at(connection, positions)]


def recorded_forms(connection: Connection, positions: Sequence[int]) -> list[Recorded]:
    """The same as events."""
    return list(map(decoder(connection).recorded, rows_at(connection, positions)))


def rows_at(connection: Connection, positions: Sequence[int]) -> list[EventRow]:
    """The rows at these positions, in their order, whether they verify or not."""
    if not positions:
        return []
    low, high = min(positions[0], positions[-1]), max(positions[0], positions[-1])
    if high - low + 1 == len(positions):
        # Without filters the positions have no gap, and a stretch of the log is one read of its neighbours.
        found = LogRecorder.over(connection).rows_between(low - 1, high)
    else:
        found = rows_found(connection, positions)
    rows = {row[0]: row for row in found}
    return [rows[position] for position in positions if position in rows]


def first_at(connection: Connection, moment: Moment, head_position: int) -> int:
    """The first position that is not before `moment`, one beyond the head if none is: time never runs against
    position. Of what stands in segments, which may be away, it looks at no more than it has to.
    """
    known = _in_place(connection, head_position)
    asked, of = sorted(known), _Sought(1, head_position + 1)
    while asked and len(known) == len(asked):
        of = _narrowed(of, moment, asked, [known[each] for each in asked])
        asked = sorted({*_looks(of, moment), *range(of.low, of.high, max(1, (of.high - of.low) // 8))})
        known = times_at(connection, asked, in_place=True)
    low, high = of.low, of.high
    while low < high:
        middle = _middle(low, high)
        time = times_at(connection, (middle,)).get(middle)
        low, high = (low, middle) if time is None or time >= moment else (middle + 1, high)
    return low


def _middle(low: int, high: int) -> int:
    """Of the positions from `low` on and before `high` the one with the most zeros at its end, so that the same few are
    looked at whatever the head is by now: their times are known, though a segment has the events."""
    last = high - 1
    apart = max(0, (low ^ last).bit_length() - 1)
    return last >> apart << apart


EVENLY = 16
"""Positions that are looked at first, from the log's beginning to its end."""


def _in_place(connection: Connection, head_position: int) -> dict[int, Moment]:
    """The first look, at what the database has: a segment takes long, and may be away."""
    looks = {1 + head_position * each // EVENLY for each in range(EVENLY)} | {head_position}
    return times_at(connection, sorted(each for each in looks if 1 <= each <= head_position), in_place=True)


NEAR = 8
"""So many positions that are left are read at once."""


class _Sought(NamedTuple):
    """The first position that is not before a moment is `low`, or `high`, or between. Before `low` it was `before`, and
    at `high` it was `after`, where that is known."""

    low: int
    high: int
    before: Moment | None = None
    after: Moment | None = None


def first_at_each(connection: Connection, moments: Sequence[Moment], head_position: int) -> list[int]:
    """The same for many moments in a few reads, each of which tells something of all of them: it halves what is left,
    and looks where a moment should stand by what is known of both sides."""
    sought = [_Sought(1, head_position + 1) for _ in moments]
    first = _in_place(connection, head_position)
    asked = sorted(first) or [(1 + head_position) // 2][:head_position]
    while asked:
        known, first = first or times_at(connection, asked), {}
        # Where there is no event nothing is before anything.
        times = [known.get(each) for each in asked]
        sought = [_narrowed(each, moment, asked, times) for each, moment in zip(sought, moments, strict=True)]
        looks = {look for each, of in zip(sought, moments, strict=True) for look in _looks(each, of)}
        asked = sorted(looks)
    return [each.low for each in sought]


def _narrowed(of: _Sought, moment: Moment, asked: Sequence[int], times: Sequence[Moment | None]) -> _Sought:
    """What is left after a look at these positions."""
    place = bisect_left(times, True, key=lambda time: time is None or time >= moment)
    low, high, before, after = of
    if place > 0 and asked[place - 1] >= low:
        low, before = asked[place - 1] + 1, times[place - 1]
    if place < len(asked) and asked[place] < high:
        high, after = asked[place], times[place]
    return _Sought(low, high, before, after)


def _looks(of: _Sought, moment: Moment) -> Iterator[int]:
    """Where to look next for the first position that is not before the moment."""
    left = of.high - of.low
    if left <= NEAR:
        yield from range(of.low, of.high)
        return
    yield of.low + left // 2
    if of.before is not None and of.after is not None and of.after > of.before:
        guess = of.low + left * (moment - of.before) // (of.after - of.before)
        for look in (guess - isqrt(left), guess + isqrt(left)):
            yield min(max(look, of.low), of.high - 1)


def times_at(connection: Connection, positions: Sequence[int], *, in_place: bool = False) -> dict[int, Moment]:
    """The times of the events at these positions, or with `in_place` of those alone that are not in a segment. Raises
    `Forged`."""
    if not positions:
        return {}
    text = decoder(connection).text
    rows = standing_at(connection, positions)
    found = {row[0]: time_of(text(row)) for row in rows if not is_excerpt(row[4])}
    if in_place or len(found) == len(rows):
        return found
    known = dropped.times(connection)
    for row in rows:
        if is_excerpt(row[4]) and (time := known.used(row[0])) is not None:
            found[row[0]] = time
    for row in rows_at(connection, [each for each in positions if each not in found]):
        found[row[0]] = time_of(text(row))
        known.put(row[0], found[row[0]])
    return found


_AT = {
    "sqlite": events.c.id.in_(select(func.json_each(bindparam("b_positions")).table_valued("value").c.value)),
    "postgresql": events.c.id == func.any(bindparam("b_positions", type_=ARRAY(BigInteger))),
}
_TYPES_AT = {name: Prepared(select(events.c.id, events.c.topic).where(at)) for name, at in _AT.items()}


def types_at(connection: Connection, positions: Sequence[int]) -> dict[int, str]:
    """The types of the events at these positions, whether they verify or not: without their texts, which are nearly
    all of a row."""
    if not positions:
        return {}
    name = connection.dialect.name
    asked = json.dumps(list(positions)) if name == "sqlite" else list(positions)
    found = dict(_TYPES_AT[name].all(connection, {"b_positions": asked}))
    if len(found) < len(positions):
        packed = packed_rows.at(connection, [each for each in positions if each not in found])
        found |= {row[0]: row[3] for row in packed}
    return {position: whole_type(str(topic)) for position, topic in found.items()}


_INDEX = event_index.TABLE.c
_OF_THEM = (
    _INDEX.key.in_(bindparam("b_keys", expanding=True)),
    _INDEX.position.between(_bound("b_low"), _bound("b_high")),
)
OF_TYPES = (
    select(_INDEX.position, _INDEX.before).where(_INDEX.kind == int(NameKind.TYPE), *_OF_THEM).limit(_bound("b_limit"))
)
"""The rows of several types, each a range of the primary key."""


def not_of_types(connection: Connection, positions: Sequence[int], types: Collection[str]) -> list[int]:
    """Those of these positions whose events are of none of the types, in the same order: by the index, where that has
    fewer rows of these types there than there are positions."""
    if len(positions) > 1 and abs(positions[0] - positions[-1]) >= len(positions):
        low, high = sorted((positions[0], positions[-1]))
        keys = [each.encode() for each in types]
        asked = {"b_keys": keys, "b_low": low, "b_high": high + runs.FARTHEST, "b_limit": len(positions) + 1}
        rows = connection.execute(OF_TYPES, asked).all()
        if len(rows) <= len(positions):
            left_out = {each for row in rows for each in runs.expanded(*row)}
            return [each for each in positions if each not in left_out]
    # Neighbours stand beside each other in the log too, and it can be asked when the index cannot.
    found = types_at(connection, positions)
    return [each for each in positions if each in found and found[each] not in types]


_MARK = '"time":"'


def time_of(state: str) -> Moment:
    """The time of a stored form. It stands before anything that a caller could have chosen but the stream's name."""
    start = state.index(_MARK) + len(_MARK)
    return parse_rfc3339(state[start : start + 27])
