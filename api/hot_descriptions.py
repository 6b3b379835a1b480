"""What the document says of the token, introspection and revocation endpoints."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from api.bodies import LONGEST_FREE
from api.client_authentication import LONGEST_ID, LONGEST_SECRET
from api.hot_endpoints import HotAnswer, HotEndpoint
from api.introspect import LONGEST_TOKEN
from api.sign_in import LONGEST_NAME
from api.token import LONGEST_CREDENTIAL
from domain.grants import GRANTS
from domain.rules import audience, pkce, redirect_uri
from security.passwords import MAX_BYTES

ScopeText = Annotated[str, Meta(description="Scope names with a space between.", max_length=LONGEST_FREE)]
RedirectUri = Annotated[
    str, Meta(description="As in the authorization request.", max_length=redirect_uri.PRESENTED_MAXIMUM)
]
Resource = Annotated[
    str,
    Meta(
        description="What the access token is for (RFC 8707 §2.2): one of the client's `resources`, or the issuer.",
        max_length=audience.MAXIMUM,
    ),
]
Verifier = Annotated[str, Meta(description="The PKCE verifier.", max_length=pkce.VERIFIER_MAXIMUM)]
Username = Annotated[str, Meta(description="For `password`, first-party dashboards only.", max_length=LONGEST_NAME)]
Password = Annotated[str, Meta(description="For `password`, first-party dashboards only.", max_length=MAX_BYTES)]
ClientId = Annotated[str, Meta(description="Client id, when not in the Authorization header.", max_length=LONGEST_ID)]
ClientSecret = Annotated[
    str, Meta(description="Client secret, when not in the Authorization header.", max_length=LONGEST_SECRET)
]
Raw = Annotated[str, Meta(description="The token.", max_length=LONGEST_TOKEN)]
Hint = Annotated[
    str,
    Meta(
        description="`access_token` or `refresh_token`; a wrong one does no harm.",
        max_length=LONGEST_FREE,
    ),
]
ClientIp = Annotated[
    str,
    Meta(
        description="The address from which the token came to you. Not heeded where you may not see the token.",
        max_length=LONGEST_FREE,
    ),
]
ClientUserAgent = Annotated[str, Meta(description="The user agent that brought it.", max_length=LONGEST_FREE)]


def token_parameters() -> type[Struct]:
    """A token request: what RFC 6749, 7636 and 8707 have, and what the grant types state of themselves."""
    name = Meta(
        description="A grant type of the metadata's `grant_types_supported`.",
        extra_json_schema={"enum": list(GRANTS)},
    )
    optional: dict[str, Any] = {"scope": ScopeText, "resource": Resource}
    for grant in GRANTS.values():
        if grant.credential is not None:
            meaning = Meta(description=f"For `{grant.grant_type}`.", max_length=LONGEST_CREDENTIAL)
            optional[grant.credential.parameter] = Annotated[str, meaning]
        optional |= {name: Annotated[str, Meta(description=text)] for name, text in grant.parameters.items()}
    optional |= {"redirect_uri": RedirectUri, "code_verifier": Verifier, "username": Username, "password": Password}
    optional |= {"client_id": ClientId, "client_secret": ClientSecret}
    return defstruct(
        "TokenParameters",
        [("grant_type", Annotated[str, name]), *((name, kind | UnsetType, UNSET) for name, kind in optional.items())],
        namespace={"__doc__": "A token request (RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6; RFC 7636 §4.5; RFC 8707 §2.2)."},
        module=__name__,
        kw_only=True,
    )


class TokenAnswer(Struct, kw_only=True):
    """RFC 6749 §5.1. `expires_in` is in seconds; `scope` is always stated."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | UnsetType = UNSET


class IntrospectionParameters(Struct, kw_only=True):
    """RFC 7662 §2.1, and what a resource server may tell of the person at its door."""

    token: Raw
    token_type_hint: Hint | UnsetType = UNSET
    client_ip: ClientIp | UnsetType = UNSET
    client_user_agent: ClientUserAgent | UnsetType = UNSET
    client_id: ClientId | UnsetType = UNSET
    client_secret: ClientSecret | UnsetType = UNSET


class IntrospectionAnswer(Struct, kw_only=True):
    """RFC 7662 §2.2. Of a token that is not active, or not yours to see, it is `active` alone."""

    active: bool
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    token_use: str | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    iat: int | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    aud: str | list[str] | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    grant_id: str | UnsetType = UNSET


class RevocationParameters(Struct, kw_only=True):
    """RFC 7009 §2.1."""

    token: Raw
    token_type_hint: Hint | UnsetType = UNSET
    client_id: ClientId | UnsetType = UNSET
    client_secret: ClientSecret | UnsetType = UNSET


class Done(Struct):
    """An empty object."""


def described() -> tuple[HotEndpoint, ...]:
    """The `@asgi` endpoints, of which the framework's own document knows nothing."""
    return (_token(), *_OF_TOKENS)


def _token() -> HotEndpoint:
    return HotEndpoint(
        path="/oauth/token",
        operation_id="token",
        summary="Get tokens (RFC 6749 §3.2)",
        description="Every grant type. A refresh token is used once; presenting it again ends the whole grant.",
        parameters=token_parameters(),
        answers=(HotAnswer(status=200, description="Tokens.", body=TokenAnswer),),
        examples={
            "service": {"grant_type": "client_credentials", "scope": "profile"},
            "refresh": {"grant_type": "refresh_token", "refresh_token": "(the refresh token)"},
        },
    )


_OF_TOKENS = (
    HotEndpoint(
        path="/oauth/introspect",
        operation_id="introspect",
        summary="Ask what a token is (RFC 7662)",
        description="A client sees its own tokens and those for what it `serves`; with the scope `introspect`, all.",
        parameters=IntrospectionParameters,
        answers=(HotAnswer(status=200, description="What it is.", body=IntrospectionAnswer),),
        examples={"token": {"token": "(the token)"}},
        security=({"client": ()}, {"bearer": ("introspect",)}, {}),
    ),
    HotEndpoint(
        path="/oauth/revoke",
        operation_id="revoke",
        summary="End a token (RFC 7009)",
        description="An access token ends alone, a refresh token with its grant. Unknown tokens are answered alike.",
        parameters=RevocationParameters,
        answers=(HotAnswer(status=200, description="It is over, if it was yours.", body=Done),),
        examples={"token": {"token": "(the token)"}},
    ),
)
