"""The rows of the search index one after the other, in all tables that it stands in, for who holds them against the
log."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, Table, literal, select, tuple_

from eventstore.projecting import packed_grants
from eventstore.projecting.packed_grants import PACKED
from projections import event_index
from projections.event_index import IndexRow
from projections.named import grant_runs, wide
from projections.named.writing import is_whole

Entry = tuple[int, bytes, int, bytes | None]
"""A row of the index: kind, key, the last of several positions, and how far before it the others are; of the table of
grants key, run and entries."""

EntryKey = tuple[int, bytes, int]

_WIDE = 1 << 16
"""Added to the kind of a row of the wider table, which is looked through behind the other one."""

_BEHIND = _WIDE >> 1
"""From here on it was added, whatever two bytes somebody wrote there as a kind."""


def next_entries(connection: Connection, after: EntryKey | None, limit: int) -> list[Entry]:
    """Some rows of the index in the order of its key, behind one; those of archived events come last."""
    table = 0 if after is None or after[0] < _BEHIND else 1 if after[0] < PACKED else 2
    found: list[Entry] = []
    for number, read in enumerate((_living, _wider, _of_grants)):
        if number >= table and len(found) < limit:
            found += read(connection, after if number == table else None, limit - len(found))
    return found


def _living(connection: Connection, after: EntryKey | None, limit: int) -> list[Entry]:
    return _next(connection, event_index.TABLE, after, limit)


def _wider(connection: Connection, after: EntryKey | None, limit: int) -> list[Entry]:
    behind = None if after is None else (after[0] - _WIDE, *after[1:])
    rows = _next(connection, wide.TABLE, behind, limit)
    return [(kind + _WIDE, key, position, before) for kind, key, position, before in rows]


def _next(connection: Connection, table: Table, after: EntryKey | None, limit: int) -> list[Entry]:
    key = list(table.primary_key.columns)
    query = select(table).where(is_whole(table)).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*map(literal, after)))
    return [(row.kind, bytes(row.key), row.position, row.before) for row in connection.execute(query)]


def _of_grants(connection: Connection, after: EntryKey | None, limit: int) -> list[Entry]:
    behind = None if after is None else (after[2], after[1])
    return [(PACKED, key, run, entries) for run, key, entries in grant_runs.next_rows(connection, behind, limit)]


def apart(rows: Iterable[Entry]) -> Iterator[IndexRow]:
    """What each row says of a position."""
    for kind, key, last, before in rows:
        if kind < _BEHIND:
            yield from ((kind, key, each) for each in event_index.expanded(last, before))
        elif kind == PACKED:
            yield from packed_grants.expanded(before)
        elif kind != _WIDE + wide.DONE:
            yield from ((kind - _WIDE, key, each) for each in wide.expanded(last, before))
