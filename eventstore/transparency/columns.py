"""The columns beside the stored form: what is looked for finds by them, and the tree says nothing of them."""

import msgspec
from sqlalchemy import Connection

from eventstore.recorder import LogRecorder


class _Form(msgspec.Struct):
    """Those members of the stored form that stand in columns as well."""

    position: int
    stream: str
    version: int
    type: str


_decode = msgspec.json.Decoder(_Form).decode


def misplaced(connection: Connection, start: int, end: int) -> int | None:
    """The first position from index `start` to before `end` whose row is filed under something else than its event.

    An event that is moved to another stream, or gets another type there, is as good as removed for whoever reads by
    stream or type, though its bytes and therefore its leaf are what they were. What is not an event at all is left to
    the comparison of leaves.
    """
    for position, stream, version, topic, state in LogRecorder.over(connection).rows_between(start, end):
        try:
            form = _decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if (form.position, form.stream, form.version, form.type) != (position, stream, version, topic):
            return int(position)
    return None
