"""The rows of the search index one after the other, for who holds them against the log. What stands packed beside it
is in `packed_entries`."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, literal, select, tuple_

from projections import event_index
from projections.event_index import IndexRow
from projections.named import runs
from projections.named.writing import is_whole

Entry = tuple[int, bytes, int, bytes | None]
"""A row of the index: kind, key, the last of several positions, and how far before it the others are."""

EntryKey = tuple[int, bytes, int]

_TABLE = event_index.TABLE
_KEY = tuple(_TABLE.primary_key.columns)


def next_entries(connection: Connection, after: EntryKey | None, limit: int) -> list[Entry]:
    """Some rows of the index in the order of its key, behind one."""
    query = select(_TABLE).where(is_whole(_TABLE)).order_by(*_KEY).limit(limit)
    if after is not None:
        query = query.where(tuple_(*_KEY) > tuple_(*map(literal, after)))
    return [(row.kind, bytes(row.key), row.position, row.before) for row in connection.execute(query)]


def apart(rows: Iterable[Entry]) -> Iterator[IndexRow]:
    """What each row says of a position."""
    for kind, key, last, before in rows:
        yield from ((kind, key, each) for each in runs.expanded(last, before))
