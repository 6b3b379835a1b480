"""What names a grant in archived events: rows of the search index become entries of `projections.named.grant_runs`.

An entry is exact, but for the chance that two grants begin alike: nobody reads the event to believe it. So what stands
there is held against the log as rows are, in both directions.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection

from eventstore.projecting.packing import AT_ONCE, GRANT, Packing, is_followed, taken
from eventstore.recorder import portions
from projections.event_index import IndexRow
from projections.named import grant_runs

PACKED = 1 << 17
"""The kind of an entry, by which nothing stands in a table."""


def pack(connection: Connection, packings: Sequence[Packing], first: int, last: int) -> bool:
    """Packs what names grants in a segment, in a transaction of its own. False where the index has not come so far."""
    if not is_followed(connection, last):
        return False
    entries = []
    for some in portions([each for each in packings if each.kind == GRANT], AT_ONCE):
        for packing, going in taken(connection, some, first, last):
            entries += [grant_runs.entry_of(packing.key, position) for position in going]
    grant_runs.GRANTS.add(connection, entries)
    return True


# What comparisons with the log see of them.


def standing(connection: Connection, rows: Collection[IndexRow]) -> set[IndexRow]:
    """Those of the rows that are packed."""
    named = grant_runs.positions(connection, {key for kind, key, _ in rows if kind == GRANT})
    return {row for row in rows if row[0] == GRANT and row[2] in named.get(row[1], ())}


def as_entries(rows: Iterable[IndexRow]) -> set[IndexRow]:
    """What entries the rows may be."""
    return {(PACKED, grant_runs.beginning(key), position) for kind, key, position in rows if kind == GRANT}


def without_packed(connection: Connection, rows: Iterable[IndexRow]) -> Iterator[IndexRow]:
    """The rows but for those that are packed. An entry too many is found by who goes along the entries."""
    following = iter(rows)
    while some := list(islice(following, AT_ONCE)):
        packed = standing(connection, some)
        yield from (row for row in some if row not in packed)


def is_there(connection: Connection, entry: IndexRow) -> bool:
    """Whether such an entry stands."""
    _, beginning, position = entry
    return position in grant_runs.GRANTS.positions(connection, [beginning]).get(beginning, ())
