"""What the rows of some streams must be: their events, projected once more into tables of this process's own memory."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, MetaData, StaticPool, Table, UniqueConstraint, create_engine, select
from sqlalchemy.schema import CreateTable

from domain.event import Recorded
from eventstore import searching
from eventstore.fresh_tables import tables_of
from eventstore.privacy import Privacy
from eventstore.recorder import store
from eventstore.rows import Rows
from eventstore.writing import handlers
from projections import PROJECTIONS, secrets

Key = tuple[Any, ...]
Row = tuple[Any, ...]

SUMMED: frozenset[str] = frozenset((str(secrets.USES.name),))
"""Tables whose rows come of many streams: they are compared as a whole, by `eventstore.checking.sums`."""

TABLES: Mapping[str, tuple[ModuleType, Table]] = {
    str(table.name): (module, table)
    for module in PROJECTIONS
    for table in tables_of(module)
    if table.name not in SUMMED
}

AT_ONCE = 200
"""Streams, or keys, of one question."""


_KEYS: Mapping[str, tuple[int, ...]] = {
    name: tuple(place for place, column in enumerate(table.columns) if column.primary_key)
    for name, (_, table) in TABLES.items()
}


def key_of(name: str, row: Row) -> Key:
    """The primary key of a whole row of a table."""
    return tuple([row[place] for place in _KEYS[name]])


def owners(connection: Connection, name: str, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Of each row of a table the streams by which it must be explained; none where its event is missing."""
    _, table = TABLES[name]
    told = [dict(zip(table.columns.keys(), row, strict=True)) for row in rows]
    if name == "digests":
        streams = streams_at(connection, [each["position"] for each in told])
        return [(streams[each["position"]],) if each["position"] in streams else () for each in told]
    return [OWNERS[name](each) for each in told]


OWNERS: Mapping[str, Any] = {
    "clients": lambda row: (f"client:{row['client_id']}",),
    "secrets": lambda row: (f"client:{row['client_id']}",),
    "rotations": lambda row: (f"client:{row['client_id']}",),
    "accounts": lambda row: (f"account:{row['account_id']}",),
    "consents": lambda row: (f"consent:{row['account_id']}:{row['client_id']}", f"account:{row['account_id']}"),
    "sessions": lambda row: (f"session:{row['session_id']}",),
    "scopes": lambda row: (f"scope:{row['name']}",),
    "roles": lambda row: (f"role:{row['realm']}:{row['name']}",),
    "grants": lambda row: (f"grant:{row['grant_id']}",),
    "tokens": lambda row: (f"grant:{row['grant_id']}",),
    "incidents": lambda row: (f"incident:{row['incident_id']}",),
    "incident_secrets": lambda row: (f"incident:{row['incident_id']}",),
    # By the position that the row names.
    "digests": None,
}
"""By table, whose events make a row."""

CATEGORIES = frozenset(("client", "account", "consent", "session", "scope", "role", "grant", "incident"))
"""The categories of these streams."""


def beside(stream: str) -> tuple[str, ...]:
    """A stream, and others whose events change its rows too."""
    category, _, rest = stream.partition(":")
    # Whoever is erased allows nothing any more.
    return (stream, f"account:{rest.partition(':')[0]}") if category == "consent" else (stream,)


def streams_at(connection: Connection, positions: Iterable[int]) -> dict[int, str]:
    """The streams of the events at these positions."""
    wanted = sorted(set(positions))
    found: dict[int, str] = {}
    for start in range(0, len(wanted), AT_ONCE):
        rows = searching.rows_at(connection, wanted[start : start + AT_ONCE])
        found |= {row.id: row.originator_id for row in rows}
    return found


class Expected:
    """The tables in memory. Not thread-safe."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy
        self._handlers = handlers()
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        self._scratch = engine.connect()
        made = MetaData()
        self._tables = {}
        for module in PROJECTIONS:
            for table in tables_of(module):
                twin = self._tables[table.name] = table.to_metadata(made)
                # Other streams' rows are not here to be in each other's way.
                twin.constraints = {each for each in twin.constraints if not isinstance(each, UniqueConstraint)}
                self._scratch.execute(CreateTable(twin))
        self._all = {name: select(twin) for name, twin in self._tables.items()}
        self._scratch.commit()

    def close(self) -> None:
        """Lets the memory go."""
        self._scratch.close()

    def rows(self, connection: Connection, streams: Collection[str]) -> dict[str, dict[Key, Row]]:
        """By table and key, every row that the events of these streams make, if they alone were in the log.

        A table without any is left out.
        """
        rows, realms, touched = Rows(), dict[str, str](), set[str]()
        for recorded in self._events(connection, streams):
            indexes = self._indexes(connection, recorded, realms)
            for projection in self._handlers.get(recorded.type, ()):
                for write in projection.project(recorded, indexes):
                    rows.add(write)
                    statement: Any = write.statement
                    touched.add(statement.table.name)
        try:
            rows.flush(self._scratch)
            return {name: self._found(name) for name in TABLES if name in touched}
        finally:
            self._scratch.rollback()

    def _found(self, name: str) -> dict[Key, Row]:
        return {key_of(name, row): row for row in map(tuple, self._scratch.execute(self._all[name]))}

    def _events(self, connection: Connection, streams: Collection[str]) -> list[Recorded]:
        log = store(connection)
        found = log.recorder.select_events_of(dict.fromkeys(sorted(streams), 0)).values()
        return sorted(map(log.mapper.recorded, chain.from_iterable(found)), key=attrgetter("position"))

    def _indexes(self, connection: Connection, recorded: Recorded, realms: dict[str, str]) -> Mapping[str, bytes]:
        realm = getattr(recorded.event, "realm", None)
        if realm is not None:
            realms[recorded.stream] = realm
        if not recorded.event.personal:
            return {}
        return self._privacy.indexes(connection, recorded.event, recorded.id, realms.get(recorded.stream, ""))
