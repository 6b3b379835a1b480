"""The events of grants, read from their streams: of one, or of many together."""

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, select, text

from domain.event import Recorded
from eventstore.mapper import Row, decoder
from eventstore.stored import ROW, events, place
from projections.prepared import Prepared

WHOLE = 5_000
"""Events of a grant that anything looks back on."""

RECENT = 50
"""Events that are read of each of many grants; few have more, and those are read one by one."""

_encode = msgspec.json.Encoder().encode

_FIRST = Prepared(select(*ROW).where(events.c.originator_id == bindparam("b_stream"), events.c.originator_version == 1))
UP_TO = Prepared(
    select(*ROW)
    .where(events.c.originator_id == bindparam("b_stream"), place <= bindparam("b_position", type_=BigInteger))
    .order_by(events.c.originator_version.desc())
    .limit(bindparam("b_limit", type_=BigInteger))
)
_NEWEST = Prepared(
    select(*ROW)
    .where(events.c.originator_id == bindparam("b_stream"))
    .order_by(events.c.originator_version.desc())
    .limit(RECENT)
)
_NEWEST_OF_ALL = Prepared(
    text(
        "SELECT found.* FROM json_array_elements_text(CAST(:b_streams AS json)) AS wanted (b_stream)"
        " CROSS JOIN LATERAL (SELECT id, originator_id, originator_version, topic, state FROM stored_events"
        " WHERE originator_id = wanted.b_stream"
        " ORDER BY originator_version DESC LIMIT :b_limit) AS found"
    )
)


def history(connection: Connection, grant_id: str, position: int, limit: int = WHOLE) -> list[Recorded]:
    """The events of a grant up to a position, oldest first: the first one and at most `limit` of the newest."""
    stream = f"grant:{grant_id}"
    rows = UP_TO.all(connection, {"b_stream": stream, "b_position": position, "b_limit": limit})
    recorded = decoder(connection).recorded
    found = [recorded(row) for row in reversed(rows)]
    if found and found[0].version > 1:
        found = [recorded(row) for row in _FIRST.all(connection, {"b_stream": stream})] + found
    return found


def histories(connection: Connection, grants: Collection[str], position: int) -> dict[str, list[Recorded]]:
    """The same as `history` of each of these grants, by its id; of a few hundred at a time."""
    streams = [f"grant:{grant_id}" for grant_id in grants]
    if connection.dialect.name == "postgresql":
        wanted = {"b_streams": _encode(streams).decode(), "b_limit": RECENT}
        rows = _NEWEST_OF_ALL.all(connection, wanted) if streams else []
    else:
        rows = [row for stream in streams for row in _NEWEST.all(connection, {"b_stream": stream})]
    found = _by_stream(connection, streams, rows)
    told: dict[str, list[Recorded]] = {}
    for grant_id, stream in zip(grants, streams, strict=True):
        newest = found[stream]
        if newest and newest[0].version > 1:
            told[grant_id] = history(connection, grant_id, position)
        else:
            told[grant_id] = [each for each in newest if each.position <= position]
    return told


def _by_stream(connection: Connection, streams: Collection[str], rows: Sequence[Row]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {stream: [] for stream in streams}
    recorded_of = decoder(connection).recorded
    for row in rows:
        recorded = recorded_of(row)
        found[recorded.stream].append(recorded)
    for events_of in found.values():
        events_of.sort(key=lambda recorded: recorded.version)
    return found
