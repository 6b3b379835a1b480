"""Members that several bodies of the administration share, with their limits and what they mean."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from msgspec import UNSET, Meta

from api.pagination import Page, encode_cursor
from domain import client
from domain.rules import audience, redirect_uri, registration, scope
from projections import page as projected
from security.clock import Moment, format_rfc3339

T = TypeVar("T")
R = TypeVar("R")

Realm = Annotated[
    str,
    Meta(
        max_length=32,
        description="The population that it is for: `administration` or `platform`.",
        extra_json_schema={"enum": list(registration.REALMS)},
    ),
]
ScopeText = Annotated[
    str,
    Meta(
        max_length=registration.SCOPES_TOGETHER + registration.SCOPES_MAXIMUM,
        description="Names of scopes with spaces between (RFC 6749 §3.3).",
    ),
]
ScopeName = Annotated[str, Meta(max_length=128)]
ClientName = Annotated[
    str, Meta(max_length=registration.CLIENT_NAME_MAXIMUM, description="What people see on the consent page.")
]
RedirectUris = Annotated[
    list[Annotated[str, Meta(max_length=redirect_uri.MAXIMUM)]],
    Meta(
        max_length=registration.REDIRECT_URIS_MAXIMUM,
        description="Absolute, without fragment; https, or http on a loopback address, or a private scheme with a dot.",
    ),
]
GrantTypes = Annotated[
    list[Annotated[str, Meta(max_length=64)]], Meta(max_length=16, description="As the metadata names them (RFC 7591).")
]
Origins = Annotated[
    list[Annotated[str, Meta(max_length=255)]],
    Meta(
        max_length=registration.ORIGINS_MAXIMUM,
        description="Web origins whose pages may call the server from a browser.",
    ),
]
Resources = Annotated[
    list[Annotated[str, Meta(max_length=audience.MAXIMUM)]],
    Meta(
        max_length=audience.URIS_MAXIMUM,
        description="Absolute URIs without fragment, of the resources that its tokens may be for (RFC 8707 §2);"
        f" {audience.URIS_TOGETHER:,} characters together. With one, its tokens are for that unless it asks otherwise.",
    ),
]
Serves = Annotated[
    list[Annotated[str, Meta(max_length=audience.MAXIMUM)]],
    Meta(
        max_length=audience.URIS_MAXIMUM,
        description="The resources that it is: it may introspect every access token that is for one of them.",
    ),
]
AccessLifetime = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.ACCESS_TOKEN_LIFETIME_MAXIMUM,
        description="Seconds that an access token lives; null leaves it to the server's setting.",
    ),
]
RefreshLifetime = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.REFRESH_TOKEN_LIFETIME_MAXIMUM,
        description="Seconds that a refresh token lives without use; null leaves it to the server's setting.",
    ),
]
TokensPerMinute = Annotated[
    int,
    Meta(
        ge=1,
        le=registration.TOKENS_PER_MINUTE_MAXIMUM,
        description="Tokens that the client may obtain for itself within a minute (`client_credentials`); null leaves "
        "it to the server's setting.",
    ),
]
Time = Annotated[str, Meta(description="RFC 3339, UTC, microseconds.")]


def time(moment: Moment) -> str:
    """A moment as answers show it."""
    return format_rfc3339(moment)


def time_or_null(moment: Moment | None) -> str | None:
    """The same where there may be none."""
    return None if moment is None else format_rfc3339(moment)


def attributes(body: Any) -> client.Attributes:
    """What a body names of a client's attributes, by their RFC 7591 names."""
    given: dict[str, Any] = {name: getattr(body, name, UNSET) for name in client.Attributes.__struct_fields__}
    if isinstance(given["scope"], str):
        given["scope"] = scope.parse(given["scope"]) or ()
    named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return client.Attributes(**named)


def listed(kind: str, found: projected.Page[R, Any], item: Callable[[R], T]) -> Page[T]:
    """A page of a read model as it is answered. `kind` names the list in its cursors."""
    after = None
    if found.next is not None:
        after = encode_cursor(kind, found.next if isinstance(found.next, tuple) else (found.next,))
    return Page([item(row) for row in found.items], after)
