"""Clients that register themselves (RFC 7591), and read, change and delete what they registered (RFC 7592)."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies import client_bodies, members
from api.admin.bodies.client_bodies import ClientBody, NewClient, attributes
from api.admin.bodies.key_members import keys_of
from api.config.settings import Settings
from api.http import errors, parameters
from api.http.errors import HTTPError, InvalidClientMetadata, InvalidRedirectUri, InvalidToken, Missing
from api.http.invalid_members import invalid_member
from api.http.request_context import header_values, request_context
from api.oauth.bearer import authorize, bearer_token
from api.oauth.client_authentication import LONGEST_ID, LONGEST_SECRET
from api.oauth.sector_identifier import sector_document
from api.registering import refused_registrations
from api.registering.refused_registrations import NotedBy, by_client, by_stranger, by_token, noting
from api.services import Services, origin, services_of
from api.signals.signal_delivery import forget
from api.throttling import limits
from commands import clients as commands
from commands import counted, registering
from domain import client
from domain.client import Registration
from domain.decision import Forbidden, InvalidClient, InvalidRequest, Refusal
from domain.event import ANONYMOUS, Actor, Recorded
from domain.grants import GRANTS, client_credentials, jwt_bearer
from domain.keys import client_keys
from domain.registering import registration_token
from domain.rules import registration as rules
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from domain.rules.built_in_scope import ACCOUNT
from domain.rules.client_metadata import NO_KEYS, SECRET_METHODS, ClientKeys, SelfRegistered
from eventstore import issued, present
from eventstore.database import Connection
from eventstore.execution import Step
from eventstore.view import View
from security.clock import format_rfc3339
from security.tokens import Kind, Secret, digest, new_id

PATH = "/oauth/register"
ONE = "/oauth/register/{client_id:str}"
TAGS = ["OAuth"]
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}

OWN = (
    *("client_name", "redirect_uris", "grant_types", "scope", "token_endpoint_auth_method"),
    *("token_endpoint_auth_signing_alg", "jwks", "jwks_uri", "require_pkce", "allowed_origins", "resources"),
    *("id_token_signed_response_alg", "userinfo_signed_response_alg"),
    *("subject_type", "sector_identifier_uri", "post_logout_redirect_uris"),
    *("backchannel_logout_uri", "backchannel_logout_session_required"),
    *("tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri"),
    *("tls_client_auth_san_ip", "tls_client_auth_san_email", "tls_client_certificate_bound_access_tokens"),
    *("dpop_bound_access_tokens", "require_pushed_authorization_requests", "require_signed_request_object"),
    *("request_object_signing_alg", "authorization_signed_response_alg", "authorization_details_types"),
    "access_token_format",
)
"""What a client may say of itself, by the names of RFC 7591 §2 and of those that add to it, as far as it is served.
Everything else is what administrators say, and passed over here (RFC 7591 §2)."""

_FIELDS = [each for each in msgspec.structs.fields(NewClient) if each.name in OWN]
_MORE = (
    ("response_types", Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=16)]),
    ("client_id", Annotated[str, Meta(max_length=LONGEST_ID)]),
    ("client_secret", Annotated[str, Meta(max_length=LONGEST_SECRET)]),
)
SelfRegistration = msgspec.defstruct(
    "SelfRegistration",
    [(name, kind | None | UnsetType, UNSET) for name, kind in (*((each.name, each.type) for each in _FIELDS), *_MORE)],
    namespace={"__doc__": "What a client says of itself (RFC 7591 §2); what is not known here is passed over."},
    module=__name__,
    kw_only=True,
)
"""The members that the administration takes too, with their limits, each of which may be left out."""
MEMBERS = frozenset((*OWN, *(name for name, _ in _MORE)))

_PUBLIC = "none"
UNASKED = (client_credentials.GRANT_TYPE, jwt_bearer.GRANT_TYPE)
"""Grants of which no person is asked."""
_DEFAULTS = NewClient(client_name="")


class AskedRegistration(NamedTuple):
    """What a client asks for, put together: what is left out is as RFC 7591 §2 says, or as the server has it."""

    attributes: client.Attributes
    keys: ClientKeys


# What is asked for ------------------------------------------------------------------------------------------------


def read_metadata(body: Mapping[str, Any]) -> Any:
    """The members that are known. Raises `invalid_client_metadata` or `invalid_redirect_uri`."""
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return msgspec.convert(given, SelfRegistration)
    except msgspec.ValidationError as error:
        raise _of_member(invalid_member(error)) from None


def _of_member(error: HTTPError) -> HTTPError:
    """The refusal of a member in the words of RFC 7591 §3.2.2."""
    redirecting = any(each.field.startswith("redirect_uris") for each in error.errors)
    kind = InvalidRedirectUri if redirecting else InvalidClientMetadata
    return kind(error.detail, errors=error.errors, reason=error.reason)


def asked_for(settings: Settings, said: Any, name: str, known: frozenset[str]) -> AskedRegistration:
    """What a client asks for by these members, put together; a client without a name is called `name`."""
    given = {each.name: getattr(said, each.name) for each in _FIELDS}
    named = {name: value for name, value in given.items() if value is not UNSET}
    public = named.get("token_endpoint_auth_method") == _PUBLIC
    named.setdefault("client_name", name)
    # Anyone who sends a challenge is held to it in any case (RFC 9700 §2.1.1).
    named.setdefault("require_pkce", public)
    named.setdefault("resources", list(settings.registration_resources))
    scope = named.get("scope", settings.registration_scope).split()
    named["scope"] = " ".join(name for name in dict.fromkeys(scope) if name in known)
    body = msgspec.structs.replace(_DEFAULTS, **named)
    try:
        keys = client_keys.changed(NO_KEYS, keys_of(body))
    except errors.InvalidRequest as error:
        raise _of_member(error) from None
    _check_response_types(said.response_types, body.grant_types)
    every = attributes(body)
    own = {each.name: getattr(every, each.name) for each in _FIELDS if each.name in every.__struct_fields__}
    return AskedRegistration(client.Attributes(**own), keys)


def _check_response_types(asked: list[str] | UnsetType, grant_types: list[str]) -> None:
    served = _response_types(grant_types)
    if asked is not UNSET and not set(asked) <= set(served):
        words = f"must be of {', '.join(served)}" if served else "must be empty with these grant_types"
        raise InvalidClientMetadata("The request is not valid.", errors=[errors.FieldError("response_types", words)])


def _response_types(grant_types: list[str] | tuple[str, ...]) -> list[str]:
    """The response types that go with grant types (RFC 7591 §2.1)."""
    return sorted({each for name in grant_types if name in GRANTS for each in GRANTS[name].response_types})


async def known_scopes(services: Services, said: Any) -> frozenset[str]:
    """Those of the scopes asked for that a client may have that nobody vouches for."""
    scope = said.scope if isinstance(said.scope, str) else services.settings.registration_scope
    names = tuple(dict.fromkeys(scope.split()))[: rules.SCOPES_MAXIMUM]
    known: frozenset[str] = await services.ledger.look(present.existing_scopes, names)
    return known - ADMINISTRATIVE_SCOPES - {ACCOUNT}


def require_vouched(how: SelfRegistered | None, asked: AskedRegistration, before: tuple[str, ...] = ()) -> None:
    """Raises `invalid_client_metadata` for a client that anybody may have registered, and that wants to get tokens
    without a person being asked, if nobody let it do so `before`."""
    for name in UNASKED:
        if how == "open" and name not in before and name in asked.attributes.grant_types:  # type: ignore[operator]
            field = errors.FieldError("grant_types", f"{name} needs an initial access token")
            raise InvalidClientMetadata("The request is not valid.", errors=[field])


# Who asks ---------------------------------------------------------------------------------------------------------


class _Permit(NamedTuple):
    """By what a client may register itself. `uses` is the command that counts the token's use, if it needs one."""

    how: SelfRegistered
    actor: Actor
    uses: tuple[Step, ...]
    refused: NotedBy


async def _permit(services: Services, request: Request[Any, Any, Any], client_id: str) -> _Permit:
    """Raises 401 for a token that is none, and 429 where too many register themselves."""
    open_ = services.settings.registration == "open"
    scope: Any = request.scope
    if open_ and not header_values(scope, b"authorization"):
        admission = services.throttle.begin(*limits.registration(request_context(scope).address, services.settings))
        if admission.retry_after is not None:
            raise errors.Throttled(admission.retry_after, "Too many clients register themselves. Wait.")
        return _Permit("open", ANONYMOUS, (), by_stranger())
    secret = _presented(services, scope, Kind.INITIAL_ACCESS_TOKEN)
    found = None if secret is None else await services.ledger.read(issued.find, secret.sha256)
    if found is None or found.kind != "initial_access_token":
        _count_failure(services, scope, "")
        error = InvalidToken()
        await refused_registrations.note(services, scope, by_stranger(), error, MEMBERS)
        raise error
    stream = found.by.stream
    actor = Actor("anonymous", None, {"initial_access_token_id": stream.partition(":")[2]})
    return _Permit("token", actor, (registering.use_initial(stream, client_id),), by_token(stream, actor))


async def served(connection: Any, _: object) -> None:
    """Lets everybody in where clients register themselves; 404 where they do not, before anything is read."""
    if services_of(connection).settings.registration == "off":
        raise Missing("Clients do not register themselves here.")


def _presented(services: Services, scope: Any, kind: Kind) -> Secret | None:
    """The token that a request brings, if it is of that kind. Raises 429 for who failed too often."""
    wait = services.throttle.retry_after(*limits.client_authentication("", request_context(scope).address))
    if wait:
        raise errors.Throttled(retry_after=wait)
    raw = bearer_token(scope)
    secret = None if raw is None else services.format.read(raw)
    return secret if secret is not None and secret.kind is kind else None


def _count_failure(services: Services, scope: Any, client_id: str) -> None:
    services.throttle.failed(*limits.client_authentication(client_id, request_context(scope).address))


async def _itself(services: Services, request: Request[Any, Any, Any], client_id: str) -> tuple[client.State, Secret]:
    """The client whose registration access token the request brings. Raises 401, which becomes a fact (RFC 7592 §2)."""
    scope: Any = request.scope
    secret = _presented(services, scope, Kind.REGISTRATION_ACCESS_TOKEN)
    state: client.State = await services.ledger.state(client.stream(client_id))
    sha256 = "" if secret is None else secret.hex
    if secret is None or not client.alive(state) or not registration_token.matches(state.registration_token, sha256):
        _count_failure(services, scope, "")
        if client.alive(state) and secret is not None:
            make = counted.failed_authentication
            await services.repeated_facts.note(
                client.stream(client_id),
                InvalidClient.REGISTRATION_TOKEN.value,
                lambda count, seconds: make(client_id, InvalidClient.REGISTRATION_TOKEN, count, seconds),
                origin(scope),
            )
        raise InvalidToken()
    return state, secret


def _actor(state: client.State) -> Actor:
    token = state.registration_token
    means = None if token is None else {"registration_token_id": token.token_id}
    return Actor("client", state.client_id, means)


# Answers ----------------------------------------------------------------------------------------------------------


def _told(services: Services, connection: Connection, client_id: str, token: Secret) -> dict[str, Any]:
    """What is registered (RFC 7591 §3.2.1), with the address and the token to manage it by (RFC 7592 §3)."""
    row = client_bodies.find_client(connection, client_id)
    body = msgspec.to_builtins(client_bodies.client_body(ClientBody, services.ledger.privacy, connection, row))
    known = {name: body[name] for name in OWN if body.get(name) not in (None, [], ())}
    return {
        "client_id": client_id,
        "client_id_issued_at": row.created_at // 1_000_000,
        **known,
        "response_types": _response_types(row.grant_types),
        "registration_access_token": token.reveal(),
        "registration_client_uri": f"{services.settings.issuer}{PATH}/{client_id}",
    }


def _refused(refusal: Refusal) -> HTTPError:
    """A refusal of what is registered, in the words of RFC 7591 §3.2.2."""
    if isinstance(refusal.reason, InvalidRequest | Forbidden):
        return _of_member(errors.api_error(refusal))
    return errors.oauth_error(refusal)


EXAMPLE = {"client_name": "Photo Prints", "redirect_uris": ["https://prints.example/callback"], "scope": "openid email"}
REGISTERED = EXAMPLE | {
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_id_issued_at": 1_767_225_600,
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
    "registration_access_token": "glog_ra_…",
    "registration_client_uri": "https://login.example.com/oauth/register/2Yt0kQm4VdLw8sRz1XbN6c",
}
_BODY = {"body": SelfRegistration, "example": EXAMPLE, "answer": REGISTERED}


@post(PATH, guards=[served], opt=_BODY, tags=TAGS, summary="Register as a client (RFC 7591)")
async def register_itself(request: Request[Any, Any, Any], data: JSONBody[dict[str, Any]]) -> Response[Any]:
    """The answer is what was registered, which may be less than what was asked for, with the client's secret, if it has
    one, and the token by which it reads, changes and deletes its registration. No later answer shows the secret."""
    services, client_id = services_of(request), new_id()
    permit = await _permit(services, request, client_id)
    async with noting(services, request.scope, permit.refused, MEMBERS):
        return await _registered(services, request, client_id, permit, data)


async def _registered(
    services: Services, request: Request[Any, Any, Any], client_id: str, permit: _Permit, data: Mapping[str, Any]
) -> Response[Any]:
    said = read_metadata(data)
    asked = asked_for(services.settings, said, client_id, await known_scopes(services, said))
    require_vouched(permit.how, asked)
    made, secret = commands.new_registration(asked.attributes, services.format, keys=asked.keys)
    token = registering.make_registration_token(services.format)
    registration: Registration = msgspec.structs.replace(made, self_registered=permit.how, token=token.known)

    def reply(view: View, _: tuple[Recorded, ...]) -> dict[str, Any]:
        shown = _told(services, view.connection, client_id, token.secret)
        more = {} if secret is None else {"client_secret": secret.reveal(), "client_secret_expires_at": 0}
        return shown | more

    command = commands.register(
        client_id,
        registration,
        issuer=services.settings.issuer,
        by=registering.nobody,
        sector=await sector_document(services, asked.attributes),
    )
    scope: Any = request.scope
    executed = await services.ledger.execute(command, *permit.uses, origin=origin(scope, permit.actor), then=reply)
    if executed.refusal is not None:
        raise _refused(executed.refusal)
    return Response(executed.value, status_code=201, headers=NO_STORE | {"location": f"{PATH}/{client_id}"})


@get(ONE, guards=[served], opt={"answer": REGISTERED}, tags=TAGS, summary="Read one's registration (RFC 7592 §2.1)")
async def read_itself(request: Request[Any, Any, Any], client_id: parameters.ClientId) -> Response[Any]:
    """What is registered, without the secret."""
    services = services_of(request)
    _, token = await _itself(services, request, client_id)
    told = await services.ledger.read(lambda connection: _told(services, connection, client_id, token))
    return Response(told, headers=NO_STORE)


@put(ONE, guards=[served], opt=_BODY, tags=TAGS, summary="Change one's registration (RFC 7592 §2.2)")
async def change_itself(
    request: Request[Any, Any, Any], client_id: parameters.ClientId, data: JSONBody[dict[str, Any]]
) -> Response[Any]:
    """The body takes the place of what is registered: what it leaves out is as if the client had never said it. It must
    name the client by its `client_id`, and its secret, if it names one, must be right."""
    services = services_of(request)
    state, token = await _itself(services, request, client_id)
    admission = services.throttle.begin(*limits.registration_change(client_id))
    if admission.retry_after is not None:
        raise errors.Throttled(admission.retry_after, "Too many changes of this registration. Wait.")
    by = by_client(client_id, _actor(state))
    async with noting(services, request.scope, by, MEMBERS):
        try:
            return await _changed(services, request, state, token, data)
        except HTTPError as error:
            scope: Any = request.scope
            services.refusals.note(scope, error, state)
            raise


async def _changed(
    services: Services, request: Request[Any, Any, Any], state: client.State, token: Secret, data: Mapping[str, Any]
) -> Response[Any]:
    client_id = state.client_id
    said = read_metadata(data)
    _require_own(services, state, said)
    asked = asked_for(services.settings, said, client_id, await known_scopes(services, said))
    _require_secret(state, asked)
    require_vouched(state.self_registered, asked, state.grant_types)
    command = registering.change_itself(
        client_id,
        asked.attributes,
        asked.keys,
        token=token.hex,
        privacy=services.ledger.privacy,
        issuer=services.settings.issuer,
        sector=await sector_document(services, asked.attributes, state),
    )

    def reply(view: View, _: tuple[Recorded, ...]) -> dict[str, Any]:
        return _told(services, view.connection, client_id, token)

    scope: Any = request.scope
    executed = await services.ledger.execute(command, origin=origin(scope, _actor(state)), then=reply)
    if executed.refusal is not None:
        raise _refused(executed.refusal)
    return Response(executed.value, headers=NO_STORE)


def _require_own(services: Services, state: client.State, said: Any) -> None:
    """Raises `invalid_client_metadata` for another client's id, or a secret that is not this one's."""
    wrong = None
    if said.client_id != state.client_id:
        wrong = errors.FieldError("client_id", "must be that of this client")
    elif said.client_secret is not UNSET:
        found = client.authenticate(state, digest(said.client_secret).hex(), services.ledger.clock.now())
        if isinstance(found, InvalidClient):
            wrong = errors.FieldError("client_secret", "must be that of this client, or be left out")
    if wrong is not None:
        raise InvalidClientMetadata("The request is not valid.", errors=[wrong])


def _require_secret(state: client.State, asked: AskedRegistration) -> None:
    """Raises `invalid_client_metadata` for a change that needs a secret, since this answer never shows one."""
    after = asked.attributes.token_endpoint_auth_method
    if after in SECRET_METHODS and not state.secrets and state.type == "confidential":
        field = errors.FieldError("token_endpoint_auth_method", "this client has no secret; register another one")
        raise InvalidClientMetadata("The request is not valid.", errors=[field])


@delete(ONE, guards=[served], tags=TAGS, status_code=204, summary="Delete oneself as a client (RFC 7592 §2.3)")
async def delete_itself(request: Request[Any, Any, Any], client_id: parameters.ClientId) -> Response[None]:
    """For good, with every token."""
    services = services_of(request)
    state, token = await _itself(services, request, client_id)
    scope: Any = request.scope
    command = registering.delete_itself(client_id, token=token.hex)
    ledger = services.ledger
    executed = await ledger.execute(
        command, origin=origin(scope, _actor(state)), then=lambda view, _: forget(view, ledger.vault, client_id)
    )
    if executed.refusal is not None:
        raise _refused(executed.refusal)
    return Response(None, status_code=204, headers=NO_STORE)


class ClientRefusal(msgspec.Struct, frozen=True):
    """One request that was refused. `reason` is a closed word, null where `error` says it all."""

    at: members.Time
    request_id: str
    endpoint: str
    error: str
    reason: str | None
    description: str | None


class RefusalList(msgspec.Struct, frozen=True):
    """What a client was refused lately, newest first."""

    items: list[ClientRefusal]


@get(ONE + "/log", tags=TAGS, summary="Read what a client was refused lately")
async def read_refusals(request: Request[Any, Any, Any], client_id: parameters.ClientId) -> Response[RefusalList]:
    """The last 200 refusals with reason and request id, for the client by its registration access token, and for
    administrators by a token with the scope `clients:read`."""
    services = services_of(request)
    scope: Any = request.scope
    raw = bearer_token(scope)
    if raw is not None and services.format.parse(raw) is not Kind.REGISTRATION_ACCESS_TOKEN:
        await authorize(request, "clients:read")
        await services.ledger.read(client_bodies.find_client, client_id)
    else:
        await _itself(services, request, client_id)
    found = await services.refusals.of(client_id)
    items = [ClientRefusal(**each._asdict() | {"at": format_rfc3339(each.at)}) for each in found]
    return Response(RefusalList(items), headers=NO_STORE)


ROUTES: list[Any] = [register_itself, read_itself, change_itself, delete_itself, read_refusals]
