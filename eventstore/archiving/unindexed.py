"""What the search index need not have of a dropped event: that it tells of a use of the token whose stream it is in.

Such a use is found by its stream, as what a grant's own stream tells is. While an event is dropped its row leaves the
index, where it would be the largest one: its key is a digest in hex.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select

from eventstore.mapper import PLACE
from eventstore.recorder import portions
from eventstore.search import OWN_STREAMS
from eventstore.stored import events
from projections import event_index
from projections.event_index import FARTHEST, IndexRow, NameKind, expanded

AT_ONCE = 500

_KIND = int(NameKind.SECRET)
_USES = f"{OWN_STREAMS[NameKind.SECRET]}:"
_TABLE = event_index.TABLE
_ROWS = select(_TABLE.c.key, _TABLE.c.position, _TABLE.c.before).where(
    _TABLE.c.kind == _KIND,
    _TABLE.c.key.in_(bindparam("b_keys", expanding=True, type_=_TABLE.c.key.type)),
    _TABLE.c.position >= bindparam("b_first"),
    _TABLE.c.position <= bindparam("b_last"),
)
_REMOVE = delete(_TABLE).where(
    _TABLE.c.kind == _KIND, _TABLE.c.key == bindparam("b_key"), _TABLE.c.position == bindparam("b_position")
)
_STREAMS = select(events.c.id, events.c.originator_id).where(events.c.id.in_(bindparam("b_positions", expanding=True)))


def own_use(stream: str, position: int) -> IndexRow | None:
    """The row by which the index has an event of a stream of uses beside that stream; None for other streams."""
    return (_KIND, stream.removeprefix(_USES).encode(), position) if stream.startswith(_USES) else None


def take_out(connection: Connection, forms: Mapping[int, bytes]) -> None:
    """Takes those of dropped events out, within the ledger's transaction; none where the index has not come so far."""
    first, last = min(forms), max(forms)
    event_index.hold(connection, event_index.NAME)
    if event_index.reached(connection) < last:
        return
    own = (own_use(PLACE.decode(form).stream, position) for position, form in forms.items())
    found = sorted({(key, position) for _, key, position in filter(None, own)})
    for some in portions(found, AT_ONCE):
        asked = {"b_keys": [*{key for key, _ in some}], "b_first": first, "b_last": last + FARTHEST}
        _take_out(connection, frozenset(some), connection.execute(_ROWS, asked).all())


def _take_out(connection: Connection, gone: frozenset[tuple[bytes, int]], rows: Iterable[Row[Any]]) -> None:
    removed, left = [], []
    for found, last, before in rows:
        key = bytes(found)
        standing = expanded(last, before)
        kept = [(_KIND, key, each) for each in standing if (key, each) not in gone]
        if len(kept) < len(standing):
            removed.append({"b_key": key, "b_position": last})
            left += kept
    if removed:
        connection.execute(_REMOVE, removed)
        event_index.insert(connection, event_index.joined(sorted(left), ()))


def without_own_uses(connection: Connection, rows: Iterable[IndexRow]) -> Iterator[IndexRow]:
    """Rows of the index but those that may be there or not."""
    following = iter(rows)
    while some := list(islice(following, AT_ONCE)):
        positions = [position for kind, _, position in some if kind == _KIND]
        found = connection.execute(_STREAMS, {"b_positions": positions}).all() if positions else ()
        streams = {row.id: str(row.originator_id) for row in found}
        yield from (row for row in some if row != own_use(streams.get(row[2], ""), row[2]))
