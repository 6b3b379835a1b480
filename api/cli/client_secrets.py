"""`grantlog client rotate-secret|end-secret|rotation …`: versions of a client's secret, by hand and on schedule."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from api.cli.failures import Failure
from api.cli.finding_client import find
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, moment, output, print_one, secret_file

if TYPE_CHECKING:
    from domain.client import State
    from domain.rotation import Policy

DAY = 86_400


@click.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--others-expire-in",
    type=int,
    metavar="SECONDS",
    help="When the former secrets end: 0 is now; left out, as the rotation policy says, or never.",
)
@click.option(
    "--secret-lifetime",
    type=int,
    metavar="SECONDS",
    help="When the new one ends; left out, as the rotation policy says, or never.",
)
@click.option(
    "--not-before-in",
    type=int,
    metavar="SECONDS",
    help="When the new one begins to work: now, if left out. The others must last as long.",
)
@output
@as_json
def rotate_secret(client_id: str, output: Path | None, as_json: bool, **when: int | None) -> None:
    """Give a client a new secret, shown once. A dashboard's goes into the vault and is in force at once."""

    async def work(here: Here) -> Mapping[str, Any]:
        return await rotated(here, client_id, when)

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


async def rotated(here: Here, client_id: str, when: Mapping[str, int | None]) -> Mapping[str, Any]:
    """Rotates; the new version's members, with the secret unless the server itself is the one who needs it.

    `when` has `others_expire_in`, `secret_lifetime` and `not_before_in`, in seconds from now.
    """
    from api.dashboards.secret import vault_name
    from domain import client as clients
    from domain import client_secret
    from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
    from eventstore.commands import Command
    from eventstore.view import View
    from security.ids import new_id
    from security.tokens import Kind

    secret, secret_id, stream = here.format.mint(Kind.CLIENT_SECRET), new_id(), clients.stream(client_id)
    facts = {"secret_id": secret_id, "secret_sha256": secret.hex, "caller_scope": ADMINISTRATIVE_SCOPES, **when}

    def keep(view: View, _: object) -> None:
        if view.state(stream).type == "dashboard":
            value = secret.reveal().encode("ascii")
            here.ledger.vault.put_secret(view.connection, vault_name(client_id), value, view.now)

    await here.execute(Command(stream, client_secret.rotate, facts), then=keep)
    dashboard = (await here.ledger.state(stream)).type == "dashboard"
    newest = (await versions(here, client_id))[-1]
    shown = {"client_id": client_id, "secret_id": newest["id"], "version": newest["version"]}
    if dashboard:
        return shown
    return shown | {"client_secret": secret.reveal()} | {name: newest[name] for name in ("not_before", "expires_at")}


@click.command("end-secret")
@click.argument("client_id")
@click.argument("secret_id")
@click.option(
    "--tokens",
    type=click.Choice(["keep", "revoke"]),
    default="keep",
    show_default=True,
    help="Whether the tokens that it authenticated live on, or end with it.",
)
@as_json
def end_secret(client_id: str, secret_id: str, tokens: str, as_json: bool) -> None:
    """End a version of a client's secret, by the id that `client show` tells. `leaks contain` also tells of a leak."""

    async def work(here: Here) -> Mapping[str, Any]:
        from domain import client as clients
        from domain import client_secret
        from eventstore.commands import Command

        facts = {"secret_id": secret_id, "tokens": tokens}
        await here.execute(Command(clients.stream(client_id), client_secret.revoke, facts))
        return next(each for each in await versions(here, client_id) if each["id"] == secret_id)

    print_one(run(work), as_json)


async def versions(here: Here, client_id: str) -> list[dict[str, Any]]:
    """A client's secret versions under the names of the API, oldest first."""
    from eventstore.deriving import Deriving
    from eventstore.following import Follower
    from projections import secrets

    await Follower(here.ledger, Deriving()).follow()
    now = here.ledger.clock.now()
    found = await every(lambda after: here.ledger.read(secrets.of_client, client_id, now, after=after, limit=200))
    return [
        {
            "id": each.secret_id,
            "version": each.version,
            "state": each.state,
            "created_at": moment(each.created_at),
            "not_before": moment(each.not_before),
            "expires_at": moment(each.expires_at),
            "last_used_at": moment(each.last_used_at),
            "use_count": each.use_count,
            "safe_to_retire": each.safe_to_retire,
            "safe_to_retire_reason": each.safe_to_retire_reason,
        }
        for each in found
    ]


# On schedule ------------------------------------------------------------------------------------------------------


@click.group()
def rotation() -> None:
    """How old a client's newest secret may become, and who is warned when."""


@rotation.command("show")
@click.argument("client_id")
@as_json
def show_rotation(client_id: str, as_json: bool) -> None:
    """Show a client's rotation policy, in seconds, and when its newest secret is due."""

    async def work(here: Here) -> Mapping[str, Any]:
        return _policy(await _state(here, client_id))

    print_one(run(work), as_json)


@rotation.command("set")
@click.argument("client_id")
@click.option(
    "--maximum-age",
    type=int,
    required=True,
    metavar="SECONDS",
    help="How long a version may be the newest; a day at least.",
)
@click.option(
    "--overlap",
    type=int,
    default=7 * DAY,
    show_default=True,
    metavar="SECONDS",
    help="How long the former versions live after a rotation.",
)
@click.option(
    "--warning",
    type=int,
    default=14 * DAY,
    show_default=True,
    metavar="SECONDS",
    help="How early the end of its time is announced, to `grantlog notifications destinations`.",
)
@as_json
def set_rotation(client_id: str, as_json: bool, **policy: int) -> None:
    """Set a client's rotation policy. The server rotates a dashboard's secret itself, and warns of any other."""
    from domain import rotation as rotations

    print_one(_changed(client_id, rotations.set_policy, policy), as_json)


@rotation.command("remove")
@click.argument("client_id")
def remove_rotation(client_id: str) -> None:
    """Remove a client's rotation policy. Versions that have an end keep it."""
    from domain import rotation as rotations

    _changed(client_id, rotations.remove_policy, {})


def _changed(client_id: str, verb: Any, facts: Mapping[str, int]) -> Mapping[str, Any]:
    async def work(here: Here) -> Mapping[str, Any]:
        from domain import client as clients
        from eventstore.commands import Command

        await here.execute(Command(clients.stream(client_id), verb, facts))
        state = await _state(here, client_id)
        return {} if state.rotation is None else _policy(state)

    return run(work)


async def _state(here: Here, client_id: str) -> "State":
    from domain import client as clients

    await find(here, client_id)
    state: State = await here.ledger.state(clients.stream(client_id))
    return state


def _policy(state: "State") -> Mapping[str, Any]:
    policy: Policy | None = state.rotation
    if policy is None:
        raise Failure("client_id: the client has no rotation policy")
    newest = state.secrets[-1] if state.secrets else None
    return {
        "maximum_age": policy.maximum_age,
        "overlap": policy.overlap,
        "warning": policy.warning,
        "due_at": None if newest is None else moment(policy.due_at(newest)),
    }


COMMANDS: tuple[click.Command, ...] = (rotate_secret, end_secret, rotation)
