"""Which processes serve the log, and the feature level that all of them know.

A row is no fact, and is believed for as long as its process keeps saying that it is there.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from domain.event import SECOND, Moment
from eventstore.stored import INSERTS, nodes
from projections.prepared import Prepared

GONE_AFTER: Moment = 60 * SECOND
"""After which a process that has said nothing serves no more. One that was frozen for so long looks at the log's level
before it writes, as all do."""


def _saying(dialect: str) -> Prepared:
    statement: Any = INSERTS[dialect](nodes)
    said = {name: statement.excluded[name] for name in ("feature_level", "seen_at")}
    return Prepared(statement.on_conflict_do_update(index_elements=[nodes.c.node_id], set_=said))


_SAY = {dialect: _saying(dialect) for dialect in INSERTS}
_FORGET = Prepared(delete(nodes).where(nodes.c.seen_at < bindparam("b_before")))
_LEAVE = Prepared(delete(nodes).where(nodes.c.node_id == bindparam("b_node_id")))
_LEAST = Prepared(select(func.min(nodes.c.feature_level)).where(nodes.c.seen_at >= bindparam("b_since")))


def announce(connection: Connection, node_id: str, feature_level: int, now: Moment) -> None:
    """Says that this process serves, and forgets those that are gone. Under the log's lock: anyone who raises the level
    either sees it or has raised it before, so that the process sees that."""
    row = {"node_id": node_id, "feature_level": feature_level, "seen_at": now}
    _SAY[connection.dialect.name].run(connection, (row,))
    _FORGET.run(connection, ({"b_before": now - GONE_AFTER},))


def leave(connection: Connection, node_id: str) -> None:
    """Says that it serves no more."""
    _LEAVE.run(connection, ({"b_node_id": node_id},))


def known_by_all(connection: Connection, now: Moment) -> int:
    """The highest feature level that every process knows which serves; 0 when none does."""
    row = _LEAST.first(connection, {"b_since": now - GONE_AFTER})
    return 0 if row is None or row[0] is None else int(row[0])
