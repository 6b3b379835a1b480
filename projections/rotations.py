"""Clients whose secrets rotate on schedule: what is next to be done for each, and when."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from domain import client, client_secret
from domain.event import SECOND, Event, Moment, Recorded
from domain.rules.administrative_scope import CONSOLE
from projections.clients import TABLE as CLIENTS
from projections.tables import Write, metadata

VERSION = 1

TABLE = sa.Table(
    "rotations",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("maximum_age", sa.BigInteger, nullable=False),
    sa.Column("warning", sa.BigInteger, nullable=False),
    sa.Column("made_at", sa.BigInteger),
    sa.Column("announced", sa.Integer, nullable=False),
)
"""`made_at` is that of the newest version; `announced` says whether it was announced that its time is over."""

HANDLES: tuple[type[Event], ...] = (
    client_secret.RotationScheduled,
    client_secret.RotationUnscheduled,
    client_secret.RotationAnnounced,
    client_secret.SecretIssued,
    client_secret.SecretRotated,
    client.ClientDeleted,
)

_INSERT = sa.insert(TABLE)
_DELETE = sa.delete(TABLE).where(TABLE.c.client_id == sa.bindparam("b_client_id"))
_ONE = sa.update(TABLE).where(TABLE.c.client_id == sa.bindparam("b_client_id"))
_MADE = _ONE.values(made_at=sa.bindparam("b_at"), announced=0)
_ANNOUNCED = _ONE.values(announced=1)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """One row for each client that has a policy."""
    event, client_id = recorded.event, recorded.stream.partition(":")[2]
    key, where = ("rotations", client_id), {"b_client_id": client_id}
    match event:
        case client_secret.RotationScheduled():
            row = {
                "client_id": client_id,
                "maximum_age": event.maximum_age,
                "warning": event.warning,
                "made_at": event.made_at,
                "announced": 0,
            }
            yield Write(_DELETE, where, key)
            yield Write(_INSERT, row, key)
        case client_secret.RotationUnscheduled() | client.ClientDeleted():
            yield Write(_DELETE, where, key)
        case client_secret.RotationAnnounced():
            yield Write(_ANNOUNCED, where, key)
        case client_secret.SecretIssued() | client_secret.SecretRotated():
            yield Write(_MADE, where | {"b_at": recorded.time}, key)


class DueRotation(NamedTuple):
    """A client of whose newest version is to be told, or with `over` a dashboard whose secret is to be rotated."""

    client_id: str
    over: bool


def due(connection: sa.Connection, now: Moment, limit: int = 100) -> list[DueRotation]:
    """Clients whose time has come, at most `limit`: those of which nobody has been told, and dashboards."""
    age = now - TABLE.c.made_at
    over = (age >= TABLE.c.maximum_age * SECOND) & ((CLIENTS.c.type == "dashboard") | (CLIENTS.c.client_id == CONSOLE))
    warned = age >= (TABLE.c.maximum_age - TABLE.c.warning) * SECOND
    query = sa.select(TABLE.c.client_id, sa.case((over, 1), else_=0)).where(
        sa.or_(over, warned & (TABLE.c.announced == 0))
    )
    query = query.join(CLIENTS, CLIENTS.c.client_id == TABLE.c.client_id)
    return [DueRotation(client_id, bool(is_over)) for client_id, is_over in connection.execute(query.limit(limit))]
