"""Connections to PostgreSQL that the logs of many issuers have in common: a bounded number of them, no matter who is
busy.

Each log is in a schema, and a connection is one schema's at a time. When it changes hands one message takes away all
that the session holds (settings, prepared statements, temporary tables, cursors, locks) and names the other schema.
Until then a name means nothing there, since a connection begins without any schema.

Anyone who has a connection and does not use it at the moment gives it away when others wait. They are served in the
order in which they came.
"""

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql
from sqlalchemy import Engine, NullPool, Pool
from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventstore.database import threads
from eventstore.database.threads import asks_no_more, asks_over, has_gone

UNUSED_S = 30.0
"""Seconds after which a connection is closed that nobody took."""

LONG_SHARE = 4
"""Queries that take seconds have one of so many connections at most, and rounds through the log as many."""

_SEARCH_PATH = re.compile(r"(?:^| )-csearch_path=([a-z][a-z0-9_]*)$", re.ASCII)

_FORGET = (
    "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; DEALLOCATE ALL; UNLISTEN *; "
    "SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; "
)
"""What `DISCARD ALL` does, which may be in no message with anything else."""


AWAITS_DISK = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""For those who write to a log: nobody is answered before the disk has it, whatever the database is set to. That it
waits for a standby too, or for none, stays as it is."""


class SchemaUrl(NamedTuple):
    """A log's URL: that of its database, over whose connections no name is found, and the schema."""

    database: str
    schema: str

    @classmethod
    def of(cls, url: str | URL) -> Self:
        """Of a URL that `in_schema` made. Raises ValueError for any other."""
        parsed = make_url(url)
        options = parsed.query.get("options", "")
        found = _SEARCH_PATH.search(options) if isinstance(options, str) else None
        if found is None:
            raise ValueError("a URL that names no schema")
        bare = parsed.update_query_dict({"options": f"{options[: found.start()]} -csearch_path=".strip()})
        return cls(bare.render_as_string(hide_password=False), found[1])


class Session(NamedTuple):
    """What a connection is for at present: the log, and the settings under which it is asked."""

    url: SchemaUrl
    settings: tuple[tuple[str, int], ...] = ()


@dataclass(eq=False)
class _Held:
    """A connection that somebody has, or that lies there."""

    driver: Any
    session: Session
    since: float = 0.0


@dataclass(eq=False)
class _Waiter:
    """Gets a connection, or may make one: `held` is None then."""

    held: _Held | None = None
    served: threading.Event = field(default_factory=threading.Event)


class SharedConnections:
    """`most` connections of a process. Any thread may take one and give it back. `connect` makes one by its URL."""

    def __init__(self, most: int, connect: Callable[[str], Any]) -> None:
        self._most = most
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[_Held] = []
        """In the order in which they were given back."""
        self._taken: dict[int, _Held] = {}
        self._waiting: deque[_Waiter] = deque()
        self._keepers: dict[object, Callable[[], bool]] = {}
        self._away: dict[str, threading.Lock] = {}
        """Databases that took no connection when they were asked last. Each is asked by one at a time from then on, so
        that no more than one place is lost to it while others wait."""
        self.number = 0
        """Connections that there are, and that are being made."""
        share = max(1, most // LONG_SHARE)
        self.long = threading.BoundedSemaphore(share)
        self.rounds = threading.BoundedSemaphore(share)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits. Who has one without need gives it back."""
        return bool(self._waiting)

    def keep(self, keeper: object, let_go: Callable[[], bool]) -> None:
        """Hears of somebody who keeps connections: `let_go`, in any thread, gives one back that is not in use."""
        with self._lock:
            self._keepers[keeper] = let_go

    def keep_no_more(self, keeper: object) -> None:
        """Is told that there is nothing to be had from there any more."""
        with self._lock:
            self._keepers.pop(keeper, None)

    def take(self, session: Session) -> Any:
        """A connection of the driver's for this. Raises SQLAlchemy's TimeoutError, and the driver's errors."""
        end = monotonic() + threads.ANSWERS_WITHIN
        asking = self._away.get(session.url.database)
        if asking is None:
            return self._take(session, end)
        if not asking.acquire(timeout=threads.ANSWERS_WITHIN):
            raise PoolTimeout("its database does not answer")
        try:
            return self._take(session, end)
        finally:
            asking.release()

    def _take(self, session: Session, end: float) -> Any:
        while True:
            held = self._next(session, end)
            if held is None or held.session.url.database != session.url.database or has_gone(held.driver):
                held = self._made(session, held)
            try:
                asks_over(held.driver)
                if held.session != session:
                    _change_hands(held, session)
                    self._away.pop(session.url.database, None)
                # Engines of one log want transactions of different kinds, and not every one says which.
                held.driver.autocommit, held.driver.isolation_level = False, None
            except psycopg.OperationalError:
                # It was ended just now: one that is made has its error told.
                self._drop(held)
                if monotonic() < end and held.since:
                    continue
                raise
            except BaseException:
                self._drop(held)
                raise
            self._taken[id(held.driver)] = held
            return held.driver

    def _next(self, session: Session, end: float) -> _Held | None:
        """One that lies there, or None for one to be made in the place that is taken for it by then."""
        with self._lock:
            if not self._waiting:
                if (found := self._lying(session)) is not None:
                    return found
                if self.number < self._most:
                    self.number += 1
                    return None
                if self._idle:
                    return self._idle.pop(0)
            waiter = _Waiter()
            # From here on anyone who is done gives back what they have; those who were done before are asked.
            self._waiting.append(waiter)
            keepers = list(self._keepers.items())
        try:
            for keeper, let_go in keepers:
                while not waiter.served.is_set() and let_go():
                    self._ask_last(keeper)
        except BaseException:
            self._withdraw(waiter)
            raise
        if not waiter.served.wait(max(0.0, end - monotonic())):
            self._leave(waiter)
        return waiter.held

    def _lying(self, session: Session) -> _Held | None:
        """Their own, the newest first, or else the oldest of the same database."""
        for place in range(len(self._idle) - 1, -1, -1):
            if self._idle[place].session == session:
                return self._idle.pop(place)
        for place, held in enumerate(self._idle):
            if held.session.url.database == session.url.database:
                return self._idle.pop(place)
        return None

    def _ask_last(self, keeper: object) -> None:
        with self._lock:
            if (let_go := self._keepers.pop(keeper, None)) is not None:
                self._keepers[keeper] = let_go

    def _withdraw(self, waiter: _Waiter) -> None:
        """Waits no more. What it was served by then is the next one's."""
        with self._lock:
            if not waiter.served.is_set():
                self._waiting.remove(waiter)
                return
        if waiter.held is None:
            self._free()
        else:
            self._offer(waiter.held)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.served.is_set():
                self._waiting.remove(waiter)
                raise PoolTimeout("every connection is in use")

    def _made(self, session: Session, instead: _Held | None) -> _Held:
        """A new one in the place that is taken for it, or in that of another, which is closed."""
        try:
            if instead is not None:
                instead.driver.close()
            driver = self._connect(session.url.database)
        except BaseException:
            self._away.setdefault(session.url.database, threading.Lock())
            self._free()
            raise
        return _Held(driver, Session(SchemaUrl(session.url.database, "")))

    def _drop(self, held: _Held) -> None:
        held.driver.close()
        self._free()

    def _free(self) -> None:
        """The place of one that is there no more is the next one's."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().served.set()
            else:
                self.number -= 1

    def give_back(self, driver: Any) -> None:
        """Lets others have it. What is under way over it is rolled back."""
        asks_no_more(driver)
        held = self._taken.pop(id(driver))
        if driver.closed or driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self._drop(held)
            return
        held.since = monotonic()
        self._offer(held)

    def _offer(self, held: _Held) -> None:
        with self._lock:
            if self._waiting:
                waiter = self._waiting.popleft()
                waiter.held = held
                waiter.served.set()
            else:
                self._idle.append(held)

    def discard(self, driver: Any) -> None:
        """Closes one that was taken, and is broken or must not be another's."""
        asks_no_more(driver)
        held = self._taken.pop(id(driver), None)
        if held is not None:
            self._drop(held)

    def close_unused(self, unused: float = UNUSED_S) -> None:
        """Closes those that nobody took for so many seconds."""
        before = monotonic() - unused
        with self._lock:
            late = [each for each in self._idle if each.since <= before]
            self._idle = [each for each in self._idle if each.since > before]
            self.number -= len(late)
        for each in late:
            each.driver.close()


def _change_hands(held: _Held, session: Session) -> None:
    """Makes a connection that of another log: nothing that one left is there for the other."""
    driver = held.driver
    driver.autocommit = True
    named = sql.SQL("SET search_path = {}").format(sql.Identifier(session.url.schema))
    settings = "".join(f"; SET {name} = {value}" for name, value in session.settings)
    # Who writes has settings, and who reads has none.
    awaiting = f"; {AWAITS_DISK}" if settings else ""
    driver.execute(_FORGET + named.as_string(driver) + settings + awaiting, prepare=False)
    # It is not told that by this its own statements are gone too.
    driver._prepared = type(driver._prepared)()
    held.session = session


class SchemaPool(NullPool):
    """SQLAlchemy's side of it: what one engine has is taken from there, and given back. Of `is_long` ones fewer are."""

    shared: SharedConnections
    is_long: bool

    @classmethod
    def of(cls, shared: SharedConnections, session: Session, like: Pool, *, is_long: bool = False) -> Self:
        """For one log, under these settings. With a connection is done what is done in the pool that it is `like`."""

        def taken() -> Any:
            if is_long and not shared.long.acquire(timeout=threads.ANSWERS_WITHIN):
                raise PoolTimeout("as many long reads as may be are under way")
            try:
                return shared.take(session)
            except BaseException:
                if is_long:
                    shared.long.release()
                raise

        made = cls(taken, _dispatch=like.dispatch, dialect=like._dialect)
        made.shared, made.is_long = shared, is_long
        return made

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        # SQLAlchemy adds it whenever it is given one.
        connection.remove_notice_handler(dialect._log_notices)
        try:
            if terminate:
                self.shared.discard(connection)
            else:
                self.shared.give_back(connection)
        finally:
            if self.is_long:
                self.shared.long.release()

    def recreate(self) -> "SchemaPool":
        # It has nothing of its own that could be let go.
        return self


def shared_of(engine: Engine) -> SharedConnections | None:
    """What the engine has its connections from, where others have theirs from it too."""
    pool = engine.pool
    return pool.shared if isinstance(pool, SchemaPool) else None
