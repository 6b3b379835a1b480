"""What a server does beside answering: until it is done, an idle server is not idle."""

import time

from sqlalchemy import Connection, select

from bench.load import asking
from bench.prepared import preparation
from bench.prepared.subject import INTROSPECTION, REVOKED, Subject
from bench.subjects.server import Server
from domain.event import SECOND
from eventstore.database.engines import reading
from eventstore.stored import head
from eventstore.transparency import published
from projections import event_index

WITHIN = 600.0
"""Seconds in which what follows the log comes up to it."""

QUIET = 2.0
"""Seconds without an event after which nothing is gathered any more: the server records uses twice a second."""


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


def introduce(subject: Subject, over: Server, times: int = 1) -> float:
    """Has each token introspected, and waits until that is recorded; how many a second, recording included.

    What a token's first introspection costs, its row to be read and a fact to be recorded, is no part of the others.
    Each worker has a first one of its own, and which of them is asked is chance: with several, ask several `times`.
    """
    service = subject.prepared.service
    bodies = [body for work in (INTROSPECTION, REVOKED) for body in subject.introspected(work)]
    sent = [
        asking.request(over.port, "POST", "/oauth/introspect", authorization=service, body=each) for each in bodies
    ] * times
    began = time.time()
    preparation.all_succeeded(asking.run(asking.each_once(over.port, sent)))
    return len(sent) / (rest(subject) - began)


def rest(subject: Subject) -> float:
    """Waits until nothing is recorded or followed any more; when the newest event was recorded, seconds since 1970."""
    engine = reading(subject.database.url, 1)
    try:
        with engine.connect() as connection:
            ended = _quiet(connection)
            finished(connection)
            return ended
    finally:
        engine.dispose()


def _quiet(connection: Connection) -> float:
    """Waits until the log has not grown for a while; when its newest event was recorded, seconds since 1970."""
    newest, since = connection.scalar(select(head.c.position)), time.monotonic()
    while time.monotonic() - since < QUIET:
        time.sleep(0.1)
        found = connection.scalar(select(head.c.position))
        if found != newest:
            newest, since = found, time.monotonic()
    moment: int = connection.scalar(select(head.c.time)) or 0
    return moment / SECOND
