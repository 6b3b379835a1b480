"""Which web pages of other origins may call (Fetch Standard, "CORS protocol"): decisions only, headers included.

Dashboards answer their own exact origins, with credentials. The JSON API, token, revocation and introspection answer
the origins that clients list, without. A preflight names no client, so there an origin counts that any enabled client
lists; the request itself is judged by the client it is made for. What is public anyway is for every page.
"""

from collections.abc import Callable, Collection
from enum import Enum, auto
from typing import NamedTuple

VARY = {"vary": "Origin"}
DASHBOARD_EXPOSED = "X-Request-Id, WWW-Authenticate, Retry-After"
CLIENT_EXPOSED = "X-Request-Id, WWW-Authenticate, Retry-After, DPoP-Nonce, Location"
PREFLIGHT_AGE = "600"
CLIENT_HEADERS = "Authorization, DPoP, Content-Type, Idempotency-Key"
DASHBOARD_HEADERS = "Authorization, Content-Type, X-Grantlog"
BEARER_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
EVERYBODY = {"access-control-allow-origin": "*", "access-control-expose-headers": "X-Request-Id, Retry-After"}
"""What is public: it names nobody, needs no credentials, and is the same for all."""

LONGEST_ORIGIN = 300


class Standing(Enum):
    """What a request's `Origin` means for the resource."""

    ABSENT = auto()
    """No browser page of another origin is asking, or none that says so."""
    ALLOWED = auto()
    FOREIGN = auto()
    """An origin that is not listed, or `null`, which any sandboxed page can claim."""


class Decision(NamedTuple):
    """The standing, and the headers for whatever answer is given. They hold `Vary: Origin` in every case."""

    standing: Standing
    headers: dict[str, str]


def is_preflight(method: str, origin: str | None, requested_method: str | None) -> bool:
    """Whether this is a CORS preflight: an OPTIONS with both headers. Any other OPTIONS is an ordinary request."""
    return method == "OPTIONS" and origin is not None and requested_method is not None


def _listed(origin: str, listed: Callable[[str], bool]) -> bool:
    return origin != "null" and "*" not in origin and len(origin) <= LONGEST_ORIGIN and listed(origin)


def _decide(origin: str | None, listed: Callable[[str], bool], *, credentials: bool) -> Decision:
    if origin is None:
        return Decision(Standing.ABSENT, dict(VARY))
    if not _listed(origin, listed):
        return Decision(Standing.FOREIGN, dict(VARY))
    exposed = DASHBOARD_EXPOSED if credentials else CLIENT_EXPOSED
    headers = {**VARY, "access-control-allow-origin": origin, "access-control-expose-headers": exposed}
    if credentials:
        headers["access-control-allow-credentials"] = "true"
    return Decision(Standing.ALLOWED, headers)


def for_dashboard(origin: str | None, allowed_origins: Collection[str]) -> Decision:
    """A call to a dashboard: its origins are compared character by character. FOREIGN is to be refused unevaluated."""
    return _decide(origin, lambda asked: asked in allowed_origins, credentials=True)


def for_client(origin: str | None, allowed_origins: Collection[str]) -> Decision:
    """A call for a client that is known by now. To a FOREIGN page its browser does not show the answer."""
    return _decide(origin, lambda asked: asked in allowed_origins, credentials=False)


def for_any_client(origin: str | None, listed: Callable[[str], bool]) -> Decision:
    """An answer before a client is known: `listed` tells whether any enabled client lists the origin."""
    return _decide(origin, listed, credentials=False)


def preflight_for_dashboard(origin: str, allowed_origins: Collection[str], methods: Collection[str]) -> Decision:
    """The answer to a dashboard's preflight; 204 if ALLOWED, 403 if not."""
    return _preflight(for_dashboard(origin, allowed_origins), methods, DASHBOARD_HEADERS)


def preflight_for_client(origin: str, listed: Callable[[str], bool], methods: Collection[str]) -> Decision:
    """The answer to a preflight of OAuth's endpoints; 204 either way, the headers say the rest."""
    return _preflight(for_any_client(origin, listed), methods, CLIENT_HEADERS)


def preflight_for_bearer(origin: str, listed: Callable[[str], bool]) -> Decision:
    """The answer to a preflight of the JSON API, likewise. It offers every method: a 405 is to be read as well."""
    return preflight_for_client(origin, listed, BEARER_METHODS)


def _preflight(decision: Decision, methods: Collection[str], headers: str) -> Decision:
    if decision.standing is not Standing.ALLOWED:
        return decision
    granted = {
        **decision.headers,
        "access-control-allow-methods": ", ".join(sorted(methods)),
        "access-control-allow-headers": headers,
        "access-control-max-age": PREFLIGHT_AGE,
    }
    del granted["access-control-expose-headers"]
    return Decision(decision.standing, granted)
