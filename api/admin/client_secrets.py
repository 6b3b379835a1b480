"""A client's secret versions: seeing what each is used for, rotating, ending one."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.admin.bodies import client_bodies, members
from api.admin.bodies.client_bodies import SecretLifetime
from api.admin.bodies.members import Time, listed, time_or_null
from api.admin.idempotency import Once, Reply, commanding
from api.audit.queries.history import SecretVersionRef
from api.http import parameters
from api.http.errors import Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor
from api.oauth.bearer import needing
from api.services import Injected
from api.throttling.windowed_counter import SecretUses
from commands import clients as commands
from commands.permissions import CallerScope
from domain import client, client_secret
from domain.event import Moment, Recorded
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import CatchUpSubscription
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
    "revoked_at": None,
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
    revoked_at: Annotated[Time | None, Meta(description="When somebody ended it; null for one that nobody did.")]
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
    secret: SecretVersionRef


@get(
    PATH,
    **needing("clients:read", answer={"items": [EXAMPLE], "next": None}),
    tags=TAGS,
    summary="List a client's secret versions",
)
async def list_secrets(
    client_id: parameters.ClientId,
    ledger: Injected[Ledger],
    uses: Injected[SecretUses],
    sightings: Injected[CatchUpSubscription],
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[SecretBody]:
    """Oldest first, with their uses, and whether anybody would miss one."""
    (version,) = decode_cursor("secrets", after, int) or (None,)
    now = await _used_until(ledger, uses, sightings)

    def read(connection: Connection) -> Page[SecretBody]:
        client_bodies.find_client(connection, client_id)
        return listed("secrets", secrets.of_client(connection, client_id, now, after=version, limit=limit), secret_body)

    return await ledger.read(read)


@get(ONE, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a secret version")
async def read_secret(
    client_id: parameters.ClientId,
    secret_id: parameters.SecretId,
    ledger: Injected[Ledger],
    uses: Injected[SecretUses],
    sightings: Injected[CatchUpSubscription],
) -> SecretBody:
    """Its end and its uses."""
    now = await _used_until(ledger, uses, sightings)

    def read(connection: Connection) -> SecretBody:
        client_bodies.find_client(connection, client_id)
        found = secrets.by_id(connection, secret_id, now)
        if found is None or found.client_id != client_id:
            raise Missing("There is no such secret version.")
        return secret_body(found)

    return await ledger.read(read)


@post(
    PATH,
    **commanding(
        "clients:write",
        recent=True,
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
    client_id: parameters.ClientId,
    ledger: Injected[Ledger],
    token_format: Injected[Format],
    may: Injected[CallerScope],
    once: Injected[Once],
    data: JSONBody[Rotation] = Rotation(),  # noqa: B008 - frozen.
) -> Response[Rotated]:
    """Adds a version beside the others and says when they end. A dashboard's new secret goes to the server alone and is
    used from the next sign-in on, so `client_secret` is null."""
    secret, new = commands.mint_secret(token_format, data.secret_lifetime)

    def reply(view: View, _: tuple[Recorded, ...]) -> Reply[Rotated]:
        version, shown = commands.made_secret(ledger.vault, view, client_id, secret)
        body = Rotated(
            client_secret=shown,
            client_secret_expires_at=client_bodies.secret_expiry(version.expires_at),
            secret=SecretVersionRef(version.secret_id, version.version),
        )
        return Reply(body, 201, f"/admin/clients/{client_id}/secrets/{new.secret_id}")

    command = commands.rotate_secret(
        client_id, new, others_expire_in=data.others_expire_in, not_before_in=data.not_before_in, by=may
    )
    return await once.carry_out(command, reply=reply)


@delete(ONE, **commanding("clients:write", recent=True), tags=TAGS, summary="End a secret version")
async def end_secret(
    client_id: parameters.ClientId,
    secret_id: parameters.SecretId,
    once: Injected[Once],
    tokens: Annotated[
        Literal["keep", "revoke"],
        QueryParameter(description="Whether the tokens that it authenticated live on, or end with it."),
    ] = "keep",
) -> Response[None]:
    """Nobody can authenticate with it any more. A repeat changes nothing."""
    return await once.carry_out(
        commands.revoke_secret(client_id, secret_id, tokens), reply=lambda view, _: Reply(None, 204)
    )


async def _used_until(ledger: Ledger, uses: SecretUses, sightings: CatchUpSubscription) -> Moment:
    """This moment, up to which every use is known from here on."""
    await uses.record(everything=True)
    await sightings.follow()
    return ledger.clock.now()


def secret_body(row: secrets.SecretRow) -> SecretBody:
    """The answer about a version."""
    return members.shown(
        SecretBody, row, "created_at", "not_before", "expires_at", "revoked_at", "last_used_at", id=row.secret_id
    )


# A client's rotation policy: how old its newest secret may become, how long versions overlap, when to warn.

ROTATION_PATH = "/admin/clients/{client_id:str}/rotation"
ROTATION_EXAMPLE: dict[str, Any] = {
    "maximum_age": 7_776_000,
    "overlap": 604_800,
    "warning": 1_209_600,
    "due_at": "2026-05-01T12:00:00.000000Z",
}


class RotationPolicy(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The policy, in seconds."""

    maximum_age: Annotated[
        int,
        Meta(ge=client_secret.DAY, le=client_secret.AGE_MAXIMUM, description="How long a version may be the newest."),
    ]
    overlap: Annotated[
        int, Meta(ge=0, le=client_secret.AGE_MAXIMUM, description="How long the former versions live after a rotation.")
    ] = 7 * client_secret.DAY
    warning: Annotated[
        int, Meta(ge=0, le=client_secret.AGE_MAXIMUM, description="How early the end of its time is announced.")
    ] = 14 * client_secret.DAY


class RotationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The policy, and when the newest version has reached its age."""

    maximum_age: int
    overlap: int
    warning: int
    due_at: Time | None


@get(
    ROTATION_PATH,
    **needing("clients:read", answer=ROTATION_EXAMPLE),
    tags=TAGS,
    summary="Read a client's rotation policy",
)
async def read_rotation(client_id: parameters.ClientId, ledger: Injected[Ledger]) -> RotationBody:
    """404 where there is none."""
    return await policy_of(ledger, client_id)


async def policy_of(ledger: Ledger, client_id: str) -> RotationBody:
    """A client's policy; raises Missing."""
    await ledger.read(client_bodies.find_client, client_id)
    state: client.State = await ledger.state(client.stream(client_id))
    if state.rotation is None:
        raise Missing("The client has no rotation policy.")
    return _body(state)


@put(
    ROTATION_PATH,
    **commanding(
        "clients:write",
        example={"maximum_age": 7_776_000, "overlap": 604_800, "warning": 1_209_600},
        answer=ROTATION_EXAMPLE,
    ),
    tags=TAGS,
    summary="Set a client's rotation policy",
)
async def set_rotation(
    client_id: parameters.ClientId, data: JSONBody[RotationPolicy], once: Injected[Once]
) -> Response[RotationBody]:
    """Versions made from now on end by themselves after their age and the overlap. The end of a version's time is
    announced as an event; a dashboard's secret is then rotated by the server, any other by those who run the
    client."""
    command = commands.set_rotation_policy(
        client_id, maximum_age=data.maximum_age, overlap=data.overlap, warning=data.warning
    )
    return await once.carry_out(command, reply=lambda view, _: Reply(_body(view.state(client.stream(client_id)))))


@delete(ROTATION_PATH, **commanding("clients:write"), tags=TAGS, summary="Remove a client's rotation policy")
async def remove_rotation(client_id: parameters.ClientId, once: Injected[Once]) -> Response[None]:
    """Versions that have an end keep it. A repeat changes nothing."""
    command = commands.remove_rotation_policy(client_id)
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


def _body(state: client.State) -> RotationBody:
    policy = state.rotation
    if policy is None:
        raise AssertionError("a policy that was set is there")
    newest = state.secrets[-1] if state.secrets else None
    due_at = time_or_null(None if newest is None else policy.due_at(newest))
    return members.shown(RotationBody, policy, due_at=due_at)


ROUTES: list[Any] = [list_secrets, read_secret, rotate_secret, end_secret, read_rotation, set_rotation, remove_rotation]
