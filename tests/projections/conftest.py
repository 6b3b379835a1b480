"""The read models' tables in an empty database of either kind, and a small log that is projected into them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, create_engine, select

from domain.event import ANONYMOUS, Event, Moment, Recorded
from eventstore.appending.rows import Rows, handlers
from projections.tables import metadata
from tests.domain.history import NOW


class Log:
    """Records events one after another and writes the rows of all read models, as the ledger would."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._handlers = handlers()
        self._log: list[tuple[Recorded, Mapping[str, bytes]]] = []

    def tell(self, stream: str, *events: Event, at: Moment = NOW, **indexes: bytes) -> None:
        """Appends the events of one stream as one batch."""
        batch: list[tuple[Recorded, Mapping[str, bytes]]] = [
            (self._record(stream, event, at), indexes) for event in events
        ]
        self._write(batch)

    def replay(self) -> None:
        """Empties the tables and writes everything again in one batch, as a rebuild does."""
        for table in metadata.sorted_tables:
            self.connection.execute(table.delete())
        log, self._log = self._log, []
        self._log = log
        self._project(log)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables."""
        return {
            table.name: sorted((tuple(row) for row in self.connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }

    def _record(self, stream: str, event: Event, at: Moment) -> Recorded:
        position = len(self._log) + 1
        sealed = {n: f"s1.{getattr(event, n)}" for n in event.personal if isinstance(getattr(event, n), str)}
        event = msgspec.structs.replace(event, **sealed) if sealed else event
        recorded = Recorded(position, f"event-{position}", stream, 1, at, ANONYMOUS, None, None, None, event)
        self._log.append((recorded, {}))
        return recorded

    def _write(self, batch: list[tuple[Recorded, Mapping[str, bytes]]]) -> None:
        self._log[len(self._log) - len(batch) :] = batch
        self._project(batch)

    def _project(self, batch: list[tuple[Recorded, Mapping[str, bytes]]]) -> None:
        rows = Rows()
        for recorded, indexes in batch:
            for projection in self._handlers.get(recorded.type, ()):
                for write in projection.project(recorded, indexes):
                    rows.add(write)
        rows.flush(self.connection)


@pytest.fixture(scope="module")
def tables(module_empty_database_url: str) -> Iterator[Engine]:
    """Where the tables are."""
    engine = create_engine(module_empty_database_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def log(tables: Engine) -> Iterator[Log]:
    # Nothing is ever committed.
    with tables.connect() as connection:
        yield Log(connection)
