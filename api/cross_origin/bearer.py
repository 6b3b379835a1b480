"""Which pages of other origins may read what the JSON API answers to bearer tokens (Fetch Standard, "CORS protocol").

Once a token is known, those of the dashboard or client that it belongs to. Before that, whoever is to find out why they
were refused: any page that an enabled dashboard or client lists. Never with credentials, since a token is none that a
browser adds by itself. Nobody is turned away for an origin: it says only who may read the answer.

It is decided where an answer leaves, so that it holds for whatever is answered and whoever answers: a refusal before
the framework has seen the request, a fault, a stream.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import structlog

from api.answers import Answer, Fields, Scope, answer, header, raw_headers
from api.bearer import CLIENT
from api.cors import LONGEST_ORIGIN, VARY, for_any_client, for_client, is_preflight, preflight_for_bearer
from api.log_lines import trace
from api.services import Services
from domain import client
from eventstore.present import clients
from security.lru import Lru

PATHS = ("/admin", "/audit", "/leaks")
"""What is asked with bearer tokens, and everything below it."""

PREFLIGHT = b"access-control-request-method"

REMEMBERED = 1_000
"""Origins that were found to be listed, for answers that say that the log cannot be asked, or that there is no time."""

ASKED_AT_ONCE = 8
"""So many of those answers wait at most for a look at the log."""

WITHIN = 1.0
"""Seconds for a look. The answer is not kept for longer: it may well tell that the database is away."""

log = structlog.get_logger("api")

_BELOW = tuple(f"{path}/" for path in PATHS)
_ABSENT = raw_headers(VARY.items())


def concerns(path: str) -> bool:
    """Whether it is a path of the JSON API that wants a bearer token."""
    return path.startswith(_BELOW) or path in PATHS


class Pages:
    """Decides for one app, whose services are there once it has started."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._listed: Lru[str, None] = Lru(REMEMBERED)
        self._looks: set[asyncio.Task[bool]] = set()

    async def preflight(self, scope: Scope) -> Answer | None:
        """The answer to a preflight; None for any other request.

        It names no token, and the path may be one that there is not: the request itself finds that out.
        """
        origin = header(scope, b"origin")
        if origin is None or not is_preflight(scope["method"], origin, header(scope, PREFLIGHT)):
            return None
        listed = await self._is_listed(origin)
        return answer(204, b"", None, preflight_for_bearer(origin, lambda _: listed).headers)

    async def fields(self, scope: Scope, status: int) -> Fields:
        """What an answer with this status says of pages."""
        origin = header(scope, b"origin")
        if origin is None:
            return _ABSENT
        client_id: str | None = scope.get(CLIENT)
        if client_id is None or status == 503:
            listed = await self._is_listed(origin, without_delay=status == 503)
            decision = for_any_client(origin, lambda _: listed)
        else:
            decision = for_client(origin, await self._of_client(client_id))
        return raw_headers(decision.headers.items())

    async def _of_client(self, client_id: str) -> Collection[str]:
        """A client's pages. It was enabled when the token was looked at: a request that disabled it is told so."""
        try:
            state: client.State = await self._services.ledger.state(client.stream(client_id))
        except Exception as error:
            # What was done is done, and is to be told to whom it can.
            log.warning("which pages a client has is not known", **trace(error))
            return ()
        return state.allowed_origins

    @property
    def _services(self) -> Services:
        found: Services = self._app.state.services
        return found

    async def _is_listed(self, origin: str, *, without_delay: bool = False) -> bool:
        """Whether an enabled dashboard or client lists it; as far as is remembered where the log cannot be asked."""
        if len(origin) > LONGEST_ORIGIN:
            return False
        if without_delay and (origin in self._listed or len(self._looks) >= ASKED_AT_ONCE):
            return origin in self._listed
        look = asyncio.ensure_future(self._services.ledger.look(clients.allow_origin, origin))
        self._looks.add(look)
        look.add_done_callback(self._looked)
        await asyncio.wait((look,), timeout=WITHIN)
        if not look.done() or look.cancelled() or look.exception() is not None:
            return origin in self._listed
        if look.result():
            self._listed.put(origin, None)
        else:
            self._listed.pop(origin, None)
        return look.result()

    def _looked(self, look: asyncio.Task[bool]) -> None:
        self._looks.discard(look)
        if not look.cancelled():
            # Nobody may be waiting for it any more.
            look.exception()
