"""That the log is not the one that its tree was built over, and how processes tell each other where.

Whoever notices keeps the position, in a row beside the edge's. Every process looks there before it signs, and examines
for itself what stands at that position: nobody is believed, and what has been mended holds nobody up.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from eventstore.transparency.tables import EDGE, INSERTS, SUSPECT


class Diverged(Exception):
    """The log is not the one that the stored tree was built over: an alarm. Nothing is signed any more.

    `position` is the event's that was looked at, where it was one.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position

    @classmethod
    def at(cls, position: int) -> "Diverged":
        """The event there is another one, or has gone."""
        return cls(f"the event at position {position} is not the one that the tree holds", position)


_TOLD = select(EDGE.c.size).where(EDGE.c.id == SUSPECT)
_CLEAR = update(EDGE).where(EDGE.c.id == SUSPECT, EDGE.c.size == bindparam("b_position")).values(size=0)


def told(connection: Connection) -> int | None:
    """The position at which a process has noticed something; None when nobody has, or when it has been mended."""
    return connection.scalar(_TOLD) or None


def tell(connection: Connection, position: int) -> None:
    """Has every process examine that position before it signs again. In the caller's transaction."""
    statement: Any = INSERTS[connection.dialect.name](EDGE).values(id=SUSPECT, size=position)
    connection.execute(statement.on_conflict_do_update(index_elements=[EDGE.c.id], set_={"size": position}))


def clear(connection: Connection, position: int) -> None:
    """Ends that: the event there is the one that the tree holds. In the caller's transaction."""
    connection.execute(_CLEAR, {"b_position": position})
