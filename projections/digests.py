"""Where in the log a secret was issued, for ever: digest → position, and nothing else.

Client secrets and browser sessions come here when they are issued. Tokens and codes come when their own row is pruned,
in the same transaction, so that a secret which is long dead is still known: its history can be told, and a used refresh
token that is presented again years later still ends its grant.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Table, insert, select, text

from domain import client_secret, session
from domain.event import Event, Recorded
from projections.by_digest import ByDigest
from projections.prepared import Prepared
from projections.schema import metadata
from projections.write import Write

VERSION = 1

TABLE = Table(
    "digests",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

HANDLES: tuple[type[Event], ...] = (client_secret.SecretIssued, client_secret.SecretRotated, session.Started)

_INSERT = insert(TABLE)
_MOVE = Prepared(_INSERT)
_FIND = ByDigest(select(TABLE.c.position, TABLE.c.digest), TABLE.c.digest)


def project(recorded: Recorded, indexes: Mapping[str, bytes]) -> Iterator[Write]:
    """The row of a secret or a session that was issued."""
    yield row(bytes.fromhex(recorded.event.sha256), recorded.position)


def row(digest: bytes, position: int) -> Write:
    """A digest and where its secret was issued."""
    return Write(_INSERT, {"digest": digest, "position": position}, ("digests", digest))


def keep(connection: Connection, rows: Iterable[tuple[bytes, int]]) -> None:
    """Takes over the digests of rows that are pruned elsewhere, in the same transaction."""
    _MOVE.run(connection, [{"digest": digest, "position": position} for digest, position in rows])


DIGEST_BYTES = 32
_FILL = {
    "sqlite": "SELECT substr(:digests, key * {width} + 1, {width}), value FROM json_each(:positions) ORDER BY 1",
    "postgresql": (
        "SELECT substr(CAST(:digests AS bytea), CAST(place - 1 AS int) * {width} + 1, {width}), position"
        " FROM unnest(CAST(:positions AS bigint[])) WITH ORDINALITY AS given (position, place)"
    ),
}


def fill(connection: Connection, table: Table, digests: bytes, positions: Sequence[int]) -> None:
    """Puts many rows into a table of this shape; the digests stand one behind the other."""
    dialect = connection.dialect
    source = _FILL[dialect.name].format(width=DIGEST_BYTES)
    name = dialect.identifier_preparer.format_table(table)
    given: Any = list(positions) if dialect.name == "postgresql" else json.dumps(positions)
    connection.execute(
        text(f"INSERT INTO {name} (digest, position) {source}"),  # noqa: S608 - names of ours
        {"digests": digests, "positions": given},
    )


def find(connection: Connection, digest: bytes) -> int | None:
    """The position of the event that issued the secret; None for one that is not here."""
    row = _FIND.first(connection, digest)
    return None if row is None else row[0]


def find_all(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """The same of those of the digests that are here."""
    return {bytes(digest): position for position, digest in _FIND.all(connection, digests)}
