"""How a client is answered."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.admin.members import Time, time
from api.problems import Missing
from domain import client
from domain.event import Moment
from eventstore.asking import Connection
from eventstore.privacy import Privacy
from projections import clients

EXAMPLE: dict[str, Any] = {
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "redirect_uris": ["https://prints.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "profile catalog:read",
    "token_endpoint_auth_method": "client_secret_basic",
    "require_pkce": True,
    "access_token_lifetime": 300,
    "refresh_token_lifetime": None,
    "realm": "platform",
    "allowed_origins": [],
    "tokens_per_minute": None,
    "resources": ["https://catalog.example"],
    "serves": [],
    "owner": "prints@partner.example",
    "slug": None,
    "type": "confidential",
    "state": "enabled",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "updated_at": "2026-01-31T12:00:00.000000Z",
}


class ClientBody(msgspec.Struct, frozen=True, kw_only=True):
    """A client (RFC 7591 §2). `slug` is a dashboard's; lifetimes are seconds, null where the server's setting holds."""

    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scope: str
    token_endpoint_auth_method: client.AuthMethod
    require_pkce: bool
    access_token_lifetime: int | None
    refresh_token_lifetime: int | None
    realm: str
    allowed_origins: tuple[str, ...]
    tokens_per_minute: int | None
    resources: tuple[str, ...]
    serves: tuple[str, ...]
    owner: str | None
    slug: str | None
    type: client.Type
    state: Literal["enabled", "disabled"]
    created_at: Time
    updated_at: Time


class SecretName(msgspec.Struct, frozen=True):
    """Which secret version it is, without the secret."""

    id: str
    version: int


class RegisteredClient(ClientBody, frozen=True, kw_only=True):
    """A client and its first secret, which no later answer shows again; null for a public client."""

    client_secret: str | None
    client_secret_expires_at: Annotated[
        int | None, Meta(description="Seconds since 1970; 0 is never (RFC 7591 §3.2.1).")
    ]
    secret: SecretName | None


def client_body(privacy: Privacy, connection: Connection, row: clients.Client) -> ClientBody:
    """The answer about a client that is not deleted."""
    return ClientBody(**client_members(privacy, connection, row))


def client_members(privacy: Privacy, connection: Connection, row: clients.Client) -> dict[str, Any]:
    """The members of that answer."""
    same = {name: getattr(row, name) for name in ClientBody.__struct_fields__}
    return same | {
        "scope": " ".join(row.scope),
        "owner": privacy.open(connection, row.owner),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def find(connection: Connection, client_id: str) -> clients.Client:
    """The row of a client; raises Missing when there is none or it is deleted."""
    row = clients.by_id(connection, client_id)
    if row is None or row.state == "deleted":
        raise Missing("There is no such client.")
    return row


def read(connection: Connection, privacy: Privacy, client_id: str) -> ClientBody:
    """A client as it stands; raises Missing."""
    return client_body(privacy, connection, find(connection, client_id))


def expiry(expires_at: Moment | None) -> int:
    """When a secret ends, as RFC 7591 §3.2.1 has it: seconds since 1970, or 0."""
    return 0 if expires_at is None else expires_at // 1_000_000
