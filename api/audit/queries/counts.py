"""How many events there were, in each of a row of stretches of time, and how many of them of each type or client.

What the index knows is counted by rows, exactly and at once. Where filters have to be merged, or events looked at, so
many are that an answer comes at once; beyond, what was seen stands for the rest, and the answer says so.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from api.audit.queries.auditor import Auditor
from api.audit.queries.search import Filters, up_to_date, wanted
from api.audit.rendering import BY_TAG
from api.http.errors import InvalidRequest
from domain.event import SECOND, Moment, Recorded
from eventstore import search
from eventstore.database import Connection
from eventstore.mapper import UPCASTS
from eventstore.projecting.catch_up import EventIndexing
from eventstore.search import Count, Criteria
from projections import event_index
from projections.event_index import NameKind, Owners
from security.clock import format_rfc3339

CountedBy = Literal["type", "grant_type", "client_id"]

DAY = 86_400
BUCKETS_AT_MOST = 400
LOOKED_AT_MOST = 10_000
"""Events that one question looks at, all stretches together."""

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
    head = await up_to_date(asking, given if by is None else None)
    until = asking.now + 1 if given.until is None else given.until
    since = until - DAY * SECOND if given.since is None else given.since
    if since > until:
        raise InvalidRequest.field("since", "is behind the end")
    every = until - since if step is None else step * SECOND
    if every and (until - since + every - 1) // every > BUCKETS_AT_MOST:
        raise InvalidRequest.field("step", f"makes more than {BUCKETS_AT_MOST} counts")
    criteria, asked = await wanted(asking, given._replace(since=None, until=None), head)
    bounds = [*range(since, until, every), until] if every else [since, until]
    stretches = await asking.sources.ledger.read(stretches_of, bounds, criteria)
    items, exact, left = [], True, LOOKED_AT_MOST // max(1, len(stretches))
    for each in stretches:
        found, groups = await counted(asking, criteria._replace(low=each.low, high=each.high), by, left)
        exact = exact and found.exact
        items.append(CountedStretch(format_rfc3339(each.since), format_rfc3339(each.until), found.events, groups))
    told = asked | {"step": None if step is None else str(step), "by": by}
    await asking.record("counts", told, len(items), unsealed=False, address=given.address)
    return Counts(items, exact)


def stretches_of(connection: Connection, bounds: Sequence[Moment], criteria: Criteria) -> list[TimeStretch]:
    """The positions of each stretch between neighbouring moments, within the criteria's own."""
    places = [search.first_at(connection, bounds[0], criteria.high)]
    for moment in bounds[1:]:
        places.append(search.first_at(connection, moment, criteria.high, places[-1]))
    return [
        TimeStretch(since, until, max(criteria.low, low), min(criteria.high, high - 1))
        for since, until, low, high in zip(bounds, bounds[1:], places, places[1:], strict=False)
    ]


async def counted(
    asking: Auditor, criteria: Criteria, by: CountedBy | None, at_most: int = LOOKED_AT_MOST
) -> tuple[Count, dict[str, int]]:
    """How many events match, and of each group; at most so many are looked at."""
    read = asking.sources.ledger.read
    known = await read(search.counted_by_index, criteria)
    if known is not None and (by is None or known == 0):
        return Count(known, exact=True), {}
    if known is not None and by == "type" and (types := _types_of(criteria)) is not None:
        return Count(known, exact=True), await read(_by_types, criteria, types)
    groups: Counter[str] = Counter()
    found, resume = 0, criteria.low
    reached: int | None = criteria.low
    while reached is not None and found < at_most:
        resume = reached
        positions, reached = await read(search.search, criteria._replace(descending=False), AT_ONCE, resume)
        found += len(positions)
        if by is not None:
            groups.update(await read(_groups, positions, by))
    count = search.extrapolated(criteria._replace(descending=False), found, reached)
    if known is not None:
        count = Count(known, exact=count.exact)
    return count, {name: round(each * count.events / max(1, found)) for name, each in groups.most_common()}


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


def _groups(connection: Connection, positions: Sequence[int], by: CountedBy) -> list[str]:
    """To which group each event belongs; those that belong to none are left out."""
    if by == "type":
        return [row[3] for row in search.rows_at(connection, positions)]
    recorded = search.recorded_forms(connection, positions)
    owners = EventIndexing().owners(connection, recorded)
    group: Callable[[Recorded, Owners | None], Any] = _client_of if by == "client_id" else _grant_type_of
    found = (group(each, owners.get(each.stream)) for each in recorded)
    return [each for each in found if isinstance(each, str)]


def _client_of(recorded: Recorded, belongs: Owners | None) -> str | None:
    if recorded.stream.startswith("client:"):
        return recorded.stream.partition(":")[2]
    named: str | None = getattr(recorded.event, "client_id", None)
    if named is None and belongs is not None:
        named = belongs.client_id
    return recorded.actor.id if named is None and recorded.actor.kind == "client" else named


def _grant_type_of(recorded: Recorded, _: Owners | None) -> str | None:
    found: str | None = getattr(recorded.event, "grant_type", None)
    return "refresh_token" if found is None and recorded.event.type == "grant.tokens_refreshed" else found
