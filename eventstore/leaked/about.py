"""About how much of what a secret version had issued is alive: a sample is looked at, of no more events for a million
tokens than for ten thousand; only the index's rows are all numbered. Nothing is decided by it; `affected.Counting`
counts."""

from sqlalchemy import Connection, bindparam, func, select

from domain import client, ended_grants
from domain.event import Moment
from eventstore import search
from eventstore.affected import IssuedCounts
from eventstore.time_travel import folded
from projections import blast_radius, event_index, issued_with
from projections.blast_radius import Alive, RadiusQuestion
from projections.event_index import NameKind
from projections.named import runs

FEW = 10_000
"""So many are counted before anybody has read how many there were."""

ROWS = 100
"""Of the index that are drawn for each way in which something is issued; each names up to some hundred events."""

EVENTS = 1_000
"""That are looked at of those which these rows name, or up to twice as many, evenly."""

_INDEX = event_index.TABLE.c
_NUMBERED = (
    select(
        _INDEX.key,
        _INDEX.position,
        _INDEX.before,
        func.row_number().over(partition_by=_INDEX.key, order_by=_INDEX.position).label("number"),
        (func.count().over(partition_by=_INDEX.key) // ROWS + 1).label("every"),
        func.sum(1 + func.coalesce(func.length(_INDEX.before), 0)).over(partition_by=_INDEX.key).label("events"),
    )
    .where(
        _INDEX.kind == int(NameKind.ISSUED_WITH),
        _INDEX.key.in_(bindparam("b_keys", expanding=True, type_=_INDEX.key.type)),
    )
    .subquery()
)
_DRAWN = select(_NUMBERED.c.key, _NUMBERED.c.events, _NUMBERED.c.position, _NUMBERED.c.before).where(
    _NUMBERED.c.number % _NUMBERED.c.every == 0
)
"""Rows of each key, evenly from the first to the last. Those of archived events may stand in another table, and are not
drawn: nothing of what is archived is alive."""


def alive(connection: Connection, of: RadiusQuestion, ever: IssuedCounts, now: Moment) -> Alive | None:
    """How much of a secret version's lives, about; None where all of it is counted as quickly. People are not told:
    how many different ones there are no sample says."""
    if of.secret_ids is None or ever.access_tokens < FEW:
        return None
    head = search.newest(connection)
    state = folded(connection, client.stream(of.client_id), head).state
    unsettled = folded(connection, ended_grants.STREAM, head).state.unsettled
    over: frozenset[int] = frozenset().union(*(each.began for each in unsettled))
    weights = _drawn(connection, of.secret_ids[0])
    found = dict.fromkeys(("grant", "access", "refresh"), 0.0)
    for position, kind, begins in blast_radius.alive_at(connection, of, state, over, list(weights), now):
        found[kind] += weights[position]
        found["grant"] += weights[position] * begins
    # More than there ever was is not alive.
    pairs = zip(found.values(), (ever.grants, ever.access_tokens, ever.refresh_tokens), strict=True)
    grants, access, refresh = (min(round(about), total) for about, total in pairs)
    return Alive(grants, 0, access, refresh)


def _drawn(connection: Connection, secret_id: str) -> dict[int, float]:
    """Positions of events by which the version had something issued, and for how many each of them stands."""
    keys = [secret_id.encode() + each for each in issued_with.EVERYTHING]
    drawn: dict[tuple[bytes, int], list[int]] = {}
    for key, events, last, before in connection.execute(_DRAWN, {"b_keys": keys}):
        drawn.setdefault((bytes(key), int(events)), []).extend(runs.expanded(last, before))
    weights: dict[int, float] = {}
    for (_, events), named in drawn.items():
        found = named[:: max(1, len(named) // EVENTS)]
        weights.update(dict.fromkeys(found, events / len(found)))
    return weights
