"""A client's rotation policy: how old its newest secret may become, how long versions overlap, when to warn."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, put
from litestar.params import JSONBody
from msgspec import Meta

from api import in_path
from api.access import needing
from api.admin import client_answers
from api.admin.members import Time, time_or_null
from api.dependencies import Injected
from api.idempotency import Once, Reply, commanding
from api.problems import Missing
from commands import client_secrets
from domain import client, rotation
from eventstore.ledger import Ledger

PATH = "/admin/clients/{client_id:str}/rotation"
TAGS = ["Client secrets"]
EXAMPLE: dict[str, Any] = {
    "maximum_age": 7_776_000,
    "overlap": 604_800,
    "warning": 1_209_600,
    "due_at": "2026-05-01T12:00:00.000000Z",
}


class Rotation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The policy, in seconds."""

    maximum_age: Annotated[
        int, Meta(ge=rotation.DAY, le=rotation.AGE_MAXIMUM, description="How long a version may be the newest.")
    ]
    overlap: Annotated[
        int, Meta(ge=0, le=rotation.AGE_MAXIMUM, description="How long the former versions live after a rotation.")
    ] = 7 * rotation.DAY
    warning: Annotated[
        int, Meta(ge=0, le=rotation.AGE_MAXIMUM, description="How early the end of its time is announced.")
    ] = 14 * rotation.DAY


class RotationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The policy, and when the newest version has reached its age."""

    maximum_age: int
    overlap: int
    warning: int
    due_at: Time | None


@get(PATH, **needing("clients:read", answer=EXAMPLE), tags=TAGS, summary="Read a client's rotation policy")
async def read_rotation(client_id: in_path.ClientId, ledger: Injected[Ledger]) -> RotationBody:
    """404 where there is none."""
    return await policy_of(ledger, client_id)


async def policy_of(ledger: Ledger, client_id: str) -> RotationBody:
    """A client's policy; raises Missing."""
    await ledger.read(client_answers.find, client_id)
    state: client.State = await ledger.state(client.stream(client_id))
    if state.rotation is None:
        raise Missing("The client has no rotation policy.")
    return _body(state)


@put(
    PATH,
    **commanding(
        "clients:write", example={"maximum_age": 7_776_000, "overlap": 604_800, "warning": 1_209_600}, answer=EXAMPLE
    ),
    tags=TAGS,
    summary="Set a client's rotation policy",
)
async def set_rotation(
    client_id: in_path.ClientId, data: JSONBody[Rotation], once: Injected[Once]
) -> Response[RotationBody]:
    """Versions made from now on end by themselves after their age and the overlap. The end of a version's time is
    announced as an event; a dashboard's secret is then rotated by the server, any other by whoever runs the client.
    """
    command = client_secrets.set_rotation_policy(
        client_id, maximum_age=data.maximum_age, overlap=data.overlap, warning=data.warning
    )
    return await once.carry_out(command, reply=lambda view, _: Reply(_body(view.state(client.stream(client_id)))))


@delete(PATH, **commanding("clients:write"), tags=TAGS, summary="Remove a client's rotation policy")
async def remove_rotation(client_id: in_path.ClientId, once: Injected[Once]) -> Response[None]:
    """Versions that have an end keep it. A repeat changes nothing."""
    command = client_secrets.remove_rotation_policy(client_id)
    return await once.carry_out(command, reply=lambda view, _: Reply(None, 204))


def _body(state: client.State) -> RotationBody:
    policy = state.rotation
    if policy is None:
        raise AssertionError("a policy that was set is there")
    newest = state.secrets[-1] if state.secrets else None
    return RotationBody(
        maximum_age=policy.maximum_age,
        overlap=policy.overlap,
        warning=policy.warning,
        due_at=time_or_null(None if newest is None else policy.due_at(newest)),
    )


ROUTES: list[Any] = [read_rotation, set_rotation, remove_rotation]
