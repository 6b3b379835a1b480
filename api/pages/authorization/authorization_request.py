"""The authorization request (RFC 6749 §4.1.1): read, checked and made into a value, the same way at every step.

It comes in the query, or was pushed before and is named there by a reference (RFC 9126 §4), which counts alone then.

Two kinds of faults come of it. Where no redirect URI can be trusted, `Unanswerable` is raised and becomes a page, and
nobody is redirected anywhere (RFC 6749 §4.1.2.1). Every other fault stands in the request's `error`, for the
application, which is told once the person has signed in (RFC 9700 §4.11.2).
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from litestar.openapi.spec import OpenAPIMediaType, Operation, Parameter, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.http import errors
from api.http.bodies import form_pairs
from api.http.errors import HTTPError
from api.http.request_context import Scope, speak
from api.languages import Words
from api.oauth import authorization_details, client_names
from api.oauth.client_authentication import CLIENT_ID, LONGEST_ID
from api.pages.authorization import authentication_request, request_object
from api.pages.authorization.authentication_request import AuthenticationRequest
from api.pages.authorization.client_documents import REALM, DescribedClient, DocumentFault, described, host_of
from api.pages.browser_session import find_session
from api.services import Services
from commands.grants import ASKED_AT_MOST
from domain import client
from domain import scope as scopes
from domain.grants import GRANTS, authorization_code
from domain.keys import signing_key
from domain.requests import pushed_request
from domain.rules import audience, dpop_proof, pkce, redirect_uri, security_profile
from domain.rules.authorization_details import MAXIMUM, PARAMETER, AuthorizationDetails
from eventstore.pending import pushed_requests
from eventstore.present import existing_scopes
from security.tokens import digest, same

_JKT = re.compile(r"[A-Za-z0-9_-]{43}")

QUERY_MAXIMUM = 8192
"""Bytes of the whole query, `state` included: what goes back has to fit into a Location header."""

IN_QUERY = "-._~!$&'()*+,;=:@/?%"
"""What a query may hold beside letters and digits (RFC 3986 §3.4), as a browser may send it on."""

RESOURCE = "resource"
"""RFC 8707 §2.1 lets it stand there more than once."""

REFERENCE = "urn:ietf:params:oauth:request_uri:"
"""How the references begin that pushed requests get (RFC 9126 §2.2)."""

OPENED = "opened"
"""The parameter by which the forms of a request that was opened in time go on with it."""

OVER = Words(
    "This request is over: it has expired, or it was answered already. Go back to the application and start again."
)
UNKNOWN = Words("The application that sent you here is not known to this server.")
SWITCHED_OFF = Words("The application that sent you here has been switched off.")
NOT_REGISTERED = Words("The application that sent you here wants you back at an address that it has not registered.")


class AnyName(frozenset[str]):
    """Holds every name: which parameters may be repeated is decided here, since the answer depends on the client."""

    def __contains__(self, name: object) -> bool:
        return True


class Unanswerable(HTTPError):
    """A request that is answered by a page and never by a redirect."""

    @property
    def title(self) -> str:
        return "This request cannot be answered"


class SignInFirst(Exception):
    """A request of an application that is looked at once the person has signed in. `query` is the request, to be sent
    on as it is; `host` is where the application says that it is from."""

    def __init__(self, query: str, host: str) -> None:
        super().__init__()
        self.query = query
        self.host = host


class TooLong(Unanswerable):
    """The same for a query beyond `QUERY_MAXIMUM` (RFC 9110 §15.5.15)."""

    status = 414


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters as they came. `state` is kept in its encoded form, to be given back octet by octet."""

    text: str
    """The query itself, fit to stand behind a `?` in a form's address or a redirect to this server."""
    values: dict[str, str] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    state: str | None = None
    resource: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request of a known client that names a redirect URI of its own.

    `asked` is None when no scope was named, `resource` empty when no resource was.
    """

    query: Query
    client: client.State
    redirect_uri: str
    redirect_uri_given: bool
    asked: tuple[str, ...] | None
    resource: tuple[str, ...]
    challenge: str | None
    authentication: AuthenticationRequest
    error: HTTPError | None
    dpop_jkt: str | None = None
    details: AuthorizationDetails | None = None
    """The authorization details that are asked for (RFC 9396), of a request without a fault."""
    request_id: str | None = None
    """Of a pushed request, which an answer uses up."""
    document: DescribedClient | None = None
    """What describes the client, which an approval registers."""

    @property
    def asks_each_time(self) -> bool:
        """Whether a given consent does not count: any program could pose as a client like this (RFC 8252 §8.6)."""
        return self.client.type == "public" and redirect_uri.private_or_loopback(self.redirect_uri)


def read_query(octets: bytes, longest: int = QUERY_MAXIMUM) -> Query:
    """The parameters of a query; raises TooLong, and Invalid for what is not form-encoded."""
    if len(octets) > longest:
        raise TooLong(Words("The request is longer than %(longest)s bytes.", longest=longest))
    values: dict[str, str] = {}
    doubled: set[str] = set()
    resource: list[str] = []
    for name, value in form_pairs(octets):
        if name == RESOURCE:
            resource.append(value)
            continue
        if name in values:
            doubled.add(name)
        values[name] = value
    # A parameter without a value counts as not sent (RFC 6749 §3.1).
    given = {name: value for name, value in values.items() if value}
    state = None if "state" in doubled or "state" not in given else _encoded_state(octets)
    named = tuple(uri for uri in resource if uri)
    return Query(quote(octets, safe=IN_QUERY), given, frozenset(doubled), state, named)


def _encoded_state(octets: bytes) -> str | None:
    for part in octets.split(b"&"):
        name, _, value = part.partition(b"=")
        if dict(form_pairs(name)) == {"state": ""}:
            return quote(value, safe=IN_QUERY)
    return None


async def read_request(services: Services, scope: Scope, octets: bytes) -> AuthorizationRequest:
    """The request that a query makes; raises Unanswerable where there is nobody to answer to."""
    query = read_query(octets)
    client_id = _client_id(services, query)
    reference = query.values.get("request_uri", "")
    if not reference.startswith(REFERENCE) or "request_uri" in query.doubled:
        asking, document = await _client(services, scope, query, query.text, client_id)
        asked = await examine(services, scope, asking, query)
        return replace(asked, query=replace(asked.query, text=_going_on(services, query)), document=document)
    now, sha256 = services.ledger.clock.now(), digest(reference)
    kept = await services.ledger.look(pushed_requests.find, services.ledger.vault, sha256, now)
    proof = _opened(services, sha256)
    is_open = kept is not None and (now < kept.expires_at or same(proof, query.values.get(OPENED, "")))
    if kept is None or not is_open or kept.client_id != client_id:
        raise Unanswerable(OVER)
    state: pushed_request.State = await services.ledger.state(pushed_request.stream(kept.request_id))
    if state.answer is not None:
        raise Unanswerable(OVER)
    text = query.text if OPENED in query.values else f"{query.text}&{OPENED}={proof}"
    asking, document = await _client(services, scope, query, text, client_id)
    asked = await examine(services, scope, asking, replace(read_query(kept.query), text=text), pushed=True, kept=True)
    return replace(asked, request_id=kept.request_id, document=document)


def _opened(services: Services, sha256: bytes) -> str:
    """What tells that a pushed request was opened while it could be: anyone who began with it may finish."""
    mac = hmac.digest(services.keyring.derive("pushed request opened"), sha256, "sha256")
    return urlsafe_b64encode(mac[:18]).decode()


def _going_on(services: Services, query: Query) -> str:
    """The query of the next page: a signed request goes on with the proof of when it was opened."""
    signed = query.values.get("request")
    if signed is None or OPENED in query.values:
        return query.text
    text = f"{query.text}&{OPENED}={request_object.proof(services, signed)}"
    return text if len(text) <= QUERY_MAXIMUM else query.text


async def examine(
    services: Services, scope: Scope, asking: client.State, query: Query, *, pushed: bool = False, kept: bool = False
) -> AuthorizationRequest:
    """The request that these parameters of a known client make; raises Unanswerable likewise, and what is wrong with a
    request object that is pushed. What is `kept` was looked at when it was pushed, and its signature then."""
    query, broken = (query, None) if kept else await _signed(services, scope, asking, query)
    if "ui_locales" in query.values:
        # It may have stood in the object, or in what was pushed.
        speak(scope, query.values["ui_locales"])
    if broken is not None and pushed:
        # Anyone who pushes is told at once. Where the answer would go may stand in the object alone.
        raise broken
    target = _target(asking, query)
    named = scopes.parse(query.values.get("scope"))
    authentication, unreadable = await _authentication(services, asking, target, query)
    fault = (
        broken
        or next(_faults(asking, query), None)
        or _not_pushed(services, asking, pushed)
        or unreadable
        or await _scope_fault(services, asking, named)
        or _target_fault(services, asking, query.resource)
        or await authorization_details.fault(services, asking, query.values.get(PARAMETER))
    )
    return AuthorizationRequest(
        query=query,
        client=asking,
        redirect_uri=target,
        redirect_uri_given="redirect_uri" in query.values,
        asked=named,
        resource=query.resource,
        challenge=query.values.get("code_challenge"),
        authentication=authentication,
        error=fault,
        dpop_jkt=query.values.get("dpop_jkt"),
        details=None if fault is not None else authorization_details.read(query.values.get(PARAMETER)),
    )


async def _signed(
    services: Services, scope: Scope, asking: client.State, query: Query
) -> tuple[Query, HTTPError | None]:
    """The parameters of the request object alone, if there is one (RFC 9101 §5), or what is wrong with it."""
    if "request" not in query.values:
        unsigned = errors.InvalidRequest("This client signs its requests (RFC 9101).")
        return query, unsigned if asking.require_signed_request_object else None
    if "request_uri" in query.values or "request" in query.doubled:
        return query, errors.InvalidRequest("A request comes in one way alone.")
    signed, proof = query.values["request"], query.values.get(OPENED, "")
    found = await request_object.opened(
        services, scope, asking, signed, request_object.opened_at(services, signed, proof)
    )
    if isinstance(found, bytes) and len(found) > QUERY_MAXIMUM:
        found = errors.InvalidRequestObject(
            Words("The request object holds more than %(maximum)s bytes.", maximum=QUERY_MAXIMUM)
        )
    return (query, found) if isinstance(found, HTTPError) else (read_query(found), None)


async def _authentication(
    services: Services, asking: client.State, target: str, query: Query
) -> tuple[AuthenticationRequest, HTTPError | None]:
    keys = signing_key.INITIAL
    if "id_token_hint" in query.values:
        keys = await services.ledger.state(signing_key.STREAM)
    return authentication_request.read(query.values, target, asking.known_as, services.settings.issuer, keys)


def _not_pushed(services: Services, asking: client.State, pushed: bool) -> HTTPError | None:
    required = security_profile.pushes(asking) or services.settings.require_pushed_authorization_requests
    return None if pushed or not required else errors.InvalidRequest("This request has to be pushed (RFC 9126).")


async def _scope_fault(services: Services, asking: client.State, asked: tuple[str, ...] | None) -> HTTPError | None:
    """What is wrong with the scope no matter who signs in. What a person's roles allow is another question."""
    known = await services.ledger.look(existing_scopes, {*asking.scope, *(asked or ())[:ASKED_AT_MOST]})
    found = scopes.requested(asked, within=asking.scope, known=known)
    return None if found is None else errors.InvalidScope()


def _target_fault(services: Services, asking: client.State, resource: tuple[str, ...]) -> HTTPError | None:
    refused = audience.requested(resource, client=asking, issuer=services.settings.issuer)
    return None if refused is None else errors.oauth_error(refused)


def _client_id(services: Services, query: Query) -> str:
    client_id = query.values.get("client_id")
    if "client_id" in query.doubled:
        raise Unanswerable("The application that sent you here named itself twice.")
    if client_id is None:
        raise Unanswerable("The application that sent you here did not say which one it is.")
    kept_under = client_names.kept_under(services.settings, client_id)
    if not CLIENT_ID.fullmatch(client_id) or kept_under == client_names.NOBODY:
        raise Unanswerable(UNKNOWN)
    return kept_under


async def _client(
    services: Services, scope: Scope, query: Query, text: str, client_id: str
) -> tuple[client.State, DescribedClient | None]:
    """The client as it is registered, or as its document describes it at present. `text` is how to ask again."""
    found: client.State = await services.ledger.state(client.stream(client_id))
    document = None
    if (uri := query.values["client_id"]) != client_id and not found.deleted:
        if await find_session(services, scope, REALM) is not None:
            try:
                document = await described(services, scope, uri)
            except DocumentFault as fault:
                raise Unanswerable(fault.words) from fault
            found = document.state
        elif not found.exists or redirect_uri.chosen(found.redirect_uris, query.values.get("redirect_uri")) is None:
            if "none" in query.values.get("prompt", "").split(" "):
                raise Unanswerable(UNKNOWN)
            raise SignInFirst(text, host_of(uri))
    if not client.alive(found):
        raise Unanswerable(UNKNOWN)
    if not found.enabled:
        raise Unanswerable(SWITCHED_OFF)
    return found, document


def _target(asking: client.State, query: Query) -> str:
    if "redirect_uri" in query.doubled:
        raise Unanswerable("The application that sent you here named two addresses to go back to.")
    target = redirect_uri.chosen(asking.redirect_uris, query.values.get("redirect_uri"))
    if target is None:
        raise Unanswerable(NOT_REGISTERED)
    return target


def _faults(asking: client.State, query: Query) -> Iterator[HTTPError]:
    """What the application has to be told, the first thing first (RFC 6749 §4.1.2.1, RFC 7636 §4.4.1, RFC 9101 §7)."""
    if query.doubled:
        yield errors.InvalidRequest("A parameter stands there twice.")
    # Its content would decide about everything else, so nothing else is looked at.
    if "request_uri" in query.values:
        yield errors.RequestUriNotSupported()
    if "dpop_jkt" in query.values and not _JKT.fullmatch(query.values["dpop_jkt"]):
        yield errors.InvalidRequest("dpop_jkt is no thumbprint of a key (RFC 7638).")
    response_type = query.values.get("response_type")
    if response_type is None:
        yield errors.InvalidRequest("response_type is missing.")
    if response_type not in {name for grant in GRANTS.values() for name in grant.response_types}:
        yield errors.UnsupportedResponseType()
    if authorization_code.GRANT_TYPE not in asking.grant_types:
        yield errors.UnauthorizedClient()
    refused = pkce.requested(
        query.values.get("code_challenge"),
        query.values.get("code_challenge_method"),
        required=security_profile.needs_pkce(asking),
    )
    if refused is not None:
        yield errors.oauth_error(refused)


# What the OpenAPI document tells of an authorization request's parameters, which are read by rules of their own.


def of_text(longest: int) -> Schema:
    """A parameter that is text."""
    return Schema(type=OpenAPIType.STRING, max_length=longest)


def _one_of(*words: str) -> Schema:
    return Schema(type=OpenAPIType.STRING, enum=list(words))


PARAMETERS = {
    "response_type": ("`code`.", _one_of(*authorization_code.RESPONSE_TYPES)),
    "client_id": ("Who asks.", of_text(LONGEST_ID)),
    "redirect_uri": (
        "Where to go back to; may be left out where the client has registered a single one.",
        of_text(redirect_uri.PRESENTED_MAXIMUM),
    ),
    "scope": ("Scope names with a space between; all the client's when left out.", of_text(QUERY_MAXIMUM)),
    "state": (f"Comes back as it came. The whole query has at most {QUERY_MAXIMUM} bytes.", of_text(QUERY_MAXIMUM)),
    "resource": (
        "What access tokens are to be for (RFC 8707 §2.1): the client's `resources` or the issuer; may be repeated.",
        Schema(type=OpenAPIType.ARRAY, items=of_text(audience.MAXIMUM), max_items=audience.URIS_MAXIMUM + 1),
    ),
    "code_challenge": (
        "RFC 7636 §4.3; a client may have been registered without.",
        of_text(pkce.CHALLENGE_LENGTH),
    ),
    "code_challenge_method": ("`S256`.", _one_of(*pkce.METHODS)),
    "response_mode": (
        "`query`, or `form_post` for an answer that the browser posts.",
        _one_of(*authorization_code.RESPONSE_MODES),
    ),
    "nonce": (
        "Comes back in the id_token (OpenID Connect Core §3.1.2.1).",
        of_text(authentication_request.NONCE_MAXIMUM),
    ),
    "prompt": (
        "`none` for an answer at once; or which pages the person is to see in any case, with a space between: "
        + ", ".join(f"`{each}`" for each in authentication_request.PROMPTS[1:])
        + ".",
        of_text(QUERY_MAXIMUM),
    ),
    "max_age": (
        "Seconds since the person's last sign-in; if it was earlier, they sign in again.",
        Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=authentication_request.MAX_AGE_MAXIMUM),
    ),
    "id_token_hint": ("An id_token of the client, about the person who is meant.", of_text(QUERY_MAXIMUM)),
    "login_hint": ("What the person may type as their name.", of_text(QUERY_MAXIMUM)),
    "acr_values": ("Classes of sign-in that are welcome, with a space between.", of_text(QUERY_MAXIMUM)),
    "claims": ("What is wanted to be known, as JSON (OpenID Connect Core §5.5).", of_text(QUERY_MAXIMUM)),
    "display": ("How the pages are to look; they look the same.", _one_of(*authentication_request.DISPLAYS)),
    "request_uri": ("The reference of a pushed request, which says the rest (RFC 9126 §4).", of_text(QUERY_MAXIMUM)),
    "request": ("The rest as a token that the client signed (RFC 9101 §5).", of_text(QUERY_MAXIMUM)),
    "dpop_jkt": (
        "The thumbprint of the key by which alone the code can be redeemed (RFC 9449 §10).",
        of_text(dpop_proof.JKT_LENGTH),
    ),
    PARAMETER: (
        "What is asked for beyond scopes (RFC 9396), as JSON: objects of types that the client was registered with.",
        of_text(MAXIMUM),
    ),
    "ui_locales": ("Languages for the pages, with a space between.", of_text(QUERY_MAXIMUM)),
}

OPT = {"repeatable": AnyName()}
"""For handlers of such a request: none of its parameters is refused before it is known whom to tell."""


@dataclass
class AuthorizationFormOperation(Operation):
    """An operation whose form is an authorization request."""

    def __post_init__(self) -> None:
        properties: dict[str, Reference | Schema] = {name: schema for name, (_, schema) in PARAMETERS.items()}
        content = OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT, properties=properties))
        self.request_body = RequestBody(content={"application/x-www-form-urlencoded": content}, required=True)


@dataclass
class AuthorizationOperation(Operation):
    """An operation whose query is an authorization request."""

    def __post_init__(self) -> None:
        self.parameters = [
            Parameter(name=name, param_in="query", description=text, schema=schema)
            for name, (text, schema) in PARAMETERS.items()
        ]
