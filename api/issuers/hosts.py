"""Which issuer a request is for: `Host` alone tells, compared exactly with its port, and nothing that a proxy writes.

As long as there are no further issuers `Host` is not looked at, and everything is the settings' own issuer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog

from api.app import ProcessParts, serving, wrapped
from api.config.settings import Settings
from api.http.errors import Misdirected, Throttled
from api.http.log_lines import trace
from api.http.middleware import Middleware
from api.http.request_context import FOR_OPERATORS, App, Message, Proxies, Receive, Scope, Send, fields
from api.http.responses import RawResponse, WrittenResponse
from api.issuers.caretaker import Caretaker
from api.issuers.moves import UnfinishedMoves
from api.issuers.open_issuers import OpenIssuer, OpenIssuers
from api.issuers.openings import Openings
from api.issuers.registry import IssuerEntry, IssuerRegistry, RegistryError, host_of, keyring_of, settings_of
from api.server.issuer_metrics import MetricsOfIssuer
from api.services import SERVICES, Services
from eventstore.database import schema
from eventstore.database.engines import shared_connections
from eventstore.database.reach import Reach
from eventstore.database.shared_questions import LogConnections, SharedQuestions
from eventstore.unavailable import DatabaseAway
from security.clock import Clock, SteadyClock

LOOK_EVERY = 0.5
"""Seconds between two looks at the file of issuers."""

READ_THREADS = 2
"""Of the log of a further issuer on PostgreSQL, each with a connection."""

PAUSE = 0.05
MOVED_WITHIN = 10.0
"""Seconds that requests to an issuer wait whose log is being moved."""

ELSEWHERE = "grantlog.elsewhere"
"""Where a scope holds why nobody answers for its host."""

log = structlog.get_logger("api")


class OutdatedSchema(DatabaseAway):
    """The database of an issuer lacks what this version needs: `grantlog issuer upgrade` (503)."""


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise scope[ELSEWHERE]


async def _no_answer(scope: Scope, receive: Receive) -> RawResponse:
    raise scope[ELSEWHERE]


class Hosts:
    """The app of a process: that of the settings' issuer, and beside it those of further ones."""

    def __init__(self, home: Middleware, settings: Settings, clock: Clock | None = None) -> None:
        self.home = home
        self._settings = settings
        self._clock = clock
        self._registry = IssuerRegistry.of(settings)
        self._own = host_of(settings.issuer).encode("latin-1")
        self._entries: Mapping[bytes, IssuerEntry] = {}
        # One that is disabled is still another's, and nobody is to meet the settings' issuer under its name.
        self._looks = False
        self._unreadable = False
        self._tasks: list[asyncio.Task[None]] = []
        timer = SteadyClock()
        self._reach = Reach(timer)
        self._openings = Openings(timer) if settings.throttle else None
        self.open = OpenIssuers(
            self._opening, settings.open_issuers, settings.issuer_idle, timer, reaching=self._reached
        )
        self._timer = timer
        most = settings.issuer_connections
        self._connections = LogConnections(shared_connections(most), SharedQuestions(), shared_connections(most))
        # What is nobody's is answered with the fields and the log line of everything else, and asks no ledger.
        self._nobody = Middleware(
            _nobody,
            proxies=home.proxies,
            secure=settings.issuer.startswith("https:"),
            log_requests=settings.log_requests,
            prefixes=(settings.token_prefix, *settings.former_token_prefixes),
            measure=home.measure,
            refused=home.refused,
            direct=dict.fromkeys(home.direct, _no_answer),
        )
        self.whole = home.whole
        self.read()

    @property
    def app(self) -> Any:
        """The framework's app, which all issuers share; its state has what the settings' issuer is served with."""
        return self.home.app

    @property
    def proxies(self) -> Proxies:
        """The trusted ones."""
        return self.home.proxies

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] == "http":
            if self._looks and FOR_OPERATORS not in scope:
                return self._routed(scope, receive, send)
            return self.home(scope, receive, send)
        return self._lifespan(scope, receive, send) if scope["type"] == "lifespan" else self.home(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = fields(scope).get(b"host")
        if host == self._own:
            await self.home(scope, receive, send)
            return
        try:
            issuer = await self._issuer(host, scope)
        except (Misdirected, Throttled, DatabaseAway) as error:
            scope[ELSEWHERE] = error
            await self._nobody(scope, receive, send)
            return
        issuer.enter()
        try:
            await issuer.ready.result()(scope, receive, send)
        finally:
            issuer.leave(self._timer.now())

    def answer_whole(self, scope: Scope, body: bytes) -> Awaitable[WrittenResponse]:
        """As that of the `Middleware` whose issuer it is."""
        if not self._looks or (host := fields(scope).get(b"host")) == self._own:
            return self.home.answer_whole(scope, body)
        return self._routed_whole(scope, body, host)

    async def _routed_whole(self, scope: Scope, body: bytes, host: bytes | None) -> WrittenResponse:
        try:
            issuer = await self._issuer(host, scope)
        except (Misdirected, Throttled, DatabaseAway) as error:
            scope[ELSEWHERE] = error
            return await self._nobody.answer_whole(scope, body)
        issuer.enter()
        try:
            return await issuer.ready.result().answer_whole(scope, body)
        finally:
            issuer.leave(self._timer.now())

    async def _issuer(self, host: bytes | None, scope: Scope) -> OpenIssuer:
        """Who answers under this name, opened if need be; to be entered at once. Raises Misdirected, Throttled,
        DatabaseAway."""
        entry = self._entries.get(host) if host is not None else None
        if entry is None:
            raise Misdirected
        if entry.moving_to is not None:
            entry = await self._moved(entry)
        found = self.open.opened(entry.id)
        if found is not None and found.entry is entry:
            return found
        return await self.open.get(entry, partial(self._admit, scope))

    def _admit(self, scope: Scope) -> None:
        """Whose request it is that has a log opened. Raises Throttled."""
        if self._openings is not None:
            self._openings.take(self.proxies.arrive(scope, "").address)

    async def _reached(self, entry: IssuerEntry) -> None:
        await self._reach.require(settings_of(self._settings, entry).database_url)

    async def _moved(self, entry: IssuerEntry) -> IssuerEntry:
        host = entry.host.encode("latin-1")
        for _ in range(round(MOVED_WITHIN / PAUSE)):
            await asyncio.sleep(PAUSE)
            now = self._entries.get(host)
            if now is None:
                raise Misdirected
            if now.moving_to is None:
                return now
        raise DatabaseAway("the log is being moved")

    @asynccontextmanager
    async def _opening(self, entry: IssuerEntry) -> AsyncIterator[tuple[Middleware, Services]]:
        """All that answers for an issuer."""
        settings = settings_of(self._settings, entry)
        # To connect to a machine that is away takes seconds, which nobody else is to wait for.
        if not await asyncio.to_thread(schema.is_current, settings.database_url, self._connections.taken):
            raise OutdatedSchema("run: grantlog issuer upgrade")
        parts: ProcessParts = self.app.state.parts
        parts = parts._replace(metrics=MetricsOfIssuer(parts.metrics, entry.issuer))
        inner = self.app
        keyring = keyring_of(inner.state.services.keyring, entry)
        common = self._connections
        given = serving(settings, keyring, self._clock, parts, read_threads=READ_THREADS, connections=common)
        async with given as services:

            async def answering(scope: Scope, receive: Receive, send: Send) -> None:
                scope[SERVICES] = services
                await inner(scope, receive, send)

            app: App = answering
            outer = wrapped(app, inner, settings, parts.metrics, lambda: services)
            if parts.telemetry is not None:
                parts.telemetry.follow(outer)
            yield outer, services

    # The file of issuers.

    def read(self) -> None:
        """Looks whether it has changed. One that cannot be read changes nothing, and is logged once."""
        try:
            known_here = self._registry.entries()
        except RegistryError as error:
            if not self._unreadable:
                log.error("the file of issuers cannot be read", **trace(error))
            self._unreadable = True
            return
        self._unreadable = False
        self._looks = any(each.standing != "adding" for each in known_here)
        served = [each for each in known_here if each.standing == "enabled"]
        before = self._entries
        # An issuer that has not changed stays the same object, by which its requests know it.
        known = {each.id: each for each in before.values()}
        entries = [known[each.id] if known.get(each.id) == each else each for each in served]
        self._entries = {each.host.encode("latin-1"): each for each in entries}

    async def _look(self) -> None:
        parts: ProcessParts = self.app.state.parts
        while True:
            try:
                self.read()
                await self.open.close_others({each.id: each for each in self._entries.values()})
                await self.open.close_idle()
                self._connections.close_unused()
                if self._entries:
                    parts.metrics.of_issuers.number.set(len(self._entries))
                    parts.metrics.of_issuers.opened.set(len(self.open))
            except Exception:
                log.exception("the file of issuers was not looked at")
            await asyncio.sleep(LOOK_EVERY)

    # Beginning and end.

    async def start(self) -> None:
        """Follows the file, and takes care of those whose logs nobody opens. The settings' issuer has been started."""
        caretaker = Caretaker(self.open, self._served)
        moves = UnfinishedMoves(self._settings, self._registry, self._served, self._timer)
        self._tasks = [asyncio.create_task(each) for each in (self._look(), caretaker.run(), moves.run())]

    def _served(self) -> Sequence[IssuerEntry]:
        return tuple(self._entries.values())

    async def stop(self) -> None:
        """Ends that and closes every log but that of the settings' issuer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.open.close()
        self._connections.close_unused(0)
        await self._reach.close()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message: Message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.stop()
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.start()
            await send(message)

        await self.home(scope, received, sent)
