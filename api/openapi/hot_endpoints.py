"""Describes the `@asgi` endpoints, since the framework knows nothing of what such a handler reads and answers."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from api.http.bodies import LONGEST_FREE
from api.http.responses import JSON
from api.oauth import authorization_challenge, device_authorization
from api.oauth.client_authentication import LONGEST_ID, LONGEST_SECRET
from api.oauth.introspection import LONGEST_TOKEN
from api.oauth.passkeys import LONGEST as LONGEST_PASSKEY
from api.oauth.person_authentication import LONGEST_NAME
from api.oauth.second_factor import LONGEST as LONGEST_SESSION
from api.oauth.second_factor import LONGEST_CODE
from api.oauth.token import LONGEST_CREDENTIAL
from api.pages.authorization.authorization_request import PARAMETERS, QUERY_MAXIMUM
from domain.grants import GRANTS
from domain.rules import audience, authorization_details, client_assertion, pkce, redirect_uri
from security import jose
from security.jose import LONGEST_TOKEN as LONGEST_SIGNED
from security.passwords import MAX_BYTES

REFERENCE = "#/components/schemas/{name}"
FORM = "application/x-www-form-urlencoded"


class HotEndpoint(Struct, frozen=True, kw_only=True):
    """A hot endpoint as the document tells it. `parameters` is a struct of the form's or the JSON object's members,
    `answer` the one that it encodes with 200, `told` what that means, and `examples` are request bodies by name."""

    path: str
    summary: str
    description: str
    parameters: Any
    answer: Any
    told: str
    examples: Mapping[str, Mapping[str, str]]
    security: tuple[Mapping[str, tuple[str, ...]], ...] = ({"client": ()}, {})
    methods: tuple[str, ...] = ("POST",)
    status: int = 200
    encodings: tuple[str, ...] = (FORM, JSON)
    required: bool = True


class OAuthErrorBody(Struct, frozen=True, rename={"code": "error", "detail": "error_description"}):
    """RFC 6749 §5.2."""

    code: str
    detail: str | UnsetType = UNSET


def describe(endpoint: HotEndpoint) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The endpoint's operation objects by method, and the schemas that they refer to (OpenAPI 3.1 §4.8.10)."""
    types = [endpoint.parameters, endpoint.answer, OAuthErrorBody]
    (parameters, answer, error), components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    examples = {name: {"value": dict(value)} for name, value in endpoint.examples.items()}
    content = {"schema": parameters, "examples": examples}
    name = endpoint.path.rpartition("/")[2]
    operation = {
        "tags": ["OAuth"],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "operationId": name,
        "security": [{name: list(scopes) for name, scopes in entry.items()} for entry in endpoint.security],
        "requestBody": {"required": endpoint.required, "content": dict.fromkeys(endpoint.encodings, content)},
        "responses": {
            str(endpoint.status): {"description": endpoint.told, "content": {JSON: {"schema": answer}}},
            "default": {"description": "Refused (RFC 6749 §5.2).", "content": {JSON: {"schema": error}}},
        },
    }
    operations = {"post": operation}
    if "GET" in endpoint.methods:
        read = {member: value for member, value in operation.items() if member != "requestBody"}
        operations["get"] = read | {"operationId": f"{name}_get"}
    return operations, components


def text(description: str, longest: int) -> Any:
    """A parameter that need not be there."""
    return Annotated[str, Meta(description=description, max_length=longest)] | UnsetType


CLIENT: dict[str, Any] = {
    "client_id": text("Client id, when not in the Authorization header.", LONGEST_ID),
    "client_secret": text("Client secret, when not in the Authorization header.", LONGEST_SECRET),
    "client_assertion_type": text(f"For `private_key_jwt`: `{client_assertion.TYPE}`.", LONGEST_FREE),
    "client_assertion": text("What the client signed (RFC 7523 §2.2).", LONGEST_SIGNED),
}
TOKEN = Annotated[str, Meta(description="The token.", max_length=LONGEST_TOKEN)]
HINT = text("`access_token` or `refresh_token`; a wrong one does no harm.", LONGEST_FREE)
FIRST_PARTY = "For `password`, first-party dashboards only."
RESOURCE = "What the access token is for (RFC 8707 §2.2): one of the client's `resources`, or the issuer."
DETAILS = "As JSON: some of those that were approved, or what a client wants for itself (RFC 9396 §6)."
VISIBLE = "A client sees its own tokens and those for what it `serves`; with the scope `introspect`, all."
CHALLENGE = (
    "For clients with `first_party` alone. 403 `insufficient_authorization` or `redirect_to_web` say what is missing."
)
CHALLENGED = "An authorization challenge request (OAuth for First-Party Applications §5.1)."
DEVICE = "For clients with the device grant. Until a person approves, the token endpoint says `authorization_pending`."
ENDS = "An access token ends alone, a refresh token with its grant. Unknown tokens are answered alike."
OPENED = "`sub` to every live access token of a person that is for this server, the rest as its scopes open it."
CLIENT_IP = "The address from which the token came to you. Not heeded where you may not see the token."


def _parameters(name: str, told: str, required: tuple[str, Any] | None, optional: dict[str, Any]) -> type[Struct]:
    fields: list[Any] = [
        *([] if required is None else [required]),
        *((each, kind, UNSET) for each, kind in (optional | CLIENT).items()),
    ]
    return defstruct(name, fields, namespace={"__doc__": told}, module=__name__, kw_only=True)


def token_parameters() -> type[Struct]:
    """A token request: what RFC 6749, 7636 and 8707 have, and what the grant types state of themselves."""
    kind = Meta(
        description="A grant type of the metadata's `grant_types_supported`.",
        extra_json_schema={"enum": list(GRANTS)},
    )
    optional: dict[str, Any] = {
        "scope": text("Scope names with a space between.", LONGEST_FREE),
        "resource": text(RESOURCE, audience.MAXIMUM),
        authorization_details.PARAMETER: text(DETAILS, authorization_details.MAXIMUM),
    }
    for grant in GRANTS.values():
        if grant.credential is not None:
            optional[grant.credential.parameter] = text(f"For `{grant.grant_type}`.", LONGEST_CREDENTIAL)
        if grant.assertion is not None:
            optional[grant.assertion] = text(f"For `{grant.grant_type}`.", jose.LONGEST_TOKEN)
        if grant.actor is not None:
            optional[grant.actor] = text(f"For `{grant.grant_type}`, if anybody acts.", LONGEST_CREDENTIAL)
        own = {name: text(words, LONGEST_FREE) for name, words in grant.parameters.items()}
        optional |= own
    optional |= {
        "redirect_uri": text("As in the authorization request.", redirect_uri.PRESENTED_MAXIMUM),
        "code_verifier": text("The PKCE verifier.", pkce.VERIFIER_MAXIMUM),
        "username": text(FIRST_PARTY, LONGEST_NAME),
        "password": text(FIRST_PARTY, MAX_BYTES),
    }
    told = "A token request (RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6; RFC 7636 §4.5; RFC 8707 §2.2)."
    return _parameters("TokenParameters", told, ("grant_type", Annotated[str, kind]), optional)


class TokenAnswer(Struct, kw_only=True):
    """RFC 6749 §5.1. `expires_in` is in seconds; `scope` is always stated. `id_token` comes with the scope `openid`,
    `issued_token_type` in exchange for a token (RFC 8693 §2.2.1), and `authorization_details` where there are any (RFC
    9396 §7)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | UnsetType = UNSET
    id_token: str | UnsetType = UNSET
    issued_token_type: str | UnsetType = UNSET
    authorization_details: list[dict[str, Any]] | UnsetType = UNSET


class DeviceAuthorizationAnswer(Struct, kw_only=True):
    """RFC 8628 §3.2. Times are in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class Confirmation(Struct, kw_only=True, rename={"x5t_s256": "x5t#S256"}):
    """The key or certificate to which a token is bound (RFC 7800 §3.1, RFC 9449 §6.2, RFC 8705 §3.2)."""

    jkt: str | UnsetType = UNSET
    x5t_s256: str | UnsetType = UNSET


class AuthorizationChallengeAnswer(Struct, kw_only=True):
    """OAuth for First-Party Applications §5.2.1."""

    authorization_code: str


class IntrospectionAnswer(Struct, kw_only=True):
    """RFC 7662 §2.2, RFC 9470 §6.2. Of a token that is not active, or not yours to see, it is `active` alone."""

    active: bool
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    acr: str | UnsetType = UNSET
    act: dict[str, Any] | UnsetType = UNSET
    auth_time: int | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    token_use: str | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    iat: int | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    aud: str | list[str] | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    grant_id: str | UnsetType = UNSET
    cnf: Confirmation | UnsetType = UNSET
    authorization_details: list[dict[str, Any]] | UnsetType = UNSET


class PushedAnswer(Struct, kw_only=True):
    """RFC 9126 §2.2. `expires_in` is in seconds: until then the request is to be opened."""

    request_uri: str
    expires_in: int


def pushed_parameters() -> type[Struct]:
    """An authorization request as it is pushed: what the authorization endpoint takes, but for a reference."""
    asked = {name: schema for name, (_, schema) in PARAMETERS.items() if name not in ("request_uri", "client_id")}
    optional = {
        name: Annotated[str, Meta(description=PARAMETERS[name][0], max_length=schema.max_length or QUERY_MAXIMUM)]
        | UnsetType
        for name, schema in asked.items()
        if name != "response_type"
    }
    kind = Annotated[str, Meta(description="`code`.", max_length=64)]
    return _parameters("PushedParameters", "RFC 9126 §2.1.", ("response_type", kind), optional)


class UserinfoParameters(Struct, kw_only=True):
    """The form of a POST, where the token does not stand in the Authorization header (RFC 6750 §2.2)."""

    access_token: Annotated[str, Meta(description="The access token.", max_length=LONGEST_TOKEN)] | UnsetType = UNSET


class PostalAddress(Struct, kw_only=True):
    """OpenID Connect Core §5.1.1."""

    formatted: str | UnsetType = UNSET
    street_address: str | UnsetType = UNSET
    locality: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    country: str | UnsetType = UNSET


class UserinfoAnswer(Struct, kw_only=True):
    """OpenID Connect Core §5.1, §5.3.2. What is not known, or not opened by a scope, is left out."""

    sub: str
    name: str | UnsetType = UNSET
    given_name: str | UnsetType = UNSET
    family_name: str | UnsetType = UNSET
    middle_name: str | UnsetType = UNSET
    nickname: str | UnsetType = UNSET
    preferred_username: str | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    picture: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    gender: str | UnsetType = UNSET
    birthdate: str | UnsetType = UNSET
    zoneinfo: str | UnsetType = UNSET
    locale: str | UnsetType = UNSET
    updated_at: int | UnsetType = UNSET
    email: str | UnsetType = UNSET
    email_verified: bool | UnsetType = UNSET
    address: PostalAddress | UnsetType = UNSET
    phone_number: str | UnsetType = UNSET
    phone_number_verified: bool | UnsetType = UNSET


class Done(Struct):
    """An empty object."""


def described() -> tuple[HotEndpoint, ...]:
    """The `@asgi` endpoints, of which the framework's own document knows nothing."""
    seen = {
        "token_type_hint": HINT,
        "client_ip": text(CLIENT_IP, LONGEST_FREE),
        "client_user_agent": text("The user agent that brought it.", LONGEST_FREE),
    }
    device = {
        "scope": text("Scope names with a space between.", LONGEST_FREE),
        "resource": text(RESOURCE, audience.MAXIMUM),
    }
    challenge = device | {
        "response_type": text("`code`, or left out.", LONGEST_FREE),
        "username": text("A username or an e-mail address.", LONGEST_NAME),
        "password": text("The person's password.", MAX_BYTES),
        "auth_session": text("Out of the answer to a right password, with one of the next three.", LONGEST_SESSION),
        "totp": text("What a generator of codes shows.", LONGEST_CODE),
        "recovery_code": text("One of ten.", LONGEST_CODE),
        "webauthn": text("What a passkey signed, as JSON.", LONGEST_PASSKEY),
        "code_challenge": text("RFC 7636 §4.3.", pkce.CHALLENGE_LENGTH),
        "code_challenge_method": text("`S256`.", LONGEST_FREE),
        "nonce": text("Comes back in the id_token.", authorization_challenge.NONCE_MAXIMUM),
    }
    about = "RFC 7662 §2.1, and what a resource server may tell of the person at its door."
    introspection = _parameters("IntrospectionParameters", about, ("token", TOKEN), seen)
    revocation = _parameters("RevocationParameters", "RFC 7009 §2.1.", ("token", TOKEN), {"token_type_hint": HINT})
    return (
        HotEndpoint(
            path="/oauth/token",
            summary="Get tokens (RFC 6749 §3.2)",
            description="Every grant type. A refresh token is used once; presenting it again ends the whole grant.",
            parameters=token_parameters(),
            answer=TokenAnswer,
            told="Tokens.",
            examples={
                "service": {"grant_type": "client_credentials", "scope": "catalog:read"},
                "refresh": {"grant_type": "refresh_token", "refresh_token": "(the refresh token)"},
            },
        ),
        HotEndpoint(
            path=device_authorization.PATH,
            summary="Begin on a device (RFC 8628 §3.1)",
            description=DEVICE,
            parameters=_parameters("DeviceAuthorizationParameters", "RFC 8628 §3.1.", None, device),
            answer=DeviceAuthorizationAnswer,
            told="Show the person `user_code` and `verification_uri`, and ask the token endpoint.",
            examples={"device": {"scope": "catalog:read", "client_id": "(the client's id)"}},
        ),
        HotEndpoint(
            path=authorization_challenge.PATH,
            summary="Sign somebody in without a browser (OAuth for First-Party Applications)",
            description=CHALLENGE,
            parameters=_parameters("AuthorizationChallengeParameters", CHALLENGED, None, challenge),
            answer=AuthorizationChallengeAnswer,
            told="A code, which the token endpoint takes.",
            examples={"person": {"username": "paul", "password": "(the password)", "scope": "catalog:read"}},
        ),
        HotEndpoint(
            path="/oauth/introspect",
            summary="Ask what a token is (RFC 7662)",
            description=VISIBLE,
            parameters=introspection,
            answer=IntrospectionAnswer,
            told="What it is; with `Accept: application/token-introspection+jwt` as a signed token (RFC 9701).",
            examples={"token": {"token": "(the token)"}},
            security=({"client": ()}, {"bearer": ("introspect",)}, {}),
        ),
        HotEndpoint(
            path="/oauth/revoke",
            summary="End a token (RFC 7009)",
            description=ENDS,
            parameters=revocation,
            answer=Done,
            told="It is over, if it was yours.",
            examples={"token": {"token": "(the token)"}},
        ),
        HotEndpoint(
            path="/oauth/par",
            summary="Push an authorization request (RFC 9126)",
            description="The browser then takes the reference alone to the authorization endpoint.",
            parameters=pushed_parameters(),
            answer=PushedAnswer,
            told="It is kept until it is opened and answered.",
            examples={"code": {"response_type": "code", "scope": "openid"}},
            encodings=(FORM,),
            status=201,
        ),
        HotEndpoint(
            path="/oauth/userinfo",
            summary="Ask who it is (OpenID Connect Core §5.3)",
            description=OPENED,
            parameters=UserinfoParameters,
            answer=UserinfoAnswer,
            told="The person; for a client with `userinfo_signed_response_alg` as a signed token, `application/jwt`.",
            examples={"token": {"access_token": "(the token)"}},
            security=({"bearer": ()}, {}),
            methods=("GET", "POST"),
            encodings=(FORM,),
            required=False,
        ),
    )
