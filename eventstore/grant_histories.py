"""The events of grants, read from their streams: of one, or of many together."""

from collections.abc import Collection

from sqlalchemy import Connection

from domain.event import Recorded
from eventstore.recorder import store

WHOLE = 5_000
"""Events of a grant that anything looks back on."""

RECENT = 50
"""Events that are read of each of many grants; few have more, and those are read one by one."""


def history(connection: Connection, grant_id: str, position: int, limit: int = WHOLE) -> list[Recorded]:
    """The events of a grant up to a position, oldest first: the first one and at most `limit` of the newest."""
    log, stream = store(connection), f"grant:{grant_id}"
    found = [*log.get(stream, desc=True, limit=limit, stop=position)][::-1]
    if found and found[0].version > 1:
        found[:0] = log.get(stream, lte=1)
    return found


def histories(connection: Connection, grants: Collection[str], position: int) -> dict[str, list[Recorded]]:
    """The same as `history` of each of these grants, by its id; of a few hundred at a time."""
    log = store(connection)
    found = log.recorder.select_events_of({f"grant:{grant_id}": 0 for grant_id in grants}, limit=RECENT + 1)
    told: dict[str, list[Recorded]] = {}
    for grant_id in grants:
        rows = found[f"grant:{grant_id}"]
        if len(rows) > RECENT:
            told[grant_id] = history(connection, grant_id, position)
        else:
            told[grant_id] = [log.mapper.recorded(row) for row in rows if row.id <= position]
    return told
