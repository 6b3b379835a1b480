"""The authorization challenge endpoint (OAuth for First-Party Applications, draft 04): an application of our own asks
people for their password itself, and goes on with a code."""

from functools import partial
from typing import NamedTuple

import msgspec

from api.http import errors
from api.http.bodies import Parameters, read_parameters
from api.http.credential_cache import Caller
from api.http.load_shedding import away
from api.http.request_context import Receive, Scope
from api.http.responses import RawResponse
from api.oauth import authorization_details, dpop, passkeys, second_factor
from api.oauth.client_authentication import endpoint, for_client
from api.oauth.person_authentication import EnrolmentRequired, Verified, WrongCredentials, policy_of, verify
from api.oauth.token import FIELDS
from api.services import Services, origin
from api.throttling.admission import Wait
from commands import factors, grants
from domain import account, session
from domain import scope as scopes
from domain.decision import AccessDenied, FactorRefused, InvalidGrant, Refusal
from domain.factors.second_factor import SecondFactor, ShownFactor
from domain.grants.grant_type import TokenRequest
from domain.rules import pkce
from domain.rules.authorization_details import PARAMETER
from security.tokens import Kind

PATH = "/oauth/authorize-challenge"
NONCE_MAXIMUM = 512

FACTORS: tuple[SecondFactor, ...] = ("totp", "recovery_code", "webauthn")

WRONG = "User name or password is wrong."

_encode = msgspec.json.Encoder().encode


class _Place(NamedTuple):
    """Where a sign-in takes place: at an application, on a device that has the key with this thumbprint, if any."""

    client_id: str
    key: str

    @property
    def name(self) -> str:
        return f"challenge {self.client_id}"


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
    place = _Place(client.client_id, "" if proof is None else proof.jkt)
    verified, shown = await _shown(services, scope, client.realm, parameters, place)
    account_id = verified.account.account_id
    using_up = [] if shown is None else [factors.verify(account_id, shown)]
    code = services.format.mint(Kind.AUTHORIZATION_CODE)
    command = grants.challenge_code(
        msgspec.structs.replace(request, password_cutoff=verified.account.password_cutoff),
        code.hex,
        client_id=client.client_id,
        secret_id=caller.secret_id,
        key_id=caller.key_id,
        account_id=account_id,
        amr=session.PASSWORD_ALONE if shown is None else shown.amr,
        jkt=None if proof is None else proof.jkt,
        at=services.ledger.clock.now(),
        issuer=services.settings.issuer,
        lifetimes=services.lifetimes,
    )
    by = origin(scope, caller.actor, on_device=client.on_device)
    executed = await services.ledger.execute(*using_up, command, origin=by)
    if executed.refusal is None:
        return code.reveal()
    raise await _told(services, executed.refusal, client.realm, parameters, place)


async def _told(
    services: Services, refusal: Refusal, realm: str, parameters: Parameters, place: _Place
) -> errors.HTTPError:
    """What was refused under the lock, as the client is told."""
    match refusal.reason:
        case InvalidGrant():
            return errors.InvalidGrant(WRONG)
        case FactorRefused.ENROLMENT as reason:
            return EnrolmentRequired(realm).because(reason)
        case FactorRefused.WRONG:
            return await _asking(services, place, parameters.get("auth_session", ""), second_factor.WRONG)
        case FactorRefused():
            # Something about their factors changed between the look and the lock.
            return InvalidSession()
        case AccessDenied():
            return errors.RedirectToWeb()
    return errors.oauth_error(refusal)


def _request(parameters: Parameters) -> TokenRequest:
    """What is asked for. Raises the error of what cannot be meant, before anybody's password is looked at."""
    if parameters.get("response_type", "code") != "code":
        raise errors.UnsupportedResponseType()
    authorization_details.refuse(parameters.get(PARAMETER))
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


# A second factor (OAuth for First-Party Applications §5.2.2.1, §5.3.1): asked for beside a sealed text, which opens for
# the same client alone, and for the same key where it proves one.


class InvalidSession(errors.HTTPError):
    """The `auth_session` is none, or over (OAuth for First-Party Applications §5.2.2)."""

    code = "invalid_session"
    default = "Begin again with name and password."


async def _begin(services: Services, scope: Scope, verified: Verified, place: _Place) -> str:
    begun = await second_factor.begin(services, verified, place=place.name, browser=place.key, by=origin(scope))
    return begun.text


def _resume(services: Services, place: _Place, auth_session: str) -> second_factor.AuthSession:
    found = second_factor.resume(services, auth_session, place=place.name, browser=place.key)
    if found is None:
        raise InvalidSession()
    return found


async def _asking(
    services: Services, place: _Place, auth_session: str, words: str | None = None
) -> errors.InsufficientAuthorization:
    """403, with the members that dashboards are told too."""
    under_way = _resume(services, place, auth_session)
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    options = await second_factor.passkey_options(services, under_way, place.name)
    error = errors.InsufficientAuthorization(words or "A second factor is needed.")
    offered = second_factor.offered(person, passkey=options is not None)
    error.members = {"auth_session": auth_session, "factors": offered, "webauthn": options}
    return error


async def _shown(
    services: Services, scope: Scope, realm: str, parameters: Parameters, place: _Place
) -> tuple[Verified, ShownFactor | None]:
    """Whose password is right, and with `auth_session` the factor beside it. Raises what is asked for besides."""
    if "auth_session" in parameters:
        return await _second_step(services, scope, realm, parameters, place, parameters["auth_session"])
    verified = await _person(services, scope, realm, parameters)
    if (await policy_of(services, realm)).asks(verified.account.factors):
        raise await _asking(services, place, await _begin(services, scope, verified, place))
    return verified, None


async def _second_step(
    services: Services, scope: Scope, realm: str, parameters: Parameters, place: _Place, auth_session: str
) -> tuple[Verified, ShownFactor]:
    """The person whose password was right before, and the factor that they show now, which is right too."""
    sent = [(name, parameters[name]) for name in FACTORS if name in parameters]
    if len(sent) != 1:
        raise errors.InvalidRequest.field("totp", "or recovery_code or webauthn, one of them, is needed")
    under_way = _resume(services, place, auth_session)
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    if account.failure(person, realm=realm, verified=under_way.password) is not None:
        raise InvalidSession()
    ((factor, typed),) = sent
    try:
        if factor == "webauthn":
            own = passkeys.own_origins(services)
            shown = await second_factor.look_at_passkey(services, under_way, typed, place.name, own)
        else:
            shown = await second_factor.look_at(services, under_way, factor, typed[: second_factor.LONGEST_CODE])
        refused = await second_factor.refusal(services, under_way.account_id, shown, origin(scope))
    except Wait as wait:
        raise errors.Throttled(wait.seconds, second_factor.SPENT) from None
    if refused is None:
        return Verified(person, under_way.password), shown
    if refused.reason is not FactorRefused.WRONG:
        raise InvalidSession()
    raise await _asking(services, place, auth_session, second_factor.WRONG)


authorization_challenge = endpoint(PATH, _post)
