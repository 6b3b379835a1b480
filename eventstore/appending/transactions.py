"""One transaction for a batch of requests: decided, committed, and redone one by one when something breaks it."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from eventstore import may_write, search
from eventstore.appending.batch import Batch
from eventstore.appending.live import Writing
from eventstore.database.engines import away
from eventstore.errors import DatabaseAway, DatabaseReadOnly, Forged, InDoubt, WrongClock
from eventstore.execution import Executed, Request
from eventstore.may_write import require_clock
from eventstore.recorder import LockBusy, LogRecorder
from security.clock import Clock

log = structlog.get_logger(__name__)

More = Callable[[list[Request]], None]
"""Adds the requests that came since to those of a batch, up to the size of the largest."""

Answer = tuple[Request, Executed[Any] | None, BaseException | None]


class _Identity(msgspec.Struct):
    id: str


_ID = msgspec.json.Decoder(_Identity)


class Unknown(Exception):
    """The connection broke while it committed, and the log cannot be asked whether it did."""


class Begun(NamedTuple):
    """A transaction that has the log's lock, with nothing in it yet."""

    batch: Batch
    transaction: contextlib.ExitStack


class Decided(NamedTuple):
    """A batch that is not yet committed, with the answers for after that."""

    requests: list[Request]
    answers: list[Answer]
    batch: Batch
    transaction: contextlib.ExitStack


class Transactions:
    """Runs batches, one after the other. A batch may be begun, decided and committed on different threads."""

    def __init__(self, recorder: LogRecorder, writing: Writing, clock: Clock, on_commit: Callable[[int], None]) -> None:
        self._recorder = recorder
        self._writing = writing
        self._clock = clock
        self._on_commit = on_commit
        self.read_only = False
        """Whether the database refused the last transaction because it takes nothing at present."""

    def run(self, requests: list[Request], more: More | None = None) -> tuple[list[Answer], Sequence[Request]]:
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

    def finish(self, requests: list[Request], begun: Begun) -> tuple[list[Answer], Sequence[Request]]:
        """The rest of `run`, for who has begun."""
        try:
            decided = self.decide(requests, begun)
            self.commit(decided)
        except Exception as error:
            return self.broken(requests, error)
        return self.keep(decided)

    def broken(self, requests: list[Request], error: Exception) -> tuple[list[Answer], Sequence[Request]]:
        """What `run` does after a transaction broke. What may have been done is never done again."""
        self._writing.ring.unsettle()
        if isinstance(error, IntegrityError):
            self._look_beyond()
        if len(requests) == 1 or isinstance(error, Unknown | WrongClock):
            meant = self._meaning(error)
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
        with contextlib.ExitStack() as transaction:
            locked = transaction.enter_context(self._recorder.appending())
            if locked.indexed_by is not None:
                may_write.require_key(locked.indexed_by, self._writing.indexed_by)
            batch = Batch(self._writing, locked, self._clock.now)
            if self._clock.fault(batch.now, locked.database_time) is not None:
                require_clock(self._clock, locked.connection, batch.now)
            return Begun(batch, transaction.pop_all())
        raise AssertionError("a transaction swallows no exception")

    def decide(self, requests: list[Request], begun: Begun) -> Decided:
        """Decides those in a transaction whose callers still wait. Raises anything when nothing of it is left."""
        batch = begun.batch
        with begun.transaction as transaction:
            requests[:] = [each for each in requests if each.begin()]
            batch.look_up(requests)
            answers = [_decided(batch, request) for request in requests]
            batch.write_early()
            return Decided(requests, answers, batch, transaction.pop_all())
        raise AssertionError("a transaction swallows no exception")

    def commit(self, decided: Decided) -> None:
        """Returns when the batch is on disk. Raises `Unknown`, and anything else when it is not and will not be."""
        try:
            with decided.transaction:
                decided.batch.finish(self._recorder.commit)
        except Exception:
            # A connection that breaks while it commits leaves open whether it did; redoing what was done would do it
            # twice. The log itself tells.
            try:
                stored = self._is_stored(decided.batch)
            except Exception as error:
                raise Unknown from error
            if not stored:
                raise

    def keep(self, decided: Decided) -> tuple[list[Answer], Sequence[Request]]:
        """After the commit: what the batch learnt is what the process knows, and its answers may go out."""
        decided.batch.keep()
        self.read_only = False
        if decided.requests:
            self._on_commit(len(decided.requests))
        return decided.answers, ()

    def _meaning(self, error: BaseException) -> BaseException:
        forged = self._writing.changes.forged
        if isinstance(error, IntegrityError) and forged is not None:
            return Forged(forged)
        if isinstance(error, Unknown):
            return unknown(error)
        return away(error) or error

    def _look_beyond(self) -> None:
        """What stands where an event was to go, under the lock and past the head, was put there by nobody of ours."""
        with contextlib.suppress(Exception), self._recorder.appending() as locked:
            self._writing.changes.look_beyond(locked.connection)

    def _is_stored(self, batch: Batch) -> bool:
        if batch.last is None:
            return False
        found: list[str | None] = []
        try:
            with self._recorder.appending() as locked:
                found.append(search.stored(locked.connection, batch.last.position))
        except Exception:
            # What was read is true, even if the transaction that read it ends badly.
            if not found:
                raise
        state = found[0]
        return state is not None and _ID.decode(state).id == batch.last.id


def _decided(batch: Batch, request: Request) -> Answer:
    position = batch.position
    try:
        return request, batch.run(request), None
    except Exception as error:
        # A verb that failed before anything was collected harms only its caller; the rest goes on.
        unchanged = batch.position == position and (request.then is None or isinstance(error, InDoubt))
        if isinstance(error, SQLAlchemyError) or not unchanged:
            raise
        return request, None, error


def unknown(error: Unknown) -> DatabaseAway:
    """What a caller is told of whose command nobody knows whether it is stored."""
    meant = DatabaseAway(type(error).__name__)
    meant.__cause__ = error
    return meant
