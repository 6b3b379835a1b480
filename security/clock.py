"""Time as the system keeps it: whole microseconds since 1970, read from a clock that is always handed in."""

import re
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import Protocol

Moment = int
"""A point in time: whole microseconds since 1970-01-01T00:00:00Z, leap seconds not counted."""

SECOND: Moment = 1_000_000
MINUTE: Moment = 60 * SECOND
HOUR: Moment = 60 * MINUTE
DAY: Moment = 24 * HOUR

_EPOCH = date(1970, 1, 1).toordinal()
_FIRST = (1 - _EPOCH) * 86_400
_END = (date.max.toordinal() + 1 - _EPOCH) * 86_400
EARLIEST: Moment = _FIRST * SECOND
"""Before it nothing can be told as a date."""

_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


OFF_AT_MOST: Moment = 2 * SECOND
"""A clock that differs more than this from what it is held against is wrong: nothing is written by it."""


class Timer(Protocol):
    """Anything that counts microseconds, from whenever on."""

    def now(self) -> Moment: ...


class Clock(Timer, Protocol):
    """Anything that tells the time."""

    def fault(self, newest: Moment, database: Moment | None = None) -> str | None:
        """Why nothing may be written by this clock, in words; None while nothing is known against it.

        `newest` is the time of the log's newest event, `database` what the database's own clock shows at this moment,
        where it has one.
        """

    def certain(self, reached: Moment) -> Moment:
        """A moment that has come for certain, whatever made the clock jump; at most now. What cannot be undone is held
        against it.

        `reached` is a time that the log told of a day ago.
        """


def behind(now: Moment, newest: Moment, at_most: Moment = OFF_AT_MOST) -> str | None:
    """What is wrong with a clock that is behind the newest event: every new event would get that one's time."""
    return f"{round((newest - now) / SECOND)} s behind the newest event" if newest - now > at_most else None


def apart(now: Moment, database: Moment) -> str | None:
    """What is wrong with a clock that differs from the database's."""
    if abs(now - database) <= OFF_AT_MOST:
        return None
    where = "ahead of" if now > database else "behind"
    return f"{round(abs(now - database) / SECOND)} s {where} the database's clock"


class SystemClock:
    """The machine's own clock. It may jump: anyone who runs for long has `security.clock.WatchedClock`."""

    def now(self) -> Moment:
        return time.time_ns() // 1000

    def fault(self, newest: Moment, database: Moment | None = None) -> str | None:
        now = self.now()
        if database is None:
            return behind(now, newest)
        # The node that wrote it may have been ahead by as much as this one is behind.
        return apart(now, database) or behind(now, newest, 2 * OFF_AT_MOST)

    def certain(self, reached: Moment) -> Moment:
        """Nobody has seen it run for any time."""
        return min(self.now(), reached)


class SteadyClock:
    """Time since the machine was started, its sleep included: the same for all its processes, and it never jumps."""

    _WHICH = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Moment:
        return time.clock_gettime_ns(self._WHICH) // 1000


class ManualClock:
    """A clock that stands still until it is moved: for tests, and for replaying a moment."""

    def __init__(self, now: Moment = 1_767_225_600 * SECOND) -> None:
        self._now = now

    def now(self) -> Moment:
        return self._now

    def fault(self, newest: Moment, database: Moment | None = None) -> str | None:
        """Nobody has it agree with the database's clock."""
        return behind(self._now, newest)

    def certain(self, reached: Moment) -> Moment:
        """It was moved on purpose."""
        return self._now

    def set(self, moment: Moment) -> None:
        """Jump to a moment, backwards too."""
        self._now = moment

    def advance(self, seconds: float) -> Moment:
        """Move on by so many seconds and tell the new time."""
        self._now += round(seconds * SECOND)
        return self._now


# Few days are ever in use at once, and a lookup is ten times as fast as the calendar.
@lru_cache(maxsize=1024)
def _day(number: int) -> str:
    return date.fromordinal(_EPOCH + number).isoformat()


def day_of(moment: Moment) -> str:
    """The UTC day, `YYYY-MM-DD`. Years 1 to 9999, else ValueError or OverflowError."""
    return _day(moment // DAY)


def month_of(moment: Moment) -> str:
    """The UTC month, `YYYY-MM`."""
    return _day(moment // DAY)[:7]


def end_of_month(month: str) -> Moment:
    """The first moment after a UTC month `YYYY-MM`. ValueError for what is none, and for the last there is."""
    first = date.fromisoformat(f"{month}-01")
    return (first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1).toordinal() - _EPOCH) * DAY


def format_rfc3339(moment: Moment) -> str:
    """RFC 3339 §5.6 in UTC, always with a six-digit fraction and `Z`, so that text order is time order."""
    day, within = divmod(moment, DAY)
    seconds, fraction = divmod(within, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return "%sT%02d:%02d:%02d.%06dZ" % (_day(day), hour, minute, second, fraction)  # noqa: UP031 - twice as fast


# What `format_rfc3339` writes. It is read by the million when the log is replayed.
# Python reads 24:00 as the next day's midnight since 3.14, which RFC 3339 §5.7 does not know.
_OURS = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:[0-5]\d\.\d{6}Z", re.ASCII)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_rfc3339(text: str) -> Moment:
    """Read an RFC 3339 §5.6 date-time of any offset; digits beyond the microsecond are cut off.

    A leap second is read as the first second of the next day. Raises ValueError for everything else, and for what
    `format_rfc3339` could not write, without repeating the text.
    """
    if _OURS.fullmatch(text):
        with suppress(ValueError):
            return (datetime.fromisoformat(text) - _EPOCH_TIME) // _MICROSECOND
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date-time such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    fraction = int((match[7] or "0").ljust(6, "0")[:6])
    offset = 0
    if match[8]:
        if int(match[9]) > 23 or int(match[10]) > 59:
            raise ValueError("the offset is out of range")
        offset = (int(match[9]) * 60 + int(match[10])) * (60 if match[8] == "+" else -60)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("the time of day is out of range")
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        raise ValueError("no such day") from None
    total = days * 86_400 + hour * 3600 + minute * 60 + second - offset
    # Leap seconds are only ever put in at the end of a UTC day.
    if second == 60 and total % 86_400:
        raise ValueError("no such leap second")
    # An offset may lead out of the years that can be written.
    if not _FIRST <= total < _END:
        raise ValueError("the time is outside the years 1 to 9999 in UTC")
    return total * SECOND + fraction


# The clock of a process that runs for long: a machine's clock that jumps takes neither the log nor a token with it.

BELIEVED_AFTER: Moment = 60 * SECOND
"""A jump that holds for so long is the machine's new time, or for longer where it is far, see `STOPPED`."""

HURRY = 365
"""So many times as fast as the steady clock time goes on at most where much hangs on it: a year within a day."""

STOPPED: Moment = 31 * DAY
"""A virtual machine may have been stopped for so long, its steady clock with it: no jump of this size is far."""

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
        self._since = self._steady.now()
        """Since when, by the steady clock, this is the time."""
        self._agreed = False
        """Whether this process's time agreed with the database's clock, and neither has gone its own way since."""
        self._proved = False
        """Whether nothing was known against the machine's clock at any look."""
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
        self._proved = True
        return None

    def certain(self, reached: Moment) -> Moment:
        """From what was reached on no faster than `HURRY`, and anew since time jumped."""
        return min(self.now(), reached + HURRY * (self._steady.now() - self._since))

    def _go_on_from(self, ahead: Moment) -> None:
        if abs(ahead - self._ahead) > OFF_AT_MOST:
            self._since = self._steady.now()
        self._ahead, self._jumped = ahead, None

    def _never_before(self, newest: Moment, at_most: Moment) -> None:
        """Whatever the machine says, what the log tells of has been: nothing lives longer because it is behind."""
        missing = newest - self.now()
        if missing > at_most:
            self._go_on_from(self._ahead + missing)

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
            self._go_on_from(difference)
        return machine, difference - self._ahead

    def _is_believed(self, difference: Moment, now: Moment) -> bool:
        if abs(difference - self._ahead) <= SAME:
            self._jumped = None
        elif self._jumped is None or abs(difference - self._jumped[0]) > SAME:
            self._jumped = (difference, now)
        else:
            # A time that was never right is soon given up for another.
            far = (abs(difference - self._ahead) - STOPPED) // HURRY if self._proved else 0
            return now - self._jumped[1] >= max(BELIEVED_AFTER, far)
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
