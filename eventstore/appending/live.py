"""Writes read models with the log, in its transaction: rows are grouped, so that many commands cost one round trip."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Executable

from domain.event import Recorded
from eventstore.changes import Changes, Recent
from eventstore.mapper import Ring
from eventstore.personal_data import PersonalData
from eventstore.recorder import store
from eventstore.repository import Repository
from projections import ONCE, PROJECTIONS
from projections.prepared import Prepared
from projections.tables import Write
from security.vault import Vault

# Projection rows that wait for their statement: grouped, so that many commands cost one round trip a statement.

_PREPARED: dict[Executable, Prepared] = {}
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
        statement = id(write.statement)
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
                former.update(write.params | {name: former[name] + write.params[name] for name in write.add})
                return
            write = write._replace(params=dict(write.params))
            self._counted[statement, write.key] = write.params
        self._groups[group][1].append(write.params)

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


def _prepared(statement: Executable) -> Prepared:
    found = _PREPARED.get(statement)
    if found is None:
        found = _PREPARED[statement] = Prepared(statement)
    return found


# The parts that a transaction of the log is made of, put together once for a process.


def handlers(projections: Iterable[ModuleType] = PROJECTIONS) -> Mapping[str, tuple[ModuleType, ...]]:
    """Which projections want an event of a type."""
    wanted: dict[str, list[ModuleType]] = {}
    for projection in projections:
        for event in projection.HANDLES:
            wanted.setdefault(event.type, []).append(projection)
    return {tag: tuple(modules) for tag, modules in wanted.items()}


class Writing:
    """What every batch shares: caches, sealing, the vault, and the projections."""

    def __init__(
        self,
        changes: Changes,
        states: Repository,
        privacy: PersonalData,
        vault: Vault,
        recent: Recent,
        indexed_by: str,
        ring: Ring,
    ) -> None:
        self.ring = ring
        self.changes = changes
        self.states = states
        self.privacy = privacy
        self.vault = vault
        self.recent = recent
        self.indexed_by = indexed_by
        self._handlers = handlers((*PROJECTIONS, *ONCE))

    def append(
        self, connection: Connection, recorded: Sequence[Recorded], indexes: Sequence[Mapping[str, bytes]]
    ) -> str:
        """Appends the events and writes their projection rows; the stored form of the last."""
        newest = store(connection).append(recorded)
        rows = Rows()
        for r, index in zip(recorded, indexes, strict=True):
            for projection in self._handlers.get(r.event.type, ()):
                for write in projection.project(r, index):
                    rows.add(write)
        rows.flush(connection)
        return newest
