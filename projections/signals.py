"""What receivers are still to be notified of (OpenID Shared Signals Framework 1.0): one row for an event that may be
worth telling, written with it, and one for each security event and receiver that it came to.

No read model: a rebuild would tell everybody once more, so none ever touches these rows. What is told about whom is
sealed in its row, for its very id.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from domain.account import AccountDisabled, AccountErased, PasswordChanged
from domain.cut_off import AccountTokensEnded
from domain.event import Event, Moment, Recorded
from domain.factors.second_factor import (
    FactorRemoved,
    FactorsReset,
    PasskeyCounterReversed,
    PasskeyEnrolled,
    TotpEnrolled,
)
from domain.session import SessionEnded
from projections.prepared import Prepared
from projections.tables import ROW_POSITION, Write, metadata

TABLE = sa.Table(
    "signal_causes",
    metadata,
    sa.Column("position", ROW_POSITION, primary_key=True, autoincrement=False),
)
SIGNALS = sa.Table(
    "signals",
    metadata,
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # When it is tried next, or given up where its receiver comes for it. Anyone who takes it moves this on.
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index(None, "client_id", "position"),
    sa.Index(None, "due_at"),
)
TABLES = (TABLE, SIGNALS)

VERSION = 1
HANDLES: tuple[type[Event], ...] = (
    SessionEnded,
    AccountDisabled,
    AccountErased,
    PasswordChanged,
    AccountTokensEnded,
    TotpEnrolled,
    PasskeyEnrolled,
    PasskeyCounterReversed,
    FactorRemoved,
    FactorsReset,
)

AT_MOST = 10_000
"""Security events that are kept for one receiver."""

_ADD = sa.insert(TABLE)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """Somebody has to look who is to be told."""
    yield Write(_ADD, {"position": recorded.position}, recorded.position)


class KeptSignal(NamedTuple):
    """A security event for a receiver, sealed. `attempts` were made to deliver it so far, or begun."""

    jti: str
    client_id: str
    position: int
    attempts: int
    due_at: Moment
    sealed: bytes


_FIRST = sa.select(TABLE.c.position).order_by(TABLE.c.position).limit(sa.bindparam("b_limit"))
_GONE = sa.delete(TABLE).where(TABLE.c.position == sa.bindparam("b_position"))
_NEW = sa.insert(SIGNALS)
_COLUMNS = tuple(SIGNALS.c[name] for name in KeptSignal._fields)
_DUE = (
    sa.select(*_COLUMNS)
    .where(SIGNALS.c.due_at <= sa.bindparam("b_now"))
    .order_by(SIGNALS.c.due_at)
    .limit(sa.bindparam("b_limit"))
)
_RANKED = (
    sa.select(
        *_COLUMNS,
        sa.func.row_number()
        .over(partition_by=SIGNALS.c.client_id, order_by=(SIGNALS.c.due_at, SIGNALS.c.position, SIGNALS.c.jti))
        .label("rank"),
    )
    .where(
        SIGNALS.c.due_at <= sa.bindparam("b_now"),
        SIGNALS.c.client_id.not_in(sa.bindparam("b_busy", expanding=True)),
    )
    .subquery()
)
_SHARED = (
    sa.select(*(_RANKED.c[name] for name in KeptSignal._fields))
    .where(_RANKED.c.rank <= sa.bindparam("b_share"))
    .order_by(_RANKED.c.due_at, _RANKED.c.position)
    .limit(sa.bindparam("b_limit"))
)
_OF_CLIENT = (
    sa.select(*_COLUMNS)
    .where(SIGNALS.c.client_id == sa.bindparam("b_client_id"))
    .order_by(SIGNALS.c.position, SIGNALS.c.jti)
    .limit(sa.bindparam("b_limit"))
)
_COUNT = sa.select(sa.func.count()).where(SIGNALS.c.client_id == sa.bindparam("b_client_id"))
_LEASE = (
    sa.update(SIGNALS)
    .where(SIGNALS.c.jti == sa.bindparam("b_jti"))
    .values(due_at=sa.bindparam("b_due_at"), attempts=sa.bindparam("b_attempts"))
)

_WAITING, _IS_DUE = Prepared(_FIRST), Prepared(_DUE)
"""Asked twice a second, and mostly in vain."""


def waiting(connection: sa.Connection, limit: int) -> list[int]:
    """Positions of events of which nobody has looked yet whom they concern, the oldest first."""
    return [position for (position,) in _WAITING.all(connection, {"b_limit": limit})]


def exchange(connection: sa.Connection, position: int, found: Sequence[KeptSignal]) -> bool:
    """Keeps what came of an event, unless somebody was faster: False. Needs the ledger's turn."""
    if not connection.execute(_GONE, {"b_position": position}).rowcount:
        return False
    add(connection, found)
    return True


def add(connection: sa.Connection, found: Sequence[KeptSignal]) -> None:
    """Keeps security events until they are delivered."""
    if found:
        connection.execute(_NEW, [each._asdict() for each in found])


def number(connection: sa.Connection, client_id: str) -> int:
    """How many are kept for a receiver."""
    return connection.scalar(_COUNT, {"b_client_id": client_id}) or 0


def is_due(connection: sa.Connection, now: Moment) -> bool:
    """Whether anything is to be tried, or given up."""
    return _IS_DUE.first(connection, {"b_now": now, "b_limit": 1}) is not None


def claim(
    connection: sa.Connection,
    now: Moment,
    lease_until: Moment,
    limit: int,
    *,
    share: int,
    busy: Collection[str] = (),
) -> list[KeptSignal]:
    """Takes what is due, at most `share` of one receiver and nothing of who is `busy`. Nobody else gets it before the
    lease ends. Needs the ledger's turn."""
    given = {"b_now": now, "b_limit": limit, "b_share": share, "b_busy": sorted(busy)}
    rows = [KeptSignal(*row) for row in connection.execute(_SHARED, given)]
    claimed = [each._replace(attempts=each.attempts + 1, due_at=lease_until) for each in rows]
    for each in claimed:
        postpone(connection, each, lease_until)
    return claimed


def postpone(connection: sa.Connection, signal: KeptSignal, due_at: Moment) -> None:
    """It is looked at again then."""
    connection.execute(_LEASE, {"b_jti": signal.jti, "b_due_at": due_at, "b_attempts": signal.attempts})


def of_client(connection: sa.Connection, client_id: str, limit: int) -> list[KeptSignal]:
    """The oldest that are kept for a receiver."""
    return [KeptSignal(*row) for row in connection.execute(_OF_CLIENT, {"b_client_id": client_id, "b_limit": limit})]


def named(connection: sa.Connection, client_id: str, jtis: Sequence[str]) -> list[KeptSignal]:
    """Those of a receiver that have these ids."""
    query = sa.select(*_COLUMNS).where(SIGNALS.c.client_id == client_id, SIGNALS.c.jti.in_(jtis))
    return [KeptSignal(*row) for row in connection.execute(query)]


def settled(connection: sa.Connection, jti: str) -> None:
    """Nothing is to be done about it any more."""
    connection.execute(sa.delete(SIGNALS).where(SIGNALS.c.jti == jti))


def drop(connection: sa.Connection, client_id: str) -> None:
    """Nothing of it is to be delivered any more."""
    connection.execute(sa.delete(SIGNALS).where(SIGNALS.c.client_id == client_id))


def touch(connection: sa.Connection, client_id: str, due_at: Moment) -> None:
    """Has everything of a receiver looked at then: it is sent in another way from now on, or goes on."""
    connection.execute(sa.update(SIGNALS).where(SIGNALS.c.client_id == client_id).values(due_at=due_at))
