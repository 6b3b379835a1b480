"""Who may call a route of the JSON API: each route names the scope that it needs, and everything else follows from it.

`@get(path, **needing("clients:read"))` guards the route, documents the scope, and lets tests read it off the handler.
A guard runs before the body is read, so that 401 and 403 come before anything is said about what was sent.
"""

from typing import Any

from litestar import Request

from api.bearer import Bearer, authorize
from api.services import Services, services
from commands.callers import Caller
from domain.decision import Reason, Refusal
from eventstore.view import View

KEY = "grantlog.caller"


class Lost(Reason):
    """What the caller's token lost between the guard and the lock: 401 `invalid_token` or 403 `insufficient_scope`."""

    TOKEN = "token"  # noqa: S105 - a reason
    SCOPE = "scope"


def needing(scope: str, **opt: Any) -> dict[str, Any]:
    """Keyword arguments of a route whose callers must hold this scope (RFC 6750 §3.1); `opt` goes into the route's."""
    return {
        "opt": {"scope": scope, **opt},
        "guards": [guard],
        "security": [{"bearer": [scope]}],
    }


async def guard(connection: Any, handler: Any) -> None:
    """Lets holders of the route's scope in; raises 401 or 403 for others."""
    connection.scope[KEY] = await authorize(connection, handler.opt["scope"])


def caller(request: Request[Any, Any, Any]) -> Bearer:
    """Whom the guard let in."""
    scope: Any = request.scope
    found: Bearer = scope[KEY]
    return found


def held(here: Services, view: View, who: Bearer) -> frozenset[str] | None:
    """What the caller's token may do as things stand under the lock; None when it is dead by now."""
    known = view.look(here.ledger.validation.load, who.known.digest)
    if known is None or known.reason(view.now) != "active":
        return None
    return frozenset(known.terms.scope)


def caller_scope(request: Request[Any, Any, Any]) -> Caller:
    """What the caller may do, for whoever asks under the lock."""
    here, who = services(request), caller(request)
    return lambda view: held(here, view, who) or frozenset()


def lost(here: Services, view: View, who: Bearer, needed: str) -> Refusal | None:
    """Why the caller, whom the guard had let in, may not go on; None when they may."""
    scope = held(here, view, who)
    if scope is None:
        return Refusal(Lost.TOKEN)
    return None if needed in scope else Refusal(Lost.SCOPE)
