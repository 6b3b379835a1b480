"""What earlier versions packed of archived events takes the form of today: in bits where it had bytes, and with more
in a row. All is read as it stands meanwhile, and a transaction rewrites some tens of thousands of positions.
"""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, literal, select, tuple_

from eventstore.projecting import packed_digests
from eventstore.projecting.packed_digests import Joining
from eventstore.sealed import packed_rows
from projections import event_index
from projections.named import digest_runs, distances, wide
from projections.named.grant_runs import GRANTS
from projections.named.writing import is_whole

AT_ONCE = 512
"""Rows of the wider table that are looked at together."""

POSITIONS = 16_384
"""That are rewritten together, about: as many as when a segment is packed."""

_KEY = tuple(wide.TABLE.primary_key.columns)
_RUNS = (digest_runs.DIGESTS, GRANTS, packed_rows.STREAMS)

WideKey = tuple[int, bytes, int]


def is_due(connection: Connection) -> bool:
    """Whether anything may stand in the form of earlier versions."""
    return due_runs(connection) is not None or (not is_finished(connection) and bool(due_rows(connection)))


def due_runs(connection: Connection) -> Joining | None:
    """The next run that does; None for none."""
    return next((found for each in _RUNS if (found := packed_digests.reforming(connection, each)) is not None), None)


def due_rows(connection: Connection, after: WideKey | None = None) -> Sequence[WideKey]:
    """The next rows of the wider table, behind one, that are to be rewritten together."""
    query = select(*_KEY, wide.TABLE.c.before).where(is_whole(wide.TABLE), wide.TABLE.c.kind > wide.DONE)
    query = query.order_by(*_KEY).limit(AT_ONCE)
    if after is not None:
        query = query.where(tuple_(*_KEY) > tuple_(*map(literal, after)))
    found, positions = list[WideKey](), 0
    for kind, key, position, before in connection.execute(query):
        found.append((kind, bytes(key), position))
        positions += distances.count(before)
        if positions >= POSITIONS:
            break
    return found


def rewrite(connection: Connection, rows: Sequence[WideKey]) -> None:
    """Rewrites what their keys have in their stretches of the log, in a transaction of its own."""
    event_index.hold(connection, event_index.NAME)
    stretches = defaultdict[tuple[int, int], set[bytes]](set)
    for kind, key, position in rows:
        stretches[kind, position - (position - 1) % wide.STRETCH].add(key)
    for (kind, first), keys in stretches.items():
        wide.add(connection, kind, dict.fromkeys(keys, ()), first)


def is_finished(connection: Connection) -> bool:
    """Whether it is noted that no row of the wider table does."""
    return wide.is_noted(connection, wide.CLOSE)


def finish(connection: Connection) -> None:
    """Notes that none does."""
    event_index.hold(connection, event_index.NAME)
    wide.note(connection, wide.CLOSE, 0)
