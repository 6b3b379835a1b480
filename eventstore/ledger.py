"""The ledger: the only way anything is ever written, and the reads that go with it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

import psycopg
import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from domain.event import Moment, Recorded, Sealed
from eventstore.appending.batch import Transactions
from eventstore.appending.committer import Committer, FairLock, InlineCommitter, ThreadCommitter
from eventstore.appending.rows import Writing
from eventstore.application import Log
from eventstore.database import schema, sqlite_file
from eventstore.database.background import BackgroundWriter, LongReads
from eventstore.database.engines import arguments, empty_write_ahead_log, is_sqlite, reading, writing
from eventstore.database.replica import PassedEvents, ReplicaOutcome, ReplicaReads
from eventstore.database.shared_questions import LogConnections, SharedQuestions
from eventstore.database.threads import Patience
from eventstore.database.wakefulness import Wakefulness
from eventstore.execution import Executed, Origin, PendingRequest, Single, Step
from eventstore.mapper import LogMapper, Ring, attach
from eventstore.may_write import clock_fault, require_key_still
from eventstore.personal_data import PersonalData
from eventstore.reading import BESIDE, HeadQuestion, InlineReader, Reader, ThreadReader
from eventstore.recorder import CHANNEL, Recent
from eventstore.repository import Changes, Repository, Snapshots, newest, state_at
from eventstore.stored import head
from eventstore.transparency.signing_keys import signed_size
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from eventstore.validation import Validation
from eventstore.view import Folds, View
from security.clock import Clock
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.vault import Vault

# Waking anyone who follows the log as soon as something was appended, by this process or another.
#
# What this process commits wakes them at once. On PostgreSQL other processes are heard by LISTEN; on SQLite one
# question for all who wait, which costs microseconds, is asked again and again: whether another connection committed.


LOOK_EVERY = 1.0
"""Seconds after which anyone who waits looks at the log in any case, should nobody have been heard."""

ASK_EVERY = 0.02
"""Seconds between two questions to SQLite. What another process commits is known that late at most."""

ASK_CALMLY = 0.25
"""The same while nobody waits but those who said how long they would."""

_POSITION = str(select(head.c.position).where(head.c.id == 1).compile(compile_kwargs={"literal_binds": True}))
log = structlog.get_logger(__name__)


class Notifications:
    """A bell. Take `count` before looking at the log and hand it to `wait`, so that no ring in between is missed."""

    def __init__(self, url: str, shared: SharedQuestions | None = None) -> None:
        self._url = url
        self._shared = shared
        self._rung: asyncio.Future[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._hear = self._hear_sqlite if is_sqlite(url) else self._hear_postgresql
        self._sqlite: sqlite3.Connection | None = None
        self._version: int | None = None
        self._position: int | None = None
        self._waiting = 0
        self._calmly = 0
        self.look_every = LOOK_EVERY
        self.count = 0
        self.closed = False
        """Nobody is to wait any more: the process stops."""
        self.dismissed = False
        """Who follows the log for a caller is to leave it: it is about to be closed."""

    def ring(self) -> None:
        """Something was appended, or there is something to do. On the event loop's thread only."""
        self.count += 1
        self._wake()

    def _wake(self) -> None:
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
        self._rung = None

    def dismiss(self) -> None:
        """Sends those away who follow the log for a caller, and wakes them."""
        self.dismissed = True
        self.ring()

    async def wait(self, since: int, longest: float | None = None) -> None:
        """Returns when the bell has rung since the count was `since`, or when it is time to look without that: after
        `longest` seconds, if they are given, or when SQLite was written to and nothing was appended."""
        if self.count != since or self.closed:
            return
        if self._rung is None:
            self._rung = asyncio.get_running_loop().create_future()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        self._waiting += 1
        self._calmly += longest is not None
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._rung), self.look_every if longest is None else longest)
        finally:
            self._waiting -= 1
            self._calmly -= longest is not None

    async def _listen(self) -> None:
        """Hears until nobody waits any more, or the connection is lost; `wait` begins anew."""
        try:
            await self._hear()
        except (psycopg.Error, sqlite3.Error) as error:
            log.warning("listening ended", error=type(error).__name__)
            self._forget_sqlite()
            await asyncio.sleep(self.look_every)
        finally:
            self._listening = None
            # Anyone who waits for long does so again.
            self._wake()

    async def _hear_postgresql(self) -> None:
        """Rings for every append that PostgreSQL tells of."""
        if self._shared is not None:
            await self._shared.hear(self._url, self.ring)
            return
        given = arguments(make_url(self._url))
        async with await psycopg.AsyncConnection.connect(**given, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            row = await (await connection.execute("SELECT current_schema()")).fetchone()
            # What was committed until now was not told to this connection.
            self.ring()
            async for told in connection.notifies():
                if not told.payload or row is None or told.payload == row[0]:
                    # Or else another log's of this database. Nodes of an earlier version name none.
                    self.ring()

    async def _hear_sqlite(self) -> None:
        """Rings for every append that SQLite tells of, and wakes those who wait at every other commit."""
        while self._waiting:
            # What was committed before the first question may have been missed by those who wait for its answer.
            if (version := self._asked("PRAGMA data_version")) != self._version:
                before, self._version, self._position = self._position, version, self._asked(_POSITION)
                if before == self._position:
                    self._wake()
                else:
                    self.ring()
            await asyncio.sleep(ASK_EVERY if self._waiting > self._calmly else ASK_CALMLY)

    def _asked(self, question: str) -> int | None:
        if self._sqlite is None:
            url = make_url(self._url)
            given: Any
            named: Any
            given, named = url.get_dialect()().create_connect_args(url)
            self._sqlite = sqlite3.connect(*given, **named)
        row = self._sqlite.execute(question).fetchone()
        return None if row is None else int(row[0])

    def _forget_sqlite(self) -> None:
        connection, self._sqlite, self._version, self._position = self._sqlite, None, None, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Listens no more and wakes everybody."""
        self.closed = True
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self._forget_sqlite()
        self.ring()


P = ParamSpec("P")
T = TypeVar("T")

ASSUMED = 1_024
"""Streams whose folds are at hand as long as nothing changes that could be known."""


class Ledger:
    """Executes commands and answers reads for one process. Open it with `Ledger.open` inside a running event loop."""

    def __init__(
        self,
        url: str,
        log: Log,
        parts: Writing,
        read_engine: Engine,
        read_threads: int,
        clock: Clock,
        on_commit: Callable[[int], None],
        on_recorded: Callable[[Sequence[Recorded]], None],
        replica: Callable[[Patience], ReplicaReads] | None,
        connections: LogConnections | None,
    ) -> None:
        self.log = log
        self.shared = None if connections is None else connections.taken
        self.vault = parts.vault
        self.privacy = parts.privacy
        self.recent = parts.recent
        self.changes = parts.changes
        self.ring = parts.ring
        self.clock = clock
        self.arrivals = Notifications(url, None if connections is None else connections.asked)
        self.wakefulness = Wakefulness(self.arrivals)
        self.unlike = None if connections is None else partial(connections.asked.unlike, url)
        """Returns when the log may be another than the one who asks knows, asked for many logs together."""
        self._on_recorded = on_recorded
        self._states = parts.states
        self._assumed: tuple[int, dict[str, Any]] = (-1, {})
        """What of them was found to hold since `Changes.told` was a number."""
        self._patience = patience = Patience()
        self._transactions = Transactions(log.recorder, parts, clock, on_commit)
        self._committer: Committer
        self._reader: Reader
        self._aside: BackgroundWriter | None = None
        self._write_ahead: str | None = None
        self._long_reads = LongReads(url, patience, log.mapper, self.shared)
        if is_sqlite(url):
            self._committer = InlineCommitter(self._transactions, FairLock(url), patience)
            self._reader = InlineReader(read_engine, parts.changes, self._long_reads.run)
            self._write_ahead = url
        else:
            self._committer = ThreadCommitter(self._transactions, patience)
            beside = None if replica is None else replica(patience)
            question = HeadQuestion(read_engine.url) if connections is None else connections.asked.head(url)
            self._reader = ThreadReader(read_engine, question, parts.changes, patience, read_threads, beside)
            may_write = partial(require_key_still, own=parts.indexed_by)
            self._aside = BackgroundWriter(url, patience, log.mapper, may_write, self.shared)
        # A process that was killed may have left something.
        self._wiped = -1
        self.validation = Validation(self._reader, parts.changes, parts.privacy, parts.states)

    @classmethod
    async def open(
        cls,
        url: str,
        keyring: Keyring,
        clock: Clock,
        *,
        read_threads: int = 4,
        on_commit: Callable[[int], None] = lambda callers: None,
        on_recorded: Callable[[Sequence[Recorded]], None] = lambda recorded: None,
        origin: str = "",
        awaits_disk: bool = True,
        replica_url: str = "",
        on_replica: Callable[[ReplicaOutcome], None] = lambda outcome: None,
        connections: LogConnections | None = None,
    ) -> Self:
        """Connects; raises `DatabaseAway` when the database does not answer or has no tables yet.

        What is not covered by a signed checkpoint yet is verified. `origin` is the name under which a new log's events
        are authenticated. Raises MasterKeyError when the master key does not open the vault.

        `on_commit` is told, on the writer's thread, how many callers each transaction served, and `on_recorded`, on the
        event loop's, what was committed for each caller of `execute`. Standbys at `replica_url` validate tokens, and
        `on_replica` is told what became of each read. Without `awaits_disk` commits on SQLite do not wait for the disk:
        for what nobody misses. On PostgreSQL its connections may be those that many logs have in common; its URL names
        a schema then.
        """
        if connections is not None and is_sqlite(url):
            connections = None
        shared = None if connections is None else connections.taken
        write_engine, read_engine = (
            writing(url, shared, awaits_disk=awaits_disk),
            reading(url, read_threads + BESIDE, shared),
        )
        vault = Vault(keyring)
        ring = Ring(vault, origin)
        mapper = LogMapper(ring)
        passed = PassedEvents() if replica_url else None
        for engine in (write_engine, read_engine):
            attach(engine, mapper)

        def look() -> Changes:
            with read_engine.connect() as connection:
                ring.load(connection)
                position, _ = newest(connection)
                # The first look: whatever this machine's clock says, time goes on from the log's newest event.
                clock_fault(connection, clock)
                # Who signs has verified what it signs. The rest is verified before anything is made of it.
                known = min(signed_size(connection, vault), position)
                file = sqlite_file.DatabaseFile(write_engine.url) if is_sqlite(url) else None
                changes = Changes(known, vault.forget, state=state_at(connection, known), file=file, passed=passed)
                changes.catch_up(connection, position)
                return changes

        try:
            # Connections that others have are waited for, and not by the event loop.
            changes = look() if shared is None else await asyncio.to_thread(look)
        except BaseException as error:
            # Nobody else closes what has been connected to by now.
            write_engine.dispose()
            read_engine.dispose()
            if isinstance(error, OperationalError | PoolTimeout):
                raise DatabaseAway(type(error).__name__) from error
            raise
        log = Log(write_engine, mapper)
        parts = Writing(
            changes,
            Repository(changes, Snapshots(keyring)),
            PersonalData(Sealer(vault), BlindIndex(keyring)),
            vault,
            Recent(),
            keyring.derivation_id,
            ring,
        )
        replica = None
        if passed is not None:
            among = connections and connections.standbys
            replica = partial(ReplicaReads, replica_url, passed, mapper, among, threads=read_threads, told=on_replica)
        return cls(url, log, parts, read_engine, read_threads, clock, on_commit, on_recorded, replica, connections)

    # -- writing ------------------------------------------------------------------------------------------------------
    @overload
    async def execute(self, *commands: Step, origin: Origin) -> Executed[None]: ...

    @overload
    async def execute(
        self, *commands: Step, origin: Origin, then: Callable[[View, tuple[Recorded, ...]], T]
    ) -> Executed[T]: ...

    async def execute(
        self, *commands: Step, origin: Origin, then: Callable[[View, tuple[Recorded, ...]], T] | None = None
    ) -> Executed[Any]:
        """Executes the commands in one transaction and returns after its commit is on disk.

        If one is refused nothing of the others is stored, and the refusal's own events are. `then` runs inside the
        transaction when nothing was refused, after the projection rows are written; what it returns is `value`.
        Raises `LedgerOverloaded` and `DatabaseAway`; anything else is a bug.
        """
        future: asyncio.Future[Executed[Any]] = asyncio.get_running_loop().create_future()

        def answer(executed: "Executed[Any] | None", error: BaseException | None) -> None:
            if executed is not None and (executed.recorded or then is not None and commands):
                self.arrivals.ring()
                self._on_recorded(executed.recorded)
            if future.done():  # the caller went away; the facts stand all the same
                return
            if error is not None:
                future.set_exception(error)
            elif executed is not None:
                future.set_result(executed)

        self._committer.submit(PendingRequest(commands, origin, then, answer))
        return await future

    async def execute_each(self, asked: Sequence[tuple[Single, Origin]]) -> list[BaseException | None]:
        """Executes independent commands; tells for each, in their order, the error that kept it from being stored."""
        if not asked:
            return []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        errors: list[BaseException | None] = [None] * len(asked)
        left = len(asked)

        def answer(place: int, executed: "Executed[Any] | None", error: BaseException | None) -> None:
            nonlocal left
            left -= 1
            errors[place] = error
            if left == 0:
                self.arrivals.ring()
                if not future.done():
                    future.set_result(None)

        for place, (command, origin) in enumerate(asked):
            try:
                self._committer.submit(PendingRequest((command,), origin, None, partial(answer, place)))
            except LedgerOverloaded as error:
                # What comes later may be about the same, so it is not tried either.
                for refused in range(place, len(asked)):
                    answer(refused, None, error)
                break
        await future
        return errors

    async def maintain(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs upkeep of rows that are no facts in a transaction of its own, in turn with the commands."""
        found = await self.tidy(work, *args, **kwargs)
        # There may be something to do now, to hand a letter on for one.
        self.arrivals.ring()
        return found

    async def tidy(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what gives nobody anything to do, as pruning."""

        def run(view: View, _: tuple[Recorded, ...]) -> tuple[T]:
            return (work(view.connection, *args, **kwargs),)

        executed = await self.execute(origin=Origin(), then=run)
        if executed.value is None:
            raise AssertionError("upkeep has no commands that could be refused")
        return executed.value[0]

    async def follow(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Writes rows that follow the log: on PostgreSQL without its lock, so `work` must be the only one itself."""
        if self._aside is None:
            return await self.maintain(work, *args, **kwargs)
        # What followed a log that went back must not go on with it.
        await self._reader.settled()
        return await self._aside.run(work, *args, **kwargs)

    async def wipe(self) -> bool:
        """Has what the vault overwrote go from SQLite's write-ahead log too; False while others keep that busy."""
        # A transaction that raised this number has the lock until it ends, and the log is emptied under that lock.
        overwritten = self.vault.overwritten
        if self._write_ahead is None or overwritten == self._wiped:
            return True
        try:
            if is_empty := await asyncio.to_thread(empty_write_ahead_log, self._write_ahead):
                self._wiped = overwritten
            return is_empty
        except OperationalError as error:
            raise DatabaseAway(type(error).__name__) from error

    # -- reading ------------------------------------------------------------------------------------------------------
    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `query(connection, …)` outside any transaction of the writer's, for what is shown: no row decides."""
        return await self._reader.run(query, *args, **kwargs)

    async def read_long(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same of a query that takes seconds: in one snapshot, while nobody waits, on SQLite neither."""
        await self._reader.settled()
        return await self._long_reads.run(query, *args, **kwargs)

    async def look(self, at: Callable[Concatenate[Folds, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a look at the present, see `eventstore.present`, as of everything acknowledged before this call."""
        if not self._reader.is_settled:
            await self._reader.settled()

        def look(connection: Connection) -> T:
            return at(self._states.seen(connection), *args, **kwargs)

        return await self._reader.run(look)

    async def settled(self) -> None:
        """Returns when the caches reflect everything that any process had acknowledged before this call."""
        await self._reader.settled()

    async def state(self, stream: str) -> Any:
        """A stream's fold as of everything acknowledged before this call."""
        await self._reader.settled()
        cached = self._states.cached(stream)
        if cached is None:
            cached = await self._reader.run(self._states.load, stream)
        return cached.state

    def known(self, stream: str) -> Any | None:
        """Gives that fold where nothing has to be asked for it; None otherwise."""
        return self.assumed(stream) if self._reader.is_settled else None

    def assumed(self, stream: str) -> Any | None:
        """A stream's fold as of what this process knows, for who asks again under the lock; None if not remembered."""
        told, found = self.changes.told, self._assumed
        if found[0] != told or len(found[1]) >= ASSUMED:
            found = self._assumed = (told, {})
        state = found[1].get(stream)
        if state is None and (cached := self._states.cached(stream)) is not None:
            state = found[1][stream] = cached.state
        return state

    async def unseal(self, value: Sealed | str | None) -> str | None:
        """A personal value in clear, from a state or a row; None for none, and once its subject was erased."""
        return None if value is None else await self._reader.run(self.privacy.open, value)

    async def head(self) -> tuple[int, Moment]:
        """Position and time of the newest event."""
        return await self._reader.run(newest)

    async def is_read_only(self) -> bool:
        """Whether the database takes nothing at present. SQLite tells only the one who writes."""
        return self._transactions.read_only or await self._reader.run(schema.is_read_only)

    async def clock_fault(self) -> str | None:
        """What is wrong with this machine's clock, in words; None if nothing is."""
        return await self._reader.run(clock_fault, self.clock)

    async def close(self) -> None:
        """Finishes what was accepted and lets the database go."""
        await self._committer.close()
        await self.arrivals.close()
        if self._aside is not None:
            await self._aside.close()
        await self._long_reads.close()
        await self._reader.close()
        self._patience.close()
        self.log.close()
