"""The leaves: the exact bytes of the stored events, in order of position."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, bindparam, select

from eventstore.stored import events

ReadLeaves = Callable[[Connection, int, int], Sequence[bytes]]
"""(connection, index of the first, at most how many) → leaves without a gap; fewer where the log ends or has a gap."""

_FROM = (
    select(events.c.id, events.c.state)
    .where(events.c.id > bindparam("b_start"))
    .order_by(events.c.id)
    .limit(bindparam("b_limit"))
)


def read_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Leaves from the index `start` on: an event's index is its position less one."""
    leaves = []
    for expected, (position, state) in enumerate(
        connection.execute(_FROM, {"b_start": start, "b_limit": limit}), start + 1
    ):
        if position != expected:
            break
        leaves.append(state.encode())
    return leaves
