"""What the hot endpoints begin with: their frame, and client authentication (RFC 6749 §2.3) by Basic, body, name, or
what the client signed."""

import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from litestar import asgi
from litestar.handlers import ASGIRouteHandler

from api.http.cors import CLIENT
from api.http.credential_cache import Caller, caller
from api.http.error_responses import error_response
from api.http.errors import HTTPError, InvalidRequest, Throttled, WrongMethod
from api.http.errors import InvalidClient as Refused
from api.http.middleware import Direct
from api.http.request_context import Receive, Scope, fields, header_values, request_context
from api.http.responses import RawResponse, raw_response, send_response
from api.oauth import client_names
from api.oauth.client_methods import foreign_secrets, private_key_jwt, tls_client_auth
from api.services import SERVICES, Services, origin, services_of
from api.throttling import limits
from commands import counted
from commands.incidents import suspect
from domain import client, client_secret, server, usage
from domain.decision import InvalidClient
from domain.keys.client_keys import has_secret
from eventstore.execution import Origin
from security.foreign_tokens import ReadToken
from security.tokens import digest

T = TypeVar("T")

# Plain ASGI handlers, because routing a request costs more than deciding it.

POST = ("POST",)

Handle = Callable[[Services, Scope, Receive], Awaitable[RawResponse]]


class Endpoint(NamedTuple):
    """A hot endpoint: as a route of the framework, and as a call that returns the answer."""

    path: str
    methods: tuple[str, ...]
    route: ASGIRouteHandler
    answered: Handle


def endpoint(path: str, handle: Handle, methods: tuple[str, ...] = POST) -> Endpoint:
    """An endpoint of OAuth that answers these methods."""
    allowed = WrongMethod((*methods, "OPTIONS"))
    # RFC 9110 §9.3.7
    offered = raw_response(204, b"", None, allowed.headers)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send_response(send, await answered(services_of(scope), scope, receive))

    async def answered(services: Services, scope: Scope, receive: Receive) -> RawResponse:
        try:
            if scope["method"] in methods:
                return await handle(services, scope, receive)
            if scope["method"] == "OPTIONS":
                return offered
            raise WrongMethod((*methods, "OPTIONS"))
        except Exception as error:
            if isinstance(error, HTTPError):
                services.refusals.note(scope, error)
            return error_response(scope, error)

    serve.__name__ = path.rpartition("/")[2]
    return Endpoint(path, methods, asgi(path, copy_scope=False)(serve), answered)


def shortcuts(app: Any, endpoints: Iterable[Endpoint], served: Callable[[], Services]) -> dict[str, Direct]:
    """The endpoints by path, each callable without the framework's routing, which would cost a third of a request.
    `served` gives the services once the app has started."""

    found: dict[str, Services] = {}

    def direct(path: str, answered: Handle) -> Direct:
        def call(scope: Scope, receive: Receive) -> Awaitable[RawResponse]:
            # What the framework would have put there for its handlers, as far as ours ask for it.
            scope["litestar_app"], scope["path_template"] = app, path
            services = scope[SERVICES] = found.get(SERVICES) or found.setdefault(SERVICES, served())
            return answered(services, scope, receive)

        return call

    return {each.path: direct(each.path, each.answered) for each in endpoints}


# Client authentication.

LONGEST_ID = 200
CLIENT_ID = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_ID}}}")
"""What can be a client id at all. Ours are shorter; anything else is unknown without a look at the database."""

MALFORMED = " "
"""The name under which everything is counted that cannot be a client id."""

LONGEST_SECRET = 1024

TWO_WAYS = "Two ways of client authentication at once."
"""RFC 6749 §2.3"""

IN_BODY = frozenset(("client_secret", *private_key_jwt.PARAMETERS))
"""Parameters by which a client would authenticate in another way than by its header."""

CredentialMethod = Literal["basic", "post", "assertion", "none"]


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """What a request says about its client. `secret` is None where it presents none, `assertion` where that is none."""

    method: CredentialMethod
    client_id: str
    secret: str | None
    assertion: ReadToken | None = None

    def __repr__(self) -> str:
        return f"Presented({self.method})"


def authorization(scope: Any) -> str | None:
    """The Authorization header; raises `invalid_request` when there are more (RFC 6749 §2.3, RFC 6750 §3.1)."""
    values = header_values(scope, b"authorization")
    if len(values) > 1:
        raise InvalidRequest("More than one Authorization header.")
    return values[0] if values else None


def presented(scope: Any, parameters: Mapping[str, str]) -> PresentedCredentials:
    """Reads the client's credentials; raises `invalid_request` when there are two kinds of them (RFC 6749 §2.3)."""
    field = authorization(scope)
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if private_key_jwt.sent(parameters):
        if secret is not None or (field is not None and field[:6].lower() == "basic "):
            raise InvalidRequest(TWO_WAYS)
        assertion = private_key_jwt.taken_apart(parameters)
        named = private_key_jwt.client_named(parameters, assertion)
        return PresentedCredentials("assertion", MALFORMED if named is None else named, None, assertion)
    if field is not None and field[:6].lower() == "basic ":
        name, password = _basic(field[6:])
        if secret is not None:
            raise InvalidRequest(TWO_WAYS)
        if client_id is not None and client_id != name:
            raise InvalidRequest("client_id in the body differs from the one in the Authorization header.")
        return PresentedCredentials("basic", name, password)
    if field is not None and secret is not None:
        raise InvalidRequest(TWO_WAYS)
    if client_id is None:
        raise Refused()
    if secret is not None:
        return PresentedCredentials("post", client_id, secret)
    return PresentedCredentials("none", client_id, None)


def _basic(encoded: str) -> tuple[str, str]:
    """Id and secret, each form-encoded before they were joined (RFC 6749 §2.3.1, RFC 7617 §2)."""
    try:
        pair = b64decode(encoded.strip(), validate=True).decode()
        name, colon, password = pair.partition(":")
        if not colon:
            raise Refused()
        return _form_decoded(name), _form_decoded(password)
    except ValueError:
        # No Base64, characters that Base64 does not know, or no UTF-8.
        raise Refused() from None


def _form_decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()


async def for_client(
    services: Services,
    scope: Any,
    parameters: Mapping[str, str],
    via: client_secret.SecretUse,
    work: Callable[[Caller], Awaitable[T]],
) -> T:
    """What `work` gives for the client that authenticates; 401 `invalid_client` if none does.

    `work` looks at the client again under the ledger's lock. So a credential that was right a moment ago need not wait
    until the log was asked whether the client has changed: it is, if the work is refused. Anyone who could not have
    authenticated is told that then (RFC 6749 §5.2), and it becomes a fact.
    """
    given = fields(scope)
    found = _remembered(services, scope, given, parameters)
    # What pages of other origins may see of the answer is decided by the authentication alone.
    if found is None or services.ledger.assumed(found.stream) is not found.client or b"origin" in given:
        return await work(await authenticate(services, scope, parameters, via))
    scope[CLIENT] = found.client
    try:
        return await work(found)
    except HTTPError:
        await authenticate(services, scope, parameters, via)
        raise


async def authenticate(
    services: Services,
    scope: Any,
    parameters: Mapping[str, str],
    via: client_secret.SecretUse,
    described: client.State | None = None,
) -> Caller:
    """The authenticated client, or 401 `invalid_client`. Failures against a known client become its facts, grouped.

    `described` is the client where it is not registered like that.
    """
    arrived = fields(scope)
    found = _remembered(services, scope, arrived, parameters)
    if found is not None:
        state = services.ledger.known(found.stream) or await services.ledger.state(found.stream)
        if state is found.client:
            scope[CLIENT] = state
            return found
    given = presented(scope, parameters)
    given = replace(given, client_id=client_names.kept_under(services.settings, given.client_id))
    _admit(services, scope, given.client_id)
    state = described or client.INITIAL
    if described is None and CLIENT_ID.fullmatch(given.client_id):
        state = await services.ledger.state(client.stream(given.client_id))
        scope[CLIENT] = state
    sha256 = None if given.secret is None or len(given.secret) > LONGEST_SECRET else digest(given.secret).hex()
    if given.method == "assertion":
        reason = await private_key_jwt.authenticated(services, scope, state, given.assertion)
    elif given.method == "none" and state.token_endpoint_auth_method in tls_client_auth.METHODS:
        reason = await tls_client_auth.authenticated(services, scope, state)
    else:
        reason = _judge(state, given, sha256, services.ledger.clock.now())
    if reason is InvalidClient.WRONG_SECRET and sha256 is not None and state.foreign_secret is not None:
        reason = await foreign_secrets.adopted(services, scope, state, given.secret or "") or reason
    if not isinstance(reason, InvalidClient):
        if given.method == "basic":
            services.credentials.keep(arrived[b"authorization"], reason)
        return reason
    services.throttle.failed(*_limits(given.client_id, request_context(scope).address))
    await _record(services, given.client_id, state, sha256, reason, via, origin(scope))
    raise Refused().because(reason)


def _remembered(
    services: Services, scope: Any, given: Mapping[bytes, bytes], parameters: Mapping[str, str]
) -> Caller | None:
    """Whom the header authenticated a moment ago, where nothing contradicts it (RFC 6749 §2.3). Compare their state."""
    header = given.get(b"authorization")
    found = None if header is None else services.credentials.find(header, services.ledger.clock.now())
    if found is None or len(given) != len(scope["headers"]):
        return None
    if not IN_BODY.isdisjoint(parameters):
        return None
    client_id = found.client.client_id
    if parameters.get("client_id", client_id) != client_id:
        return None
    _admit(services, scope, client_id)
    return found


def _admit(services: Services, scope: Any, client_id: str) -> None:
    """Raises 429 for a caller that failed too often."""
    wait = services.throttle.retry_after(*_limits(client_id, request_context(scope).address))
    if wait:
        raise Throttled(retry_after=wait)


def _limits(client_id: str, address: str | None) -> limits.Limits:
    known = len(client_id) <= LONGEST_ID
    return _kept_limits(client_id, address) if known else limits.client_authentication(client_id, address)


_kept_limits = lru_cache(maxsize=4096)(limits.client_authentication)


def _judge(state: client.State, given: PresentedCredentials, sha256: str | None, now: int) -> InvalidClient | Caller:
    """The client by its secret version, or by its name where it is a public one, or why it is not authenticated."""
    if not state.exists:
        return InvalidClient.UNKNOWN
    if given.method == "none":
        wrong = None if state.type == "public" else InvalidClient.METHOD
        return client.barred(state) or wrong or caller(state, None)
    if not has_secret(state):
        return client.barred(state) or InvalidClient.METHOD
    if sha256 is None:
        return client.barred(state) or InvalidClient.WRONG_SECRET
    found = client.authenticate(state, sha256, now)
    return found if isinstance(found, InvalidClient) else caller(state, found.secret_id)


async def _record(
    services: Services,
    client_id: str,
    state: client.State,
    sha256: str | None,
    reason: InvalidClient,
    via: client_secret.SecretUse,
    origin: Origin,
) -> None:
    dead = None if sha256 is None else client_secret.matching(state.secrets, sha256)
    if reason in (InvalidClient.SECRET_EXPIRED, InvalidClient.SECRET_REVOKED) and dead is not None:
        # Anyone who presents it has it, and learns nothing.
        make = partial(counted.dead_secret, state.client_id, dead.secret_id, via)
        first = await services.repeated_facts.note(usage.stream(dead.secret_id), reason.value, make, origin)
        if first and services.settings.dead_secret_incidents:
            await suspect(services.ledger, state.client_id, dead.secret_id, sha256, origin)
        return
    known = partial(counted.failed_authentication, state.client_id, reason)
    name = client_id if CLIENT_ID.fullmatch(client_id) else MALFORMED
    await services.repeated_facts.note_named(
        server.STREAM,
        name,
        counted.unknown_client if reason is InvalidClient.UNKNOWN else known,
        counted.failed_authentications,
        origin,
    )
