"""What clients were refused lately: the last ones of each. They are no facts, since anybody causes them without end."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.event import Moment
from eventstore.stored import metadata

KEPT = 200
"""Refusals of one client that are kept."""

TABLE = sa.Table(
    "client_refusals",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("description", sa.Text),
    sqlite_with_rowid=False,
)


class RefusalRow(NamedTuple):
    """One request that was refused, with `error` as the client was told and `reason` as a closed word."""

    at: Moment
    request_id: str
    endpoint: str
    error: str
    reason: str | None
    description: str | None


def write(connection: Connection, noted: Mapping[str, Iterable[RefusalRow]]) -> None:
    """Writes the refusals of clients, oldest first, and removes as many of their oldest."""
    for client_id, refusals in noted.items():
        last = connection.scalar(sa.select(sa.func.max(TABLE.c.number)).where(TABLE.c.client_id == client_id)) or 0
        rows: list[dict[str, Any]] = [
            {"client_id": client_id, "number": number, **each._asdict()}
            for number, each in enumerate(refusals, last + 1)
        ]
        connection.execute(sa.insert(TABLE), rows)
        over = last + len(rows) - KEPT
        connection.execute(sa.delete(TABLE).where(TABLE.c.client_id == client_id, TABLE.c.number <= over))


def newest(connection: Connection, client_id: str) -> list[RefusalRow]:
    """The refusals of a client, newest first."""
    columns = [TABLE.c[name] for name in RefusalRow._fields]
    query = sa.select(*columns).where(TABLE.c.client_id == client_id).order_by(TABLE.c.number.desc())
    return [RefusalRow(*row) for row in connection.execute(query)]
