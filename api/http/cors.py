"""Which web pages of other origins may call, and may read the answer (Fetch Standard, "CORS protocol").

Dashboards answer their own exact origins, with credentials. OAuth's endpoints and the JSON API answer without, since a
token is none that a browser adds by itself: the pages of the client or dashboard that is asking, as soon as it is
known, and before that any page that an enabled one lists, which is to find out why it was refused. Nobody is turned
away for an origin there: it says only who may read the answer. What is public anyway is for every page.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto
from typing import NamedTuple

import structlog

from api.http.log_lines import trace
from api.http.request_context import Scope, fields, header
from api.http.responses import Fields, RawResponse, raw_headers, raw_response
from domain import client
from eventstore import present
from eventstore.ledger import Ledger
from security.lru import Lru

VARY = {"vary": "Origin"}
DASHBOARD_EXPOSED = "X-Request-Id, WWW-Authenticate, Retry-After"
CLIENT_EXPOSED = "X-Request-Id, WWW-Authenticate, Retry-After, DPoP-Nonce, Location"
PREFLIGHT_AGE = "600"
CLIENT_HEADERS = "Authorization, DPoP, Content-Type, Idempotency-Key"
DASHBOARD_HEADERS = "Authorization, Content-Type, X-Grantlog"
BEARER_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""All of them: a 405 is to be read as well."""

EVERYBODY = {"access-control-allow-origin": "*", "access-control-expose-headers": "X-Request-Id, Retry-After"}
"""What is public: it names nobody, needs no credentials, and is the same for all."""

BEARER_PATHS = ("/account", "/admin", "/audit", "/leaks", "/me")
"""What is asked with bearer tokens, and everything below it."""

LONGEST_ORIGIN = 300

CLIENT = "grantlog.client"
"""Where the ASGI scope holds the client that asks, as soon as it is known: its state, or its id."""

REMEMBERED = 1_000
"""Origins that were found to be listed, for answers that say that the log cannot be asked, or that there is no time."""

ASKED_AT_ONCE = 8
"""So many of those answers wait at most for a look at the log."""

WITHIN = 1.0
"""Seconds for a look. The answer is not kept for longer: it may well tell that the database is away."""

log = structlog.get_logger("api")

_BELOW = tuple(f"{path}/" for path in BEARER_PATHS)
NO_PAGE = raw_headers(VARY.items())
"""What an answer says to a caller that is no page of another origin."""


class OriginStanding(Enum):
    """What a request's `Origin` means for the resource."""

    ABSENT = auto()
    """No browser page of another origin is asking, or none that says so."""
    ALLOWED = auto()
    FOREIGN = auto()
    """An origin that is not listed, or `null`, which any sandboxed page can claim."""


class CorsDecision(NamedTuple):
    """The standing, and the headers for whatever answer is given. They hold `Vary: Origin` in every case."""

    standing: OriginStanding
    headers: dict[str, str]


def is_preflight(scope: Scope) -> bool:
    """Whether this is a CORS preflight: an OPTIONS with both headers. Any other OPTIONS is an ordinary request."""
    given = fields(scope) if scope["method"] == "OPTIONS" else ()
    return b"origin" in given and b"access-control-request-method" in given


def decide(origin: str | None, allowed: Collection[str], *, credentials: bool) -> CorsDecision:
    """A call to a dashboard, with credentials, or for a client; origins are compared character by character. For a
    dashboard FOREIGN is to be refused unevaluated; for a client the browser does not show the answer to the page."""
    if origin is None:
        return CorsDecision(OriginStanding.ABSENT, dict(VARY))
    if origin == "null" or "*" in origin or len(origin) > LONGEST_ORIGIN or origin not in allowed:
        return CorsDecision(OriginStanding.FOREIGN, dict(VARY))
    exposed = DASHBOARD_EXPOSED if credentials else CLIENT_EXPOSED
    headers = {**VARY, "access-control-allow-origin": origin, "access-control-expose-headers": exposed}
    if credentials:
        headers["access-control-allow-credentials"] = "true"
    return CorsDecision(OriginStanding.ALLOWED, headers)


def decide_preflight(
    origin: str, allowed: Collection[str], methods: Collection[str], *, credentials: bool
) -> CorsDecision:
    """The answer to a preflight: a dashboard's is 204 if ALLOWED and 403 if not, any other 204 either way."""
    decision = decide(origin, allowed, credentials=credentials)
    if decision.standing is not OriginStanding.ALLOWED:
        return decision
    granted = {
        **decision.headers,
        "access-control-allow-methods": ", ".join(sorted(methods)),
        "access-control-allow-headers": DASHBOARD_HEADERS if credentials else CLIENT_HEADERS,
        "access-control-max-age": PREFLIGHT_AGE,
    }
    del granted["access-control-expose-headers"]
    return CorsDecision(decision.standing, granted)


class OriginPolicy:
    """Decides for one issuer, whose ledger is there once it has started, about the JSON API and OAuth's `endpoints`,
    which are paths with their methods. It does so where an answer leaves, so that it holds for refusals, faults and
    streams too."""

    def __init__(self, ledger: Callable[[], Ledger], endpoints: Mapping[str, Collection[str]] = {}) -> None:
        self._opened = ledger
        self._methods = {each: methods for path, methods in endpoints.items() for each in (path, f"{path}/")}
        self._listed: Lru[str, None] = Lru(REMEMBERED)
        self._looks: set[asyncio.Task[bool]] = set()

    def concern(self, path: str) -> bool:
        """Whether the path is one of those about which it is decided here."""
        return path in self._methods or path.startswith(_BELOW) or path in BEARER_PATHS

    async def preflight(self, scope: Scope) -> RawResponse:
        """The answer to a preflight. It names no client, and there may be no such path: the request itself finds
        out."""
        origin = header(scope, b"origin") or ""
        methods = self._methods.get(scope["path"], BEARER_METHODS)
        decision = decide_preflight(origin, await self._if_listed(origin), methods, credentials=False)
        return raw_response(204, b"", None, decision.headers)

    async def fields(self, scope: Scope, status: int) -> Fields:
        """What an answer with this status says of pages."""
        origin = header(scope, b"origin")
        if origin is None:
            return NO_PAGE
        decision = decide(origin, await self._allowed(scope, origin, status), credentials=False)
        return raw_headers(decision.headers.items())

    async def _allowed(self, scope: Scope, origin: str, status: int) -> Collection[str]:
        asking: client.State | str | None = scope.get(CLIENT)
        if isinstance(asking, client.State) and asking.exists:
            return asking.allowed_origins if asking.enabled else ()
        if not isinstance(asking, str) or status == 503:
            return await self._if_listed(origin, without_delay=status == 503)
        try:
            # The client was enabled when its token was looked at: a request that disabled it is told so.
            state: client.State = await self._ledger.state(client.stream(asking))
        except Exception as error:
            # What was done is done, and is to be told to whom it can.
            log.warning("which pages a client has is not known", **trace(error))
            return ()
        return state.allowed_origins

    @property
    def _ledger(self) -> Ledger:
        return self._opened()

    async def _if_listed(self, origin: str, *, without_delay: bool = False) -> tuple[str, ...]:
        """The origin if an enabled dashboard or client lists it; as is remembered where the log cannot be asked."""
        if len(origin) <= LONGEST_ORIGIN and not (
            without_delay and (origin in self._listed or len(self._looks) >= ASKED_AT_ONCE)
        ):
            await self._look(origin)
        return (origin,) if origin in self._listed else ()

    async def _look(self, origin: str) -> None:
        """Asks the log, and remembers what it says if that comes in time."""
        look = asyncio.ensure_future(self._ledger.look(present.is_origin_allowed, origin))
        self._looks.add(look)
        look.add_done_callback(self._looked)
        await asyncio.wait((look,), timeout=WITHIN)
        if not look.done() or look.cancelled() or look.exception() is not None:
            return
        if look.result():
            self._listed.put(origin, None)
        else:
            self._listed.pop(origin, None)

    def _looked(self, look: asyncio.Task[bool]) -> None:
        self._looks.discard(look)
        if not look.cancelled():
            # Nobody may be waiting for it any more.
            look.exception()
