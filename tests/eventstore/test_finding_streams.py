"""How streams are found: what is read to know one does not grow with the rest of the log."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, text

from eventstore import recorder
from eventstore.stored import events, metadata
from projections.prepared import Prepared
from tests.databases import BACKENDS, Databases
from tests.eventstore.plans import plan_of

MANY = 20_000


@pytest.fixture(scope="module", params=BACKENDS)
def full(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Connection]:
    """A log that has just been filled: the database has no statistics of it."""
    url = databases.create(request.param, migrated=False)
    engine = create_engine(url)
    metadata.create_all(engine)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"ALTER TABLE {events.name} SET (autovacuum_enabled = off)"))
        connection.execute(
            insert(events),
            [
                {"id": at, "originator_id": f"grant:{at}", "originator_version": 1, "topic": "t", "state": "x" * 500}
                for at in range(1, MANY + 1)
            ],
        )
        connection.commit()
        yield connection
    engine.dispose()
    databases.drop(url)


@pytest.mark.parametrize(
    ("asked", "parameters"),
    [
        (recorder.stream_events(False, False, False, False, True), {"stream": "grant:7", "stop": MANY}),
        (recorder.stream_events(False, False, True, True, True), {"stream": "grant:7", "stop": MANY, "limit": 9}),
        (
            recorder.stream_events(False, False, False, False, True, True),
            {"stream": "grant:7", "kept": "k", "stop": MANY},
        ),
        (
            recorder.positions_of_stream(True, True),
            {"stream": "grant:7", "kept": "k", "low": 1, "high": MANY, "limit": 9},
        ),
    ],
    ids=["history", "newest", "either-name", "newest-of-either-name"],
)
def test_stream_up_to_a_position_is_found_by_its_index_alone(
    full: Connection, asked: Prepared, parameters: dict[str, Any]
) -> None:
    _is_by_stream(plan_of(full, asked.statement, parameters))


# SQLite is asked for one stream after the other.
@pytest.mark.parametrize("full", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("asked", "parameters"),
    [
        (recorder.NEWEST_OF_ALL, {}),
        (recorder.EVENTS_OF_ALL, {"versions": [0] * 256, "limit": 10}),
        (recorder.EVENTS_OF_ALL, {"versions": [0] * 256, "limit": None}),
    ],
    ids=["versions", "events", "all-events"],
)
def test_so_are_many_streams_at_once(full: Connection, asked: Prepared, parameters: dict[str, Any]) -> None:
    streams = [f"grant:{number}" for number in range(256)]
    _is_by_stream(plan_of(full, asked.statement, {"streams": streams, **parameters}))


def _is_by_stream(plan: str) -> None:
    assert "ix_stored_events_stream" in plan
    assert "pk_stored_events" not in plan
    assert "Seq Scan" not in plan
