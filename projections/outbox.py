"""What people are still to be told: one row for an event, written with it, and one for each of those who hear of it.

No read model: a rebuild would tell everybody everything again, so none ever touches these rows. The event's row is
exchanged for the deliveries that the settings ask for; a delivery's row goes when it has been made.

No event explains how far a delivery has come, so its row has a MAC. One that was altered is delivered as if it were
new: to tell somebody twice is better than to let them be told nothing. What is told is what the log has at that
position, if it is of a type that people can be notified of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import sqlalchemy as sa
from msgspec import UNSET

from domain import incident
from domain.account import AccountRegistered, RolesChanged
from domain.client import ClientUpdated
from domain.client_secret import RotationAnnounced, SecretExpiredUsed
from domain.event import Event, Moment, Recorded
from domain.factors.realm_policy import RealmPolicyChanged
from domain.factors.second_factor import FactorsReset
from domain.grant import CodeReplayed, RefreshReplayed
from domain.keys.log_key import LogKeyActivated, LogKeyRevoked, LogKeySucceeded
from domain.keys.signing_key import SigningKeyActivated, SigningKeyExposed, SigningKeyRevoked
from domain.role import RoleChanged, RoleDefined
from domain.server import DivergenceAccepted, IssuanceResumed, IssuanceSuspended, LogDiverged, ProjectionDiffered
from projections.prepared import Prepared
from projections.tables import ROW_POSITION, Write, metadata

TABLE = sa.Table(
    "outbox",
    metadata,
    sa.Column("position", ROW_POSITION, primary_key=True, autoincrement=False),
    sa.Column("type", sa.Text, nullable=False),
)
DELIVERIES = sa.Table(
    "deliveries",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # When it is tried next. Anyone who takes it moves this on, so that nobody else does while they are at it.
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("dead", sa.SmallInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=True),
    sa.Column("mac", sa.LargeBinary, nullable=False),
    sa.Index(None, "destination", "dead", "due_at"),
)
TABLES = (TABLE, DELIVERIES)

AT_ONCE = 500
"""Events that one statement names."""

UNDISTRIBUTED = "*"
"""In the place of a destination: who is told of the event has not been written down yet."""

VERSION = 1
_USUAL: tuple[type[Event], ...] = (
    *incident.EVENTS,
    CodeReplayed,
    RefreshReplayed,
    SecretExpiredUsed,
    RotationAnnounced,
    IssuanceSuspended,
    IssuanceResumed,
    LogDiverged,
    DivergenceAccepted,
    ProjectionDiffered,
    SigningKeyExposed,
)
_OF_ADMINISTRATION: tuple[type[Event], ...] = (
    *(AccountRegistered, RolesChanged, RoleDefined, RoleChanged, FactorsReset, RealmPolicyChanged, ClientUpdated),
    *(SigningKeyActivated, SigningKeyRevoked, LogKeyActivated, LogKeySucceeded, LogKeyRevoked),
)
HANDLES: tuple[type[Event], ...] = (*_USUAL, *_OF_ADMINISTRATION)


def _types(events: Iterable[type[Event]]) -> tuple[str, ...]:
    return tuple(sorted(event.type for event in events))


USUAL = _types(_USUAL)
"""The types of events that everybody is notified of who asks for none: what somebody has to act upon."""

SECURITY = _types(
    (*_OF_ADMINISTRATION, SigningKeyExposed, LogDiverged, DivergenceAccepted, ProjectionDiffered, IssuanceSuspended)
)
"""Those for a security team: who becomes an administrator, and what weakens or changes what all rests upon."""

TYPES = _types(HANDLES)
"""The types of events that people can be notified of."""

FIRST_LOG_KEY = 2
"""How many events the keys of the log have behind them when the first one is active."""

ADMINISTRATION = "administration"
"""The realm whose people may hold administrative scopes."""

_ADD = sa.insert(TABLE)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The event waits to be announced, unless it concerns nobody but those whom it is about."""
    if not _concerns_nobody_else(recorded):
        yield Write(_ADD, {"position": recorded.position, "type": recorded.type}, recorded.position)


def _concerns_nobody_else(recorded: Recorded) -> bool:
    event = recorded.event
    match event:
        case AccountRegistered():
            return event.realm != ADMINISTRATION
        case RoleDefined() | RoleChanged():
            return recorded.stream.split(":")[1] != ADMINISTRATION
        case ClientUpdated(new=new):
            # Its answers go where they went, and pages of the same origins may call for it.
            return all(each is UNSET for each in (new.allowed_origins, new.redirect_uris, new.realm))
        case SigningKeyActivated(former=None):
            # The first of its algorithm ends no other.
            return True
        case LogKeyActivated():
            # The first one comes with the installation, and is no change.
            return recorded.version <= FIRST_LOG_KEY
        case _:
            return False


# Distributing ---------------------------------------------------------------------------------------------------------


class Destination(NamedTuple):
    """Somebody who is told, by the name that the settings give them, and of which types."""

    name: str
    types: frozenset[str]


_FIRST = sa.select(TABLE.c.position, TABLE.c.type).order_by(TABLE.c.position).limit(sa.bindparam("b_limit"))
_IS_WAITING = Prepared(_FIRST)
_KNOWN = sa.select(DELIVERIES.c.position, DELIVERIES.c.destination).where(
    DELIVERIES.c.position.in_(sa.bindparam("b_positions", expanding=True))
)


def is_waiting(connection: sa.Connection) -> bool:
    """Whether there is an event that has not been distributed."""
    return _IS_WAITING.first(connection, {"b_limit": 1}) is not None


class Macs(Protocol):
    """What makes and verifies the MACs of rows."""

    def of(self, *values: bytes | str | int | None) -> bytes: ...

    def holds(self, mac: bytes | None, *values: bytes | str | int | None) -> bool: ...


def _mac(macs: Macs, position: int, destination: str, attempts: int, due_at: Moment, dead: int) -> bytes:
    return macs.of(position, destination, attempts, due_at, dead)


def distribute(
    connection: sa.Connection, macs: Macs, destinations: Sequence[Destination], now: Moment, limit: int
) -> int:
    """Exchanges events for their deliveries; how many events that were. Needs the ledger's turn."""
    found = [(row.position, row.type) for row in connection.execute(_FIRST, {"b_limit": limit})]
    if found:
        deliver(connection, macs, found, destinations, now)
        gone = [position for position, _ in found]
        connection.execute(sa.delete(TABLE).where(TABLE.c.position.in_(gone)))
    return len(found)


def deliver(
    connection: sa.Connection,
    macs: Macs,
    found: Iterable[tuple[int, str]],
    destinations: Sequence[Destination],
    now: Moment,
) -> int:
    """Has these events (position, type) delivered to those who want their types; how many deliveries were added."""
    wanted = {(position, each.name): type for position, type in found for each in destinations if type in each.types}
    if not wanted:
        return 0
    rows = connection.execute(_KNOWN, {"b_positions": sorted({position for position, _ in wanted})})
    for row in rows:
        wanted.pop((row.position, row.destination), None)
    if wanted:
        connection.execute(
            sa.insert(DELIVERIES),
            [
                {
                    "position": position,
                    "destination": name,
                    "type": type,
                    "attempts": 0,
                    "due_at": now,
                    "dead": 0,
                    "outcome": None,
                    "mac": _mac(macs, position, name, 0, now, 0),
                }
                for (position, name), type in wanted.items()
            ],
        )
    return len(wanted)


def revive(connection: sa.Connection, macs: Macs, names: Sequence[str], low: int, high: int, now: Moment) -> int:
    """Has dead letters of these positions tried once more from the beginning; how many there were."""
    dead = sa.select(DELIVERIES.c.position, DELIVERIES.c.destination).where(
        DELIVERIES.c.destination.in_(names),
        DELIVERIES.c.dead == 1,
        DELIVERIES.c.position >= low,
        DELIVERIES.c.position <= high,
    )
    return _begin_anew(connection, macs, [(row.position, row.destination) for row in connection.execute(dead)], now)


def undelivered_of(connection: sa.Connection, positions: Sequence[int]) -> dict[tuple[int, str], bool]:
    """What has not been delivered of these events, by position and destination: whether it is dead. An event that is
    not distributed yet has the destination `*`."""
    found: dict[tuple[int, str], bool] = {}
    for start in range(0, len(positions), AT_ONCE):
        portion = positions[start : start + AT_ONCE]
        # First what is not distributed: what becomes deliveries between the two would else be seen in neither.
        waiting = connection.execute(sa.select(TABLE.c.position).where(TABLE.c.position.in_(portion)))
        found |= {(row.position, UNDISTRIBUTED): False for row in waiting}
        rows = connection.execute(
            sa.select(DELIVERIES.c.position, DELIVERIES.c.destination, DELIVERIES.c.dead).where(
                DELIVERIES.c.position.in_(portion)
            )
        )
        found |= {(row.position, row.destination): bool(row.dead) for row in rows}
    return found


def count_dead(connection: sa.Connection, name: str, low: int, high: int) -> int:
    """How many dead letters somebody has of these positions."""
    query = sa.select(sa.func.count()).where(
        DELIVERIES.c.destination == name,
        DELIVERIES.c.dead == 1,
        DELIVERIES.c.position >= low,
        DELIVERIES.c.position <= high,
    )
    return connection.scalar(query) or 0


def mend(connection: sa.Connection, macs: Macs, now: Moment) -> int:
    """Has deliveries whose rows were altered made from the beginning; how many there were. Needs the ledger's turn."""
    altered = [
        (row.position, row.destination)
        for row in connection.execute(sa.select(DELIVERIES))
        if not macs.holds(row.mac, row.position, row.destination, row.attempts, row.due_at, row.dead)
    ]
    return _begin_anew(connection, macs, altered, now)


def _begin_anew(connection: sa.Connection, macs: Macs, found: Sequence[tuple[int, str]], now: Moment) -> int:
    if found:
        rows = [
            {
                "b_position": position,
                "b_destination": name,
                "attempts": 0,
                "due_at": now,
                "dead": 0,
                "mac": _mac(macs, position, name, 0, now, 0),
            }
            for position, name in found
        ]
        connection.execute(_ANEW, rows)
    return len(found)


# Delivering -----------------------------------------------------------------------------------------------------------


class Claimed(NamedTuple):
    """A delivery that one process has taken upon itself. `attempt` counts from 1 and tells this claim from others."""

    position: int
    attempt: int


class Delivery(NamedTuple):
    """A delivery that has not been made. `outcome` is what came of the attempt before."""

    position: int
    destination: str
    type: str
    attempts: int
    due_at: Moment
    dead: bool
    outcome: str | None


_DUE = (
    sa.select(DELIVERIES.c.position, DELIVERIES.c.attempts)
    .where(
        DELIVERIES.c.destination == sa.bindparam("b_destination"),
        DELIVERIES.c.dead == 0,
        DELIVERIES.c.due_at <= sa.bindparam("b_now"),
    )
    .order_by(DELIVERIES.c.due_at, DELIVERIES.c.position)
    .limit(sa.bindparam("b_limit"))
)
_OF = (DELIVERIES.c.position == sa.bindparam("b_position"), DELIVERIES.c.destination == sa.bindparam("b_destination"))
_CLAIM = sa.update(DELIVERIES).where(*_OF).values({name: sa.bindparam(name) for name in ("attempts", "due_at", "mac")})
_ANEW = _CLAIM.values(dead=sa.bindparam("dead"))
_MADE = sa.delete(DELIVERIES).where(*_OF)
# An attempt that took longer than its lease is no longer the newest, and what came of it decides nothing.
_FAILED = (
    sa.update(DELIVERIES)
    .where(*_OF, DELIVERIES.c.attempts == sa.bindparam("b_attempt"))
    .values({name: sa.bindparam(name) for name in ("due_at", "dead", "outcome", "mac")})
)


def is_due(connection: sa.Connection, destination: str, now: Moment) -> bool:
    """Whether there is anything to deliver to them."""
    return connection.execute(_DUE, {"b_destination": destination, "b_now": now, "b_limit": 1}).first() is not None


def claim(
    connection: sa.Connection, macs: Macs, destination: str, now: Moment, lease_until: Moment, limit: int
) -> list[Claimed]:
    """Takes what is due. Nobody else gets it before the lease ends. Needs the ledger's turn."""
    rows = connection.execute(_DUE, {"b_destination": destination, "b_now": now, "b_limit": limit})
    claimed = [Claimed(row.position, row.attempts + 1) for row in rows]
    if claimed:
        connection.execute(
            _CLAIM,
            [
                {
                    "b_position": each.position,
                    "b_destination": destination,
                    "attempts": each.attempt,
                    "due_at": lease_until,
                    "mac": _mac(macs, each.position, destination, each.attempt, lease_until, 0),
                }
                for each in claimed
            ],
        )
    return claimed


def made(connection: sa.Connection, destination: str, position: int) -> None:
    """It has been delivered, by whichever attempt."""
    connection.execute(_MADE, {"b_position": position, "b_destination": destination})


def failed(
    connection: sa.Connection,
    macs: Macs,
    destination: str,
    claimed: Claimed,
    outcome: str,
    again_at: Moment,
    *,
    dead: bool,
) -> None:
    """It was not delivered; it is tried again then, or never."""
    connection.execute(
        _FAILED,
        {
            "b_position": claimed.position,
            "b_destination": destination,
            "b_attempt": claimed.attempt,
            "due_at": again_at,
            "dead": int(dead),
            "outcome": outcome,
            "mac": _mac(macs, claimed.position, destination, claimed.attempt, again_at, int(dead)),
        },
    )


def drop(connection: sa.Connection, destination: str) -> None:
    """Forgets what somebody has not been told yet."""
    connection.execute(sa.delete(DELIVERIES).where(DELIVERIES.c.destination == destination))


def undelivered(
    connection: sa.Connection, *, dead_only: bool = False, destination: str | None = None, after: int = 0, limit: int
) -> list[Delivery]:
    """What has not been delivered, to one destination or to all, in the order of the log from behind `after` on."""
    query = sa.select(DELIVERIES).order_by(DELIVERIES.c.position, DELIVERIES.c.destination).limit(limit)
    query = query.where(DELIVERIES.c.position > after)
    if destination is not None:
        query = query.where(DELIVERIES.c.destination == destination)
    if dead_only:
        query = query.where(DELIVERIES.c.dead == 1)
    return [
        Delivery(row.position, row.destination, row.type, row.attempts, row.due_at, bool(row.dead), row.outcome)
        for row in connection.execute(query)
    ]


class Undelivered(NamedTuple):
    """What one destination has not been told yet: deliveries that are tried again, and those that are not."""

    destination: str
    waiting: int
    dead: int


def standing(connection: sa.Connection) -> list[Undelivered]:
    """Each destination that has not been told everything, by name."""
    dead = sa.func.sum(DELIVERIES.c.dead)
    query = sa.select(DELIVERIES.c.destination, sa.func.count(), dead).group_by(DELIVERIES.c.destination)
    rows = connection.execute(query.order_by(DELIVERIES.c.destination))
    return [Undelivered(name, count - int(gone), int(gone)) for name, count, gone in rows]


def undistributed(connection: sa.Connection) -> int:
    """How many events have not become deliveries yet."""
    return connection.scalar(sa.select(sa.func.count()).select_from(TABLE)) or 0
