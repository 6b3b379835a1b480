"""The leaves: the exact bytes of the stored events, in order of position."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, cast, select

from eventstore.commands import Forged
from eventstore.mapper import decoder
from eventstore.stored import ROW, events
from projections.prepared import Prepared

ReadLeaves = Callable[[Connection, int, int], Sequence[bytes]]
"""(connection, index of the first, at most how many) → leaves without a gap; fewer where the log ends or has a gap."""


def _rows(state: Any) -> Prepared:
    return Prepared(
        select(*ROW[:-1], state)
        .where(events.c.id > bindparam("b_start", type_=BigInteger))
        .order_by(events.c.id)
        .limit(bindparam("b_limit", type_=BigInteger))
    )


_ROWS = {"postgresql": _rows(events.c.state), "sqlite": _rows(cast(events.c.state, LargeBinary))}
"""SQLite keeps whatever bytes it is given, be they text or not: what was spoilt has to be read to be noticed."""


def read_authentic_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """The same, and none from the first on that does not verify: what is signed or served."""
    text, leaves = decoder(connection).text, []
    rows = _ROWS[connection.dialect.name].all(connection, {"b_start": start, "b_limit": limit})
    for expected, row in enumerate(rows, start + 1):
        if row[0] != expected:
            break
        try:
            leaves.append(text(row).encode())
        except Forged:
            break
    return leaves


def read_leaves(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Leaves from the index `start` on: an event's index is its position less one."""
    leaves = []
    rows = _ROWS[connection.dialect.name].all(connection, {"b_start": start, "b_limit": limit})
    for expected, (position, _, _, _, state) in enumerate(rows, start + 1):
        if position != expected:
            break
        leaves.append(state.encode() if isinstance(state, str) else state or b"")
    return leaves
