"""`grantlog client rotate-secret|end-secret|rotation …`: versions of a client's secret, by hand and on schedule."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from api.cli.opening import Here, run
from api.cli.showing import as_json, every, moment, output, print_one, secret_file

if TYPE_CHECKING:
    from eventstore.commands import Step

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
def rotate_secret(
    client_id: str,
    others_expire_in: int | None,
    secret_lifetime: int | None,
    not_before_in: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Give a client a new secret, shown once. A dashboard's goes into the vault and is in force at once."""

    async def work(here: Here) -> Mapping[str, Any]:
        from commands import client_secrets
        from commands.callers import operator

        secret, new = client_secrets.mint(here.format, secret_lifetime)
        command = client_secrets.rotate(
            client_id, new, others_expire_in=others_expire_in, not_before_in=not_before_in, by=operator
        )
        made: list[client_secrets.Made] = []
        await here.execute(
            command,
            then=lambda view, _: made.append(client_secrets.made(here.ledger.vault, view, client_id, secret)),
        )
        ((version, shown),) = made
        named = {"client_id": client_id, "secret_id": version.secret_id, "version": version.version}
        if shown is None:
            return named
        times = {name: moment(getattr(version, name)) for name in ("not_before", "expires_at")}
        return named | {"client_secret": shown} | times

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


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
def end_secret(client_id: str, secret_id: str, tokens: Literal["keep", "revoke"], as_json: bool) -> None:
    """End a version of a client's secret, by the id that `client show` tells. `leaks contain` also tells of a leak."""

    async def work(here: Here) -> Mapping[str, Any]:
        from commands import client_secrets

        await here.execute(client_secrets.revoke(client_id, secret_id, tokens))
        return next(each for each in await versions(here, client_id) if each["id"] == secret_id)

    print_one(run(work), as_json)


async def versions(here: Here, client_id: str) -> list[dict[str, Any]]:
    """A client's secret versions under the names of the API, oldest first."""
    from msgspec.structs import asdict

    from api.admin.client_secrets import secret_body
    from eventstore.following import Follower
    from eventstore.sighting import Sightings
    from projections import secrets

    await Follower(here.ledger, Sightings()).follow()
    now = here.ledger.clock.now()
    found = await every(lambda after: here.ledger.read(secrets.of_client, client_id, now, after=after, limit=200))
    return [asdict(secret_body(each)) for each in found]


# On schedule ------------------------------------------------------------------------------------------------------


@click.group()
def rotation() -> None:
    """How old a client's newest secret may become, and who is warned when."""


@rotation.command("show")
@click.argument("client_id")
@as_json
def show_rotation(client_id: str, as_json: bool) -> None:
    """Show a client's rotation policy, in seconds, and when its newest secret is due."""

    print_one(run(lambda here: _policy(here, client_id)), as_json)


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
def set_rotation(client_id: str, maximum_age: int, overlap: int, warning: int, as_json: bool) -> None:
    """Set a client's rotation policy. The server rotates a dashboard's secret itself, and warns of any other."""
    from commands import client_secrets

    command = client_secrets.set_rotation_policy(client_id, maximum_age=maximum_age, overlap=overlap, warning=warning)
    print_one(run(lambda here: _changed(here, client_id, command)), as_json)


@rotation.command("remove")
@click.argument("client_id")
def remove_rotation(client_id: str) -> None:
    """Remove a client's rotation policy. Versions that have an end keep it."""
    from commands import client_secrets

    run(lambda here: here.execute(client_secrets.remove_rotation_policy(client_id)))


async def _changed(here: Here, client_id: str, command: "Step") -> Mapping[str, Any]:
    await here.execute(command)
    return await _policy(here, client_id)


async def _policy(here: Here, client_id: str) -> Mapping[str, Any]:
    from msgspec.structs import asdict

    from api.admin.rotation import policy_of

    return asdict(await policy_of(here.ledger, client_id))


COMMANDS: tuple[click.Command, ...] = (rotate_secret, end_secret, rotation)
