"""How the search index has the events of a request: by the moment that its id begins with, where that is one of ours.

By whole ids there was a row for nearly every event, 40 bytes and on PostgreSQL 170, and hardly any for anything else:
a client, an address or a type is named by many events, which share rows, but a request by one or two. All that came
within 62 milliseconds shares rows, too. Who asks for a request looks at those events, which are few
(docs/decisions/log/0055). Ids of another form, which a proxy gave, stand whole.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, insert, select

from eventstore.search import rows_at
from eventstore.stored import projection_versions
from projections.event_index import IndexRow, NameKind
from projections.named import wide
from projections.prepared import Prepared

_ID = 22
MOMENT = 6
"""Characters of an id: its first seven are the digits of its millisecond, of which the last is left out."""

_PACKED = (5, 4, 3, 2)
"""Characters that tell four seconds, four minutes, some hours, some days: by one of them archived events are found, by
as few as leave not too many to be looked at."""

_REQUEST = int(NameKind.REQUEST)

NOTED = "event_index.requests"
"""Noted among the versions of projections where all of the index is in this form: in a log that was begun with it, and
after a rebuild. Older nodes know whole ids alone, and find an index that has them as long as a log is not rebuilt."""

_FORM = Prepared(select(projection_versions.c.version).where(projection_versions.c.name == NOTED))


def is_by_moment(connection: Connection) -> bool:
    """Whether the index has requests in this form."""
    return _FORM.first(connection, {}) is not None


def note(connection: Connection) -> None:
    """Notes that it has, in the transaction that makes it so."""
    if not is_by_moment(connection):
        connection.execute(insert(projection_versions), {"name": NOTED, "version": 1})


def by_moment(rows: Iterable[IndexRow]) -> list[IndexRow]:
    """The same rows in this form."""
    # All that follows comes by here: a generator would take a turn for each row, of which few are of requests.
    return [(_REQUEST, row[1][:MOMENT], row[2]) if row[0] == _REQUEST and tells_moment(row[1]) else row for row in rows]


def keys(request_id: str) -> tuple[bytes, ...]:
    """What the index may have a request under: its id, and its moment or a longer time, whose events have to be looked
    at."""
    key = request_id.encode()
    return (key, key[:MOMENT], *packed_keys(key)) if tells_moment(key) else (key,)


def packed_keys(key: bytes) -> tuple[bytes, ...]:
    """The keys under which archived events may stand that the index has under this one."""
    return tuple(key[:length] for length in _PACKED)


def packed_key(key: bytes, together: Mapping[bytes, int]) -> bytes:
    """The key by which an archived event is found that the index has under one which tells its moment, by how many
    there are under each."""
    few = (each for each in reversed(packed_keys(key)) if together[each] <= wide.AT_MOST)
    return next(few, key[: _PACKED[0]])


def naming(connection: Connection, positions: Sequence[int], ids: Collection[str]) -> list[int]:
    """Those of the positions whose events say one of these ids anywhere, in the same order. Not yet authenticated: to
    look into a text takes a tenth of decoding it."""
    members = [f'"request_id":"{each}"'.encode() for each in ids]
    return [row[0] for row in rows_at(connection, positions) if any(each in row[4] for each in members)]


def tells_moment(key: bytes) -> bool:
    """Whether an id is one of ours, which begins with its moment."""
    return len(key) == _ID and key.isalnum()
