"""One transaction for a batch of requests: for each one load, decide, collect; then append and project all at once."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from time import monotonic
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import structlog
from sqlalchemy import Connection, bindparam, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from domain import server
from domain.decision import Outcome, Refusal, accept
from domain.event import Event, Moment, Recorded
from domain.events import ENDING_MANY, is_stateless, may_be_cached
from domain.grant import is_alone
from domain.rules import feature_level
from eventstore import may_write
from eventstore.appending import aftermath
from eventstore.appending.rows import Writing
from eventstore.appending.transaction import AppendTransaction, Head, LockBusy
from eventstore.command import Command, Sweep
from eventstore.database.engines import together
from eventstore.execution import Answer, Executed, Origin, PendingRequest, person_on
from eventstore.issued import grants_of
from eventstore.recorder import LogRecorder, versions
from eventstore.repository import EVERY, MANY, Repository, Versioned, evolve, initial
from eventstore.sealed.log_rows import EventRow
from eventstore.stored import head
from eventstore.unavailable import DatabaseReadOnly, InDoubt, OtherLevel, WrongClock
from eventstore.view import Folds, OfGrant, View
from projections.prepared import Prepared
from security import tokens
from security.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")

_MOVE_HEAD = Prepared(update(head).where(head.c.id == 1).values(position=bindparam("position"), time=bindparam("time")))

_Decided = tuple[str, Event] | Sweep[Any]
"""An event and its stream, or a sweep that is still to be carried out."""


class Batch(View):
    """One transaction of the log, under the head row's lock. Not thread-safe; it lives as long as the transaction."""

    def __init__(self, writing: Writing, locked: Head, clock: Callable[[], Moment]) -> None:
        self._writing, self._states = writing, writing.states
        self._connection = locked.connection
        # SQLite has nobody to wait for.
        self._together = together if locked.connection.dialect.name == "postgresql" else nullcontext
        self.position = locked.position
        self._clock = clock
        self.now: Moment = locked.time
        self._start = self._written = self.position
        self._folds: dict[str, tuple[Any, int]] = {}
        self._alone: dict[str, Recorded] = {}
        """Grants that are one access token: nearly all of them, and hardly any is asked for once it is recorded."""
        self._pending: list[Recorded] = []
        self._recorded: list[Recorded] = []
        self._rows: list[EventRow] = []
        self._indexes: list[Any] = []
        self._grants: dict[bytes, OfGrant | None] = {}
        self._shared = writing.lasting.taken(self.position)
        self._alike: dict[Hashable, Any] = {}
        self.touched: dict[str, int] = {}
        self._long: dict[str, tuple[Any, Recorded]] = {}
        self._ends_many = False
        self._destroyed: list[str] = []
        self.newest: str | None = None
        """The stored form of the newest event that was appended."""
        writing.ring.settle(self._connection, self.position, clock)
        go_on, fresh = writing.changes.continue_with, locked.is_fresh
        # By the event itself, which nobody else could make, and not by the head's row.
        self.now = go_on(self._connection, self.position, locked.newest, doubted=fresh) or self.now

    def look_up(self, requests: Iterable[PendingRequest]) -> None:
        """Finds the grants of everything that these requests present, and loads them; versions where that is enough."""
        # The lock may have been waited for, and requests that came meanwhile are among these.
        self.now = max(self._clock(), self.now)
        commands = [each for request in requests for each in request.commands if not isinstance(each, Sweep)]
        if stateless := {each.stream for each in commands if not each.starts and is_stateless(each.stream)}:
            living = {each.stream for each in commands if each.lives}
            for stream, version in versions(self._connection, stateless, living).items():
                self._folds[stream] = (initial(stream), version)
        presented = [each.presented for each in commands if each.presented is not None]
        if presented:
            self._grants = grants_of(self.folds(), presented, self._states.grants, self._load_all)

    @property
    def head(self) -> int:
        return self.position

    @property
    def connection(self) -> Connection:
        self.flush()
        return self._connection

    # -- deciding -----------------------------------------------------------------------------------------------------
    def folded(self, stream: str) -> tuple[Any, int]:
        """State and version of a stream, this batch's events included."""
        found = self._folds.get(stream)
        if found is None:
            if (alone := self._alone.pop(stream, None)) is not None:
                state, version = evolve(stream, initial(stream), alone), alone.version
            else:
                state, version, _ = self._states.cached(stream) or self._load(stream)
            found = self._folds[stream] = (state, version)
        return found

    def _load(self, stream: str) -> Versioned:
        if is_stateless(stream):
            return Versioned(initial(stream), versions(self._connection, (stream,))[stream], self._start)
        return self._states.load(self._connection, stream, self._start)

    def _load_all(self, streams: Collection[str]) -> None:
        # What others know must not hold what is only about to be committed.
        others = {each for each in streams if each not in self._folds and each not in self._alone}
        self._folds |= (cached := self._states.all_cached(others))
        self._states.load_all(self._connection, others - cached.keys(), self._start)

    def folds(self) -> Folds:
        """Rows and folds as they stand now, for a look at the present."""
        return Folds(self.connection, self.state, self._load_all)

    def state(self, stream: str) -> Any:
        found = self._folds.get(stream)
        return self.folded(stream)[0] if found is None else found[0]

    def states(self, streams: Collection[str]) -> list[Any]:
        return [(self._folds.get(each) or self.folded(each))[0] for each in streams]

    def grant_of(self, presented: bytes) -> OfGrant | None:
        return self._grants[presented]

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T | None = self._shared.get(key)
        if found is None:
            found = self._shared[key] = make()
        return found

    def decided(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T | None = self._alike.get(key)
        if found is None:
            found = self._alike[key] = make()
        return found

    def _forget_shared(self) -> None:
        self._shared.clear()
        self._alike.clear()

    def look(self, at: Callable[Concatenate[Folds, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return at(self.folds(), *args, **kwargs)

    def run(self, request: PendingRequest) -> Executed[Any]:
        """Decides a caller's commands in order. When one is refused, its own events are kept, the others' dropped."""
        if len(request.commands) == 1 and not isinstance(only := request.commands[0], Sweep):
            stream, outcome = self._decide(only)
            outcomes: tuple[Outcome, ...] = (outcome,)
            recorded = tuple([self._record(stream, event, request.origin) for event in outcome.events])
        else:
            outcomes, steps = self._decide_together(request)
            recorded = tuple(self._carried_out(steps, request))
        refusal = outcomes[-1].refusal if outcomes else None
        value = None
        if refusal is None and request.then is not None:
            self.flush()
            value = request.then(self, recorded)
        return Executed(outcomes, recorded, refusal, value)

    def _carried_out(self, steps: Iterable[_Decided], request: PendingRequest) -> Iterator[Recorded]:
        for step in steps:
            if isinstance(step, Sweep):
                self._sweep(step, request)
            else:
                yield self._record(*step, request.origin)

    def _decide_together(self, request: PendingRequest) -> tuple[tuple[Outcome, ...], list[_Decided]]:
        """The outcomes, and in their order the events, each with its stream, and the sweeps that nothing refused."""
        new = [each.stream for each in request.commands if isinstance(each, Command) and each.starts]
        before = {each: (initial(each), 0) for each in new} | self._folds, dict(self._alone), self.position
        events: list[_Decided] = []
        outcomes: list[Outcome] = []
        try:
            for command in request.commands:
                if isinstance(command, Sweep):
                    outcomes.append(accept())
                    events.append(command)
                    continue
                stream, outcome = self._decide(command)
                outcomes.append(outcome)
                own = [(stream, event) for event in outcome.events]
                if outcome.refusal is not None:
                    return tuple(outcomes), [*own]
                events += own
                self._preview(own, request.origin)
            return tuple(outcomes), events
        finally:
            self._folds, self._alone, self.position = before
            self._forget_shared()

    def _decide(self, command: Command[Any]) -> tuple[str, Outcome]:
        stream = command.stream
        if command.presented is not None and (found := self._grants[command.presented]) is not None:
            stream = f"grant:{found.grant_id}"
        elif command.elsewhere is not None and (other := command.elsewhere(self)) is not None:
            stream = other
        elif command.starts and stream not in self._folds:
            self._folds[stream] = (initial(stream), 0)
        outcome = command.decide(self.folded(stream)[0], self)
        if isinstance(outcome, Refusal):
            return stream, Outcome((), outcome)
        self._require_sound(outcome)
        return stream, outcome

    def _require_sound(self, outcome: Outcome) -> None:
        """Raises `InDoubt` when this may not be recorded while the log has diverged, as the log itself says, and
        `OtherLevel` when a node would not know what it means, or this one does not know what the log may mean."""
        for event in outcome.events:
            if not event.in_doubt:
                state: server.State = self.folded(server.STREAM)[0]
                if state.diverged is not None:
                    raise InDoubt(event.type)
                if state.feature_level > feature_level.FEATURE_LEVEL:
                    raise OtherLevel(f"the log is at feature level {state.feature_level}")
            # Nearly every event is of the first level, in all of its members.
            if event.since == 1 and not event.members_since:
                continue
            if (level := feature_level.needed(event)) > 1 and level > self.folded(server.STREAM)[0].feature_level:
                raise OtherLevel(f"{event.type} takes feature level {level}")

    def _preview(self, events: list[tuple[str, Event]], origin: Origin) -> None:
        """Lets a caller's later command see the earlier one's events before anything of it is collected."""
        for stream, event in events:
            state, version = self.folded(stream)
            self.position += 1
            recorded = Recorded(
                self.position, "", stream, version + 1, self.now, origin.actor, origin.request_id, None, None, event
            )
            self._folds[stream] = (evolve(stream, state, recorded), version + 1)
        self._forget_shared()

    def _sweep(self, sweep: Sweep[Any], request: PendingRequest) -> None:
        """Carries a sweep out, one portion in memory at a time."""
        count = 0
        for portion in sweep.streams(self):
            missing = [stream for stream in portion if stream not in self._folds]
            for stream, found in self._states.read_all(self._connection, missing, self._start).items():
                self._folds[stream] = (found.state, found.version)
            for stream in portion:
                outcome = sweep.decide(self.folded(stream)[0], self)
                if isinstance(outcome, Refusal) or outcome.refusal is not None:
                    raise AssertionError(f"a sweep was refused: {outcome}")
                self._require_sound(outcome)
                for event in outcome.events:
                    self._record(stream, event, request.origin)
            self.flush()
            request.since = monotonic()
            del self._recorded[:-1], self._rows[:-1]
            count += len(portion)
            if count > MANY:
                # Too many to be remembered one by one: after the commit nothing that was cached holds any more.
                # What is read anew may never be committed, and what was known is not as it stands here.
                self._ends_many = True
                self._states = Repository(self._writing.changes, self._states.snapshots)
                for stream in portion:
                    del self._folds[stream]
                    self.touched.pop(stream, None)

    # -- collecting ---------------------------------------------------------------------------------------------------
    def _record(self, stream: str, event: Event, origin: Origin) -> Recorded:
        state, version = self.folded(stream)
        self._ends_many = self._ends_many or event.type in ENDING_MANY
        event_id = tokens.event_id()
        privacy = self._writing.privacy
        indexes: Any = {}
        if event.personal:
            realm = getattr(event, "realm", None) or getattr(state, "realm", None) or ""
            event, indexes = privacy.seal_event(self._connection, event, stream, event_id, realm, self.now)
        person = None if origin.on_device is None else person_on(origin.on_device, state, event)
        ip, agent = privacy.seal_origin(self._connection, origin, event_id, self.now, person)
        self.position += 1
        recorded = Recorded(
            self.position, event_id, stream, version + 1, self.now, origin.actor, origin.request_id, ip, agent, event
        )
        self._pending.append(recorded)
        self._recorded.append(recorded)
        self._indexes.append(indexes)
        if version == 0 and is_alone(event):
            del self._folds[stream]
            self._alone[stream] = recorded
        else:
            self._fold(state, recorded)
        return recorded

    def _fold(self, state: Any, recorded: Recorded) -> None:
        stream = recorded.stream
        self._folds[stream] = (evolve(stream, state, recorded), recorded.version)
        self.touched[stream] = recorded.position
        if not stream.startswith("grant:"):
            self._forget_shared()
        if recorded.version % EVERY == 0 and not is_stateless(stream):
            self._long[stream] = (self._folds[stream][0], recorded)
        if recorded.event.destroys_key:
            self._destroyed.append(stream)
            self._writing.vault.destroy(self._connection, stream, self.now)

    # -- writing ------------------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Appends what was collected and writes its projection rows."""
        if self._pending:
            with self._together(self._connection):
                self._write()

    def _write(self) -> None:
        if self._pending:
            pending, indexes, self._pending, self._indexes = self._pending, self._indexes, [], []
            self._rows += self._writing.append(self._connection, pending, indexes)
            self.newest = self._rows[-1].state.decode()

    def write_early(self) -> None:
        """On SQLite, writes all but the commit, which may be another thread's. PostgreSQL gets all in one message."""
        if self.position != self._written and self._connection.dialect.name == "sqlite":
            with self._together(self._connection):
                self._move()

    def finish(self, commit: Callable[[Connection], None]) -> None:
        """Writes what is not written yet and commits; on PostgreSQL in one message to the server."""
        if self.position == self._written:
            commit(self._connection)
            return
        with self._together(self._connection):
            self._move()
            commit(self._connection)

    def _move(self) -> None:
        self._write()
        for state, last in self._long.values():
            self._writing.states.snapshots.keep(self._connection, state, last)
        _MOVE_HEAD.run(self._connection, ({"position": self.position, "time": self.now},))
        self._written = self.position

    def keep(self) -> None:
        """After the commit: what this batch learnt is what the process knows."""
        changes, states = self._writing.changes, self._writing.states
        for stream in self._destroyed:
            changes.destroyed(stream)
        for stream, position in self.touched.items():
            if may_be_cached(stream, self._folds[stream][1]):
                changes.note(stream, position)
        if self._ends_many:
            changes.forget(self.position)
        changes.advance(self.position, self.newest, self.now)
        self._writing.lasting.keep(self.position, self._shared)
        self._writing.recent.add(self._recorded, self._rows)
        for stream in self.touched:
            state, version = self._folds[stream]
            states.keep(stream, Versioned(state, version, self.position))


# Transactions, one after the other: decided, committed, and redone one by one when something breaks one.


log = structlog.get_logger(__name__)


class Begun(NamedTuple):
    """A transaction that has the log's lock, with nothing in it yet."""

    batch: Batch
    transaction: AppendTransaction


class Decided(NamedTuple):
    """A batch that is not yet committed, with the answers for after that."""

    requests: list[PendingRequest]
    answers: list[Answer]
    batch: Batch
    transaction: AppendTransaction


class Transactions:
    """Runs batches, one after the other. A batch may be begun, decided and committed on different threads."""

    def __init__(self, recorder: LogRecorder, writing: Writing, clock: Clock, on_commit: Callable[[int], None]) -> None:
        self._recorder = recorder
        self._writing = writing
        self._clock = clock
        self._on_commit = on_commit
        self.read_only = False
        """Whether the database refused the last transaction because it takes nothing at present."""

    def run(
        self, requests: list[PendingRequest], more: Callable[[list[PendingRequest]], None] | None = None
    ) -> tuple[list[Answer], Sequence[PendingRequest]]:
        """Executes the requests in one transaction: the answers for after it, and those for which the lock was busy.

        `more` is asked once the log's lock is held, since other requests come while another process holds it.

        Whatever breaks the transaction as a whole (a conflict with another process, an exception while rows were
        written) makes the requests be redone one by one, so that it harms only the one that caused it.
        """
        requests[:] = [each for each in requests if not each.told]
        if not requests:
            return [], ()
        try:
            begun = self.begin()
        except LockBusy:
            return [], requests
        except Exception as error:
            return self.broken(requests, error)
        if more is not None:
            more(requests)
        return self.finish(requests, begun)

    def finish(self, requests: list[PendingRequest], begun: Begun) -> tuple[list[Answer], Sequence[PendingRequest]]:
        """The rest of `run`, for who has begun."""
        try:
            decided = self.decide(requests, begun)
            self.commit(decided)
        except Exception as error:
            return self.broken(requests, error)
        return self.keep(decided)

    def broken(self, requests: list[PendingRequest], error: Exception) -> tuple[list[Answer], Sequence[PendingRequest]]:
        """What `run` does after a transaction broke. What may have been done is never done again."""
        self._writing.ring.unsettle()
        if isinstance(error, IntegrityError):
            aftermath.look_beyond(self._recorder, self._writing.changes)
        if len(requests) == 1 or isinstance(error, aftermath.Unknown | WrongClock):
            meant = aftermath.meaning(self._writing.changes, error)
            self.read_only = isinstance(meant, DatabaseReadOnly)
            return [(request, None, meant) for request in requests], ()
        log.info("batch_redone", commands=len(requests), error=type(error).__name__)
        answers: list[Answer] = []
        for place, request in enumerate(requests):
            done, busy = self.run([request])
            if busy:
                return answers, requests[place:]
            answers += done
        return answers, ()

    def begin(self) -> Begun:
        """A new transaction with the log's lock. Raises `LockBusy`, and anything else when the database fails."""
        transaction = AppendTransaction(self._recorder)
        locked = transaction.begin()
        with transaction.going_on:
            if locked.indexed_by is not None:
                may_write.require_key(locked.indexed_by, self._writing.indexed_by)
            batch = Batch(self._writing, locked, self._clock.now)
            if self._clock.fault(batch.now, locked.database_time) is not None:
                may_write.require_clock(self._clock, locked.connection, batch.now)
        return Begun(batch, transaction)

    def decide(self, requests: list[PendingRequest], begun: Begun) -> Decided:
        """Decides those in a transaction whose callers still wait. Raises anything when nothing of it is left."""
        batch, transaction = begun
        with transaction.going_on:
            requests[:] = [each for each in requests if each.begin()]
            batch.look_up(requests)
            answers = [_answer(batch, request) for request in requests]
            batch.write_early()
        return Decided(requests, answers, batch, transaction)

    def commit(self, decided: Decided) -> None:
        """Returns when the batch is on disk. Raises `Unknown`, and anything else when it is not and will not be."""
        try:
            with decided.transaction:
                decided.batch.finish(self._recorder.commit)
        except Exception:
            # A connection that breaks while it commits leaves open whether it did; redoing what was done would do it
            # twice. The log itself tells.
            try:
                stored = aftermath.is_stored(self._recorder, decided.batch.position, decided.batch.newest)
            except Exception as error:
                raise aftermath.Unknown from error
            if not stored:
                raise

    def keep(self, decided: Decided) -> tuple[list[Answer], Sequence[PendingRequest]]:
        """After the commit: what the batch learnt is what the process knows, and its answers may go out."""
        decided.batch.keep()
        self.read_only = False
        if decided.requests:
            self._on_commit(len(decided.requests))
        return decided.answers, ()


def _answer(batch: Batch, request: PendingRequest) -> Answer:
    position = batch.position
    try:
        return request, batch.run(request), None
    except Exception as error:
        # A verb that failed before anything was collected harms only its caller; the rest goes on.
        unchanged = batch.position == position and (request.then is None or isinstance(error, InDoubt | OtherLevel))
        if isinstance(error, SQLAlchemyError) or not unchanged:
            raise
        return request, None, error
