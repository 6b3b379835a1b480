"""Identifiers that may be used once within their time: the `jti` of assertions, proofs and request objects (RFC 7519
§4.1.7), each of which is taken once by all workers and nodes together.

They are no facts: their rows go when their time is over, and never before. So that nobody makes the table grow without
bound each holder, which is a client, has a number that it may have there at once.
"""

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Moment
from eventstore.stored import metadata
from security.tokens import digest

TABLE = sa.Table(
    "used_ids",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Index("ix_used_ids_until", "until"),
    sqlite_with_rowid=False,
)

COUNTS = sa.Table(
    "used_id_counts",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)
"""How many rows each holder has: counting them would take longer with each."""

IdKind = Literal["assertion", "proof", "request_object", "grant"]
"""What an identifier was of. The same one in another kind is another one."""

Taken = Literal["fresh", "used", "full"]

_FIND = sa.select(TABLE.c.until).where(
    TABLE.c.holder == sa.bindparam("b_holder"), TABLE.c.sha256 == sa.bindparam("b_sha256")
)
_COUNT = sa.select(COUNTS.c.number).where(COUNTS.c.holder == sa.bindparam("b_holder"))
_OVER_OF_ONE = sa.delete(TABLE).where(
    TABLE.c.holder == sa.bindparam("b_holder"), TABLE.c.until <= sa.bindparam("b_now")
)
_LESS = (
    sa.update(COUNTS)
    .where(COUNTS.c.holder == sa.bindparam("b_holder"))
    .values(number=COUNTS.c.number - sa.bindparam("b_number"))
)
_INSERT = sa.insert(TABLE)


def _one_more(insert: Any) -> Any:
    return insert(COUNTS).on_conflict_do_update(index_elements=[COUNTS.c.holder], set_={"number": COUNTS.c.number + 1})


_ONE_MORE: dict[str, Any] = {"postgresql": _one_more(postgresql.insert), "sqlite": _one_more(sqlite.insert)}


def named(kind: IdKind, identifier: str) -> bytes:
    """By what an identifier is kept: a digest, since it may hold anything."""
    return digest(f"{kind}\0{identifier}")


def take(connection: Connection, holder: str, identifier: bytes, until: Moment, *, now: Moment, most: int) -> Taken:
    """Takes an identifier, which nobody else can until then, in the ledger's turn: `await ledger.maintain(take, …)`.

    `used` when it was taken before, `full` when the holder has so many that live that no more can be remembered.
    """
    if connection.execute(_FIND, {"b_holder": holder, "b_sha256": identifier}).first() is not None:
        return "used"
    number = connection.scalar(_COUNT, {"b_holder": holder}) or 0
    if number >= most:
        gone = connection.execute(_OVER_OF_ONE, {"b_holder": holder, "b_now": now}).rowcount
        connection.execute(_LESS, {"b_holder": holder, "b_number": gone})
        if number - gone >= most:
            return "full"
    connection.execute(_INSERT, {"holder": holder, "sha256": identifier, "until": until})
    connection.execute(_ONE_MORE[connection.dialect.name], {"holder": holder, "number": 1})
    return "fresh"


def prune(connection: Connection, before: Moment, limit: int) -> int:
    """Removes rows whose time is over, at most `limit` of them; gives their number."""
    over = connection.execute(
        sa.select(TABLE.c.holder, TABLE.c.sha256).where(TABLE.c.until <= before).order_by(TABLE.c.until).limit(limit)
    ).all()
    removed: dict[str, int] = {}
    for holder, sha256 in over:
        connection.execute(sa.delete(TABLE).where(TABLE.c.holder == holder, TABLE.c.sha256 == sha256))
        removed[holder] = removed.get(holder, 0) + 1
    for holder, number in removed.items():
        connection.execute(_LESS, {"b_holder": holder, "b_number": number})
    connection.execute(sa.delete(COUNTS).where(COUNTS.c.number <= 0))
    return len(over)
