"""What a server does beside answering: until it is done, an idle server is not idle."""

import time

from sqlalchemy import Connection, select

from bench.subject import Subject
from eventstore.engines import reading
from eventstore.stored import head
from eventstore.transparency import published
from projections import event_index

WITHIN = 600.0
"""Seconds in which what follows the log comes up to it."""


def finished(connection: Connection) -> None:
    """Waits until all that follows the log has come up to it; a server must be running. Raises TimeoutError."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        goal = connection.scalar(select(head.c.position)) or 0
        if published.size(connection) >= goal and all(at >= goal for at in event_index.progress(connection).values()):
            return
        time.sleep(0.1)
    raise TimeoutError("what follows the log does not come up to it")


def settle(subject: Subject) -> None:
    """The same for a subject that is being served."""
    engine = reading(subject.database.url, 1)
    try:
        with engine.connect() as connection:
            finished(connection)
    finally:
        engine.dispose()
