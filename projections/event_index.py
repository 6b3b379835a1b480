"""The search index of the log: what an event names → its position. It follows the log instead of being written with it.

A client, person, grant, secret version, request, address or type has its positions here in order, so that a filter
reads those that match it, and several filters are merged without looking at an event. Events that are followed together
share a row for what they name in common: most of them are one client's. Addresses stand here as blind indexes only;
those of a person's own acts leave when the person is erased.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from projections import event_names
from projections.event_names import NameKind, Row
from projections.prepared import Prepared
from projections.tables import metadata

VERSION = 1
NAME = "event_index"

TABLE = Table(
    "event_positions",
    metadata,
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("before", LargeBinary),
    # By which the addresses of an erased person are found, whose keys nobody can compute any more.
    Index(
        "ix_event_positions_addresses",
        "position",
        sqlite_where=Column("kind", SmallInteger) == int(NameKind.ADDRESS),
        postgresql_where=Column("kind", SmallInteger) == int(NameKind.ADDRESS),
    ),
    sqlite_with_rowid=False,
)
"""A row has several positions: the last one, and how far `before` it the others are, a byte each; NULL for none.

The rows of a key follow each other without overlapping. What a person may have forgotten stands alone.
"""

FOLLOWERS = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far each read model that follows the log has come; the head's position less this is its lag."""

# Writing ----------------------------------------------------------------------------------------------------------

_REACHED = Prepared(select(FOLLOWERS.c.position).where(FOLLOWERS.c.name == bindparam("b_name")))
_HOLD = select(FOLLOWERS.c.position).where(FOLLOWERS.c.name == bindparam("b_name")).with_for_update()
_PROGRESS = Prepared(select(FOLLOWERS.c.name, FOLLOWERS.c.position))
_ADVANCE = Prepared(
    update(FOLLOWERS)
    .where(FOLLOWERS.c.name == bindparam("b_name"), FOLLOWERS.c.position == bindparam("b_before"))
    .values(position=bindparam("b_after"))
    .returning(FOLLOWERS.c.position)
)
_BEGIN: Mapping[str, Any] = {
    "sqlite": sqlite.insert(FOLLOWERS).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(FOLLOWERS).on_conflict_do_nothing(),
}
_ACTED = select(TABLE.c.position, TABLE.c.before).where(
    TABLE.c.kind == int(NameKind.PERSON_ACTING), TABLE.c.key == bindparam("b_person")
)
_FORGET = delete(TABLE).where(
    TABLE.c.kind == int(NameKind.ADDRESS), TABLE.c.position.in_(bindparam("b_positions", expanding=True))
)
_FORGOTTEN_AT_ONCE = 500
_BEYOND = (
    select(TABLE.c.key, TABLE.c.position, TABLE.c.before)
    .where(
        TABLE.c.kind == int(NameKind.ADDRESS),
        TABLE.c.position >= bindparam("b_first"),
        TABLE.c.position <= bindparam("b_last"),
    )
    .order_by(TABLE.c.position)
)
_ADDRESSES = _BEYOND.limit(bindparam("b_limit"))
_FORGET_ROW = delete(TABLE).where(
    TABLE.c.kind == int(NameKind.ADDRESS),
    TABLE.c.key == bindparam("b_key"),
    TABLE.c.position == bindparam("b_position"),
)


def add(connection: Connection, found: Iterable[Row]) -> None:
    """Writes the positions of what events name; all that is said of an event is to be among them."""
    rows = sorted(found)
    acting, address = int(NameKind.PERSON_ACTING), int(NameKind.ADDRESS)
    alone = {(address, position) for kind, _, position in rows if kind == acting}
    event_names.insert(connection, event_names.joined(rows, alone))


def forget_addresses(connection: Connection, account_id: str) -> None:
    """Removes the addresses from which a person acted."""
    rows = connection.execute(_ACTED, {"b_person": account_id.encode()})
    acted = [position for last, before in rows for position in event_names.positions(last, before)]
    for start in range(0, len(acted), _FORGOTTEN_AT_ONCE):
        connection.execute(_FORGET, {"b_positions": acted[start : start + _FORGOTTEN_AT_ONCE]})


def forget_stretch(connection: Connection, first: int, last: int, limit: int) -> int:
    """Removes the addresses of events `first` ≤ position ≤ `last`, about `limit` rows at a time; how many."""
    ending = {"b_first": first, "b_last": last, "b_limit": limit}
    # A row that ends behind the stretch may have begun within it. Few do, and all of them go with the first rows.
    beyond = {"b_first": last + 1, "b_last": last + event_names.FARTHEST}
    rows = [*connection.execute(_ADDRESSES, ending), *connection.execute(_BEYOND, beyond)]
    rewritten, kept = [], []
    for key, position, before in rows:
        all_ = event_names.positions(position, before)
        left = [each for each in all_ if not first <= each <= last]
        if len(left) < len(all_):
            rewritten.append({"b_key": key, "b_position": position})
            kept += [(int(NameKind.ADDRESS), bytes(key), each) for each in left]
    if rewritten:
        connection.execute(_FORGET_ROW, rewritten)
        event_names.insert(connection, event_names.joined(sorted(kept), ()))
    return len(rewritten)


def start_over(connection: Connection) -> None:
    """Empties the index, so that it is made anew from the log's beginning."""
    # The follower's row first: a step of it that is under way holds its lock, and its rows are to be seen below.
    connection.execute(delete(FOLLOWERS).where(FOLLOWERS.c.name == NAME))
    connection.execute(delete(TABLE))


def reached(connection: Connection, name: str = NAME) -> int:
    """The position up to which a follower has come."""
    row = _REACHED.first(connection, {"b_name": name})
    return 0 if row is None else row[0]


def advance(connection: Connection, name: str, before: int, after: int) -> bool:
    """Moves a follower on, unless another process did so first. Its row stays locked until the transaction ends."""
    if before == 0:
        connection.execute(_BEGIN[connection.dialect.name], {"name": name, "position": 0})
    return _ADVANCE.all(connection, {"b_name": name, "b_before": before, "b_after": after}) != []


def hold(connection: Connection, name: str) -> None:
    """Keeps a follower where it is until the transaction ends, for whoever else changes its rows."""
    connection.execute(_HOLD, {"b_name": name})


def progress(connection: Connection) -> dict[str, int]:
    """The position that each follower has reached."""
    return dict(_PROGRESS.all(connection, {}))


# Reading ----------------------------------------------------------------------------------------------------------

_RANGE = (
    select(TABLE.c.position, TABLE.c.before)
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
"""A stretch of the rows of one key. Each reads a range of the primary key and nothing else."""

_IN_A_ROW = 64
"""Positions that a row is thought to have. Where rows have fewer, four times as many of them are read the next time."""


def apart(rows: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    """The same with a position in each row, in the same order."""
    for kind, key, last, before in rows:
        for position in event_names.positions(last, before):
            yield kind, bytes(key), position


def positions(
    connection: Connection, kind: NameKind, key: bytes, low: int, high: int, limit: int, *, descending: bool
) -> list[int]:
    """At most `limit` positions from `low` to `high`, both inclusive, that name this."""
    statement = DESCENDING if descending else ASCENDING
    # A row that ends beyond `high` may have begun before it.
    first, last = low, high + event_names.FARTHEST
    at_once = 2 + limit // _IN_A_ROW
    found: list[int] = []
    while True:
        rows = statement.all(
            connection, {"b_kind": int(kind), "b_key": key, "b_low": first, "b_high": last, "b_limit": at_once}
        )
        for end, before in rows:
            within = [each for each in event_names.positions(end, before) if low <= each <= high]
            found += reversed(within) if descending else within
            if len(found) >= limit:
                return found[:limit]
        if len(rows) < at_once:
            return found
        first, last = (first, rows[-1][0] - 1) if descending else (rows[-1][0] + 1, last)
        at_once *= 4
