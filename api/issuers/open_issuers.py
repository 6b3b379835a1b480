"""The logs of further issuers that a process has open: each from its first request until nobody asks for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import Context
from time import monotonic
from typing import NamedTuple

import structlog

from api.audit.queries import auditor
from api.http.log_lines import trace
from api.http.middleware import Middleware
from api.issuers.registry import IssuerEntry
from api.services import Services
from eventstore.unavailable import DatabaseAway
from security.clock import DAY, SECOND, Moment, Timer

OPENED_WITHIN = 10.0
"""Seconds that a request waits for the log of its issuer."""

LEFT_WITHIN = 10.0
"""Seconds that requests get which are in hand when an issuer is closed. Who follows its log is sent away at once."""

CLOSED_WITHIN = 15.0
"""Seconds that closing is waited for: a database that is frozen answers nobody, and nobody else waits for it."""

STREAMS_STAY = 30 * SECOND
"""How long an issuer that nobody asks keeps its place for those who follow its log, when others want it. They come back
where they were, and may be what others have to make room for then: not all the time."""

LONGEST_REST = 0.25
"""Seconds between two openings at most, when one has to make room for another: as long as an opening takes, so that
those who are served have half of the time."""

LOOK_EVERY = 0.02
"""Seconds between two looks for one that nobody uses."""

TRIED_AGAIN_AFTER = 2 * SECOND
"""How long an issuer whose log could not be opened is not tried again: every caller would have it tried."""

log = structlog.get_logger("api")

Opening = Callable[[IssuerEntry], AbstractAsyncContextManager[tuple[Middleware, Services]]]
"""What answers for an issuer and its services, from the opening of its log to its end."""

Reaching = Callable[[IssuerEntry], Awaitable[None]]
"""Returns when the database of an issuer takes connections; raises `DatabaseAway`."""


class LogReaders(NamedTuple):
    """Those who follow the logs of issuers: how many of a log, and how they are sent away, to come back."""

    number: Callable[[Services], int]
    dismiss: Callable[[Services], None]


def _following(services: Services) -> int:
    return auditor.following(services.ledger)


LOG_READERS = LogReaders(_following, lambda services: services.ledger.arrivals.dismiss())


class IssuerAway(DatabaseAway):
    """The log of an issuer cannot be opened at present, or so many others are in use (503)."""


class OpenIssuer:
    """One that is open or about to be. `ready` is what answers for it."""

    def __init__(self, entry: IssuerEntry, now: int) -> None:
        self.entry = entry
        self.ready: asyncio.Future[Middleware] = asyncio.get_running_loop().create_future()
        self._services: Services | None = None
        self._asked = False
        self.users = 0
        """Requests in hand, streams among them."""
        self.used_at = now
        self.late = False
        """Whether somebody has waited in vain for it to open or to close."""
        self.leaving = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._left: asyncio.Event | None = None

    def enter(self) -> None:
        """Keeps it open until `leave`, and for a while."""
        self._asked = True
        self.users += 1

    def leave(self, now: Moment) -> None:
        """Ends a request."""
        self.used_at = now
        self._let_go()

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Keeps it open meanwhile, and no longer if nobody asks."""
        self.users += 1
        try:
            yield
        finally:
            self._let_go()
        if not self._asked:
            self.used_at -= DAY

    def _let_go(self) -> None:
        self.users -= 1
        if not self.users and self._left is not None:
            self._left.set()

    @property
    def services(self) -> Services:
        """What it is served with, once it is ready."""
        if self._services is None:
            raise AssertionError("the issuer is not open")
        return self._services

    def begin(self, app: Middleware, services: Services) -> None:
        """Has requests answered."""
        self._services = services
        self.ready.set_result(app)

    @property
    def is_idle(self) -> bool:
        """Whether it is open, and nobody uses it."""
        return self.ready.done() and not self.users and not self.leaving.is_set()

    def is_followed(self, followers: LogReaders) -> bool:
        """Whether it is open, and nobody uses it but for those who follow its log."""
        if self._services is None or not self.users or self.leaving.is_set():
            return False
        return self.users <= followers.number(self._services)

    async def unused(self) -> None:
        """Returns when nobody uses it. To be called once."""
        if self.users:
            self._left = asyncio.Event()
            await self._left.wait()


class OpenIssuers:
    """Those that are open, `most` at a time. A further one is opened when one that nobody uses at this moment has been
    closed; one at a time, so that many that are asked for at once do not starve those who are served."""

    def __init__(
        self,
        opening: Opening,
        most: int,
        idle: int,
        timer: Timer,
        *,
        reaching: Reaching | None = None,
        followers: LogReaders = LOG_READERS,
    ) -> None:
        self._opening = opening
        self._reaching = reaching
        self._followers = followers
        self._most = most
        self._idle = idle * SECOND
        self._timer = timer
        self._open: dict[str, OpenIssuer] = {}
        self._turn = asyncio.Lock()
        self._failed: dict[str, int] = {}
        self._took = 0.0
        """Seconds of the last opening."""

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, issuer_id: str) -> OpenIssuer | None:
        """The issuer, if it is open and stays so."""
        found = self._open.get(issuer_id)
        return None if found is None or not found.ready.done() or found.leaving.is_set() else found

    async def get(self, entry: IssuerEntry, admit: Callable[[], None] = lambda: None) -> OpenIssuer:
        """The issuer, opened if need be. To be entered before anything else is waited for. `admit` is called where it
        has to be opened, and may raise. Raises `DatabaseAway`."""
        found = self.opened(entry.id)
        if found is not None and found.entry == entry:
            return found
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                if self._reaching is not None:
                    # To wait for a machine that is away is nobody else's matter.
                    await self._reaching(entry)
                async with self._turn:
                    return await self._get(entry, admit)
        except TimeoutError:
            raise IssuerAway("not opened in time") from None

    async def _get(self, entry: IssuerEntry, admit: Callable[[], None]) -> OpenIssuer:
        found = self.opened(entry.id)
        if found is not None and found.entry == entry:
            return found
        if self._timer.now() < self._failed.get(entry.id, 0):
            raise IssuerAway("not opened a moment ago")
        try:
            made = await self._begin(entry, admit)
            await asyncio.wait((made.ready,))
        except asyncio.CancelledError:
            if (waited_for := self._open.get(entry.id)) is not None:
                # Anyone who came next would keep all others from their turn for as long again.
                waited_for.late = True
            raise
        if made.ready.exception() is not None:
            self._failed[entry.id] = self._timer.now() + TRIED_AGAIN_AFTER
            raise IssuerAway("its log cannot be opened")
        self._failed.pop(entry.id, None)
        return made

    async def _begin(self, entry: IssuerEntry, admit: Callable[[], None]) -> OpenIssuer:
        """The one that is about to be opened, if need be in place of one that was."""
        made = self._open.get(entry.id)
        if made is not None and made.late:
            if made.entry == entry:
                raise IssuerAway("not opened yet")
            # Its log is elsewhere by now, and what it waits for is nobody's matter any more.
            made.leaving.set()
            del self._open[entry.id]
            made = None
        if made is not None and (made.entry != entry or made.leaving.is_set()):
            # It is closing, or its log is elsewhere by now.
            await self._end(made)
            made = None
        if made is None:
            admit()
            await self._make_room()
            made = self._open[entry.id] = OpenIssuer(entry, self._timer.now())
            # Its tasks outlive the request that wants it, and are none of its matter.
            made.task = asyncio.get_running_loop().create_task(self._keep(made), context=Context())
        return made

    async def _make_room(self) -> None:
        while len(self._open) >= self._most:
            if (which := self._to_be_closed()) is None:
                await asyncio.sleep(LOOK_EVERY)
                continue
            await self._end(which)
            await asyncio.sleep(min(self._took, LONGEST_REST))

    def _to_be_closed(self) -> OpenIssuer | None:
        """One that nobody uses, or else one that nobody has used for a while but to follow its log."""
        since = self._timer.now() - STREAMS_STAY
        followed = (each for each in self._open.values() if each.used_at <= since and each.is_followed(self._followers))
        those = [each for each in self._open.values() if each.is_idle] or list(followed)
        return min(those, key=lambda each: each.used_at, default=None)

    async def _keep(self, made: OpenIssuer) -> None:
        began = monotonic()
        try:
            async with self._opening(made.entry) as (app, services):
                self._took = monotonic() - began
                made.begin(app, services)
                await made.leaving.wait()
                self._followers.dismiss(services)
                with suppress(TimeoutError):
                    await asyncio.wait_for(made.unused(), LEFT_WITHIN)
        except Exception as error:
            log.error("an issuer's log is not open", issuer=made.entry.issuer, **trace(error))
            if not made.ready.done():
                made.ready.set_exception(IssuerAway("its log cannot be opened"))
                made.ready.exception()
        finally:
            if self._open.get(made.entry.id) is made:
                del self._open[made.entry.id]

    async def _end(self, which: OpenIssuer) -> None:
        """Closes one when its requests are answered."""
        which.leaving.set()
        if which.task is not None:
            await asyncio.wait((which.task,))

    async def close_idle(self) -> None:
        """Closes those that nobody has asked for a while."""
        now = self._timer.now()
        await self._end_all(each for each in self._open.values() if each.is_idle and now - each.used_at >= self._idle)

    async def close_others(self, entries: Mapping[str, IssuerEntry]) -> None:
        """Closes those that are served no more, or from elsewhere."""
        others = [each for each in self._open.values() if entries.get(each.entry.id) != each.entry]
        await self._end_all(each for each in others if not each.leaving.is_set())

    async def close(self) -> None:
        """Closes all."""
        await self._end_all(self._open.values())

    async def _end_all(self, those: Iterable[OpenIssuer]) -> None:
        ending = tuple(those)
        for each in ending:
            each.leaving.set()
        if tasks := [each.task for each in ending if each.task is not None]:
            await asyncio.wait(tasks, timeout=CLOSED_WITHIN)
