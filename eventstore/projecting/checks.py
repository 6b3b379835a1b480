"""Checks rows of read models, of the search index and of the vault against what their events make of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    Connection,
    MetaData,
    StaticPool,
    Table,
    UniqueConstraint,
    bindparam,
    create_engine,
    select,
    tuple_,
)
from sqlalchemy.schema import CreateTable

from domain.event import SECOND, Moment, Recorded
from domain.events import DESTROYING
from eventstore import origin_months, search
from eventstore.appending.rows import Rows, handlers
from eventstore.personal_data import PersonalData, Unsealing
from eventstore.projecting import packed_digests, packed_grants, requests
from eventstore.projecting.catch_up import EventIndexing
from eventstore.projecting.index_entries import Entry, apart
from eventstore.projecting.packing import own_use
from eventstore.projecting.rebuild import tables_of
from eventstore.recorder import LogRecorder, portions, store
from eventstore.sealed.short_names import as_kept
from eventstore.stored import events
from projections import PROJECTIONS, event_index, secrets, tokens
from projections.event_index import IndexRow as EventNamesRow
from projections.event_index import NameKind
from projections.named import digest_runs
from security.sealing import subjects_of
from security.vault import KEYS, Vault

# What the rows of some streams must be: their events, projected once more into tables of this process's own memory.

CheckedKey = tuple[Any, ...]
CheckedRow = tuple[Any, ...]

SUMMED: frozenset[str] = frozenset((str(secrets.USES.name),))
"""Tables whose rows come of many streams: they are compared as a whole, by `eventstore.projecting.check_rounds`."""

TABLES: Mapping[str, tuple[ModuleType, Table]] = {
    str(table.name): (module, table)
    for module in PROJECTIONS
    for table in tables_of(module)
    # Of what is packed there, too little is missed along the log, and too much leads to an event that issued no such.
    if table.name not in SUMMED and table is not digest_runs.TABLE
}

AT_ONCE = 200
"""Streams, or keys, of one question."""

_KEYS: Mapping[str, tuple[int, ...]] = {
    name: tuple(place for place, column in enumerate(table.columns) if column.primary_key)
    for name, (_, table) in TABLES.items()
}


def key_of(name: str, row: CheckedRow) -> CheckedKey:
    """The primary key of a whole row of a table."""
    return tuple([row[place] for place in _KEYS[name]])


def owners(connection: Connection, name: str, rows: Sequence[CheckedRow]) -> list[tuple[str, ...]]:
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
    "erasures": lambda row: (f"account:{row['account_id']}",),
    "foreign_hashes": lambda row: (f"account:{row['account_id']}",),
    "upstream_links": lambda row: (f"account:{row['account_id']}",),
    "consents": lambda row: (f"consent:{row['account_id']}:{row['client_id']}", f"account:{row['account_id']}"),
    "sessions": lambda row: (f"session:{row['session_id']}",),
    "scopes": lambda row: (f"scope:{row['name']}",),
    "roles": lambda row: (f"role:{row['realm']}:{row['name']}",),
    "grants": lambda row: (f"grant:{row['grant_id']}",),
    "session_grants": lambda row: (f"grant:{row['grant_id']}",),
    "tokens": lambda row: (f"grant:{row['grant_id']}",),
    "incidents": lambda row: (f"incident:{row['incident_id']}",),
    "incident_secrets": lambda row: (f"incident:{row['incident_id']}",),
    # By the position that the row names.
    "digests": None,
}
"""By table, whose events make a row."""

CATEGORIES = frozenset(
    ("client", "account", "consent", "session", "scope", "role", "grant", "incident", "initial_access_token")
)
"""The categories of these streams."""


def beside(stream: str) -> tuple[str, ...]:
    """A stream, and others whose events change its rows too."""
    category, _, rest = stream.partition(":")
    # Anyone who is erased allows nothing any more.
    return (stream, f"account:{rest.partition(':')[0]}") if category == "consent" else (stream,)


def streams_at(connection: Connection, positions: Iterable[int]) -> dict[int, str]:
    """The streams of the events at these positions."""
    rows = (search.rows_at(connection, portion) for portion in portions(sorted(set(positions)), AT_ONCE))
    return {row.id: row.originator_id for row in chain.from_iterable(rows)}


# Rows that are written with the log, held against what its events make of them.

SLACK: Moment = 300 * SECOND
"""A row that leaves so soon may have left: another node's clock decides about that."""


class Suspicion(NamedTuple):
    """A row that looked wrong, and the streams by which that is judged. `name` is the table's."""

    name: str
    key: CheckedKey
    streams: tuple[str, ...]

    @property
    def projection(self) -> str:
        """The read model, by the name under which it is rebuilt."""
        return TABLES[self.name][0].__name__.rpartition(".")[2]

    @property
    def key_sha256(self) -> str:
        """Names the row to the one who has it, and tells nobody else anything."""
        return sha256(msgspec.json.encode((self.name, *self.key))).hexdigest()


class Checks:
    """Compares the rows with what their events make of them, once more, in tables in memory. Not thread-safe.

    What it finds is a suspicion until `stands` says so under the log's lock.
    """

    def __init__(self, privacy: PersonalData) -> None:
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

    def _rows(self, connection: Connection, streams: Collection[str]) -> dict[str, dict[CheckedKey, CheckedRow]]:
        """By table and key, every row that the events of these streams make, if they alone were in the log."""
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

    def _found(self, name: str) -> dict[CheckedKey, CheckedRow]:
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

    def begun(self, connection: Connection, recorded: Iterable[Recorded], now: Moment) -> list[Suspicion]:
        """Looks for the rows of every stream that begins with one of these events."""
        begun = [each.stream for each in recorded if each.version == 1]
        whole = {name for each in begun if each.partition(":")[0] in CATEGORIES for name in beside(each)}
        made = self._rows(connection, whole)
        found = []
        for name, rows in made.items():
            for key in self._differing(connection, name, rows, rows.keys(), made, now):
                named = owners(connection, name, [rows[key]])[0]
                found.append(Suspicion(name, key, named))
        return found

    def standing(self, connection: Connection, name: str, rows: Sequence[CheckedRow], now: Moment) -> list[Suspicion]:
        """Looks for what explains rows of a table."""
        streams = owners(connection, name, rows)
        made = self._rows(connection, {each for named in streams for each in named})
        by_key = {key_of(name, row): named for row, named in zip(rows, streams, strict=True)}
        wrong = self._differing(connection, name, made.get(name, {}), by_key.keys(), made, now)
        return [Suspicion(name, key, by_key[key]) for key in wrong]

    def stands(self, connection: Connection, suspicion: Suspicion, now: Moment) -> bool:
        """Whether it is so, asked under the log's lock, where rows and events belong together."""
        name, key, streams = suspicion
        made = self._rows(connection, streams)
        return bool(self._differing(connection, name, made.get(name, {}), (key,), made, now))

    def _differing(
        self,
        connection: Connection,
        name: str,
        expected: Mapping[CheckedKey, CheckedRow],
        keys: Collection[CheckedKey],
        made: Mapping[str, Mapping[CheckedKey, CheckedRow]],
        now: Moment,
    ) -> list[CheckedKey]:
        live = rows_at(connection, name, keys)
        if name == "digests":
            live |= packed_digests.rows(connection, [expected[key] for key in keys if key in expected.keys() - live])
        wrong = [key for key in keys if expected.get(key) != live.get(key)]
        if not wrong:
            return []
        if name == "digests":
            return [key for key in wrong if not _is_kept(key, live.get(key), made.get("tokens", {}), now)]
        horizon = getattr(TABLES[name][0], "HORIZON", None)
        if horizon is None:
            return wrong
        place = TABLES[name][1].columns.keys().index(horizon)
        gone = {key for key in wrong if key not in live and expected[key][place] < now + SLACK}
        lost = set(gone) if name != "tokens" else gone & _kept(connection, {key: expected[key] for key in gone})
        return [key for key in wrong if key not in lost]


def _is_kept(key: CheckedKey, live: CheckedRow | None, made: Mapping[CheckedKey, CheckedRow], now: Moment) -> bool:
    """Whether a digest is that of a token whose row may have left."""
    token = made.get(key)
    if token is None or live is None:
        return False
    told = dict(zip(tokens.COLUMNS, token, strict=True))
    return bool(told["position"] == live[1] and told[tokens.HORIZON] < now + SLACK)


def _kept(connection: Connection, made: Mapping[CheckedKey, CheckedRow]) -> set[CheckedKey]:
    """Those of the tokens whose digests are kept where their rows have left."""
    place = tokens.COLUMNS.index("position")
    kept = packed_digests.kept(connection, {key[0]: row[place] for key, row in made.items()})
    return {key for key in made if key[0] in kept}


def rows_at(connection: Connection, name: str, keys: Iterable[CheckedKey]) -> dict[CheckedKey, CheckedRow]:
    """The live rows with these keys."""
    _, table = TABLES[name]
    own = tuple_(*table.primary_key.columns)
    rows = (connection.execute(select(table).where(own.in_(portion))) for portion in portions(list(keys), AT_ONCE))
    return {key_of(name, row): row for row in map(tuple, chain.from_iterable(rows))}


def next_rows(connection: Connection, name: str, after: CheckedKey | None, limit: int) -> list[CheckedRow]:
    """Some rows of a table in the order of its key, behind one."""
    _, table = TABLES[name]
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [tuple(row) for row in connection.execute(query)]


# The search index held against what events name, and the events against the index.

_REQUEST = int(NameKind.REQUEST)


class Misnamed(NamedTuple):
    """An entry of the index that looked wrong: it is there and should not be, or the other way round."""

    kind: int
    key: bytes
    position: int

    @property
    def projection(self) -> str:
        """The read model, by the name under which it is rebuilt."""
        return event_index.NAME

    @property
    def key_sha256(self) -> str:
        """Names the entry to the one who has it, and tells nobody else anything."""
        return sha256(msgspec.json.encode(tuple(self))).hexdigest()


_IMPOSSIBLE = 1 << 62
"""No log comes to that position."""


class Index:
    """Compares. What it finds is a suspicion until `stands` says so while nobody writes."""

    def __init__(self, privacy: PersonalData) -> None:
        self._privacy = privacy

    def named(self, connection: Connection, positions: Iterable[int]) -> set[EventNamesRow]:
        """What the events at these positions name, with what an earlier version noted of uses beside their streams."""
        found = set[EventNamesRow]()
        for wanted in portions(sorted(each for each in set(positions) if _is_possible(each)), AT_ONCE):
            recorded = search.recorded_forms(connection, wanted)
            uses = (own_use(each.stream, each.position) for each in recorded)
            found.update(self._named(connection, recorded), (each for each in uses if each is not None))
        return found

    def _named(self, connection: Connection, recorded: Sequence[Recorded]) -> set[EventNamesRow]:
        indexing = EventIndexing()
        return set(indexing.stored(connection, indexing.prepare(connection, recorded, Unsealing(self._privacy)).rows))

    def begun(self, connection: Connection, recorded: Sequence[Recorded]) -> list[Misnamed]:
        """Looks for what neighbouring events name, as far as the index has come."""
        reached = event_index.reached(connection)
        followed = [each for each in recorded if each.position <= reached]
        if not followed:
            return []
        first, last = followed[0].position, followed[-1].position
        expected = self._named(connection, followed)
        live: set[EventNamesRow] = set()
        for kind, key in {(kind, key) for kind, key, _ in expected}:
            found = event_index.positions(
                connection, NameKind(kind), key, first, last, last - first + 1, descending=False
            )
            live.update((kind, key, position) for position in found)
            if kind == _REQUEST:
                live |= expected.intersection((kind, key, each) for each in _packed(connection, key, first, last))
        live |= packed_grants.standing(connection, expected)
        optional = {own_use(each.stream, each.position) for each in followed}
        return [Misnamed(*each) for each in sorted((expected ^ live) - optional)]

    def standing(self, connection: Connection, rows: Sequence[Entry]) -> list[Misnamed]:
        """Looks for what explains rows of the index."""
        return self.explained(connection, apart(rows))

    def explained(self, connection: Connection, entries: Iterable[EventNamesRow]) -> list[Misnamed]:
        """Looks for what explains entries, a position in each, packed or not; those that nothing explains."""
        live = set(entries)
        return [Misnamed(*each) for each in sorted(live - self._found(connection, [each[2] for each in live]))]

    def _found(self, connection: Connection, positions: Sequence[int]) -> set[EventNamesRow]:
        """What the events name, and the other keys under which it may stand once it is archived."""
        named = self.named(connection, positions)
        requests_ = [each for each in named if each[0] == _REQUEST]
        others = ((kind, other, at) for kind, key, at in requests_ for other in requests.packed_keys(key))
        return named.union(others, packed_grants.as_entries(named))

    def stands(self, connection: Connection, found: Misnamed) -> bool:
        """Whether it is so, asked under the log's lock. What an erasure is about to take away may be still there."""
        event_index.hold(connection, event_index.NAME)
        if not _is_possible(found.position):
            return True
        reached = event_index.reached(connection)
        if found.position > reached:
            return bool(_is_there(connection, found))
        is_named = tuple(found) in self._found(connection, (found.position,))
        if is_named == _is_there(connection, found):
            return False
        return is_named or found.kind != int(NameKind.ADDRESS) or not _may_leave(connection, found.position, reached)


def _is_possible(position: int) -> bool:
    """Whether a table can be asked for it and for what is near it: no event has another, and somebody else wrote it."""
    return 0 < position < _IMPOSSIBLE


def _is_there(connection: Connection, found: Misnamed) -> bool:
    at = found.position
    if found.kind == packed_grants.PACKED:
        return packed_grants.is_there(connection, found)
    if packed_grants.standing(connection, {found}):
        return True
    if event_index.positions(connection, found.kind, found.key, at, at, 1, descending=False):
        return True
    return found.kind == _REQUEST and bool(_packed(connection, found.key, at, at))


def _packed(connection: Connection, key: bytes, first: int, last: int) -> list[int]:
    """Where events are archived of the time of a request."""
    found: list[int] = []
    for each in requests.packed_keys(key):
        found += event_index.positions(
            connection, NameKind.REQUEST, each, first, last, last - first + 1, descending=False
        )
    return found


def _may_leave(connection: Connection, position: int, reached: int) -> bool:
    """Whether an address is about to leave the index: its month has ended, or somebody's end is yet to be followed."""
    recorder = LogRecorder.over(connection)
    if recorder.select_notifications(reached, 1, topics=sorted(DESTROYING), inclusive_of_start=False):
        return True
    return any(each.first <= position <= each.last for each in origin_months.ended(connection))


# The vault's keys held against the log: none is destroyed, missing or altered without the event that says so.

NAME = "vault_keys"

_TOLD = select(events.c.originator_id).where(
    events.c.originator_id.in_(bindparam("b_subjects", expanding=True)), events.c.topic.in_(as_kept(DESTROYING))
)
_DESTROYED = (
    select(KEYS.c.subject)
    .where(KEYS.c.subject > bindparam("b_after"), KEYS.c.wrapped.is_(None))
    .order_by(KEYS.c.subject)
    .limit(bindparam("b_limit"))
)


class MissingKey(NamedTuple):
    """A key that cannot be had, though nothing says that it was destroyed."""

    subject: str

    @property
    def projection(self) -> str:
        """The vault is no read model, and no rebuild brings a key back."""
        return NAME

    @property
    def key_sha256(self) -> str:
        """Names the subject to the one who knows it."""
        return sha256(self.subject.encode()).hexdigest()


class VaultKeys:
    """Compares the keys that are there with what the events say of them."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def begun(self, connection: Connection, recorded: Iterable[Recorded]) -> list[MissingKey]:
        """Looks for the keys under which these events are sealed."""
        wanted: set[str] = set()
        for each in recorded:
            for text in (each.ip, each.user_agent, *(getattr(each.event, name) for name in each.event.personal)):
                if text is not None:
                    wanted.update(subjects_of(text))
        return self._missing(connection, wanted)

    def destroyed(self, connection: Connection, after: str, limit: int) -> tuple[list[MissingKey], str | None]:
        """Looks for the events of destroyed keys, behind one; where to go on, None at the end."""
        subjects = connection.scalars(_DESTROYED, {"b_after": after, "b_limit": limit}).all()
        return self._missing(connection, subjects), subjects[-1] if len(subjects) == limit else None

    def stands(self, connection: Connection, missing: MissingKey) -> bool:
        """Whether it is so, asked under the log's lock."""
        return bool(self._missing(connection, (missing.subject,)))

    def _missing(self, connection: Connection, subjects: Iterable[str]) -> list[MissingKey]:
        wanted = sorted(subjects)
        left = set(wanted)
        for portion in portions(wanted, AT_ONCE):
            left -= self._vault.openable(connection, portion)
            left -= set(connection.scalars(_TOLD, {"b_subjects": portion}))
        return [MissingKey(subject) for subject in sorted(left)]
