"""The rows of a stretch of the log that a segment may take, and which of their streams had ended.

Nearly all streams begin and end within a stretch, so that its rows tell all of them: they are read together and decoded
once. Of those that reach beyond it is remembered what was found, since they come by in stretch after stretch.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, select, text

from domain.event import Moment, Recorded
from eventstore.archiving.ended import Issuances, has_ended, token_of
from eventstore.mapper import decoder
from eventstore.recorder import LogRecorder, portions
from eventstore.sealed.dropped import horizon
from eventstore.sealed.log_rows import EventRow, in_full, rows_of, standing_at
from eventstore.stored import EVENTS, ROW, events
from eventstore.unavailable import Forged
from projections.prepared import Prepared
from security.lru import Lru

AT_ONCE = 500
STREAMS_AT_ONCE = 256

KEPT = 1 << 17
"""Streams that reach beyond their stretches of which it is remembered whether they had ended: some twenty megabytes."""

_ALL = Prepared(
    select(*ROW).where(
        events.c.id >= bindparam("b_first", type_=BigInteger), events.c.id <= bindparam("b_last", type_=BigInteger)
    )
)
_GOING_ON = {
    "sqlite": text(
        "SELECT given.key FROM json_each(:streams) AS given WHERE EXISTS (SELECT 1 FROM "  # noqa: S608 - names of ours
        f"{EVENTS} AS later WHERE later.originator_id = given.key AND later.originator_version > given.value)"
    ),
    "postgresql": text(
        "SELECT given.key FROM json_each_text(CAST(:streams AS json)) AS given CROSS JOIN LATERAL ("  # noqa: S608
        f"SELECT 1 FROM {EVENTS} AS later WHERE later.originator_id = given.key "
        "AND later.originator_version > CAST(given.value AS bigint) ORDER BY later.originator_version LIMIT 1) AS later"
    ),
}
"""Which of some streams have an event behind a version. Any other join may have PostgreSQL read the whole log."""


class Endings:
    """Of streams that reach beyond a stretch: up to which version one had ended by a moment, 0 for one that had not.

    What had not ended by then never will have, since whatever ends it is recorded later; and what had is asked about
    again where something was recorded since.
    """

    def __init__(self, before: Moment) -> None:
        self.before = before
        self.known: Lru[str, int] = Lru(KEPT)


class EndedStreams(NamedTuple):
    """The streams that had ended, and the events that were found authentic on the way, by position."""

    streams: Collection[str]
    forms: Mapping[int, bytes]


def rows_between(connection: Connection, positions: Collection[int], first: int, last: int) -> list[EventRow]:
    """The rows at some positions of a stretch as they stand, packed or not, in order: all are read in one go, unless
    few of them are meant."""
    wanted, rows = set(positions), list[EventRow]()
    if 4 * len(wanted) >= last - first + 1:
        every = in_full(rows_of(_ALL.all(connection, {"b_first": first, "b_last": last})))
        rows = [row for row in every if row[0] in wanted]
        wanted.difference_update(row[0] for row in rows)
    for some in portions(sorted(wanted), AT_ONCE):
        rows += standing_at(connection, some)
    return sorted(rows, key=lambda row: row[0])


def ended(connection: Connection, rows: Iterable[EventRow], endings: Endings) -> EndedStreams:
    """Which of the streams of these rows had ended; none with an event that is not authentic. Raises `ArchiveAway`."""
    by_stream = defaultdict[str, list[EventRow]](list)
    for row in rows:
        by_stream[row[1]].append(row)
    known = endings.known
    asked = {name: of[-1][2] for name, of in by_stream.items() if name not in known}
    asked |= {name: version for name in by_stream if (version := known.get(name, 0))}
    going_on = _going_on(connection, asked)
    told, forms = _told_here(connection, by_stream, going_on)
    beyond = [name for name in by_stream if name not in told and (name not in known or name in going_on)]
    for name in going_on.intersection(known):
        del known[name]
    reaching = _told_beyond(connection, [name for name in beyond if name not in known])
    found = _having_ended(connection, told | reaching, endings.before)
    for name in beyond:
        # One with an event that is not authentic stays where it is.
        of = reaching.get(name, ())
        known.put(name, of[-1].version if name in found else 0)
    found.update(name for name in by_stream if known.get(name, 0))
    return EndedStreams(found, forms)


def _going_on(connection: Connection, versions: Mapping[str, int]) -> set[str]:
    query, given = _GOING_ON[connection.dialect.name], json.dumps(versions)
    return set(connection.scalars(query, {"streams": given})) if versions else set()


def _told_here(
    connection: Connection, by_stream: Mapping[str, Sequence[EventRow]], going_on: Collection[str]
) -> tuple[dict[str, Sequence[Recorded]], dict[int, bytes]]:
    """All events of the streams that are whole here, with their stored forms, where all of them are authentic; of the
    others there are none."""
    recorded_of, behind = decoder(connection).recorded, horizon(connection)
    told, forms = dict[str, Sequence[Recorded]](), dict[int, bytes]()
    for name, of in by_stream.items():
        # What stands behind the last one that was dropped was never packed, nor was anything that came after.
        if of[0][0] <= behind or name in going_on or any(row[2] != at for at, row in enumerate(of, 1)):
            continue
        try:
            told[name] = [recorded_of(row) for row in of]
        except Forged:
            # Others say so, unless somebody has accepted it: then it stays where it is, and keeps no other there.
            told[name] = ()
            continue
        forms.update((row[0], row[4]) for row in of)
    return told, forms


def _told_beyond(connection: Connection, streams: Sequence[str]) -> dict[str, Sequence[Recorded]]:
    """The same of streams wherever their events are, without those with an event that is not authentic."""
    recorder, recorded_of = LogRecorder.over(connection), decoder(connection).recorded
    told = dict[str, Sequence[Recorded]]()
    for some in portions(sorted(streams), STREAMS_AT_ONCE):
        for stream, rows in recorder.select_events_of(dict.fromkeys(some, 0)).items():
            try:
                told[stream] = [recorded_of(row) for row in rows]
            except Forged:
                continue
    return told


def _having_ended(connection: Connection, told: Mapping[str, Sequence[Recorded]], before: Moment) -> set[str]:
    """Those of the streams, by all of their events, that had ended."""
    issuances, found = Issuances(connection), set[str]()
    for of in told.values():
        issuances.note(of)
    issuances.ask([token for stream in told if (token := token_of(stream)) is not None])
    for stream, of in told.items():
        try:
            if of and has_ended(issuances, of, before):
                found.add(stream)
        except Forged:
            continue
    return found
