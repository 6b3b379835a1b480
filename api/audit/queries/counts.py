"""How many events there were, in each of a row of stretches of time, and how many of them of each type or client.

Types alone are counted by rows that follow the log, exactly and at once, in whole minutes. What the index knows is
counted by its rows. Where filters have to be merged, or events looked at, so many are that an answer comes at once;
beyond, what was seen stands for the rest, and the answer says so.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from api.audit.queries import sampling
from api.audit.queries.auditor import Auditor
from api.audit.queries.search import STEPS_AT_MOST, Filters, behind, up_to_date, wanted
from api.audit.rendering import BY_TAG
from api.http.errors import InvalidRequest, TemporarilyUnavailable
from domain.event import SECOND, Moment
from eventstore import search
from eventstore.database import Connection
from eventstore.mapper import UPCASTS
from eventstore.projecting.counting import client_of, grant_type_of
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.recorder import portions
from eventstore.search import Count, Criteria
from projections import event_index
from projections.event_index import NameKind
from projections.figures import event_counts
from projections.figures.event_counts import CountedGroup, CountedStretches
from security.clock import EARLIEST, format_rfc3339

CountedBy = Literal["type", "grant_type", "client_id"]

DAY = 86_400
BUCKETS_AT_MOST = 400
LOOKED_AT_MOST = 10_000
"""Events that one question looks at, all stretches together; where more match, some stand for the rest."""

SAMPLED = 2_000
"""Events that are looked at where more than those match, all stretches together."""

AT_ONCE = 500
"""Events that are looked at in one turn: nobody else waits for more."""

TYPES = (*BY_TAG, *UPCASTS)


class CountedStretch(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Events from one moment, inclusive, to the other. `by` says how many of each, where it was asked for."""

    since: str
    until: str
    count: int
    by: dict[str, int]


class Counts(msgspec.Struct, frozen=True):
    """`exact` is false where what was seen stands for the rest."""

    items: list[CountedStretch]
    exact: bool


class TimeStretch(NamedTuple):
    """A stretch of time, and of the log."""

    since: Moment
    until: Moment
    low: int
    high: int


async def counts(asking: Auditor, given: Filters, step: int | None, by: CountedBy | None) -> Counts:
    """The counts from `since` (a day ago) until `until` (now), every `step` seconds (in one), and the event that they
    were asked for. Raises Invalid with the parameter at fault."""
    head = await up_to_date(asking, None if by or given.conditions else given)
    until = asking.now + 1 if given.until is None else given.until
    since = max(EARLIEST, until - DAY * SECOND) if given.since is None else given.since
    if since > until:
        raise InvalidRequest.field("since", "is behind the end")
    every = until - since if step is None else step * SECOND
    if every and (until - since + every - 1) // every > BUCKETS_AT_MOST:
        raise InvalidRequest.field("step", f"makes more than {BUCKETS_AT_MOST} counts")
    criteria, asked = await wanted(asking, given._replace(since=None, until=None), head)
    bounds = [*range(since, until, every), until] if every else [since, until]
    found = await _by_rows(asking, given, criteria, bounds, by)
    if found is None:
        found = await _by_index(asking, criteria, bounds, by)
    items = [
        CountedStretch(format_rfc3339(first), format_rfc3339(last), count.events, groups)
        for first, last, (count, groups) in zip(bounds, bounds[1:], found, strict=False)
    ]
    told = asked | {"step": None if step is None else str(step), "by": by}
    await asking.record("counts", told, len(items), unsealed=False, address=given.address)
    return Counts(items, all(count.exact for count, _ in found))


# By rows that count whole minutes, hours and days, where nothing but types is asked for.

LENGTHS = (event_counts.DAY, event_counts.HOUR, event_counts.MINUTE)


class TimePiece(NamedTuple):
    """A part of a stretch of which there are rows of so many `seconds`; None where there are none."""

    seconds: int | None
    since: Moment
    until: Moment


def pieces(since: Moment, until: Moment, now: Moment, lengths: Sequence[int] = LENGTHS) -> Iterator[TimePiece]:
    """Takes a stretch apart into whole days, hours and minutes, as far as there are rows of them `now`, and a rest."""
    if since >= until:
        return
    if not lengths:
        yield TimePiece(None, since, until)
        return
    (seconds, *finer), length = lengths, lengths[0] * SECOND
    earliest = max(since, event_counts.first_kept(seconds, now // SECOND) * SECOND)
    first, last = (earliest + length - 1) // length * length, until // length * length
    if first >= last:
        yield from pieces(since, until, now, finer)
        return
    yield from pieces(since, first, now, finer)
    yield TimePiece(seconds, first, last)
    yield from pieces(last, until, now, finer)


async def counts_up_to_date(asking: Auditor) -> None:
    """Returns once the rows count all that was committed. Raises Unavailable when that takes too many steps."""
    if not await asking.sources.event_counts.follow(steps=STEPS_AT_MOST):
        left = behind(asking, asking.sources.event_counts.position)
        raise TemporarilyUnavailable(f"The counts are {left} events behind. Try again later.", retry_after=30)


async def _by_rows(
    asking: Auditor, given: Filters, criteria: Criteria, bounds: Sequence[Moment], by: CountedBy | None
) -> list[tuple[Count, dict[str, int]]] | None:
    """The counts of each stretch between the bounds; None where they take more than rows, or those are being made."""
    if given.ids or given.login or given.addresses or any(given.conditions[1:]) or len(bounds) < 2:
        return None
    every, whole = bounds[1] - bounds[0], event_counts.MINUTE * SECOND
    if len(bounds) > 2 and (bounds[0] % whole or every % whole):
        return None
    if not await asking.sources.event_counts.follow(steps=STEPS_AT_MOST):
        return None
    asked = _RowsAsked(asking, given, criteria, by)
    _, newest = await asking.sources.ledger.head()
    if len(bounds) == 2:
        until = bounds[1] if bounds[1] <= newest else (bounds[1] + whole - 1) // whole * whole
        return [await asked.stretch(bounds[0], until)]
    last = bounds[-1] if bounds[-1] <= newest else bounds[0] + (len(bounds) - 1) * every
    full = (last - bounds[0]) // every
    found = await asked.stretches(bounds[0], full, every)
    if found is not None and full < len(bounds) - 1:
        found.append(await asked.stretch(bounds[-2], last))
    return found


class _RowsAsked(NamedTuple):
    asking: Auditor
    given: Filters
    criteria: Criteria
    by: CountedBy | None

    async def stretches(self, since: Moment, number: int, every: Moment) -> list[tuple[Count, dict[str, int]]] | None:
        """So many stretches of whole rows; None where there are no rows of that time any more."""
        now = self.asking.now // SECOND
        for seconds in LENGTHS:
            kept = since >= event_counts.first_kept(seconds, now) * SECOND
            if kept and since % (seconds * SECOND) == 0 and every % (seconds * SECOND) == 0:
                break
        else:
            return None
        first, step = since // SECOND, every // SECOND
        groups = await self._read(CountedStretches(seconds, first, first + number * step, step))
        return [(Count(sum(each.values()), exact=True), _named(each)) for each in _by_stretch(groups, number)]

    async def stretch(self, since: Moment, until: Moment) -> tuple[Count, dict[str, int]]:
        """One, whose ends are looked into where they are no whole minutes."""
        total, exact, groups = 0, True, Counter[str]()
        for each in pieces(since, until, self.asking.now):
            if each.seconds is None:
                count, named = await self._looked_into(each)
            else:
                first, last = each.since // SECOND, each.until // SECOND
                (found,) = _by_stretch(await self._read(CountedStretches(each.seconds, first, last, last - first)), 1)
                count, named = Count(sum(found.values()), exact=True), _named(found)
            total, exact = total + count.events, exact and count.exact
            groups.update(named)
        return Count(total, exact), dict(groups.most_common())

    async def _read(self, of: CountedStretches) -> list[CountedGroup]:
        # Weeks of minutes are hundreds of thousands of rows, and on SQLite the event loop would wait for them.
        read, left_out = self.asking.sources.ledger.read_long, tuple(self.given.conditions.not_types)
        return await read(event_counts.counted, of, self.by, types=self.given.types, not_types=left_out)

    async def _looked_into(self, piece: TimePiece) -> tuple[Count, dict[str, int]]:
        between = (piece.since, piece.until)
        (found,) = await self.asking.sources.ledger.read(stretches_of, between, self.criteria)
        criteria = self.criteria._replace(low=found.low, high=found.high)
        return await counted(self.asking, criteria, self.by, LOOKED_AT_MOST)


def _by_stretch(groups: Sequence[CountedGroup], number: int) -> list[Counter[str]]:
    found = [Counter[str]() for _ in range(number)]
    for each in groups:
        found[each.stretch][each.group] = each.events
    return found


def _named(groups: Counter[str]) -> dict[str, int]:
    """The groups that have a name, the largest first."""
    return {name: count for name, count in groups.most_common() if name}


# By the index, and by looking at events.


def stretches_of(connection: Connection, bounds: Sequence[Moment], criteria: Criteria) -> list[TimeStretch]:
    """The positions of each stretch between neighbouring moments, within the criteria's own."""
    places = search.first_at_each(connection, bounds, criteria.high)
    return [
        TimeStretch(since, until, max(criteria.low, low), min(criteria.high, high - 1))
        for since, until, low, high in zip(bounds, bounds[1:], places, places[1:], strict=False)
    ]


GroupedCount = tuple[Count, dict[str, int]]
"""How many, and of each group, the largest first."""


async def _by_index(
    asking: Auditor, criteria: Criteria, bounds: Sequence[Moment], by: CountedBy | None
) -> list[GroupedCount]:
    """The counts of each stretch between the bounds: by looking at all events that match, where these are not too many
    whatever the stretch; else at some of each."""
    read = asking.sources.ledger.read
    stretches = await read(stretches_of, bounds, criteria)
    each_of = [criteria._replace(low=each.low, high=each.high) for each in stretches]
    if len(each_of) < 2:
        return [await counted(asking, each, by, LOOKED_AT_MOST) for each in each_of]
    every = criteria._replace(low=each_of[0].low, high=each_of[-1].high)
    if await read(search.most_of, every, LOOKED_AT_MOST) <= LOOKED_AT_MOST:
        return await _looked_through(asking, every, each_of, by)
    if await read(_known, every, by) is not None:
        return [await counted(asking, each, by, LOOKED_AT_MOST) for each in each_of]
    drawn = await _drawn(asking, criteria, [sampling.LogStretch(each.low, each.high) for each in each_of], by)
    return [await read(sampling.estimated, each, of) for each, of in zip(each_of, drawn, strict=True)]


async def _looked_through(
    asking: Auditor, every: Criteria, each_of: Sequence[Criteria], by: CountedBy | None
) -> list[GroupedCount]:
    """Exactly, by one walk through all of them. Their stretches follow each other."""
    numbers, groups = [0] * len(each_of), [Counter[str]() for _ in each_of]
    ends = [each.high for each in each_of]
    reached: int | None = every.low
    while reached is not None:
        look: Look = await asking.sources.ledger.read(_look, every._replace(descending=False), by, AT_ONCE, reached)
        reached = look.resume
        for position in look.positions:
            numbers[bisect_left(ends, position)] += 1
        for position, group in look.groups:
            groups[bisect_left(ends, position)][group] += 1
    return [(Count(number, exact=True), dict(of.most_common())) for number, of in zip(numbers, groups, strict=True)]


class Look(NamedTuple):
    """What a look through some events found: where they are, to which groups they belong, and where to go on."""

    positions: list[int]
    groups: list[tuple[int, str]]
    resume: int | None


def _look(connection: Connection, criteria: Criteria, by: CountedBy | None, at_most: int, start: int) -> Look:
    positions, resume = search.search(connection, criteria, at_most, start)
    return Look(positions, [] if by is None else _groups(connection, positions, by), resume)


async def counted(asking: Auditor, criteria: Criteria, by: CountedBy | None, at_most: int) -> GroupedCount:
    """How many events match, and of each group: by looking at all of them, where these are not more than so many."""
    read = asking.sources.ledger.read
    known, look = await read(_known_or_look, criteria, by, at_most)
    if look is None:
        types = _types_of(criteria) if known and by == "type" else None
        return Count(known or 0, exact=True), {} if types is None else await read(_by_types, criteria, types)
    if look.resume is not None and await read(search.most_of, criteria, at_most) > at_most:
        whole = sampling.LogStretch(criteria.low, criteria.high)
        sample = sampling.together(await _drawn(asking, criteria, sampling.places(whole, min(SAMPLED, at_most)), by))
        # What is rare among many is soon found by the index.
        if sample.matching >= sampling.FEW:
            return await read(sampling.estimated, criteria, sample)
    groups = Counter(group for _, group in look.groups)
    found = len(look.positions)
    while look.resume is not None and found < at_most:
        wanted = min(AT_ONCE, at_most - found)
        look = await read(_look, criteria._replace(descending=False), by, wanted, look.resume)
        found += len(look.positions)
        groups.update(group for _, group in look.groups)
    count = search.extrapolated(criteria._replace(descending=False), found, look.resume)
    if known is not None:
        count = Count(known, exact=count.exact)
    return count, {name: round(each * count.events / max(1, found)) for name, each in groups.most_common()}


def _known_or_look(
    connection: Connection, criteria: Criteria, by: CountedBy | None, at_most: int
) -> tuple[int | None, Look | None]:
    """What the index knows, and where that is not all, the first look."""
    known = _known(connection, criteria, by)
    if known is not None:
        return known, None
    ascending = criteria._replace(descending=False)
    look = _look(connection, ascending, by, min(AT_ONCE, at_most), criteria.low)
    return search.counted_by_index(connection, criteria), look


def _known(connection: Connection, criteria: Criteria, by: CountedBy | None) -> int | None:
    """How many there are, where the index tells all that was asked for; None where it does not."""
    known = search.counted_by_index(connection, criteria)
    if known and by is not None and (by != "type" or _types_of(criteria) is None):
        return None
    return known


async def _drawn(
    asking: Auditor, criteria: Criteria, stretches: Sequence[sampling.LogStretch], by: CountedBy | None
) -> list[sampling.DrawnSample]:
    """A sample of each stretch, drawn in turns."""
    telling = None if by is None else partial(_groups, by=by)
    each = max(1, min(SAMPLED // len(stretches), sampling.FROM_A_PLACE))
    found: list[sampling.DrawnSample] = []
    for some in portions(stretches, max(1, AT_ONCE // each)):
        found += await asking.sources.ledger.read(sampling.draw, criteria, some, each, telling)
    return found


def _types_of(criteria: Criteria) -> tuple[str, ...] | None:
    """The types that can be among those events; None where more than types is asked for."""
    if not criteria.filters:
        return TYPES
    (names,) = criteria.filters
    return tuple(key.decode() for kind, key in names) if names[0][0] == NameKind.TYPE else None


def _by_types(connection: Connection, criteria: Criteria, types: Sequence[str]) -> dict[str, int]:
    found = {
        tag: event_index.count(connection, NameKind.TYPE, tag.encode(), criteria.low, criteria.high) for tag in types
    }
    return dict(sorted(((tag, count) for tag, count in found.items() if count), key=lambda each: -each[1]))


def _groups(connection: Connection, positions: Sequence[int], by: CountedBy) -> list[tuple[int, str]]:
    """To which group each event belongs; those that belong to none are left out."""
    if by == "type":
        return list(search.types_at(connection, positions).items())
    recorded = search.recorded_forms(connection, positions)
    if by == "grant_type":
        found = [(each.position, grant_type_of(each)) for each in recorded]
    else:
        owners = StreamOwners().of(connection, recorded)
        found = [(each.position, client_of(each, owners.get(each.stream))) for each in recorded]
    return [(position, group) for position, group in found if group is not None]
