"""Bearer tokens (RFC 6750): who calls the JSON API, and what they may."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.answers import Scope, header_values
from api.http.cors import CLIENT
from api.problems import InsufficientScope, Unauthenticated
from api.services import Services, origin, services
from domain.event import Actor
from eventstore.commands import Origin
from eventstore.validation import Known
from security.tokens import digest

LONGEST_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class Bearer:
    """An authorised caller. `scope` is what the token may still do; `origin` goes into every event of the request."""

    known: Known
    scope: frozenset[str]
    origin: Origin

    @property
    def grant_id(self) -> str:
        return self.known.grant_id

    @property
    def account_id(self) -> str | None:
        return self.known.terms.account_id


def bearer_token(scope: Scope) -> str | None:
    """The token of the Authorization header (RFC 6750 §2.1); None when there is none or more than one."""
    fields = header_values(scope, b"authorization")
    if len(fields) != 1 or fields[0][:7].lower() != "bearer ":
        return None
    return fields[0][7:].strip()


async def judge(here: Services, scope: Scope, needed: Sequence[str]) -> Known:
    """The request's live access token; raises 401 `invalid_token` or 403 `insufficient_scope` (RFC 6750 §3.1)."""
    raw = bearer_token(scope)
    known = None
    if raw is not None and 0 < len(raw) <= LONGEST_TOKEN:
        known = await here.ledger.validation.find(digest(raw))
    if known is None or known.terms.kind != "access" or known.reason(here.ledger.clock.now()) != "active":
        raise Unauthenticated()
    # A token that is for others was handed to them: it opens nothing here (RFC 8707 §2, RFC 9700 §2.3).
    audience = known.terms.audience
    if audience and here.settings.issuer not in audience:
        raise Unauthenticated()
    scope[CLIENT] = known.terms.client_id
    for name in needed:
        if name not in known.terms.scope:
            raise InsufficientScope(name)
    return known


def actor_of(known: Known) -> Actor:
    """The person for whom a token acts, or its client, acting with the grant."""
    terms, credential = known.terms, {"grant_id": known.grant_id}
    if terms.account_id is not None:
        return Actor("person", terms.account_id, credential)
    return Actor("client", terms.client_id, credential)


async def authorize(connection: Any, *needed: str) -> Bearer:
    """The caller of a JSON API request, who must hold every scope named."""
    here = services(connection)
    known = await judge(here, connection.scope, needed)
    came = origin(connection.scope, actor_of(known))
    if not here.token_uses.again(known.digest, None, came.ip, ended=False):
        here.token_uses.note(known.digest, known, None, via="api", address=came.ip, origin=lambda: came, seen_by=None)
    return Bearer(known, frozenset(known.terms.scope), came)
