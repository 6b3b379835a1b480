"""What is sent to PostgreSQL together: in one piece, and as if it were one step."""

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from psycopg.errors import AdminShutdown
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from eventstore.database.engines import together, writing

INSERT = "INSERT INTO kept VALUES (%s, %s)"


@pytest.fixture
def connection(postgresql_url: str) -> Iterator[Connection]:
    """The writer's, to a database with one table of keys and texts."""
    engine = writing(postgresql_url)
    with engine.connect() as opened:
        opened.execute(text("CREATE TABLE kept (key int PRIMARY KEY, text text NOT NULL)"))
        yield opened
        opened.execute(text("DROP TABLE kept"))
    engine.dispose()


def execute(connection: Connection, sql: str, *given: Any) -> Any:
    return driver(connection).cursor().execute(sql, given)


def driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def kept(connection: Connection) -> list[int]:
    return [row.key for row in connection.execute(text("SELECT key FROM kept ORDER BY key"))]


def test_nothing_goes_out_before_the_end(connection: Connection) -> None:
    with together(connection):
        for key in range(3):
            execute(connection, INSERT, key, "")
        waiting = len(driver(connection)._pipeline.command_queue)
    assert (waiting, kept(connection)) == (3, [0, 1, 2])


def test_an_answer_that_is_asked_for_within_is_waited_for(connection: Connection) -> None:
    with together(connection):
        execute(connection, INSERT, 1, "")
        with closing(execute(connection, "SELECT key FROM kept WHERE text = %s", "")) as cursor:
            found = cursor.fetchall()
        execute(connection, INSERT, 2, "")
        waiting = len(driver(connection)._pipeline.command_queue)
    assert (found, waiting, kept(connection)) == ([(1,)], 1, [1, 2])


def test_a_failure_is_told_at_the_end_and_leaves_nothing(connection: Connection) -> None:
    reached = []

    def several() -> None:
        with together(connection):
            for key in (1, 1, 2):
                execute(connection, INSERT, key, "")
                reached.append(key)

    with pytest.raises(IntegrityError):
        several()
    assert (reached, kept(connection)) == ([1, 1, 2], [])
    # The connection goes on.
    with together(connection):
        execute(connection, INSERT, 3, "")
    assert kept(connection) == [3]


def test_more_than_a_message_holds_goes_out_all_the_same(connection: Connection) -> None:
    long = "x" * 1_000_000
    with together(connection):
        answers = [execute(connection, f"{INSERT} RETURNING text", key, long) for key in range(8)]
    assert kept(connection) == [*range(8)]
    assert [each.fetchone() for each in answers] == [(long,)] * 8


def test_statements_prepared_on_the_way_are_told_apart(connection: Connection) -> None:
    """From its sixth time on the driver prepares a statement, and the server answers twice."""
    for round_ in range(4):
        with together(connection):
            for key in range(4):
                execute(connection, INSERT, round_ * 4 + key, "")
    assert kept(connection) == [*range(16)]


def test_one_that_broke_in_the_middle_gives_its_place_back(postgresql_url: str) -> None:
    """The server ended it with words that have been read, and with more that have not."""
    engine = writing(postgresql_url)

    def broken(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        with together(connection):
            driver(connection).pgconn.send_query_params(b"SELECT 1", None)
            raise AdminShutdown("terminating connection")

    # More often than its pool has places.
    for _ in range(3):
        connection = engine.connect()
        with pytest.raises(OperationalError, match="terminating connection"):
            broken(connection)
        with suppress(OperationalError):
            connection.close()
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()
