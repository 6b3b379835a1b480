"""The authorization challenge endpoint (OAuth for First-Party Applications, draft 04): an application of our own asks
people for their password itself, and goes on with a code."""

from functools import partial

import msgspec

from api.http import errors
from api.http.bodies import Parameters, read_parameters
from api.http.credential_cache import Caller
from api.http.load_shedding import away
from api.http.request_context import Receive, Scope
from api.http.responses import RawResponse
from api.oauth import dpop
from api.oauth.client_authentication import endpoint, for_client
from api.oauth.person_authentication import EnrolmentRequired, Verified, WrongCredentials, verify
from api.oauth.token import FIELDS
from api.services import Services, origin
from api.throttling.admission import Wait
from commands import grants
from domain import scope as scopes
from domain.decision import AccessDenied, FactorRefused, InvalidGrant
from domain.grants.grant_type import TokenRequest
from domain.rules import pkce
from security.tokens import Kind

PATH = "/oauth/authorize-challenge"
NONCE_MAXIMUM = 512

WRONG = "User name or password is wrong."

_encode = msgspec.json.Encoder().encode


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    parameters = await read_parameters(scope, receive, services.settings.body_limit)
    work = partial(_challenge, services, scope, parameters)
    code = await for_client(services, scope, parameters, "other", work)
    body = _encode({"authorization_code": code})
    return RawResponse(200, (*FIELDS, (b"content-length", b"%d" % len(body))), body)


async def _challenge(services: Services, scope: Scope, parameters: Parameters, caller: Caller) -> str:
    """The code for the person whose password it is. Raises the refusal's error."""
    client = caller.client
    if not client.first_party:
        raise errors.UnauthorizedClient("This client asks nobody for a password.")
    request = _request(parameters)
    proof = dpop.proof_of(services, scope)
    if proof is not None:
        await dpop.use_up(services, proof, client.client_id, stranger=scope if client.type == "public" else None)
    verified = await _person(services, scope, client.realm, parameters)
    code = services.format.mint(Kind.AUTHORIZATION_CODE)
    command = grants.challenge_code(
        msgspec.structs.replace(request, password_cutoff=verified.account.password_cutoff),
        code.hex,
        client_id=client.client_id,
        secret_id=caller.secret_id,
        key_id=caller.key_id,
        account_id=verified.account.account_id,
        jkt=None if proof is None else proof.jkt,
        at=services.ledger.clock.now(),
        issuer=services.settings.issuer,
        lifetimes=services.lifetimes,
    )
    by = origin(scope, caller.actor, on_device=client.on_device)
    executed = await services.ledger.execute(command, origin=by)
    if executed.refusal is None:
        return code.reveal()
    match executed.refusal.reason:
        case InvalidGrant():
            raise errors.InvalidGrant(WRONG)
        case FactorRefused.ENROLMENT as reason:
            raise EnrolmentRequired(client.realm).because(reason)
        case AccessDenied() | FactorRefused():
            # A second factor is asked for by our own pages.
            raise errors.RedirectToWeb()
    raise errors.oauth_error(executed.refusal)


def _request(parameters: Parameters) -> TokenRequest:
    """What is asked for. Raises the error of what cannot be meant, before anybody's password is looked at."""
    if parameters.get("response_type", "code") != "code":
        raise errors.UnsupportedResponseType()
    challenge = parameters.get("code_challenge")
    refused = pkce.requested(challenge, parameters.get("code_challenge_method"), required=False)
    if refused is not None:
        raise errors.oauth_error(refused)
    nonce = parameters.get("nonce")
    if nonce is not None and len(nonce) > NONCE_MAXIMUM:
        raise errors.InvalidRequest.field("nonce", f"has more than {NONCE_MAXIMUM} characters")
    return TokenRequest(
        scope=scopes.parse(parameters.get("scope")),
        resource=parameters.resource,
        challenge=challenge,
        own={} if nonce is None else {"nonce": nonce},
    )


async def _person(services: Services, scope: Scope, realm: str, parameters: Parameters) -> Verified:
    username, password = parameters.get("username"), parameters.get("password")
    if not username or not password:
        raise errors.InsufficientAuthorization()
    try:
        with away(scope):
            return await verify(services, realm, username, password, origin(scope))
    except WrongCredentials:
        raise errors.InvalidGrant(WRONG) from None
    except Wait as wait:
        raise errors.Throttled(retry_after=wait.seconds) from None


authorization_challenge = endpoint(PATH, _post)
