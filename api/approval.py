"""What a person's approval comes to: the scope that they are asked for, the code that is issued (RFC 6749 §4.1.2)."""

from litestar import Response

from api import authorization_response
from api.answers import Scope
from api.authorization_request import NOT_REGISTERED, SWITCHED_OFF, AuthorizationRequest, Unanswerable
from api.browser_session import BrowserSession
from api.http.errors import HTTPError, oauth_error
from api.page_answers import see_other
from api.services import Services
from commands import approvals
from commands.grant_context import ASKED_AT_MOST
from domain import consent, role
from domain.decision import Refusal
from domain.refusal import AccessDenied, InvalidClient, InvalidScope
from domain.rules import scope as scope_rule
from eventstore.present import scopes
from security.tokens import Kind

PATH = "/oauth/authorize"


async def grantable(
    here: Services, asked: AuthorizationRequest, used: BrowserSession
) -> tuple[str, ...] | InvalidScope:
    """What the client would get from this person: asked for ∩ the client's ∩ what the person's roles allow."""
    names = {*asked.client.scope, *(asked.asked or ())[:ASKED_AT_MOST]}
    known = await here.ledger.look(scopes.existing, names)
    roles: list[role.State] = [await here.ledger.state(role.stream(used.realm, name)) for name in used.account.roles]
    return scope_rule.granted(asked.asked, within=asked.client.scope, known=known, roles=roles)


async def consented(here: Services, asked: AuthorizationRequest, used: BrowserSession) -> consent.State:
    """What this person has allowed this client so far."""
    found: consent.State = await here.ledger.state(consent.stream(used.account.account_id, asked.client.client_id))
    return found


async def approve(
    here: Services, scope: Scope, asked: AuthorizationRequest, used: BrowserSession, shown: tuple[str, ...] | None
) -> Response[bytes]:
    """Issues a code and sends the browser back with it.

    `shown` is the scope that the person has just approved, None where an earlier consent stands. Both facts are one
    transaction: there is no code without its consent, and no consent for a code that could not be issued.
    """
    code = here.format.mint(Kind.AUTHORIZATION_CODE)
    approval = approvals.Approval(
        account_id=used.account.account_id,
        session_id=used.session_id,
        client_id=asked.client.client_id,
        asked=asked.asked,
        resource=asked.resource,
        uri=asked.redirect_uri if asked.redirect_uri_given else None,
        redirect_uri=asked.redirect_uri,
        challenge=asked.challenge,
    )
    given = [] if shown is None else [approvals.give(approval, shown)]
    issued = approvals.issue_code(
        approval, code.hex, at=here.ledger.clock.now(), issuer=here.settings.issuer, lifetimes=here.lifetimes
    )
    executed = await here.ledger.execute(*given, issued, origin=used.origin(scope))
    if executed.refusal is not None:
        return refused(here, asked, used, executed.refusal)
    return see_other(authorization_response.with_code(asked, code, here.settings.issuer), used.cookies)


def refused(here: Services, asked: AuthorizationRequest, used: BrowserSession, refusal: Refusal) -> Response[bytes]:
    """What changed between the look and the lock, told as if it had been seen at the look."""
    match refusal.reason:
        case InvalidClient():
            raise Unanswerable(SWITCHED_OFF)
        case AccessDenied():
            # The sign-in or the consent has ended meanwhile: the same request now asks for what is missing.
            return see_other(f"{PATH}?{asked.query.text}")
    if refusal.field == "redirect_uri":
        raise Unanswerable(NOT_REGISTERED)
    return error_answer(here, asked, used, oauth_error(refusal))


def error_answer(
    here: Services, asked: AuthorizationRequest, used: BrowserSession, error: HTTPError
) -> Response[bytes]:
    """Back to the application with an error; only ever for a person who is signed in (RFC 9700 §4.11.2)."""
    return see_other(authorization_response.with_error(asked, error, here.settings.issuer), used.cookies)
