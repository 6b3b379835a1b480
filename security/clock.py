"""Time as the system keeps it: whole microseconds since 1970, read from a clock that is always handed in."""

import re
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
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
_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> Moment: ...


class SystemClock:
    """The machine's own clock. It may step back; whoever needs monotone time (the ledger) sees to that itself."""

    def now(self) -> Moment:
        return time.time_ns() // 1000


class ManualClock:
    """A clock that stands still until it is moved: for tests, and for replaying a moment."""

    def __init__(self, now: Moment = 1_767_225_600 * SECOND) -> None:
        self._now = now

    def now(self) -> Moment:
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


def format_rfc3339(moment: Moment) -> str:
    """RFC 3339 §5.6 in UTC, always with a six-digit fraction and `Z`, so that text order is time order."""
    day, within = divmod(moment, DAY)
    seconds, fraction = divmod(within, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return "%sT%02d:%02d:%02d.%06dZ" % (_day(day), hour, minute, second, fraction)  # noqa: UP031 - twice as fast


# What `format_rfc3339` writes. It is read by the million when the log is replayed.
_OURS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d\.\d{6}Z", re.ASCII)
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
