"""How many events there were, by minute, hour and day, of each type, kind of grant and client. It follows the log.

Minutes are kept for eight days and hours for 400, as seen from the newest event; days stay. A question about whole
minutes is answered from these rows, whatever the log's length.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from projections.prepared import Prepared
from projections.tables import metadata

VERSION = 1
NAME = "event_counts"

MINUTE, HOUR, DAY = 60, 3_600, 86_400
KEPT: Mapping[int, int | None] = {MINUTE: 8 * DAY, HOUR: 400 * DAY, DAY: None}
"""The lengths of the rows, and for how long rows of each are kept, in seconds."""

TABLE = sa.Table(
    "event_counts",
    metadata,
    sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("grant_type", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("events", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""`since` is a second of Unix time, from which a row counts for `seconds`. What an event does not have is empty."""

# PostgreSQL's key is wide, and without statistics the whole table looks cheaper to it.
sa.Index("ix_event_counts_seconds_since", TABLE.c.seconds, TABLE.c.since, info={"only": "postgresql"})


class CountedEvents(NamedTuple):
    """What events have in common that are counted together, within a minute."""

    minute: int
    type: str
    grant_type: str
    client_id: str


def _upsert(name: str) -> Any:
    insert: Any = (sqlite if name == "sqlite" else postgresql).insert(TABLE)
    return insert.on_conflict_do_update(
        index_elements=list(TABLE.primary_key.columns), set_={"events": TABLE.c.events + insert.excluded.events}
    )


_UPSERT = {name: Prepared(_upsert(name)) for name in ("sqlite", "postgresql")}
_FORGET = Prepared(
    sa.delete(TABLE).where(TABLE.c.seconds == sa.bindparam("b_seconds"), TABLE.c.since < sa.bindparam("b_until"))
)


def add(connection: sa.Connection, found: Mapping[CountedEvents, int]) -> None:
    """Counts events, by their minutes."""
    summed: dict[tuple[int, int, str, str, str], int] = {}
    for each, count in found.items():
        for seconds in KEPT:
            key = (seconds, each.minute - each.minute % seconds, each.type, each.grant_type, each.client_id)
            summed[key] = summed.get(key, 0) + count
    names = TABLE.columns.keys()
    rows = [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(summed.items())]
    if rows:
        _UPSERT[connection.dialect.name].run(connection, rows)


def forget(connection: sa.Connection, now: int) -> None:
    """Removes the rows that are over, at a second of Unix time: that of the newest event that was counted."""
    for seconds, kept in KEPT.items():
        if kept is not None:
            _FORGET.run(connection, [{"b_seconds": seconds, "b_until": first_kept(seconds, now)}])


def first_kept(seconds: int, now: int) -> int:
    """From when on there are rows of a length, in seconds of Unix time."""
    kept = KEPT[seconds]
    return 0 if kept is None else (now - kept) // seconds * seconds


# Asking.

CountedMember = Literal["type", "grant_type", "client_id"]


class CountedGroup(NamedTuple):
    """So many `events` of a group, in the stretch of this number; the group is empty for events that belong to none,
    and where no groups were asked for."""

    stretch: int
    group: str
    events: int


class CountedStretches(NamedTuple):
    """Stretches of `step` seconds from `first` to before `last`, in seconds of Unix time; counted by rows of `seconds`,
    by whose length all three can be divided."""

    seconds: int
    first: int
    last: int
    step: int


def counted(
    connection: sa.Connection,
    of: CountedStretches,
    by: CountedMember | None,
    *,
    types: Sequence[str] = (),
    not_types: Iterable[str] = (),
) -> list[CountedGroup]:
    """The counts of events of these types, or of all, but not of those; those of nothing are left out."""
    stretch = ((TABLE.c.since - of.first) // of.step).label("stretch")
    group = sa.literal("").label("member") if by is None else TABLE.c[by].label("member")
    query = sa.select(stretch, group, sa.func.sum(TABLE.c.events)).where(
        TABLE.c.seconds == of.seconds, TABLE.c.since >= of.first, TABLE.c.since < of.last
    )
    if types:
        query = query.where(TABLE.c.type.in_(types))
    left_out = tuple(not_types)
    if left_out:
        query = query.where(TABLE.c.type.not_in(left_out))
    query = query.group_by("stretch", "member") if by else query.group_by("stretch")
    return [CountedGroup(int(row[0]), row[1], int(row[2])) for row in connection.execute(query)]
