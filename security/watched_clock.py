"""The clock of a process that runs for long: a machine's clock that jumps takes neither the log nor a token with it.

The process reads the machine's clock once and from there on counts by the steady one, which nothing sets. Whatever is
asked later of the machine's clock is no more than a comparison. While the two differ by more than `OFF_AT_MOST`, or the
database's clock says something else, nothing is written; what was issued goes on living exactly as long as it should.

When is the machine's clock right again? As soon as it agrees with the steady one. Otherwise where the database's clock,
with which this process did not agree, says the same as the machine's. And else after a jump has held for
`BELIEVED_AFTER`: then somebody meant it. It is never taken over while the log's newest event is in its future.
"""

from threading import Lock

from security.clock import OFF_AT_MOST, SECOND, Moment, SteadyClock, SystemClock, Timer, apart, behind

BELIEVED_AFTER: Moment = 60 * SECOND
"""A jump that holds for so long is the machine's new time."""

SAME: Moment = SECOND // 10
"""Two readings differ by no more than this while nothing jumps."""


class WatchedClock:
    """Tells the time of one process, and what is wrong with the machine's. Any thread may ask."""

    def __init__(self, machine: Timer | None = None, steady: Timer | None = None) -> None:
        self._machine = machine or SystemClock()
        self._steady = steady or SteadyClock()
        self._ahead = self._machine.now() - self._steady.now()
        """What the steady clock lacks to be the time."""
        self._jumped: tuple[Moment, Moment] | None = None
        """How far the machine's clock is ahead of the steady one since it jumped, and since when by the latter."""
        self._agreed = False
        """Whether this process's time agreed with the database's clock, and neither has gone its own way since."""
        self._lock = Lock()

    def now(self) -> Moment:
        return self._steady.now() + self._ahead

    def fault(self, newest: Moment, database: Moment | None = None) -> str | None:
        """Why nothing may be written: the machine's clock disagrees with the database's, jumped, or is behind the log.

        Each call is a look at the clocks, so that it is also how a jump comes to be believed.
        """
        with self._lock:
            at_most = OFF_AT_MOST if database is None else 2 * OFF_AT_MOST
            self._never_before(newest, at_most)
            machine, jump = self._look(newest - at_most, database)
        if database is not None and (found := apart(machine, database)):
            return found
        if found := behind(machine, newest, at_most):
            return found
        if abs(jump) > OFF_AT_MOST:
            return f"jumped {round(abs(jump) / SECOND)} s {'ahead' if jump > 0 else 'back'}"
        return None

    def _never_before(self, newest: Moment, at_most: Moment) -> None:
        """Whatever the machine says, what the log tells of has been: nothing lives longer because it is behind."""
        missing = newest - self.now()
        if missing > at_most:
            self._ahead += missing

    def _look(self, earliest: Moment, database: Moment | None) -> tuple[Moment, Moment]:
        """What the machine's clock shows, and by how much it is ahead of this process's time."""
        before = self._steady.now()
        machine = self._machine.now()
        after = self._steady.now()
        # The process may have been stopped between any two of these, and that is no jump.
        difference = min(max(self._ahead, machine - after), machine - before)
        believed, alone = self._is_believed(difference, after), self._was_alone(machine, database)
        contradicted = machine < earliest or (database is not None and apart(machine, database) is not None)
        if (believed or alone) and not contradicted:
            self._ahead, self._jumped = difference, None
        return machine, difference - self._ahead

    def _is_believed(self, difference: Moment, now: Moment) -> bool:
        if abs(difference - self._ahead) <= SAME:
            self._jumped = None
        elif self._jumped is None or abs(difference - self._jumped[0]) > SAME:
            self._jumped = (difference, now)
        else:
            return now - self._jumped[1] >= BELIEVED_AFTER
        return False

    def _was_alone(self, machine: Moment, database: Moment | None) -> bool:
        """Whether this process's time is one that the database never confirmed, and does not confirm now."""
        if database is None:
            return False
        if apart(self.now(), database) is None:
            self._agreed = True
        elif apart(machine, database) is not None:
            self._agreed = False
        return not self._agreed
