"""Logs in schemas of Citus, each whole on one node: which node that is, and moving one to another node.

Citus tells its nodes of a move one after the other, and the former one keeps its copy for a while: who is connected
there may be answered from it. So the log has no head there any more when that begins: it is put aside under its lock,
the schema moves, and the head comes back where the schema is by then. Without a head nothing is read or written.
"""

from typing import NamedTuple, Self

from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError

from eventstore.database import schema
from eventstore.database.engines import migrating
from eventstore.database.moving import NotMovable
from eventstore.stored import head

HERE, ASIDE = 1, 0
"""The id of the head's row, where it is found, and where nobody looks for it."""

_NODE = text(
    "SELECT DISTINCT nodename, nodeport FROM citus_shards JOIN pg_class ON pg_class.oid = citus_shards.table_name "
    "WHERE relnamespace = to_regnamespace(:schema)"
)
_MOVE = text("SELECT citus_schema_move(CAST(:schema AS regnamespace), :host, :port, 'block_writes')")


_GUARD = text("SELECT pg_try_advisory_lock(hashtextextended('grantlog move ' || :schema, 0))")


class MoveUnderWay(Exception):
    """Somebody else moves the schema at this moment."""


class CitusNode(NamedTuple):
    """A node, as Citus and anyone who connects to it call it."""

    host: str
    port: int

    @classmethod
    def of(cls, words: str) -> Self | None:
        """The node of `host:port`; None where that is none."""
        host, _, port = words.rpartition(":")
        return cls(host, int(port)) if host and port.isascii() and port.isdigit() and len(port) < 6 else None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_there(url: str) -> bool:
    """Whether the database has Citus."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT true FROM pg_extension WHERE extname = 'citus'")) is not None
    finally:
        engine.dispose()


def node_of(url: str, name: str) -> CitusNode:
    """The node that holds the schema; raises `NotMovable` where Citus spread it, or knows nothing of it."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            return _node_of(connection, name)
    finally:
        engine.dispose()


def _node_of(connection: Connection, name: str) -> CitusNode:
    found = [CitusNode(*row) for row in connection.execute(_NODE, {"schema": name})]
    if len(found) != 1:
        raise NotMovable("the schema is not one of Citus on one node")
    return found[0]


def move(url: str, name: str, node: CitusNode) -> None:
    """Moves the schema to the node, by the URL of the role that owns its tables at the coordinator. What was broken off
    goes on with this. Raises `NotMovable` when Citus does not do it, and the log goes on where it was then; and
    `MoveUnderWay`."""
    engine = migrating(url)
    at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with at_once.connect() as guard:
            # Who is killed lets it go.
            if guard.dialect.name == "postgresql" and not guard.scalar(_GUARD, {"schema": name}):
                raise MoveUnderWay
            with engine.begin() as connection:
                _put_aside(connection)
            try:
                with at_once.connect() as connection:
                    if _node_of(connection, name) != node:
                        connection.execute(_MOVE, {"schema": name, "host": node.host, "port": node.port})
            except DBAPIError as error:
                raise NotMovable(f"Citus does not move it: {error.orig}") from error
            finally:
                with engine.begin() as connection:
                    connection.execute(update(head).where(head.c.id == ASIDE).values(id=HERE))
    finally:
        engine.dispose()


def _put_aside(connection: Connection) -> None:
    locked = connection.scalar(select(head.c.id).with_for_update())
    if locked is None:
        raise NotMovable("there is no log")
    if locked == HERE and schema.current(connection) != schema.newest():
        raise NotMovable("the database lacks what this version needs: run `grantlog issuer upgrade`")
    connection.execute(update(head).where(head.c.id == HERE).values(id=ASIDE))
