"""The leaves: the exact bytes of the stored events, in order of position."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, LargeBinary, bindparam, cast, select

from eventstore.stored import events

ReadLeaves = Callable[[Connection, int, int], Sequence[bytes]]
"""(connection, index of the first, at most how many) → leaves without a gap; fewer where the log ends or has a gap."""


def _from(state: Any) -> Any:
    return (
        select(events.c.id, state)
        .where(events.c.id > bindparam("b_start"))
        .order_by(events.c.id)
        .limit(bindparam("b_limit"))
    )


_FROM = {"postgresql": _from(events.c.state), "sqlite": _from(cast(events.c.state, LargeBinary))}
"""SQLite keeps whatever bytes it is given, be they text or not: what was spoilt has to be read to be noticed."""


def read_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Leaves from the index `start` on: an event's index is its position less one."""
    leaves = []
    for expected, (position, state) in enumerate(
        connection.execute(_FROM[connection.dialect.name], {"b_start": start, "b_limit": limit}), start + 1
    ):
        if position != expected:
            break
        leaves.append(state.encode() if isinstance(state, str) else state or b"")
    return leaves
