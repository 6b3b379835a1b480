"""Where the tree is kept: tiles, checkpoints, and how far the tree has followed the log."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql, sqlite

from projections.tables import NAMING_CONVENTION, ROW_POSITION

metadata = MetaData(naming_convention=NAMING_CONVENTION)

TILES = Table(
    "log_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("width", SmallInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("width BETWEEN 1 AND 256 AND length(hashes) = 32 * width", name="width"),
)
"""One row a tile, the widest known: a narrower partial tile is the beginning of a wider one, so none is kept twice."""

CHECKPOINTS = Table(
    "log_checkpoints",
    metadata,
    Column("size", ROW_POSITION, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("published", BigInteger),
)
"""Every checkpoint that was ever signed, its note with all signatures. `published` is when it was first shown; until
then it waits for its witnesses."""

EDGE = Table(
    "log_edge",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
)
"""Row `id` 1: how many leaves the stored tree has. Whoever moves it on holds its lock, so that one process only
signs the tree of a size. The right edge itself is the partial tiles of that size."""

INSERTS: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
"""By dialect, the insertion that may meet a row that is there."""


def put_tile(connection: Connection) -> Any:
    """Stores a tile, in place of a narrower one of its number; a full tile is never replaced."""
    statement = INSERTS[connection.dialect.name](TILES)
    return statement.on_conflict_do_update(
        index_elements=[TILES.c.level, TILES.c.number],
        set_={"width": statement.excluded.width, "hashes": statement.excluded.hashes},
        where=TILES.c.width < statement.excluded.width,
    )


def begin_edge(connection: Connection) -> Any:
    """Makes the edge's row, unless there is one."""
    return INSERTS[connection.dialect.name](EDGE).values(id=1, size=0).on_conflict_do_nothing()
