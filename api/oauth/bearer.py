"""Bearer tokens (RFC 6750): who calls the JSON API, and what they may; each route names the scope that it needs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from litestar import Request

from api.http.cors import CLIENT
from api.http.errors import (
    HTTPError,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidDpopProof,
    InvalidToken,
)
from api.http.request_context import Scope, header_values, request_context
from api.oauth import dpop
from api.oauth.person_authentication import policy_of
from api.services import Services, origin, services_of
from commands.permissions import CallerScope
from domain import account, client, role, session
from domain.decision import Reason, Refusal
from domain.event import SECOND, Actor, Moment
from domain.grants.validity import TokenReason
from domain.rules.administrative_scope import IMPLIED
from domain.scope import still_allowed
from eventstore import issued, search, time_travel
from eventstore.database import Connection
from eventstore.execution import Origin
from eventstore.validation import Known
from eventstore.view import View
from security import jose
from security.tokens import digest

LONGEST_TOKEN = jose.LONGEST_TOKEN
Refused = TypeVar("Refused", bound=HTTPError)


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
    return _in_header(scope, "bearer ")


def dpop_token(scope: Scope) -> str | None:
    """The same of a token that is bound to a key (RFC 9449 §7.1)."""
    return _in_header(scope, "dpop ")


def _in_header(scope: Scope, scheme: str) -> str | None:
    fields = header_values(scope, b"authorization")
    if len(fields) != 1 or fields[0][: len(scheme)].lower() != scheme:
        return None
    return fields[0][len(scheme) :].strip()


RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
"""Where this server, as a resource, says whose tokens it takes (RFC 9728 §3)."""


def pointing(services: Services, error: Refused) -> Refused:
    """A 401 of the server as a resource, with the way to learn where tokens come from (RFC 9728 §5.1)."""
    error.headers["www-authenticate"] += f', resource_metadata="{services.settings.issuer}{RESOURCE_METADATA}"'
    return error


def unauthorized(services: Services) -> InvalidToken:
    """401 for no token, or none that is good here."""
    return pointing(services, InvalidToken())


async def judge(services: Services, scope: Scope, needed: Sequence[str]) -> Known:
    """The request's live access token; raises 401 `invalid_token` or 403 `insufficient_scope` (RFC 6750 §3.1)."""
    known = await judge_header(services, scope)
    note_use(services, scope, known)
    for name in needed:
        _judge_scope(known.terms.scope, name)
    return known


def _judge_scope(allowed: Collection[str], needed: str) -> None:
    if needed not in allowed and IMPLIED.get(needed) not in allowed:
        raise InsufficientScope(needed)


async def judge_header(services: Services, scope: Scope) -> Known:
    """The live access token of the Authorization header, with the proof that is due for it; raises 401 likewise."""
    bound = dpop_token(scope)
    if bound is None:
        return await judge_token(services, scope, bearer_token(scope))
    known = await _live(services, scope, bound)
    try:
        await _prove(services, scope, known, bound)
    except InvalidDpopProof as error:
        raise pointing(services, error) from None
    return known


async def _prove(services: Services, scope: Scope, known: Known, bound: str) -> None:
    """Looks at the proof that comes with a token of this scheme (RFC 9449 §7.1)."""
    proof = dpop.proof_of(services, scope, token=bound)
    if proof is None:
        _note_unproved(services, scope, known)
        raise InvalidDpopProof("There is no DPoP proof.", at_resource=True)
    # A token that is bound to nothing is none of this scheme (RFC 9449 §7.1).
    if known.terms.jkt is None or proof.jkt != known.terms.jkt:
        _note_unproved(services, scope, known)
        raise InvalidDpopProof("The DPoP proof is not made with the key of the access token.", at_resource=True)
    await dpop.use_up(services, proof, known.terms.client_id, at_resource=True)


async def judge_token(services: Services, scope: Scope, raw: str | None) -> Known:
    """The live access token that a request brought, wherever it stood; raises 401 `invalid_token`. One that is bound to
    a key is good with a proof alone (RFC 9449 §7.2)."""
    known = await _live(services, scope, raw)
    if known.terms.jkt is not None:
        _note_unproved(services, scope, known)
        raise unauthorized(services)
    return known


async def _live(services: Services, scope: Scope, raw: str | None) -> Known:
    known = None if raw is None or not 0 < len(raw) <= LONGEST_TOKEN else await _presented(services, scope, raw)
    if known is None or known.terms.kind != "access":
        raise unauthorized(services)
    # A token that is for others was handed to them: it opens nothing here (RFC 8707 §2, RFC 9700 §2.3).
    audience = known.terms.audience
    if audience and services.settings.issuer not in audience:
        raise unauthorized(services)
    if known.terms.x5t is not None:
        certificate = services.certificates.of(scope)
        if certificate is None or certificate.thumbprint != known.terms.x5t:
            _note_unproved(services, scope, known)
            raise unauthorized(services)
    scope[CLIENT] = known.terms.client_id
    return known


async def _presented(services: Services, scope: Scope, raw: str) -> Known | None:
    """The token of this text, if it lives. That one was tried after its end is recorded, as at introspection: it may be
    in the wrong hands."""
    sha256, uses = digest(raw), services.token_uses
    known = await services.ledger.validation.find(sha256)
    reason = "unknown" if known is None else known.reason(services.ledger.clock.now())
    if reason == "active":
        return known
    caller = request_context(scope).address
    if not uses.again(sha256, None, caller, ended=True) and (
        known is not None or services.format.parse(raw) is not None
    ):
        uses.note(sha256, known, reason, via="api", address=caller, origin=partial(origin, scope), seen_by=None)
    return None


def _note_unproved(services: Services, scope: Scope, known: Known) -> None:
    """That a token which lives was brought without the key that it is bound to is recorded likewise."""
    if known.terms.jkt is None and known.terms.x5t is None:
        return
    address, uses = request_context(scope).address, services.token_uses
    if not uses.again(known.digest, None, address, ended=False, unproved=True):
        came = partial(origin, scope)
        uses.note(known.digest, known, None, via="api", address=address, origin=came, seen_by=None, unproved=True)


def note_use(services: Services, scope: Scope, known: Known) -> None:
    """That a token which lives was brought is recorded before it is known what it may do here: a thief tries that."""
    address, uses = request_context(scope).address, services.token_uses
    if not uses.again(known.digest, None, address, ended=False):
        came = partial(origin, scope, actor_of(known))
        uses.note(known.digest, known, None, via="api", address=address, origin=came, seen_by=None)


def actor_of(known: Known) -> Actor:
    """The person for whom a token acts, or its client, acting with the grant."""
    terms, credential = known.terms, {"grant_id": known.grant_id}
    if terms.account_id is not None:
        return Actor("person", terms.account_id, credential)
    return Actor("client", terms.client_id, credential)


async def authorize(connection: Any, *needed: str) -> Bearer:
    """The caller of a JSON API request, who must hold every scope named."""
    services = services_of(connection)
    known = await judge(services, connection.scope, needed)
    return Bearer(known, frozenset(known.terms.scope), origin(connection.scope, actor_of(known)))


# Who may call a route of the JSON API: each route names the scope that it needs, and everything else follows from it.

KEY = "grantlog.caller"


class PermissionLost(Reason):
    """What the caller's token lost between the guard and the lock: 401 `invalid_token` or 403 `insufficient_scope`."""

    TOKEN = "token"  # noqa: S105 - a reason
    SCOPE = "scope"


def needing(scope: str, **opt: Any) -> dict[str, Any]:
    """Keyword arguments of a route whose callers must hold this scope (RFC 6750 §3.1); `opt` goes into the route's, and
    with `recent` a person must have signed in a moment ago (RFC 9470).
    """
    return {
        "opt": {"scope": scope, **opt},
        "guards": [guard],
        "security": [{"bearer": [scope]}],
    }


async def guard(connection: Any, handler: Any) -> None:
    """Lets holders of the route's scope in; raises 401 or 403 for others."""
    found = connection.scope[KEY] = await authorize(connection, handler.opt["scope"])
    if handler.opt.get("recent"):
        await require_recent(services_of(connection), found)


async def require_recent(services: Services, who: Bearer) -> None:
    """Raises 401 `insufficient_user_authentication` for a person whose sign-in is too long ago, or was made without the
    second factor that they have (RFC 9470 §3).

    Refreshing never counts, and a client that acts for itself is not asked.
    """
    if who.account_id is None:
        return
    max_age, at = services.settings.recent_authentication, who.known.authenticated_at
    person: account.State = await services.ledger.state(account.stream(who.account_id))
    asked = (await policy_of(services, person.realm)).asks(person.factors)
    wanted = session.TWO_FACTORS if asked else session.ACR
    lacking = asked and who.known.terms.acr != wanted
    if at is None or lacking or services.ledger.clock.now() - at > max_age * SECOND:
        raise pointing(services, InsufficientUserAuthentication(max_age, wanted))


async def go_on(services: Services, who: Bearer, *needed: str) -> None:
    """Raises 401 or 403 where the caller's right ended while they were answered. That their token's time is over ends
    no answer that began within it."""
    ledger = services.ledger
    known = await ledger.validation.find(who.known.digest)
    # Soon after its time is over its row goes, and the log alone tells of it.
    told = await _told_by_log(services, who) if known is None else (known.reason(ledger.clock.now()), known.terms.scope)
    if told[0] not in ("active", "expired"):
        raise unauthorized(services)
    for name in needed:
        _judge_scope(told[1], name)


async def _told_by_log(services: Services, who: Bearer) -> tuple[TokenReason, tuple[str, ...]]:
    """How the caller's token stands by the log, and what it would allow as the person's roles are now."""
    ledger, terms = services.ledger, who.known.terms
    reason = await ledger.read(_reason_by_log, who.known.digest, ledger.clock.now())
    if terms.account_id is None:
        return reason, terms.scope
    its: client.State = await ledger.state(client.stream(terms.client_id))
    person: account.State = await ledger.state(account.stream(terms.account_id))
    roles = tuple([await ledger.state(role.stream(person.realm, name)) for name in person.roles])
    return reason, still_allowed(terms.scope, roles=roles, dashboard=its.type == "dashboard")


def _reason_by_log(connection: Connection, digest: bytes, now: Moment) -> TokenReason:
    found = issued.find(connection, digest)
    return "unknown" if found is None else time_travel.judge(connection, found, search.newest(connection), now).reason


def caller(request: Request[Any, Any, Any]) -> Bearer:
    """Whom the guard let in."""
    scope: Any = request.scope
    found: Bearer = scope[KEY]
    return found


def held(services: Services, view: View, who: Bearer) -> frozenset[str] | None:
    """What the caller's token may do as things stand under the lock; None when it is dead by now."""
    known = view.look(services.ledger.validation.load, who.known.digest)
    if known is None or known.reason(view.now) != "active":
        return None
    return frozenset(known.terms.scope)


def caller_scope(request: Request[Any, Any, Any]) -> CallerScope:
    """What the caller may do, for anyone who asks under the lock."""
    services, who = services_of(request), caller(request)
    return lambda view: held(services, view, who) or frozenset()


def lost(services: Services, view: View, who: Bearer, needed: str) -> Refusal | None:
    """Why the caller, whom the guard had let in, may not go on; None when they may."""
    scope = held(services, view, who)
    if scope is None:
        return Refusal(PermissionLost.TOKEN)
    return None if needed in scope else Refusal(PermissionLost.SCOPE)
