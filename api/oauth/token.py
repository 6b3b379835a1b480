"""The token endpoint (RFC 6749 §3.2), from a request's parameters to its answer: the client authenticates, its grant
type decides under the ledger's lock, and what was issued is told after the commit. Dashboards are issued to here too.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from api.http import errors
from api.http.bodies import Parameters, read_parameters
from api.http.credential_cache import Caller
from api.http.load_shedding import away
from api.http.request_context import Receive, Scope, fields
from api.http.responses import JSON, RawResponse, raw_headers
from api.oauth import authorization_details, bearer_assertion, dpop
from api.oauth.client_authentication import endpoint, for_client
from api.oauth.id_tokens import sign_id_token
from api.oauth.jwt_access_tokens import sign_access_token
from api.oauth.person_authentication import (
    EnrolmentRequired,
    Verified,
    WrongCredentials,
    note_failure,
    policy_of,
    verify,
)
from api.services import Services, origin
from api.throttling.admission import Wait
from api.throttling.limits import Limit, PerMinute
from api.throttling.throttle import Admission
from commands import factors, grants
from commands.counted import token_limit
from domain import scope as scopes
from domain.decision import FactorRefused, InvalidGrant, InvalidScope, Refusal
from domain.event import Actor, Recorded
from domain.factors.second_factor import ShownFactor
from domain.grants import GRANTS, password
from domain.grants.grant_type import Credential, GrantType, IssuedTokens, Minted, TokenRequest
from domain.rules import pkce
from domain.rules.authorization_details import PARAMETER
from eventstore.execution import Executed, Origin, Step
from security import jose
from security.tokens import Kind, Secret, digest

FIELDS = raw_headers({"cache-control": "no-store", "pragma": "no-cache", "content-type": JSON}.items())
"""Of every token answer (RFC 6749 §5.1)."""

LONGEST_CREDENTIAL = jose.LONGEST_TOKEN

SIGNED_AT_MOST = 5
"""So often what an access token is to say may change while it is signed. After that the request has to wait."""

PROVED = "grantlog.proved_key"
"""Where the ASGI scope holds the thumbprint of the key whose proof came along (RFC 9449)."""

SHOWN = "grantlog.shown_certificate"
"""Where it holds that of the certificate, for a client whose tokens are bound to it (RFC 8705 §3)."""

_encode = msgspec.json.Encoder().encode


class Tokens(msgspec.Struct, frozen=True):
    """What a token request was given. `refresh` is None where the client may have none, `id_token` unless asked for;
    `recorded` is what the log has of it."""

    issued: IssuedTokens
    access: Secret
    refresh: Secret | None
    recorded: tuple[Recorded, ...]
    id_token: str | None = None


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    parameters = await read_parameters(scope, receive, services.settings.body_limit)
    grant_type = parameters.get("grant_type")
    if not grant_type:
        raise errors.InvalidRequest("grant_type is missing.")
    work = partial(_perform, services, scope, parameters, GRANTS.get(grant_type))
    body = _encode(token_answer(await for_client(services, scope, parameters, "token", work), refresh_too=True))
    return RawResponse(200, (*FIELDS, (b"content-length", b"%d" % len(body))), body)


async def _perform(
    services: Services, scope: Scope, parameters: Parameters, grant: GrantType | None, caller: Caller
) -> Tokens:
    if grant is None:
        raise errors.UnsupportedGrantType()
    request = _request(grant, parameters)
    if dpop.HEADER in fields(scope):
        await _prove(services, scope, caller, grant, request.presented)
    if caller.client.tls_client_certificate_bound_access_tokens:
        certificate = services.certificates.of(scope)
        scope[SHOWN] = None if certificate is None else certificate.thumbprint
    if grant.assertion is not None:
        asserted = await bearer_assertion.verified(services, caller, parameters.get(grant.assertion))
        request = msgspec.structs.replace(request, asserted_by=asserted.issuer, asserted_key=asserted.key_id)
        return await issue(services, scope, caller, grant, request, asserted.account_id)
    if grant is password.GRANT:
        name, secret = parameters.get("username"), parameters.get("password")
        return await password_grant(services, scope, caller, name, secret, request)
    given = await issue(services, scope, caller, grant, request)
    if not given.issued.stays:
        return given
    return msgspec.structs.replace(given, refresh=Secret(parameters["refresh_token"]))


async def _prove(services: Services, scope: Scope, caller: Caller, grant: GrantType, presented: str | None) -> None:
    """Takes the DPoP proof of a request (RFC 9449 §5). One that proves nothing is a fact of its grant."""
    client = caller.client
    try:
        proof = dpop.proof_of(services, scope)
        if proof is not None:
            stranger = None if await _has_shown(services, caller, presented) else scope
            await dpop.use_up(services, proof, client.client_id, stranger=stranger)
            scope[PROVED] = proof.jkt
    except errors.UseDpopNonce:
        raise
    except errors.InvalidDpopProof:
        if presented is not None and grant.credential is not None and not grant.credential.of_another:
            command = grants.refuse_proof(bytes.fromhex(presented), grant.credential.kind, client.client_id)
            by = origin(scope, caller.actor, on_device=client.on_device)
            await services.ledger.execute(command, origin=by)
        raise


async def _has_shown(services: Services, caller: Caller, presented: str | None) -> bool:
    """Whether a caller is no stranger: it authenticated, or presents a live code or token of its client."""
    if caller.client.type != "public":
        return True
    known = None if presented is None else await services.ledger.validation.find(bytes.fromhex(presented))
    if known is None or known.terms.client_id != caller.client.client_id:
        return False
    return known.reason(services.ledger.clock.now()) == "active"


def _request(grant: GrantType, parameters: Parameters) -> TokenRequest:
    presented = None
    if grant.credential is not None:
        raw = parameters.get(grant.credential.parameter)
        if not raw:
            raise errors.InvalidRequest(f"{grant.credential.parameter} is missing.")
        presented = _digest(raw)
    acting = None if grant.actor is None else parameters.get(grant.actor)
    verifier, details = parameters.get("code_verifier"), parameters.get(PARAMETER)
    challenge = None if verifier is None else pkce.transform(verifier)
    return TokenRequest(
        scope=scopes.parse(parameters["scope"]) if "scope" in parameters else None,
        resource=parameters.resource,
        presented=presented,
        actor=None if acting is None else _digest(acting),
        redirect_uri=parameters.get("redirect_uri"),
        challenge=challenge,
        details=None if details is None else authorization_details.read(details),
        own={name: parameters[name] for name in grant.parameters if name in parameters},
    )


def _digest(raw: str) -> str:
    return digest(raw).hex() if len(raw) <= LONGEST_CREDENTIAL else "0" * 64


async def password_grant(
    services: Services,
    scope: Scope,
    caller: Caller,
    username: str | None,
    secret: str | None,
    request: TokenRequest,
    takes_place_of: str | None = None,
) -> Tokens:
    """Tokens for the person whose password it is (RFC 6749 §4.3, decision 0002), in the place of a grant that they had
    at this client. Raises the refusal's error, and `FactorMissing` for a person who has a second factor.
    """
    if caller.client.type != "dashboard":
        raise errors.UnauthorizedClient("The password grant is for first-party dashboards.")
    if not username or not secret:
        raise errors.InvalidRequest("username or password is missing.")
    try:
        with away(scope):
            verified = await verify(services, caller.client.realm, username, secret, origin(scope))
    except WrongCredentials:
        raise errors.InvalidGrant("User name or password is wrong.") from None
    except Wait as wait:
        raise errors.Throttled(retry_after=wait.seconds) from None
    if (await policy_of(services, caller.client.realm)).asks(verified.account.factors):
        raise FactorMissing(verified)
    return await tokens_for_person(services, scope, caller, verified, None, request, takes_place_of)


class FactorMissing(errors.InsufficientAuthorization):
    """403: whose password was right is to show a second factor too."""

    def __init__(self, verified: Verified) -> None:
        super().__init__("A second factor is needed: sign in at the dashboard's own sign-in.")
        self.verified = verified


async def tokens_for_person(
    services: Services,
    scope: Scope,
    caller: Caller,
    verified: Verified,
    shown: ShownFactor | None,
    request: TokenRequest,
    takes_place_of: str | None = None,
) -> Tokens:
    """Tokens for a person whose password was right, and who has `shown` a second factor, which is used up with it."""
    account = verified.account
    amr = () if shown is None else shown.amr
    using_up = [] if shown is None else [factors.verify(account.account_id, shown)]
    request = msgspec.structs.replace(request, password_cutoff=account.password_cutoff, amr=amr)
    try:
        given = partial(issue, services, scope, caller, password.GRANT, request, account.account_id)
        return await given(using_up, takes_place_of=takes_place_of)
    except errors.InvalidScope:
        # The password was right and no guess, so the throttle has nothing against it; a refusal it is all the same.
        await note_failure(services, account.account_id, "invalid_scope", origin(scope))
        raise


# How many tokens are issued: to a client for itself, and for a person to a client, within a minute on this machine.

SECTION = "tokens"
TOO_MANY = "Too many tokens within a minute. Wait before the next one."


class Counted(msgspec.Struct, eq=False):
    """One request for tokens. What it counted is to be taken back when it ends with a refusal or an error."""

    _services: Services
    _caller: Caller
    _admission: Admission | None = None

    async def for_itself(self, by: Origin) -> None:
        """Counts a token that the client gets for itself; raises 429, which becomes a fact of the client, grouped."""
        services, client = self._services, self._caller.client
        own = client.tokens_per_minute
        limit = services.settings.client_tokens_per_minute if own is None else own
        admission = services.throttle.begin(Limit(SECTION, client.client_id, PerMinute(limit)))
        if admission.retry_after is not None:
            make = partial(token_limit, client.client_id, limit)
            await services.repeated_facts.note(self._caller.stream, "token_limit", make, by)
            raise errors.Throttled(admission.retry_after, TOO_MANY)
        self._admission = admission

    def for_person(self, account_id: str) -> None:
        """Counts tokens that the client gets for a person, once however often the lock is had; raises 429."""
        if self._admission is not None:
            return
        services, subject = self._services, f"{self._caller.client.client_id} {account_id}"
        limit = Limit(SECTION, subject, PerMinute(services.settings.person_tokens_per_minute))
        admission = services.throttle.begin(limit)
        if admission.retry_after is not None:
            raise errors.Throttled(admission.retry_after, TOO_MANY)
        self._admission = admission

    def take_back(self) -> None:
        """Takes back what was counted."""
        if self._admission is not None:
            self._admission.take_back()


async def issue(
    services: Services,
    scope: Scope,
    caller: Caller,
    grant: GrantType,
    request: TokenRequest,
    account_id: str | None = None,
    before: Sequence[Step] = (),
    *,
    takes_place_of: str | None = None,
) -> Tokens:
    """Carries out a token request. `account_id` is the person whose password was verified, for the password grant, or
    whom a trusted issuer means; `before` is what is to happen in the same transaction. With the tokens ends the grant
    whose place they take, if it is this person's at this client.

    Raises the OAuth error of a refusal, whose events are committed all the same.
    """
    client, goes_on = caller.client, grant.credential is not None and not grant.credential.of_another
    refresh = services.format.mint(Kind.REFRESH_TOKEN) if goes_on or "refresh_token" in client.grant_types else None
    signed_in = account_id is not None and grant.assertion is None
    actor = _person(account_id, caller) if signed_in and account_id is not None else caller.actor
    by = origin(scope, actor, on_device=client.on_device)
    counted = Counted(services, caller)
    if not goes_on and account_id is None:
        await counted.for_itself(by)
    if takes_place_of is not None and account_id is not None:
        before = [*before, grants.give_way(takes_place_of, client_id=client.client_id, account_id=account_id)]

    # In quotes it is not put together with every request, as up to Python 3.13 it would be.
    def execute(minted: Minted) -> "Awaitable[Executed[None]]":
        command = grants.issue_tokens(
            grant,
            request,
            minted,
            client_id=client.client_id,
            secret_id=caller.secret_id,
            key_id=caller.key_id,
            jkt=scope.get(PROVED),
            x5t=scope.get(SHOWN),
            account_id=account_id,
            at=services.ledger.clock.now(),
            issuer=services.settings.issuer,
            lifetimes=services.lifetimes,
            admit_person=counted.for_person,
            vault=services.ledger.vault,
            privacy=services.ledger.privacy,
        )
        return services.ledger.execute(*before, command, origin=by)

    try:
        access, executed = await _signed(services, scope, refresh, execute)
        if executed.refusal is not None:
            if executed.refusal.reason is FactorRefused.ENROLMENT:
                raise EnrolmentRequired(client.realm).because(FactorRefused.ENROLMENT)
            if client.type == "public":
                raise errors.oauth_error(executed.refusal)
            raise _told(executed.refusal, request, grant.credential, client.scope)
    except BaseException:
        counted.take_back()
        raise
    issued: IssuedTokens = executed.outcomes[-1].result
    id_token = None
    if issued.id_token is not None:
        id_token = await sign_id_token(services, scope, issued.id_token, access, executed.recorded[-1].time)
    return Tokens(issued, access, refresh if issued.refresh else None, executed.recorded, id_token)


async def _signed(
    services: Services,
    scope: Scope,
    refresh: Secret | None,
    execute: Callable[[Minted], Awaitable[Executed[None]]],
) -> tuple[Secret, Executed[None]]:
    """The access token that was issued, and what was recorded with it; or the refusal. What it is to say, if anything,
    is known after the decision alone. Raises 503 where that changes again and again."""
    second = None if refresh is None else refresh.hex
    access, says = services.format.mint(Kind.ACCESS_TOKEN), None
    for _ in range(SIGNED_AT_MOST):
        minted = Minted(access.hex, second, says)
        executed = await execute(minted)
        issued: IssuedTokens | None = executed.outcomes[-1].result
        if executed.refusal is not None or issued is None or issued.is_signed_by(minted):
            return access, executed
        says = issued.says
        if says is None:
            access = services.format.mint(Kind.ACCESS_TOKEN)
        else:
            access = await sign_access_token(services, scope, says)
    raise errors.TemporarilyUnavailable


def _person(account_id: str, caller: Caller) -> Actor:
    """A person who signs in through a dashboard: they act with their password, the dashboard with its secret."""
    credential = {"client_id": caller.client.client_id}
    if caller.secret_id is not None:
        credential["secret_id"] = caller.secret_id
    return Actor("person", account_id, credential)


def token_answer(given: Tokens, *, refresh_too: bool) -> dict[str, Any]:
    """The members of a token answer (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3)."""
    members: dict[str, Any] = {
        "access_token": given.access.reveal(),
        "token_type": "Bearer" if given.issued.jkt is None else "DPoP",
        "expires_in": given.issued.expires_in,
        "scope": " ".join(given.issued.scope),
    }
    if refresh_too and given.refresh is not None:
        members["refresh_token"] = given.refresh.reveal()
    if given.issued.issued_token_type is not None:
        members["issued_token_type"] = given.issued.issued_token_type
    if given.id_token is not None:
        members["id_token"] = given.id_token
    if given.issued.details is not None:
        members["authorization_details"] = given.issued.details
    return members


token = endpoint("/oauth/token", _post)


# Why a request was refused, told to the client that proved who it is, about its own codes and tokens alone. Everybody
# else learns the error code and nothing more: anyone who tries what they found must not hear how close they came.

_ENDED = "The grant of this {name} has ended."
_WORDS: Mapping[InvalidGrant, str] = MappingProxyType(
    {
        InvalidGrant.EXPIRED: "This {name} has expired.",
        InvalidGrant.REPLAYED: "This {name} was used before; its grant has ended.",
        InvalidGrant.REDIRECT_URI: "redirect_uri is not that of the authorization request.",
        InvalidGrant.PROOF_KEY: "This {name} is bound to a key, and the DPoP proof was not made with that.",
        InvalidGrant.ENDED: _ENDED,
        InvalidGrant.CLIENT_CUT_OFF: _ENDED,
        InvalidGrant.PERSON_CUT_OFF: _ENDED,
        InvalidGrant.SECRET_CUT_OFF: _ENDED,
        InvalidGrant.CONSENT_WITHDRAWN: _ENDED,
    }
)
"""By reason. What belongs to another client, or to nobody, is said to nobody."""

_SCOPE = re.compile(r"[a-z0-9][a-z0-9:._/*+-]{0,127}")


def _told(
    refusal: Refusal, request: TokenRequest, credential: Credential | None, client_scope: tuple[str, ...]
) -> errors.HTTPError:
    """The error for a client that authenticated; `credential` is what it had to present."""
    match refusal.reason:
        case InvalidGrant() as reason:
            return errors.InvalidGrant(_about_grant(reason, request, credential)).because(reason)
        case InvalidScope() as reason:
            # What may be had in exchange is a matter of the policy and of the token, and not of the client's own scope.
            within = None if credential is not None and credential.of_another else client_scope
            return errors.InvalidScope(_about_scope(reason, request, within)).because(reason)
    return errors.oauth_error(refusal)


def _about_grant(reason: InvalidGrant, request: TokenRequest, credential: Credential | None) -> str | None:
    if reason is InvalidGrant.VERIFIER:
        if request.challenge is None:
            return "code_verifier is missing."
        return "code_verifier does not belong to the code_challenge of the authorization request."
    words = _WORDS.get(reason)
    return None if words is None or credential is None else words.format(name=credential.noun)


def _about_scope(reason: InvalidScope, request: TokenRequest, client_scope: tuple[str, ...] | None) -> str | None:
    if reason is InvalidScope.NOTHING_LEFT:
        return "Nothing is left of the scope: the person's roles allow none of it, or there is no person."
    if client_scope is None:
        return "The scope is wider than what this client may have in exchange for that token."
    lacking = next((name for name in request.scope or () if name not in client_scope), None)
    # Only what could be a scope is repeated: anything may have got into the parameter.
    if lacking is not None and _SCOPE.fullmatch(lacking):
        return f"The scope {lacking} is not this client's."
    return "The scope is wider than what was granted." if reason is InvalidScope.WIDENED else None
