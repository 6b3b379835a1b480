"""A client's secret versions: seeing what each is used for, rotating, ending one."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api import in_path
from api.access import needing
from api.admin import client_answers
from api.admin.client_answers import SecretName
from api.admin.clients import SecretLifetime
from api.admin.members import Time, listed, time, time_or_null
from api.dependencies import Injected
from api.idempotency import Once, Reply, commanding
from api.pagination import DEFAULT, After, Limit, Page, decode_cursor
from api.problems import Missing
from api.uses import Uses
from commands import client_secrets as commands
from commands.callers import Caller
from domain import client_secret
from domain.event import Recorded
from eventstore.asking import Connection
from eventstore.following import Follower
from eventstore.ledger import Ledger
from eventstore.view import View
from projections import secrets
from security.tokens import Format

PATH = "/admin/clients/{client_id:str}/secrets"
ONE = PATH + "/{secret_id:str}"
TAGS = ["Client secrets"]

EXAMPLE: dict[str, Any] = {
    "id": "6nT2dLs9QwXv4KzR8bYc0m",
    "version": 1,
    "state": "expiring",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "not_before": None,
    "expires_at": "2026-02-07T12:00:00.000000Z",
    "last_used_at": "2026-02-01T08:30:00.000000Z",
    "use_count": 4711,
    "safe_to_retire": False,
    "safe_to_retire_reason": "last used 2026-02-01",
}


class SecretBody(msgspec.Struct, frozen=True, kw_only=True):
    """A secret version, without the secret. Uses are token requests, introspections and revocations."""

    id: str
    version: int
    state: Literal["active", "expiring", "expired", "revoked"]
    created_at: Time
    not_before: Time | None
    expires_at: Time | None
    last_used_at: Time | None
    use_count: int
    safe_to_retire: bool
    safe_to_retire_reason: str


class Rotation(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How to rotate."""

    others_expire_in: Annotated[
        int | None,
        Meta(description="Seconds after which the other versions end: 0 ends them now, null keeps them as they are."),
    ] = None
    secret_lifetime: SecretLifetime | None = None
    not_before_in: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=client_secret.LIFETIME_MAXIMUM,
                description="Seconds after which the new version begins to work; the others must last as long.",
            ),
        ]
        | None
    ) = None


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """The new version. Its secret is null where only the server holds it, for a dashboard."""

    client_secret: str | None
    client_secret_expires_at: Annotated[int, Meta(description="Seconds since 1970; 0 is never (RFC 7591 §3.2.1).")]
    secret: SecretName


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List a client's secret versions",
)
async def list_secrets(
    client_id: in_path.ClientId,
    ledger: Injected[Ledger],
    uses: Injected[Uses],
    sightings: Injected[Follower],
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[SecretBody]:
    """Oldest first, with their uses, and whether anybody would miss one."""
    (version,) = decode_cursor("secrets", after, int) or (None,)
    await uses.record(everything=True)
    await sightings.follow()
    now = ledger.clock.now()

    def read(connection: Connection) -> Page[SecretBody]:
        client_answers.find(connection, client_id)
        return listed("secrets", secrets.of_client(connection, client_id, now, after=version, limit=limit), secret_body)

    return await ledger.read(read)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a secret version")
async def read_secret(
    client_id: in_path.ClientId,
    secret_id: in_path.SecretId,
    ledger: Injected[Ledger],
    uses: Injected[Uses],
    sightings: Injected[Follower],
) -> SecretBody:
    """Its end and its uses."""
    await uses.record(everything=True)
    await sightings.follow()
    now = ledger.clock.now()

    def read(connection: Connection) -> SecretBody:
        client_answers.find(connection, client_id)
        found = secrets.by_id(connection, secret_id, now)
        if found is None or found.client_id != client_id:
            raise Missing("There is no such secret version.")
        return secret_body(found)

    return await ledger.read(read)


@post(
    PATH,
    **commanding(
        "clients:write",
        example={"others_expire_in": 604800},
        answer={
            "client_secret": "glog_cs_…",
            "client_secret_expires_at": 0,
            "secret": {"id": "6nT2dLs9QwXv4KzR8bYc0m", "version": 2},
        },
    ),
    tags=TAGS,
    summary="Rotate a client's secret",
)
async def rotate_secret(
    client_id: in_path.ClientId,
    ledger: Injected[Ledger],
    token_format: Injected[Format],
    by: Injected[Caller],
    once: Injected[Once],
    data: JSONBody[Rotation] = Rotation(),  # noqa: B008 - frozen.
) -> Response[Rotated]:
    """Adds a version beside the others and says when they end. A dashboard's new secret goes to the server alone and is
    used from the next sign-in on, so `client_secret` is null.
    """
    secret, new = commands.mint(token_format, data.secret_lifetime)

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[Rotated]:
        version, shown = commands.made(ledger.vault, view, client_id, secret)
        body = Rotated(
            client_secret=shown,
            client_secret_expires_at=client_answers.expiry(version.expires_at),
            secret=SecretName(version.secret_id, version.version),
        )
        return Reply(body, 201, f"/admin/clients/{client_id}/secrets/{new.secret_id}")

    command = commands.rotate(
        client_id, new, others_expire_in=data.others_expire_in, not_before_in=data.not_before_in, by=by
    )
    return await once.carry_out(command, reply=reply)


@delete(ONE, **commanding("clients:write"), tags=TAGS, summary="End a secret version")
async def end_secret(
    client_id: in_path.ClientId,
    secret_id: in_path.SecretId,
    once: Injected[Once],
    tokens: Annotated[
        Literal["keep", "revoke"],
        QueryParameter(description="Whether the tokens that it authenticated live on, or end with it."),
    ] = "keep",
) -> Response[None]:
    """Nobody can authenticate with it any more. A repeat changes nothing."""
    return await once.carry_out(commands.revoke(client_id, secret_id, tokens), reply=lambda view, _: Reply(None, 204))


def secret_body(row: secrets.Secret) -> SecretBody:
    """The answer about a version."""
    return SecretBody(
        id=row.secret_id,
        version=row.version,
        state=row.state,
        created_at=time(row.created_at),
        not_before=time_or_null(row.not_before),
        expires_at=time_or_null(row.expires_at),
        last_used_at=time_or_null(row.last_used_at),
        use_count=row.use_count,
        safe_to_retire=row.safe_to_retire,
        safe_to_retire_reason=row.safe_to_retire_reason,
    )


ROUTES: list[Any] = [list_secrets, read_secret, rotate_secret, end_secret]
