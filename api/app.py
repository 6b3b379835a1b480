"""The composition root: every part put together into the ASGI app of one process."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import structlog
from litestar import Litestar

from api.background import Background
from api.branding import assumed_branding
from api.config.settings import Settings, log_origin
from api.http.certificates import Certificates
from api.http.cors import OriginPolicy
from api.http.credential_cache import CredentialCache, DashboardSecrets
from api.http.fetched_documents import FetchedDocuments
from api.http.load_shedding import HeldBack
from api.http.middleware import Middleware
from api.http.outgoing_requests import OutgoingRequests
from api.http.own_tokens import recognise
from api.http.private_keys import PrivateKeys
from api.http.refusals import ClientRefusals
from api.http.request_context import App, Proxies
from api.http.subjects import Subjects
from api.oauth.client_authentication import shortcuts
from api.oauth.introspection import introspect
from api.oauth.passkeys import named, tell_of_dead
from api.oauth.revocation import revoke
from api.oauth.token import token
from api.oauth.userinfo import userinfo
from api.pages.authorization.pushed_authorization_request import par
from api.routes import routed
from api.server import telemetry as telemetries
from api.server.metrics import Metrics
from api.server.presence import Presence, require_level
from api.server.telemetry import Telemetry
from api.server.transparency import Transparency, require_continuation, watch
from api.services import SYSTEM, Services, lifetimes, record_start, running_version, services_of
from api.sign_in_requests import past_framework
from api.throttling.repeated_facts import RepeatedFacts
from api.throttling.throttle import open_throttle
from api.throttling.windowed_counter import SecretUses, TokenUses
from commands import signing_keys
from domain import server
from eventstore.database.shared_questions import LogConnections
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing, Sightings
from eventstore.projecting.counting import EventCounting
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from projections import event_index, sightings
from projections.figures import event_counts
from security.clock import Clock, SteadyClock, Timer, WatchedClock
from security.keyring import Keyring
from security.passwords import Argon2Parameters, Hasher, StrengthMeter
from security.tokens import Format

log = structlog.get_logger("api")


class ProcessParts(NamedTuple):
    """What all issuers of a process have in common: threads for passwords, numbers, traces. Nobody is known to it."""

    hasher: Hasher
    strength: StrengthMeter
    metrics: Metrics
    telemetry: Telemetry | None

    def close(self) -> None:
        """Ends the threads."""
        self.hasher.close()
        self.strength.close()


def process_parts(settings: Settings, metrics: Metrics | None = None) -> ProcessParts:
    """Those of a process with these settings."""
    parameters = Argon2Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism)
    hasher = Hasher(parameters, threads=settings.password_concurrency)
    metrics = metrics or Metrics()
    proxies = Proxies(settings.trusted_proxies, settings.proxy_header)
    telemetry = telemetries.opened(running_version(), metrics.facts, proxies)
    return ProcessParts(hasher, StrengthMeter(), metrics, telemetry)


async def open_services(
    settings: Settings,
    keyring: Keyring,
    clock: Clock | None = None,
    parts: ProcessParts | None = None,
    *,
    read_threads: int | None = None,
    connections: LogConnections | None = None,
) -> Services:
    """Opens the ledger and everything around it; raises `DatabaseAway`. `close_services` undoes it."""
    # What slows callers counts by a clock that nobody sets, so that setting one locks nobody out.
    steady: Timer = SteadyClock() if clock is None else clock
    clock = WatchedClock() if clock is None else clock
    hasher, strength, metrics, _ = parts or process_parts(settings)
    outgoing = OutgoingRequests(allow_private=settings.allow_private_urls)
    opening = partial(
        Ledger.open, settings.database_url, keyring, clock, on_commit=metrics.batch, on_recorded=metrics.facts.recorded
    )
    if read_threads is not None:
        opening = partial(opening, read_threads=read_threads)
    ledger = await opening(
        origin=log_origin(settings),
        replica_url=settings.replica_url,
        on_replica=metrics.replica_read,
        connections=connections,
    )
    owners = StreamOwners()
    follower = CatchUpSubscription(ledger, EventIndexing(owners), Sightings(), EventCounting(owners))
    return Services(
        settings=settings,
        ledger=ledger,
        keyring=keyring,
        format=Format(settings.token_prefix, settings.former_token_prefixes),
        hasher=hasher,
        strength=strength,
        throttle=open_throttle(settings, steady, metrics.throttled),
        credentials=CredentialCache(),
        repeated_facts=RepeatedFacts(ledger, settings.grouped_window),
        uses=SecretUses(ledger, settings.usage_flush_interval, settings.grouped_window),
        token_uses=TokenUses(ledger, settings.token_usage_interval),
        lifetimes=lifetimes(settings),
        follower=follower,
        search_index=follower.only(event_index.NAME),
        sightings=follower.only(sightings.NAME),
        event_counts=follower.only(event_counts.NAME),
        metrics=metrics,
        dashboard_secrets=DashboardSecrets(ledger),
        transparency=Transparency(ledger, settings),
        private_keys=PrivateKeys(ledger),
        outgoing=outgoing,
        documents=FetchedDocuments(outgoing, clock),
        certificates=Certificates(settings),
        subjects=Subjects(),
        refusals=ClientRefusals(ledger),
    )


async def close_services(services: Services) -> None:
    """Finishes what was accepted and lets everything go but for what belongs to the process."""
    await services.ledger.close()
    services.throttle.close()


@asynccontextmanager
async def serving(
    settings: Settings,
    keyring: Keyring,
    clock: Clock | None,
    parts: ProcessParts,
    *,
    read_threads: int | None = None,
    connections: LogConnections | None = None,
) -> AsyncIterator[Services]:
    """Everything that answers for an issuer, from its recorded start to the end of its background tasks."""
    services = await open_services(settings, keyring, clock, parts, read_threads=read_threads, connections=connections)
    try:
        await require_continuation(services.ledger, settings)
        watch(services.ledger, settings)
        before: server.State = await services.ledger.state(server.STREAM)
        require_level(before)
        await record_start(services, keyring)
        presence = Presence(services.ledger, Origin(SYSTEM))
        with suppress(DatabaseAway, LedgerOverloaded):
            # Where nothing can be written now it is said later, before the level can rise without this process.
            await presence.say()
        if before.settings and any(before.settings.get(each) != now for each, now in named(settings).items()):
            await tell_of_dead(services)
        await services.transparency.start(Origin(SYSTEM))
        await signing_keys.ensure(services.ledger, Origin(SYSTEM))
        await services.private_keys.load()
        await recognise(services.format, services.ledger)
        await services.subjects.load(services.ledger, Origin(SYSTEM))
    except BaseException:
        await close_services(services)
        raise
    background = Background(services, presence)
    background.start()
    try:
        yield services
    finally:
        await background.stop()
        await services.transparency.stop()
        with suppress(DatabaseAway, LedgerOverloaded):
            await presence.leave()
        await close_services(services)


def create(
    settings: Settings, open_keys: Callable[[], Keyring], clock: Clock | None = None, app: Litestar | None = None
) -> Middleware:
    """The ASGI app. Its lifespan opens keys and database, records the start and runs the background tasks. `app` is
    what `routed` made of settings with the same issuer, body limit and console, when nothing else runs
    on it."""
    app = app or routed(settings)
    metrics = Metrics()

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        keyring = open_keys()
        # Behind the fork, since it has threads.
        parts = process_parts(settings, metrics)
        if parts.telemetry is not None:
            parts.telemetry.follow(outer)
        try:
            async with serving(settings, keyring, clock, parts) as services:
                app.state.services, app.state.parts = services, parts
                app.state.branding = lambda scope: assumed_branding(services_of(scope), scope)
                # What lives from here to the end need not be looked at by every collection.
                gc.collect()
                gc.freeze()
                # What a request makes dies with it; the caches, which stay, are what a collection would go through in
                # vain. A request that waits for its commit holds a hundred objects or more: were the youngest fewer
                # than all hold that share a transaction, each transaction would have a collection, in vain too.
                gc.set_threshold(20_000, 20, 50)
                yield
        finally:
            parts.close()
            if parts.telemetry is not None:
                await asyncio.to_thread(parts.telemetry.close)

    app.state.running = running
    app.state.held = HeldBack(settings.connections // 2)
    given: Any = app
    outer = wrapped(given, app, settings, metrics, lambda: app.state.services)
    return outer


def wrapped(
    answering: App,
    app: Litestar,
    settings: Settings,
    metrics: Metrics,
    served: Callable[[], Services],
) -> Middleware:
    """The outermost layer around `answering`, which has the routes of `app`; `served` are whose services it has, once
    they are there."""
    hot = (token, introspect, revoke, userinfo, par)
    return Middleware(
        answering,
        proxies=Proxies(settings.trusted_proxies, settings.proxy_header),
        in_flight=settings.in_flight,
        held=app.state.held,
        secure=settings.issuer.startswith("https:"),
        log_requests=settings.log_requests,
        prefixes=(settings.token_prefix, *settings.former_token_prefixes),
        direct=shortcuts(app, hot, served),
        measure=metrics.request,
        refused=metrics.facts.refused,
        pages=OriginPolicy(lambda: served().ledger, {each.path: each.methods for each in hot}),
        whole=(token.path, introspect.path, revoke.path),
        usual=past_framework(app, served),
    )
