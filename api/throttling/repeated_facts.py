"""Facts that anyone can repeat: the first at once, what follows as one count for each subject, address and window.

Where strangers name the subject, what is recorded depends on what they named and from where, and never on whether there
is such a thing: the log's growth, which everybody sees, would tell.

Without this an anonymous caller could make the log grow without bound. The counts of an open window are in memory, so a
killed server loses them; while the database is away they wait there. So does a window's first fact then, for the next
occurrence or the window's end: no count is recorded before it.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from domain.event import SECOND, Moment
from eventstore.appending.aftermath import may_be_repeated
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway, LedgerOverloaded

ADDRESSES = 20
"""Addresses told apart for one subject in one window. What comes from further ones is one count without an address."""

NAMES = 20
"""Names of strangers' choosing told apart in one window for one address. What comes under further ones is one count."""

STRANGERS = 200
"""Addresses told apart for all such names of one subject together."""

OPEN = 10_000
"""Windows open at a time. When more are, the oldest closes early."""

WAITING = 10_000
"""Closed windows that wait for the database to be back. What further ones counted is lost."""

_Key = tuple[str, str, str | None]
"""Subject, reason or name, and address."""

REST = ""
"""The name of what is under none of the names that are told apart."""

Make = Callable[[int, int], Step]
"""Builds the command that records `count` occurrences within `window_seconds`."""


@dataclass(slots=True)
class _Window:
    began: Moment
    origin: Origin
    make: Make
    count: int = 0
    """Further ones, which are not recorded yet."""
    owes_first: bool = True
    """The first is neither recorded nor being recorded."""
    recording: asyncio.Future[None] | None = None
    """Is there while the first is being recorded, and done when it was or could not be."""


class _Untold(NamedTuple):
    """What is to be recorded of a window that is closed, in one transaction."""

    commands: tuple[Step, ...] = ()
    origin: Origin = Origin()


class RepeatedFacts:
    """Counts by subject, reason and address."""

    def __init__(self, ledger: Ledger, window_seconds: int) -> None:
        self._ledger = ledger
        self._seconds = window_seconds
        self._open: OrderedDict[_Key, _Window] = OrderedDict()
        self._addresses: dict[str, Counter[str | None]] = {}
        """By subject, the addresses from which windows are open, and how many from each."""
        self._waiting: deque[_Untold] = deque()
        """Of closed windows, what the database did not take."""

    async def note(self, subject: str, reason: str, make: Make, origin: Origin) -> bool:
        """One occurrence. If the first fact of its window is owed, returns after its commit and says so; else at once.
        Raises `DatabaseAway` and `LedgerOverloaded`; the occurrence counts all the same."""
        key = (subject, reason, origin.ip)
        if key not in self._open and self._is_crowded(subject, origin.ip, ADDRESSES):
            key, origin = (subject, reason, None), _nowhere(origin)
        return await self._note(key, make, origin)

    async def note_named(self, subject: str, name: str, make: Make, rest: Make, origin: Origin) -> bool:
        """The same for one that is told by a `name` which a stranger chose; `rest` makes what names nothing. What is
        recorded and when is the same for any name, whatever `make` makes."""
        key = (subject, name, origin.ip)
        if key not in self._open:
            if self._is_crowded(subject, origin.ip, STRANGERS):
                key, make, origin = (subject, REST, None), rest, _nowhere(origin)
            elif self._addresses.get(subject, Counter())[origin.ip] >= NAMES:
                key, make = (subject, REST, origin.ip), rest
        return await self._note(key, make, origin)

    def _is_crowded(self, subject: str, address: str | None, most: int) -> bool:
        """Whether one more address would be more than are told apart."""
        known = self._addresses.get(subject, Counter())
        return address not in known and len(known) >= most

    async def _note(self, key: _Key, make: Make, origin: Origin) -> bool:
        now = self._ledger.clock.now()
        window = self._open.get(key)
        if window is not None and now - window.began < self._seconds * SECOND:
            window.count += 1
        else:
            # One closes and the other opens in the same turn of the event loop: anyone who comes while the one is
            # recorded finds the other, and opens none beside it.
            closed = self._make_room(now) if window is None else self._close(key, now)
            window = self._begin(key, _Window(now, origin, make))
            await self._record(closed)
        if not window.owes_first:
            return False
        await self._record_first(key, window)
        return True

    async def close_elapsed(self, *, everything: bool = False) -> None:
        """Records the counts of windows that are over; of all at a stop. What the database does not take waits."""
        now = self._ledger.clock.now()
        while self._waiting:
            await self._record(self._waiting.popleft())
        for key, window in list(self._open.items()):
            if everything or now - window.began >= self._seconds * SECOND:
                while window.recording is not None:
                    # Its count is not to stand alone if this fails.
                    await asyncio.wait([window.recording])
                if self._open.get(key) is window:
                    await self._record(self._close(key, now))

    def _begin(self, key: _Key, window: _Window) -> _Window:
        self._open[key] = window
        self._addresses.setdefault(key[0], Counter())[key[2]] += 1
        return window

    def _make_room(self, now: Moment) -> _Untold:
        return self._close(next(iter(self._open)), now) if len(self._open) >= OPEN else _Untold()

    def _close(self, key: _Key, now: Moment) -> _Untold:
        """Lets go of a window, and says what is to be recorded of it."""
        window = self._open.pop(key)
        addresses = self._addresses[key[0]]
        addresses[key[2]] -= 1
        if not addresses[key[2]]:
            del addresses[key[2]]
        if not addresses:
            del self._addresses[key[0]]
        commands = []
        if window.owes_first:
            window.owes_first = False
            commands.append(window.make(1, 0))
        if window.count:
            commands.append(window.make(window.count, max(1, (now - window.began) // SECOND)))
        return _Untold(tuple(commands), window.origin)

    async def _record_first(self, key: _Key, window: _Window) -> None:
        window.owes_first = False
        window.recording = asyncio.get_running_loop().create_future()
        try:
            await self._ledger.execute(window.make(1, 0), origin=window.origin)
        except (DatabaseAway, LedgerOverloaded) as error:
            if may_be_repeated(error):
                self._owe_first(key, window)
            raise
        finally:
            window.recording.set_result(None)
            window.recording = None

    def _owe_first(self, key: _Key, window: _Window) -> None:
        if self._open.get(key) is window:
            window.owes_first = True
        elif len(self._waiting) < WAITING:
            # Its window was closed meanwhile, to make room for another.
            self._waiting.appendleft(_Untold((window.make(1, 0),), window.origin))

    async def _record(self, untold: _Untold) -> None:
        if not untold.commands:
            return
        try:
            await self._ledger.execute(*untold.commands, origin=untold.origin)
        except (DatabaseAway, LedgerOverloaded) as error:
            # What may have been committed is not recorded again: rather is a count missing than told twice.
            if may_be_repeated(error) and len(self._waiting) < WAITING:
                self._waiting.append(untold)
            raise


def _nowhere(origin: Origin) -> Origin:
    return replace(origin, ip=None, user_agent=None)
