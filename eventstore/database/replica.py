"""Reads from standbys of PostgreSQL, each proven to be of this log and as new as anyone who asks needs.

How far the log has come the primary alone says. A standby answers in one snapshot, whose newest event must be, byte for
byte, what the primary has at that position, and not before what is known here. Nothing else about it is believed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from threading import Lock
from time import monotonic, sleep
from typing import Any, Literal, TypeVar

import structlog
from sqlalchemy import Connection, outerjoin, select
from sqlalchemy.exc import SQLAlchemyError

from eventstore.database.engines import away, standbys
from eventstore.database.shared_connections import SharedConnections
from eventstore.database.threads import ANSWERS_WITHIN, Patience, Threads, asks_over
from eventstore.mapper import LogMapper, attach
from eventstore.stored import events, head
from projections.prepared import Prepared
from security.lru import Lru

WAITS = 0.05
"""Seconds that a read waits for a standby to have what it needs; then the primary answers."""

LOOK_EVERY = 0.002
"""Seconds between two looks at how far it is."""

GIVEN_UP_AFTER = 1.0
"""Seconds that a standby gets for an answer. Anyone who waits asks the primary afterwards."""

TIMES = 3
"""How often a read begins anew when the standby was ahead of what is known here, which is not known to be this log."""

RESTS = {"behind": 0.25, "away": 2.0, "of another log": 30.0}
"""Seconds for which a standby is not asked again, by what was wrong with it."""

KEPT = 4_096
"""Positions whose events are known again: far more than a standby may be behind who is believed."""

AS_OF = "grantlog.as_of"
"""Where a standby's connection holds up to which position it sees the log."""

ReplicaOutcome = Literal["answered", "ahead", "behind", "away", "of another log"]

T = TypeVar("T")

_NEWEST = Prepared(
    select(head.c.position, events.c.state)
    .select_from(outerjoin(head, events, events.c.id == head.c.position))
    .where(head.c.id == 1)
)

log = structlog.get_logger("log")


def seen_up_to(connection: Connection) -> int | None:
    """Up to which position a standby's connection sees the log; None for one to the primary."""
    found: int | None = connection.info.get(AS_OF)
    return found


class PassedEvents:
    """Digests of the events that this process came by lately, as the primary has them. Any thread may ask and tell."""

    def __init__(self) -> None:
        self._digests: Lru[int, bytes] = Lru(KEPT)
        self._lock = Lock()
        self.position = 0
        """The newest of them."""

    def add(self, position: int, state: str) -> None:
        """The primary has this there."""
        digest = _digest(state)
        with self._lock:
            self._digests.put(position, digest)
            self.position = max(position, self.position)

    def has(self, position: int, state: str | None) -> bool:
        """Whether it is what the primary has there."""
        return state is not None and self._digests.get(position) == _digest(state)


def _digest(state: str) -> bytes:
    return sha256(state.encode()).digest()


class NotAnswered(Exception):
    """The primary is to answer."""


class _Wrong(Exception):
    def __init__(self, outcome: ReplicaOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class ReplicaReads:
    """Runs reads on the standbys that a URL names, in threads with a connection each, which many logs may have in
    common. It lives on one event loop.

    `told` hears what became of each.
    """

    def __init__(
        self,
        url: str,
        passed: PassedEvents,
        mapper: LogMapper,
        shared: SharedConnections | None,
        patience: Patience,
        threads: int,
        told: Callable[[ReplicaOutcome], None],
    ) -> None:
        self._engine = standbys(url, threads, shared)
        attach(self._engine, mapper)
        self._passed = passed
        self._threads = Threads(patience, threads, "replica")
        self._told = told
        self._rests_until = 0.0
        self._said: ReplicaOutcome = "answered"

    async def run(
        self, needed: Callable[[], int], settled: Callable[[], Awaitable[None]], read: Callable[..., T], *args: Any
    ) -> T:
        """What the read finds in a snapshot that has everything up to the position `needed`; raises `NotAnswered`."""
        for _ in range(TIMES):
            if monotonic() < self._rests_until:
                break
            try:
                since = monotonic() - ANSWERS_WITHIN + GIVEN_UP_AFTER
                found: T = await self._threads.run(self._read, needed(), read, args, since=since)
            except _Wrong as wrong:
                if wrong.outcome != "ahead":
                    self._rest(wrong.outcome)
                    break
                self._told("ahead")
                # It may have what was committed since, or what no primary ever had.
                await settled()
            except Exception:
                # Whatever is wrong with it or what it says, be it that it lacks our tables: the primary says the rest.
                self._rest("away")
                break
            else:
                self._tell("answered")
                return found
        raise NotAnswered

    def _rest(self, outcome: ReplicaOutcome) -> None:
        self._rests_until = monotonic() + RESTS[outcome]
        self._tell(outcome)

    def _tell(self, outcome: ReplicaOutcome) -> None:
        self._told(outcome)
        if outcome != self._said and outcome != "behind":
            # Being behind for a moment is nothing that anybody has to look at.
            self._said = outcome
            log.warning("a replica is asked" if outcome == "answered" else "a replica is not asked", replica=outcome)

    def _read(self, needed: int, read: Callable[..., T], args: Any) -> T:
        try:
            with self._engine.connect() as connection:
                asks_over(connection.connection.driver_connection)  # type: ignore[arg-type]
                connection.info[AS_OF] = self._proven(connection, needed)
                return read(connection, *args)
        except SQLAlchemyError as error:
            if (meant := away(error)) is None:
                raise
            # Another server may be there by now.
            self._engine.dispose()
            raise meant from error

    def _proven(self, connection: Connection, needed: int) -> int:
        """Up to where the connection's snapshot sees this log: `needed` at least."""
        end = monotonic() + WAITS
        while True:
            position, state = _NEWEST.first(connection, {}) or (0, None)
            if position >= needed > 0:
                break
            if monotonic() >= end:
                raise _Wrong("behind")
            # The driver began it.
            connection.connection.rollback()
            sleep(LOOK_EVERY)
        if self._passed.has(position, state):
            return int(position)
        raise _Wrong("ahead" if position > self._passed.position else "of another log")

    async def close(self) -> None:
        """Waits for what is running and lets the connections go."""
        await self._threads.close()
        await asyncio.to_thread(self._engine.dispose)
