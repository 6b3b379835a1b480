"""Rebuilding projections: the whole log into fresh tables beside the live ones, which are then swapped in at once.

The server keeps answering meanwhile. A rebuild that was killed goes on where it had come to.
"""

import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from domain.event import Moment
from eventstore.checking.differing import DIFFERS
from eventstore.engines import reading
from eventstore.fresh_tables import FreshTables
from eventstore.mapper import authenticate
from eventstore.privacy import Privacy
from eventstore.replaying import Replay, names
from eventstore.stored import head, projection_versions, rebuilds

Progress = Callable[[int, int], None]
"""Is told how far the rebuild has come, and how far it has to go."""


UNMADE = 0
"""Noted as the version of rows that are yet to be made from events which are in the log already."""


class Outdated(Exception):
    """Rows are missing or of another definition than this code's; the message names the command that makes them."""

    def __init__(self, names: Sequence[str]) -> None:
        command = f"grantlog projections rebuild {' '.join(names)}"
        super().__init__(f"rows are missing, or were made by another definition than this version's: run `{command}`")


class Rebuilt(NamedTuple):
    """Up to which position, from which position on (0, or where an earlier run was broken off)."""

    position: int
    resumed_from: int


class Rebuild:
    """One rebuild of some projections. `engine` connects as the role that owns the tables."""

    def __init__(
        self,
        engine: Engine,
        projections: Sequence[ModuleType],
        privacy: Privacy,
        now: Moment,
        *,
        server_role: str | None = None,
    ) -> None:
        self._engine = engine
        self._projections = tuple(projections)
        self._privacy = privacy
        self._now = now
        self._server_role = server_role
        self._name = " ".join(names(projections))
        self._macs = privacy.vault.row_macs(rebuilds.name)
        authenticate(engine, privacy.vault)

    def run(self, progress: Progress = lambda done, goal: None) -> Rebuilt:
        """Replays, and swaps the fresh tables in under the log's lock, when what is left of the log is short."""
        position, fresh = self._begin()
        resumed_from = position
        replay = Replay(self._projections, self._privacy, fresh.turned, self._now, fresh.settled)
        # Reading needs no lock: what is in the log stays as it is.
        log = reading(self._engine.url.render_as_string(hide_password=False), 1)
        authenticate(log, self._privacy.vault)
        try:
            while True:
                with log.connect() as connection:
                    goal = connection.scalar(select(head.c.position).where(head.c.id == 1)) or 0
                    if goal - position <= replay.step_events:
                        break
                    after, position = position, min(position + replay.step_events, goal)
                    replay.read(connection, after, position)
                with self._engine.begin() as connection:
                    replay.write(connection)
                    self._note(connection, position, fresh.generation)
                progress(position, goal)
        finally:
            log.dispose()
        with self._engine.begin() as connection:
            fresh.index(connection)
        with self._engine.begin() as connection:
            goal = connection.scalar(select(head.c.position).where(head.c.id == 1).with_for_update()) or 0
            replay.step(connection, position, goal)
            fresh.swap_in(connection, self._server_role)
            connection.execute(delete(rebuilds).where(rebuilds.c.name == self._name))
            set_versions(connection, self._projections)
        progress(goal, goal)
        return Rebuilt(goal, resumed_from)

    def _begin(self) -> tuple[int, FreshTables]:
        with self._engine.begin() as connection:
            row = connection.execute(select(rebuilds).where(rebuilds.c.name == self._name)).first()
            if row is not None:
                fresh = FreshTables(self._projections, row.generation)
                kept = self._macs.holds(row.mac, row.name, row.position, row.generation, row.versions)
                if kept and row.versions == _versions(self._projections) and fresh.exist(connection):
                    return row.position, fresh
                connection.execute(delete(rebuilds).where(rebuilds.c.name == self._name))
            # At random, since the indexes of an earlier rebuild keep their names as long as their table lives.
            generation = int.from_bytes(os.urandom(5))
            fresh = FreshTables(self._projections, generation)
            fresh.create(connection)
            connection.execute(insert(rebuilds), self._row(0, generation))
            return 0, fresh

    def _note(self, connection: Connection, position: int, generation: int) -> None:
        row = self._row(position, generation)
        connection.execute(update(rebuilds).where(rebuilds.c.name == self._name).values(row))

    def _row(self, position: int, generation: int) -> dict[str, Any]:
        versions = _versions(self._projections)
        mac = self._macs.of(self._name, position, generation, versions)
        row = {"name": self._name, "position": position, "generation": generation}
        return row | {"versions": versions, "mac": mac}


def _versions(projections: Sequence[ModuleType]) -> str:
    return " ".join(str(each.VERSION) for each in projections)


def set_versions(connection: Connection, projections: Sequence[ModuleType]) -> None:
    """Notes with which definition each projection's rows were made."""
    for name, projection in zip(names(projections), projections, strict=True):
        _set_version(connection, name, projection.VERSION)


def set_unmade(connection: Connection, projections: Sequence[ModuleType]) -> None:
    """Notes that rows are missing, in the very transaction that brings events without them."""
    for name in names(projections):
        _set_version(connection, name, UNMADE)


def _set_version(connection: Connection, name: str, version: int) -> None:
    connection.execute(delete(projection_versions).where(projection_versions.c.name == name))
    connection.execute(insert(projection_versions), {"name": name, "version": version})


def count(connection: Connection, projection: ModuleType) -> int:
    """How many rows it has."""
    return connection.execute(select(func.count()).select_from(projection.TABLE)).scalar_one()


def outdated(connection: Connection, projections: Sequence[ModuleType]) -> list[str]:
    """The projections whose rows are missing or were made by another definition than this code's.

    A projection without a note was made with its first definition. One that was found to differ from the log is not
    among them: a server goes on with it, and says so.
    """
    noted = {row.name: row.version for row in connection.execute(select(projection_versions))}
    return [
        name
        for name, projection in zip(names(projections), projections, strict=True)
        if noted.get(name, 1) not in (projection.VERSION, DIFFERS)
    ]
