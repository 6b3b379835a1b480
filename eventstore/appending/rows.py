"""Events to the rows that they make: as they are written, in one transaction, and when the log is read back."""

import gc
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import msgspec
from sqlalchemy import Connection, Executable, Table

from domain.event import Moment, Recorded
from domain.grant import is_alone
from eventstore.mapper import UPCASTS, EventColumns, Ring, decoder
from eventstore.personal_data import PersonalData
from eventstore.recorder import Recent, append, store
from eventstore.repository import Changes, Repository
from eventstore.sealed.log_rows import EventRow
from projections import ONCE, PROJECTIONS, accounts, digests, grants, person_notices, secrets, tokens
from projections.prepared import Prepared
from projections.tables import Write
from projections.tokens import BulkRows
from projections.tokens import Leaf as TokenLeaf
from security.vault import Vault

_prepared = cache(Prepared)
"""By statement. Statements are built at import, so there are only so many."""


class Rows:
    """Groups writes by statement and keeps the order of those that touch the same row.

    A write joins the last group of its statement unless a later group has touched its row. Where a write names
    parameters to `add`, it is merged into the one before it: a counter that many commands raise is one update.
    """

    def __init__(self) -> None:
        self._groups: list[tuple[Executable, list[dict[str, Any]]]] = []
        self._last: dict[int, int] = {}
        self._touched: dict[Hashable, int] = {}
        self._counted: dict[tuple[int, Hashable], dict[str, Any]] = {}

    def add(self, write: Write) -> None:
        """Queues one write."""
        statement, params = id(write.statement), write.params
        touched = self._touched.get(write.key, -1)
        group = self._last.get(statement, -1)
        if group < touched or group < 0:
            group = len(self._groups)
            self._groups.append((write.statement, []))
            self._last[statement] = group
            self._counted = {k: v for k, v in self._counted.items() if k[0] != statement}
        self._touched[write.key] = group
        if write.add:
            former = self._counted.get((statement, write.key))
            if former is not None:
                for name, value in write.params.items():
                    former[name] = former[name] + value if name in write.add else value
                return
            self._counted[statement, write.key] = params = dict(params)
        self._groups[group][1].append(params)

    def flush(self, connection: Connection) -> None:
        """Sends every group in order; none is left, even when one of them fails."""
        if not self._groups:
            return
        groups, self._groups = self._groups, []
        self._last.clear()
        self._touched.clear()
        self._counted.clear()
        for statement, parameters in groups:
            _prepared(statement).run(connection, parameters)


def handlers(projections: Iterable[ModuleType] = PROJECTIONS) -> Mapping[str, tuple[ModuleType, ...]]:
    """Which projections want an event of a type."""
    wanted: dict[str, list[ModuleType]] = {}
    for projection in projections:
        for event in projection.HANDLES:
            wanted.setdefault(event.type, []).append(projection)
    return {tag: tuple(modules) for tag, modules in wanted.items()}


SHARED = 1_024
"""Answers that are kept from one transaction to the next: their keys hold what callers ask for."""


class Lasting:
    """What was made for `View.shared`, between two transactions that nobody wrote between."""

    def __init__(self) -> None:
        self._kept: tuple[int, dict[Hashable, Any]] = (-1, {})

    def keep(self, position: int, shared: dict[Hashable, Any]) -> None:
        """Keeps what holds with the log up to that position."""
        self._kept = (position, shared)

    def taken(self, position: int) -> dict[Hashable, Any]:
        """What holds for the transaction after that position. It is kept no longer: the transaction may break."""
        (kept_at, shared), self._kept = self._kept, (-1, {})
        return shared if kept_at == position and len(shared) < SHARED else {}


OF_LONE: tuple[ModuleType, ...] = (tokens, secrets)
NOT_OF_LONE: tuple[ModuleType, ...] = (grants, person_notices)
"""Those that have rows for the first tokens of a grant which is one access token, as nearly every grant is, and those
that have none. Of these tokens many come at once, so that they are not projected one by one."""


@dataclass(slots=True, eq=False)
class Writing:
    """What every batch shares: caches, sealing, the vault, and the projections."""

    changes: Changes
    states: Repository
    privacy: PersonalData
    vault: Vault
    recent: Recent
    indexed_by: str
    ring: Ring
    lasting: Lasting = field(init=False, default_factory=Lasting)
    _handlers: Mapping[str, tuple[ModuleType, ...]] = field(default_factory=lambda: handlers((*PROJECTIONS, *ONCE)))

    def append(
        self, connection: Connection, recorded: Sequence[Recorded], indexes: Sequence[Mapping[str, bytes]]
    ) -> list[EventRow]:
        """Appends the events and writes their projection rows; how they are stored themselves."""
        stored = append(connection, recorded)
        rows, alone = Rows(), list[Recorded]()
        for r, index in zip(recorded, indexes, strict=True):
            if is_alone(r.event):
                alone.append(r)
                continue
            for projection in self._handlers.get(r.event.type, ()):
                for write in projection.project(r, index):
                    rows.add(write)
        if alone:
            # Of new tokens nothing can be said before, and uses only add up.
            tokens.insert_alone(connection, alone)
            for write in secrets.used_for(alone):
                rows.add(write)
        rows.flush(connection)
        return stored


STEP = 50_000
"""Events in one transaction. On SQLite the server waits with every write while the rows of a step are written."""

LONG_STEP = 250_000
"""That of a replay of tokens alone, whose rows are few and soon written."""

AT_ONCE = 500
"""Events in memory at a time, as text: so few that the processor need not fetch them from memory again and again."""

FEW = 16
"""So many types are chosen by the database; it would take longer over more than reading every event."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing here refers to itself, and what waits to be written would be walked over and over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


_OF_TOKENS = frozenset(event.type for event in tokens.HANDLES)
_LEAVES = msgspec.json.Decoder(list[TokenLeaf])


def _leaves(stored: Iterable[EventColumns]) -> list[TokenLeaf]:
    """Decodes the events about tokens as one JSON array: cheaper than one after the other."""
    found: list[TokenLeaf] = _LEAVES.decode(b"[%b]" % b",".join([row[4] for row in stored if row[3] in _OF_TOKENS]))
    return found


class Replay:
    """Replays stretches of the log into the tables of some projections.

    `turn` maps a projection's statement to the one to execute; `settle` (of the projection, where it has one) says what
    becomes of a row that would have been pruned by now. `settled` is the table of `projections.digests` to fill.
    """

    def __init__(
        self,
        projections: Sequence[ModuleType],
        privacy: PersonalData,
        turn: Callable[[Executable], Executable],
        now: Moment,
        settled: Table | None = None,
    ) -> None:
        # Nine of ten rows of a replay are tokens. A log with retired tags is read event by event all the same.
        folded = tokens in projections and settled is not None and not UPCASTS
        self._stretch = BulkRows(turn, settled, now) if folded and settled is not None else None
        one_by_one = [each for each in projections if each is not tokens or not folded]
        self._handlers: Mapping[str, tuple[ModuleType, ...]] = handlers(one_by_one)
        self._settlers = {id(each): each.settle for each in one_by_one if hasattr(each, "settle")}
        wanted = self._handlers.keys() | (_OF_TOKENS if folded else set())
        self._topics = sorted(wanted) if len(wanted) <= FEW else ()
        self._privacy = privacy
        self._turn = turn
        self._now = now
        self._realms: dict[str, str] = {}
        self._rows = Rows()
        self.step_events = STEP if any(each is not digests for each in one_by_one) else LONG_STEP
        """How many events one transaction should hold."""

    def step(self, connection: Connection, after: int, until: int) -> None:
        """Replays events `after` < position ≤ `until` within the caller's transaction."""
        self.read(connection, after, until)
        self.write(connection)

    def read(self, connection: Connection, after: int, until: int) -> None:
        """Reads events `after` < position ≤ `until` and computes their rows, which wait for `write`."""
        with _uncollected():
            log = store(connection)
            verify = log.mapper.form
            for start in range(after, until, AT_ONCE):
                stored = log.recorder.rows_between(start, min(start + AT_ONCE, until), self._topics)
                for row in stored:
                    verify(row)
                if self._stretch is not None:
                    self._stretch.take(_leaves(stored))
                self._project(connection, [each for each in stored if each[3] in self._handlers])

    def write(self, connection: Connection) -> None:
        """Writes the rows of everything that was read since the last call, within the caller's transaction."""
        if self._stretch is not None:
            self._stretch.write(connection)
        self._rows.flush(connection)

    def _project(self, connection: Connection, stored: Iterable[EventColumns]) -> None:
        turn, add, decoded = self._turn, self._rows.add, decoder(connection).decoded
        for row in stored:
            recorded = decoded(row[3], row[4])
            indexes = self._indexes(connection, recorded) if recorded.event.personal else {}
            for projection in self._handlers[row[3]]:
                settle = self._settlers.get(id(projection))
                for write in projection.project(recorded, indexes):
                    settled = write if settle is None else settle(write, self._now)
                    add(Write(turn(settled.statement), settled.params, settled.key, settled.add))

    def _indexes(self, connection: Connection, recorded: Recorded) -> Mapping[str, bytes]:
        realm = getattr(recorded.event, "realm", None)
        if realm is not None:
            self._realms[recorded.stream] = realm
        else:
            realm = self._realms.get(recorded.stream) or self._realm(connection, recorded.stream)
        return self._privacy.indexes(connection, recorded.event, recorded.id, realm)

    def _realm(self, connection: Connection, stream: str) -> str:
        row = accounts.by_id(connection, stream.partition(":")[2])
        return "" if row is None else row.realm


def names(projections: Iterable[ModuleType]) -> list[str]:
    """The projections' names: those of their files."""
    return [projection.__name__.rpartition(".")[2] for projection in projections]
