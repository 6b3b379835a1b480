"""The columns beside the stored form: what is looked for finds by them, and the tree says nothing of them."""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, cast, select

from eventstore.stored import events
from projections.prepared import Prepared


class _Form(msgspec.Struct):
    """Those members of the stored form that stand in columns as well."""

    position: int
    stream: str
    version: int
    type: str


_decode = msgspec.json.Decoder(_Form).decode


def _rows(state: Any) -> Prepared:
    low, high = (bindparam(name, type_=BigInteger) for name in ("b_start", "b_end"))
    return Prepared(
        select(events.c.id, events.c.originator_id, events.c.originator_version, events.c.topic, state)
        .where(events.c.id > low, events.c.id <= high)
        .order_by(events.c.id)
    )


_ROWS = {"postgresql": _rows(events.c.state), "sqlite": _rows(cast(events.c.state, LargeBinary))}


def misplaced(connection: Connection, start: int, end: int) -> int | None:
    """The first position from index `start` to before `end` whose row is filed under something else than its event.

    An event that is moved to another stream, or gets another type there, is as good as removed for whoever reads by
    stream or type, though its bytes and therefore its leaf are what they were. What is not an event at all is left to
    the comparison of leaves.
    """
    stretch = {"b_start": start, "b_end": end}
    for position, stream, version, topic, state in _ROWS[connection.dialect.name].all(connection, stretch):
        try:
            form = _decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if (form.position, form.stream, form.version, form.type) != (position, stream, version, topic):
            return int(position)
    return None
