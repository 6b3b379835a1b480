"""What clients are still to be notified of ended sessions (OpenID Connect Back-Channel Logout §2.5): one row for an
event that may have ended some, written with it, and one for each client of each session that it did end.

No read model: a rebuild would tell everybody once more, so none ever touches these rows. No event explains how far a
notice has come, so its row has a MAC, and one that was altered is delivered as if it were new.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from domain.account import AccountDisabled, AccountErased, PasswordChanged
from domain.cut_off import AccountTokensEnded
from domain.event import Event, Moment, Recorded
from domain.session import SessionEnded
from projections.outbox import Macs
from projections.prepared import Prepared
from projections.tables import ROW_POSITION, Write, metadata

TABLE = sa.Table(
    "session_ends",
    metadata,
    sa.Column("position", ROW_POSITION, primary_key=True, autoincrement=False),
)
NOTICES = sa.Table(
    "logout_notices",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    # When it is tried next. Anyone who takes it moves this on, so that nobody else does while they are at it.
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
    sa.Index(None, "due_at"),
)
TABLES = (TABLE, NOTICES)

VERSION = 1
HANDLES: tuple[type[Event], ...] = (SessionEnded, AccountDisabled, AccountErased, PasswordChanged, AccountTokensEnded)

_ADD = sa.insert(TABLE)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """Somebody has to look which sessions the event ended."""
    yield Write(_ADD, {"position": recorded.position}, recorded.position)


class Notice(NamedTuple):
    """A client that is to be notified of the end of a session. `attempts` were made so far, or begun."""

    session_id: str
    client_id: str
    attempts: int = 0


_FIRST = sa.select(TABLE.c.position).order_by(TABLE.c.position).limit(sa.bindparam("b_limit"))
_GONE = sa.delete(TABLE).where(TABLE.c.position == sa.bindparam("b_position"))
_KNOWN = sa.select(NOTICES.c.session_id, NOTICES.c.client_id).where(
    NOTICES.c.session_id.in_(sa.bindparam("b_sessions", expanding=True))
)
_NEW = sa.insert(NOTICES)
_DUE = (
    sa.select(NOTICES.c.session_id, NOTICES.c.client_id, NOTICES.c.attempts)
    .where(NOTICES.c.due_at <= sa.bindparam("b_now"))
    .order_by(NOTICES.c.due_at)
    .limit(sa.bindparam("b_limit"))
)
_RANKED = (
    sa.select(
        NOTICES.c.session_id,
        NOTICES.c.client_id,
        NOTICES.c.attempts,
        NOTICES.c.due_at,
        sa.func.row_number()
        .over(partition_by=NOTICES.c.client_id, order_by=(NOTICES.c.due_at, NOTICES.c.session_id))
        .label("rank"),
    )
    .where(
        NOTICES.c.due_at <= sa.bindparam("b_now"),
        NOTICES.c.client_id.not_in(sa.bindparam("b_busy", expanding=True)),
    )
    .subquery()
)
_SHARED = (
    sa.select(_RANKED.c.session_id, _RANKED.c.client_id, _RANKED.c.attempts)
    .where(_RANKED.c.rank <= sa.bindparam("b_share"))
    .order_by(_RANKED.c.due_at)
    .limit(sa.bindparam("b_limit"))
)
_OF = (NOTICES.c.session_id == sa.bindparam("b_session_id"), NOTICES.c.client_id == sa.bindparam("b_client_id"))
_SET = sa.update(NOTICES).where(*_OF).values({name: sa.bindparam(name) for name in ("attempts", "due_at", "mac")})
# An attempt that took longer than its lease is no longer the newest, and what came of it decides nothing.
_AGAIN = _SET.where(NOTICES.c.attempts == sa.bindparam("b_attempts"))
_MADE = sa.delete(NOTICES).where(*_OF)

_WAITING, _IS_DUE = Prepared(_FIRST), Prepared(_DUE)
"""Asked twice a second, and mostly in vain."""


def waiting(connection: sa.Connection, limit: int) -> list[int]:
    """Positions of events of which nobody has looked yet what they ended, the oldest first."""
    return [position for (position,) in _WAITING.all(connection, {"b_limit": limit})]


def exchange(connection: sa.Connection, macs: Macs, position: int, found: Sequence[Notice], now: Moment) -> None:
    """Has the notices delivered that came of an event, unless somebody was faster. Needs the ledger's turn."""
    if not connection.execute(_GONE, {"b_position": position}).rowcount or not found:
        return
    rows = connection.execute(_KNOWN, {"b_sessions": sorted({each.session_id for each in found})})
    known = {(row.session_id, row.client_id) for row in rows}
    new = [_row(macs, each, now) for each in found if (each.session_id, each.client_id) not in known]
    if new:
        connection.execute(_NEW, new)


def is_due(connection: sa.Connection, now: Moment) -> bool:
    """Whether anybody is to be told."""
    return _IS_DUE.first(connection, {"b_now": now, "b_limit": 1}) is not None


def claim(
    connection: sa.Connection,
    macs: Macs,
    now: Moment,
    lease_until: Moment,
    limit: int,
    *,
    share: int,
    busy: Collection[str] = (),
) -> list[Notice]:
    """Takes what is due, at most `share` of one client and nothing of who is `busy`, so that a slow client keeps nobody
    waiting. Nobody else gets it before the lease ends. Needs the ledger's turn."""
    given = {"b_now": now, "b_limit": limit, "b_share": share, "b_busy": sorted(busy)}
    rows = connection.execute(_SHARED, given)
    claimed = [Notice(row.session_id, row.client_id, row.attempts + 1) for row in rows]
    if claimed:
        connection.execute(_SET, [_changed(macs, each, lease_until) for each in claimed])
    return claimed


def failed(connection: sa.Connection, macs: Macs, notice: Notice, again_at: Moment) -> None:
    """It was not delivered, and is tried again then."""
    connection.execute(_AGAIN, {**_changed(macs, notice, again_at), "b_attempts": notice.attempts})


def settled(connection: sa.Connection, notice: Notice) -> None:
    """Nothing is to be done about it any more."""
    connection.execute(_MADE, {"b_session_id": notice.session_id, "b_client_id": notice.client_id})


def mend(connection: sa.Connection, macs: Macs, now: Moment) -> int:
    """Has altered notices delivered from the beginning; how many there were. Needs the ledger's turn."""
    altered = [
        Notice(row.session_id, row.client_id)
        for row in connection.execute(sa.select(NOTICES))
        if not macs.holds(row.mac, row.session_id, row.client_id, row.attempts, row.due_at)
    ]
    if altered:
        connection.execute(_SET, [_changed(macs, each, now) for each in altered])
    return len(altered)


def _row(macs: Macs, notice: Notice, due_at: Moment) -> dict[str, str | int | bytes]:
    return {"session_id": notice.session_id, "client_id": notice.client_id, **_stand(macs, notice, due_at)}


def _changed(macs: Macs, notice: Notice, due_at: Moment) -> dict[str, str | int | bytes]:
    return {"b_session_id": notice.session_id, "b_client_id": notice.client_id, **_stand(macs, notice, due_at)}


def _stand(macs: Macs, notice: Notice, due_at: Moment) -> dict[str, int | bytes]:
    mac = macs.of(notice.session_id, notice.client_id, notice.attempts, due_at)
    return {"attempts": notice.attempts, "due_at": due_at, "mac": mac}
