"""Where in the log a secret was issued, for ever: digest → position, and nothing else."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from domain import client_secret, session
from domain.event import Event, Recorded
from domain.registering import initial_access_token, registration_token
from projections.named import digest_runs
from projections.prepared import AMONG, Prepared, in_hex
from projections.tables import Write, metadata

# Rows of secrets by their digests: any number of them in one question to PostgreSQL, where a question is a journey.


MANY = 64
"""Digests of which so many are better said in hex."""


class ByDigest:
    """A query, built at import, for the rows with one digest or with several."""

    __slots__ = ("hundreds", "many", "one")

    def __init__(self, query: sa.Select[Any], digest: sa.Column[Any]) -> None:
        self.one = Prepared(query.where(digest == sa.bindparam("b_digest")))
        several = query.where(digest == sa.any_(sa.bindparam("b_digests", type_=sa.ARRAY(sa.LargeBinary))))
        # A plan that PostgreSQL keeps is as old as the connection. Made over tables with a few rows it reads all of
        # them, and goes on to when there are a hundred thousand.
        self.many = Prepared(several, planned_anew=True)
        among = sa.text(f"{digest.table.name}.{digest.name} = {AMONG.format(':b_hex')}")
        self.hundreds = Prepared(query.where(among), planned_anew=True)

    def first(self, connection: sa.Connection, digest: bytes) -> tuple[Any, ...] | None:
        """The row with this digest; None if there is none."""
        return self.one.first(connection, {"b_digest": digest})

    def all(self, connection: sa.Connection, digests: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """The rows of those of the digests that have one, in no order."""
        if connection.dialect.name == "postgresql" and len(digests) > MANY:
            return self.hundreds.all(connection, {"b_hex": in_hex(digests)})
        if connection.dialect.name == "postgresql" and len(digests) > 1:
            return self.many.all(connection, {"b_digests": list(digests)})
        return self.one.each(connection, [{"b_digest": digest} for digest in digests]) if digests else []


VERSION = 1

TABLE = sa.Table(
    "digests",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

TABLES = (TABLE, digest_runs.TABLE)
"""With those of secrets whose events stand in segments alone, which are packed."""

HANDLES: tuple[type[Event], ...] = (
    client_secret.SecretIssued,
    client_secret.SecretRotated,
    session.SessionStarted,
    initial_access_token.InitialAccessTokenIssued,
    registration_token.RegistrationTokenIssued,
)

_INSERT = sa.insert(TABLE)
_MOVE = Prepared(_INSERT)
_GONE = {
    "sqlite": Prepared(sa.delete(TABLE).where(TABLE.c.digest == sa.bindparam("b_digest"))),
    "postgresql": Prepared(
        sa.delete(TABLE).where(sa.text(f"digests.digest = {AMONG.format(':b_hex')}")),
        planned_anew=True,
    ),
}
_FIND = ByDigest(sa.select(TABLE.c.position, TABLE.c.digest), TABLE.c.digest)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row of a secret, a session or a token of registration that was issued."""
    yield row(bytes.fromhex(recorded.event.sha256), recorded.position)


def row(digest: bytes, position: int) -> Write:
    """A digest and where its secret was issued."""
    return Write(_INSERT, {"digest": digest, "position": position}, ("digests", digest))


def keep(connection: sa.Connection, rows: Iterable[tuple[bytes, int]]) -> None:
    """Takes over the digests of rows that are pruned elsewhere, in the same transaction."""
    _MOVE.run(connection, [{"digest": digest, "position": position} for digest, position in rows])


def remove(connection: sa.Connection, digests: Sequence[bytes]) -> None:
    """Removes rows: what they say is packed in the same transaction."""
    if not digests:
        return
    several = connection.dialect.name == "postgresql"
    given: Any = [{"b_hex": in_hex(digests)}] if several else [{"b_digest": each} for each in digests]
    _GONE[connection.dialect.name].run(connection, given)


DIGEST_BYTES = 32
_FILL = {
    "sqlite": "SELECT substr(:digests, key * {width} + 1, {width}), value FROM json_each(:positions) ORDER BY 1",
    "postgresql": (
        "SELECT substr(CAST(:digests AS bytea), CAST(place - 1 AS int) * {width} + 1, {width}), position"
        " FROM unnest(CAST(:positions AS bigint[])) WITH ORDINALITY AS given (position, place)"
    ),
}


def fill(connection: sa.Connection, table: sa.Table, digests: bytes, positions: Sequence[int]) -> None:
    """Puts many rows into a table of this shape; the digests stand one behind the other."""
    dialect = connection.dialect
    source = _FILL[dialect.name].format(width=DIGEST_BYTES)
    name = dialect.identifier_preparer.format_table(table)
    given: Any = list(positions) if dialect.name == "postgresql" else json.dumps(positions)
    connection.execute(
        sa.text(f"INSERT INTO {name} (digest, position) {source}"),  # noqa: S608 - names of ours
        {"digests": digests, "positions": given},
    )


def find(connection: sa.Connection, digest: bytes) -> int | None:
    """The position of the event that issued the secret; None for one that is not here, or packed."""
    row = _FIND.first(connection, digest)
    return None if row is None else row[0]


def find_all(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """The same of those of the digests that are here."""
    return {bytes(digest): position for position, digest in _FIND.all(connection, digests)}


def packed(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, list[int]]:
    """Where those of the digests that are packed may have been issued: the event there says whether it was."""
    return digest_runs.positions(connection, digests)
