"""How many of very many events match, by a sample of them: some from each of many places, from the first to the last.

The index says where events are that name what is asked for, and its widest lists are those of types. So a sample is
drawn without regard to types, and what the log says of the types of those that were drawn decides which of them match.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from eventstore import search
from eventstore.database import Connection
from eventstore.search import Count, Criteria
from projections.event_index import NameKind

FROM_A_PLACE = 100
"""So many events are drawn beside each other."""

FEW = 30
"""Where fewer than so many of a sample match, it says little of how many there are."""

TellingGroups = Callable[[Connection, Sequence[int]], list[tuple[int, str]]]
"""To which group each of some events belongs; those that belong to none are left out."""


class DrawnSample(NamedTuple):
    """So many events were drawn from so many positions; these of them match. `whole` where nothing was left to draw."""

    drawn: int
    looked_at: int
    matching: int
    groups: Counter[str]
    whole: bool


def typeless(criteria: Criteria) -> Criteria:
    """The same as the index alone knows it, whatever their types are, unless types are all that is asked for."""
    others = tuple(names for names in criteria.filters if not _are_types(names))
    return criteria._replace(filters=others or criteria.filters, passing=None, descending=False)


class LogStretch(NamedTuple):
    """Positions, the first and the last inclusive."""

    low: int
    high: int


def places(stretch: LogStretch, count: int) -> list[LogStretch]:
    """From where in a stretch so many events are drawn."""
    return list(_parts(stretch, max(1, count // FROM_A_PLACE)))


def draw(
    connection: Connection,
    criteria: Criteria,
    stretches: Sequence[LogStretch],
    each: int,
    telling: TellingGroups | None,
) -> list[DrawnSample]:
    """Draws up to `each` events from the beginning of each stretch. What they are is asked of all of them together."""
    base = typeless(criteria)
    drawn = [search.search(connection, base._replace(low=low, high=high), each) for low, high in stretches]
    every = [position for found in drawn for position in found.positions]
    passing = every if criteria.passing is None else criteria.passing(connection, every)
    matching = set(_of_types(connection, criteria, passing))
    groups = {} if telling is None else dict(telling(connection, sorted(matching)))
    return [
        DrawnSample(
            len(positions),
            high + 1 - low if resume is None else resume - low,
            len(matching.intersection(positions)),
            Counter(groups[position] for position in positions if position in groups),
            resume is None,
        )
        for (low, high), (positions, resume) in zip(stretches, drawn, strict=True)
    ]


def together(samples: Sequence[DrawnSample]) -> DrawnSample:
    """Samples of neighbouring stretches as one of all."""
    drawn, looked_at, matching, groups, whole = zip(*samples, strict=True)
    return DrawnSample(sum(drawn), sum(looked_at), sum(matching), sum(groups, Counter()), all(whole))


def estimated(connection: Connection, criteria: Criteria, sample: DrawnSample) -> tuple[Count, dict[str, int]]:
    """What a sample says of all of the stretch; exactly where it is the stretch."""
    if sample.whole:
        return Count(sample.matching, exact=True), dict(sample.groups.most_common())
    base = typeless(criteria)
    known = search.counted_by_index(connection, base)
    exact = known is not None and base.filters == criteria.filters and criteria.passing is None
    if known is None:
        known = sample.drawn * (criteria.high - criteria.low + 1) // max(1, sample.looked_at)
    total = known if exact else round(known * sample.matching / max(1, sample.drawn))
    each = total / max(1, sample.matching)
    return Count(total, exact=False), {name: round(number * each) for name, number in sample.groups.most_common()}


def _parts(stretch: LogStretch, number: int) -> Iterator[LogStretch]:
    """So many parts of a stretch, one behind the other."""
    low, length = stretch.low, stretch.high + 1 - stretch.low
    bounds = [low + length * each // number for each in range(number + 1)]
    yield from (LogStretch(first, after - 1) for first, after in zip(bounds, bounds[1:], strict=False) if first < after)


def _of_types(connection: Connection, criteria: Criteria, positions: Sequence[int]) -> list[int]:
    """Those that are of the types that are asked for."""
    wanted = [{key for _, key in names} for names in criteria.filters if names not in typeless(criteria).filters]
    if not wanted:
        return list(positions)
    types = {position: tag.encode() for position, tag in search.types_at(connection, positions).items()}
    return [each for each in positions if each in types and all(types[each] in some for some in wanted)]


def _are_types(names: Sequence[search.SearchName]) -> bool:
    return all(kind == NameKind.TYPE for kind, _ in names)
