"""When there is something to do for a log that nobody asks for anything, found by one question."""

import sqlalchemy as sa

from domain.event import Moment
from eventstore.stored import EDGE, head, letters, reported_secrets
from projections import event_index, logout_notices, outbox, person_notices, sightings, signals
from projections.figures import event_counts
from projections.prepared import Prepared

_WAITING = (outbox.TABLE, logout_notices.TABLE, signals.TABLE, person_notices.TABLE)
"""Events that are to be exchanged for what they come to, no matter who was at it."""

_FOLLOWERS = (event_index.NAME, sightings.NAME, event_counts.NAME)


def _least(moments: sa.Column[int], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.min(moments)).where(*where).scalar_subquery()


def _later(moments: sa.Column[int], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return _least(moments, moments > sa.bindparam("b_after"), *where)


_head = sa.select(head.c.position).where(head.c.id == 1).scalar_subquery()
_reached = event_index.FOLLOWERS.c.position

_DUE = Prepared(
    sa.select(
        sa.func.coalesce(_head, 0),
        sa.func.coalesce(sa.select(EDGE.c.size).where(EDGE.c.id == 1).scalar_subquery(), 0),
        sa.func.coalesce(_least(_reached, sa.or_(*(event_index.FOLLOWERS.c.name == each for each in _FOLLOWERS))), 0),
        *(sa.select(sa.func.min(each.c.position)).scalar_subquery() for each in _WAITING),
        _later(outbox.DELIVERIES.c.due_at, outbox.DELIVERIES.c.dead == 0),
        *(_later(each.c.due_at) for each in (logout_notices.NOTICES, signals.SIGNALS, letters, reported_secrets)),
    )
)


def next_due(connection: sa.Connection, after: Moment | None = None) -> Moment | None:
    """When the next attempt is due to deliver, to hand on or to end something: 0 where the log's followers are behind,
    None where nothing waits. With a moment only what is due `after` it counts."""
    row = _DUE.first(connection, {"b_after": -1 if after is None else after})
    if row is None:
        raise AssertionError("a question without a table has one row")
    position, size, followed, *rest = row
    waiting, moments = rest[: len(_WAITING)], rest[len(_WAITING) :]
    is_behind = size < position or followed < position
    if after is None and (is_behind or any(each is not None for each in waiting)):
        return 0
    return min((each for each in moments if each is not None), default=None)
