"""Events of which a person may have to be told by mail: one row for an event, written with it.

No read model: a rebuild would tell everybody once more, so none ever touches these rows. Anyone who takes a row looks
in the log whether there is anybody to tell; a row that was added leads to an event, and that is announced at most once
more.
"""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from domain.account import PasswordChanged
from domain.cut_off import AccountTokensEnded
from domain.event import Event, Recorded
from domain.factors.second_factor import (
    FactorFailed,
    FactorRemoved,
    FactorsReset,
    PasskeyCounterReversed,
    PasskeyEnrolled,
    RecoveryCodesIssued,
    TotpEnrolled,
)
from domain.grant import GrantEnded, RefreshReplayed, TokensIssued
from domain.people.own_data import ErasureRequested
from domain.people.upstream_link import UpstreamLinked, UpstreamUnlinked
from domain.session import SessionStarted
from projections.prepared import Prepared
from projections.tables import ROW_POSITION, Write, metadata

TABLE = sa.Table(
    "person_notices",
    metadata,
    sa.Column("position", ROW_POSITION, primary_key=True, autoincrement=False),
)
TABLES = (TABLE,)

VERSION = 1
FACTOR_CHANGES: tuple[type[Event], ...] = (
    TotpEnrolled,
    PasskeyEnrolled,
    RecoveryCodesIssued,
    FactorRemoved,
    FactorsReset,
)
UPSTREAM_CHANGES: tuple[type[Event], ...] = (UpstreamLinked, UpstreamUnlinked)
HANDLES: tuple[type[Event], ...] = (
    SessionStarted,
    TokensIssued,
    PasswordChanged,
    *FACTOR_CHANGES,
    FactorFailed,
    PasskeyCounterReversed,
    *UPSTREAM_CHANGES,
    ErasureRequested,
    RefreshReplayed,
    GrantEnded,
    AccountTokensEnded,
)

_ADD = sa.insert(TABLE)
_FIRST = Prepared(sa.select(TABLE.c.position).order_by(TABLE.c.position).limit(sa.bindparam("b_limit")))
_GONE = Prepared(sa.delete(TABLE).where(TABLE.c.position == sa.bindparam("b_position")).returning(TABLE.c.position))
_PASSED = Prepared(sa.delete(TABLE).where(TABLE.c.position <= sa.bindparam("b_position")))


def is_told(event: Event) -> bool:
    """Whether anybody may have to be notified of it: of tokens where they came of a sign-in at a dashboard, and of the
    end of a grant where a secret leaked."""
    match event:
        case TokensIssued():
            return event.grant_type == "password"
        case GrantEnded():
            return event.reason == "secret_leak"
        case _:
            return True


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """Somebody has to look whether a person is notified of the event."""
    if is_told(recorded.event):
        yield Write(_ADD, {"position": recorded.position}, recorded.position)


def waiting(connection: sa.Connection, limit: int) -> list[int]:
    """Positions of events at which nobody has looked yet, the oldest first."""
    return [position for (position,) in _FIRST.all(connection, {"b_limit": limit})]


def take(connection: sa.Connection, position: int) -> bool:
    """Has nobody look at it again; False where somebody was faster. Needs the ledger's turn."""
    return bool(_GONE.all(connection, {"b_position": position}))


def pass_over(connection: sa.Connection, position: int) -> None:
    """Has nobody look at any event up to a position: nobody is told of them. Needs the ledger's turn."""
    _PASSED.run(connection, ({"b_position": position},))
