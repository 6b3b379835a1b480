"""The search index of the log: what an event names → its position. It follows the log instead of being written with it.

One narrow row for each client, person, grant, secret version, request, address and type that an event names, so that a
filter reads the positions that match it in order, and several filters are merged without looking at an event. Addresses
stand here as blind indexes only; the rows of a person's own addresses leave when the person is erased.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from domain.event import Recorded
from projections.prepared import Prepared
from projections.schema import metadata


class Kind(IntEnum):
    """What a key is. The numbers are stored."""

    CLIENT = 1
    ACCOUNT = 2
    GRANT = 3
    SECRET = 4
    REQUEST = 5
    ADDRESS = 6
    TYPE = 7
    PERSON_ACTING = 8


VERSION = 1
NAME = "event_index"

TABLE = Table(
    "event_index",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # By which the addresses of an erased person are found, whose keys nobody can compute any more.
    Index(
        "ix_event_index_addresses",
        "position",
        sqlite_where=Column("kind", SmallInteger) == int(Kind.ADDRESS),
        postgresql_where=Column("kind", SmallInteger) == int(Kind.ADDRESS),
    ),
    sqlite_with_rowid=False,
)

FOLLOWERS = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far each read model that follows the log has come; the head's position less this is its lag."""

ADDRESS_KEY_BYTES = 16

Names = tuple[tuple[Kind, bytes], ...]

_NAMED: Mapping[str, Kind] = {
    "client_id": Kind.CLIENT,
    "account_id": Kind.ACCOUNT,
    "grant_id": Kind.GRANT,
    "except_grant": Kind.GRANT,
    "secret_id": Kind.SECRET,
}
"""Members of events and credentials that name something."""

_STREAMS: Mapping[str, tuple[Kind, ...]] = {
    "client": (Kind.CLIENT,),
    "account": (Kind.ACCOUNT,),
    "grant": (Kind.GRANT,),
    "consent": (Kind.ACCOUNT, Kind.CLIENT),
    "usage": (Kind.SECRET,),
}


class Owners(NamedTuple):
    """Whose a grant or a session is: what its first event says, and its later ones do not repeat."""

    client_id: str | None
    account_id: str | None


def needs_owners(recorded: Recorded) -> bool:
    """Whether an event leaves it to its stream's first one to say whose the stream is."""
    category = recorded.stream.partition(":")[0]
    return category in ("grant", "session") and recorded.version > 1


def owners(first: Recorded) -> Owners:
    """What a stream's first event says about its later ones."""
    return Owners(getattr(first.event, "client_id", None), getattr(first.event, "account_id", None))


def names(recorded: Recorded, address: bytes | None, belongs: Owners | None) -> Iterator[tuple[Kind, bytes]]:
    """Everything that the event names, some of it perhaps twice. `address` is the key of the caller's."""
    yield Kind.TYPE, recorded.type.encode()
    category, *parts = recorded.stream.split(":")
    for kind, part in zip(_STREAMS.get(category, ()), parts, strict=False):
        yield kind, part.encode()
    for member, kind in _NAMED.items():
        for holder in (recorded.event, belongs):
            value = getattr(holder, member, None)
            if isinstance(value, str):
                yield kind, value.encode()
    yield from _actor(recorded)
    if recorded.request_id is not None:
        yield Kind.REQUEST, recorded.request_id.encode()
    if address is not None:
        yield Kind.ADDRESS, address


def _actor(recorded: Recorded) -> Iterator[tuple[Kind, bytes]]:
    actor = recorded.actor
    if actor.id is not None:
        if actor.kind == "client":
            yield Kind.CLIENT, actor.id.encode()
        elif actor.kind == "person":
            yield Kind.ACCOUNT, actor.id.encode()
            yield Kind.PERSON_ACTING, actor.id.encode()
    for member, value in (actor.credential or {}).items():
        if member in _NAMED:
            yield _NAMED[member], value.encode()


# Writing ----------------------------------------------------------------------------------------------------------

_INSERT = Prepared(insert(TABLE))
_REACHED = Prepared(select(FOLLOWERS.c.position).where(FOLLOWERS.c.name == bindparam("b_name")))
_ADVANCE = (
    update(FOLLOWERS)
    .where(FOLLOWERS.c.name == bindparam("b_name"), FOLLOWERS.c.position == bindparam("b_before"))
    .values(position=bindparam("b_after"))
)
_BEGIN: Mapping[str, Any] = {
    "sqlite": sqlite.insert(FOLLOWERS).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(FOLLOWERS).on_conflict_do_nothing(),
}
_FORGET = delete(TABLE).where(
    TABLE.c.kind == int(Kind.ADDRESS),
    TABLE.c.position.in_(
        select(TABLE.c.position).where(TABLE.c.kind == int(Kind.PERSON_ACTING), TABLE.c.key == bindparam("b_person"))
    ),
)


def add(connection: Connection, rows: Iterable[tuple[int, Iterable[tuple[Kind, bytes]]]]) -> None:
    """Writes what events name; `rows` are positions with names."""
    parameters = [
        {"kind": int(kind), "key": key, "position": position} for position, named in rows for kind, key in set(named)
    ]
    if parameters:
        # In the order of the index, where neighbours share a page.
        parameters.sort(key=lambda row: (row["kind"], row["key"], row["position"]))
        _INSERT.run(connection, parameters)


def forget_addresses(connection: Connection, account_id: str) -> None:
    """Removes the addresses from which a person acted."""
    connection.execute(_FORGET, {"b_person": account_id.encode()})


def start_over(connection: Connection) -> None:
    """Empties the index, so that it is made anew from the log's beginning."""
    connection.execute(delete(TABLE))
    connection.execute(delete(FOLLOWERS).where(FOLLOWERS.c.name == NAME))


def reached(connection: Connection, name: str = NAME) -> int:
    """The position up to which a follower has come."""
    row = _REACHED.first(connection, {"b_name": name})
    return 0 if row is None else row[0]


def advance(connection: Connection, name: str, before: int, after: int) -> bool:
    """Moves a follower on, unless another process did so first. Its row stays locked until the transaction ends."""
    if before == 0:
        connection.execute(_BEGIN[connection.dialect.name], {"name": name, "position": 0})
    moved = connection.execute(_ADVANCE, {"b_name": name, "b_before": before, "b_after": after})
    return moved.rowcount == 1


def progress(connection: Connection) -> dict[str, int]:
    """The position that each follower has reached."""
    return {row.name: row.position for row in connection.execute(select(FOLLOWERS))}


# Reading ----------------------------------------------------------------------------------------------------------

_RANGE = (
    select(TABLE.c.position)
    .where(
        TABLE.c.kind == bindparam("b_kind"),
        TABLE.c.key == bindparam("b_key"),
        TABLE.c.position >= bindparam("b_low"),
        TABLE.c.position <= bindparam("b_high"),
    )
    .limit(bindparam("b_limit", type_=BigInteger))
)
ASCENDING = Prepared(_RANGE.order_by(TABLE.c.position))
DESCENDING = Prepared(_RANGE.order_by(TABLE.c.position.desc()))
"""A stretch of the positions of one key. Each reads a range of the primary key and nothing else."""


def positions(
    connection: Connection, kind: Kind, key: bytes, low: int, high: int, limit: int, *, descending: bool
) -> list[int]:
    """At most `limit` positions from `low` to `high`, both inclusive, that name this."""
    statement = DESCENDING if descending else ASCENDING
    found = statement.all(
        connection, {"b_kind": int(kind), "b_key": key, "b_low": low, "b_high": high, "b_limit": limit}
    )
    return [row[0] for row in found]
