"""Identifiers that may be used once within their time: the `jti` of assertions, proofs and request objects (RFC 7519
§4.1.7), each of which is taken once by all workers and nodes together.

They are no facts: their rows go when their time is over, and never before. So that nobody makes the table grow without
bound each holder, which is a client, has a number that it may have there at once.
"""

from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.event import Moment
from eventstore.stored import metadata
from projections.prepared import Prepared
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

IdKind = Literal["assertion", "proof", "request_object", "grant", "challenge"]
"""What an identifier was of. The same one in another kind is another one."""

Taken = Literal["fresh", "used", "full"]

_OF_HOLDER = COUNTS.c.holder == sa.bindparam("b_holder")
_FIND = Prepared(
    sa.select(TABLE.c.until).where(
        TABLE.c.holder == sa.bindparam("b_holder"), TABLE.c.sha256 == sa.bindparam("b_sha256")
    )
)
_COUNT = Prepared(sa.select(COUNTS.c.number).where(_OF_HOLDER))
_INSERT = Prepared(sa.insert(TABLE))
_FIRST = Prepared(sa.insert(COUNTS))
_ONE_MORE = Prepared(sa.update(COUNTS).where(_OF_HOLDER).values(number=COUNTS.c.number + 1))
_LESS = sa.update(COUNTS).where(_OF_HOLDER).values(number=COUNTS.c.number - sa.bindparam("b_number"))
_OVER_OF_ONE = sa.delete(TABLE).where(
    TABLE.c.holder == sa.bindparam("b_holder"), TABLE.c.until <= sa.bindparam("b_now")
)


def named(kind: IdKind, identifier: str) -> bytes:
    """By what an identifier is kept: a digest, since it may hold anything."""
    return digest(f"{kind}\0{identifier}")


def take(connection: Connection, holder: str, identifier: bytes, until: Moment, *, now: Moment, most: int) -> Taken:
    """Takes an identifier, which nobody else can until then, in the ledger's turn: `await ledger.maintain(take, …)`.

    `used` when it was taken before, `full` when the holder has so many that live that no more can be remembered.
    """
    of = {"b_holder": holder}
    if _FIND.first(connection, of | {"b_sha256": identifier}) is not None:
        return "used"
    counted = _COUNT.first(connection, of)
    number = 0 if counted is None else counted[0]
    if number >= most:
        gone = connection.execute(_OVER_OF_ONE, of | {"b_now": now}).rowcount
        connection.execute(_LESS, of | {"b_number": gone})
        if number - gone >= most:
            return "full"
    _INSERT.run(connection, [{"holder": holder, "sha256": identifier, "until": until}])
    if counted is None:
        _FIRST.run(connection, [{"holder": holder, "number": 1}])
    else:
        _ONE_MORE.run(connection, [of])
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
