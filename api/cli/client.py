"""`grantlog client …`: clients, dashboards included."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from api.cli.client_secrets import COMMANDS as SECRETS
from api.cli.client_secrets import versions
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, output, print_list, print_one, secret_file

if TYPE_CHECKING:
    from eventstore.commands import Step

REALMS = click.Choice(["platform", "administration"])
VERSIONS = (
    *("version", "id", "state", "created_at", "not_before", "expires_at", "last_used_at", "use_count"),
    "safe_to_retire_reason",
)
COLUMNS = ("client_id", "client_name", "type", "state", "realm", "scope")


@click.group()
def client() -> None:
    """Register clients and rotate their secrets."""


@client.command()
@click.option("--name", "client_name", required=True, help="Name that people see.")
@click.option("--grant-type", "grant_types", multiple=True, default=("authorization_code",), show_default=True)
@click.option("--redirect-uri", "redirect_uris", multiple=True, metavar="URI", help="Where answers go; repeatable.")
@click.option("--scope", default="", metavar="NAMES", help="Scope names, separated by blanks.")
@click.option("--auth-method", type=click.Choice(["client_secret_basic", "client_secret_post", "none"]))
@click.option("--public", is_flag=True, help="A client that cannot keep a secret: --auth-method none.")
@click.option("--no-pkce", is_flag=True, help="Let a confidential client of old do without PKCE.")
@click.option("--access-token-lifetime", type=int, metavar="SECONDS")
@click.option("--refresh-token-lifetime", type=int, metavar="SECONDS")
@click.option("--realm", type=REALMS, default="platform", show_default=True)
@click.option("--allowed-origin", "allowed_origins", multiple=True, metavar="ORIGIN", help="For browsers; repeatable.")
@click.option("--tokens-per-minute", type=int, metavar="NUMBER", help="That it may obtain for itself.")
@click.option("--resource", "resources", multiple=True, metavar="URI", help="What its tokens may be for; repeatable.")
@click.option("--serves", multiple=True, metavar="URI", help="What it is, to introspect tokens for it; repeatable.")
@click.option("--owner", help="Who answers for it; sealed like all personal data.")
@click.option("--secret-lifetime", type=int, metavar="SECONDS", help="When its first secret ends; never, if left out.")
@output
@as_json
def register(
    scope: str,
    auth_method: str | None,
    public: bool,
    no_pkce: bool,
    owner: str | None,
    secret_lifetime: int | None,
    output: Path | None,
    as_json: bool,
    **named: Any,
) -> None:
    """Register a client. Its secret is shown once."""
    if public and auth_method not in (None, "none"):
        raise click.UsageError("--public is --auth-method none")
    method = "none" if public else auth_method or "client_secret_basic"
    attributes = named | {
        "scope": tuple(scope.split()),
        "token_endpoint_auth_method": method,
        "require_pkce": not no_pkce,
    }

    async def work(here: Here) -> Mapping[str, Any]:
        return await registered(
            here, attributes, has_secret=method != "none", owner=owner, secret_lifetime=secret_lifetime
        )

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)


async def registered(
    here: Here,
    attributes: Mapping[str, Any],
    *,
    has_secret: bool,
    owner: str | None = None,
    secret_lifetime: int | None = None,
) -> Mapping[str, Any]:
    """Registers a client; its members, with the secret that is now shown for the only time."""
    from commands import client_secrets, clients
    from commands.callers import operator
    from domain import client
    from domain.client_registration import Registration
    from security.ids import new_id

    client_id = new_id()
    secret, made = client_secrets.mint(here.format, secret_lifetime) if has_secret else (None, None)
    registration = Registration(attributes=client.Attributes(**attributes), owner=owner, secret=made)
    await here.execute(clients.register(client_id, registration, issuer=here.settings.issuer, by=operator))
    shown = await members(here, client_id)
    if secret is None:
        return shown
    state: client.State = await here.ledger.state(client.stream(client_id))
    expires_at = state.secrets[0].expires_at
    return shown | {
        "client_secret": secret.reveal(),
        "client_secret_expires_at": 0 if expires_at is None else expires_at // 1_000_000,
    }


@client.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List clients in the order of their registration."""

    async def work(here: Here) -> list[Mapping[str, Any]]:
        from projections import clients

        found = await every(lambda after: here.ledger.read(clients.page, after=after, limit=200))
        return [await members(here, each.client_id) for each in found]

    print_list(run(work), COLUMNS, as_json)


@client.command()
@click.argument("client_id")
@as_json
def show(client_id: str, as_json: bool) -> None:
    """Show a client and its secret versions; the secrets themselves are not kept."""

    async def work(here: Here) -> Mapping[str, Any]:
        return await members(here, client_id) | {"secrets": await versions(here, client_id)}

    shown = dict(run(work))
    if as_json:
        print_one(shown, as_json)
        return
    secrets = shown.pop("secrets")
    print_one(shown, as_json)
    click.echo()
    print_list(secrets, VERSIONS, as_json)


@client.command()
@click.argument("client_id")
@as_json
def disable(client_id: str, as_json: bool) -> None:
    """Let a client do nothing more, and end all its tokens for good."""
    from commands import clients

    print_one(_done(client_id, clients.disable(client_id)), as_json)


@client.command()
@click.argument("client_id")
@as_json
def enable(client_id: str, as_json: bool) -> None:
    """Let a client have new tokens; what was ended stays so."""
    from commands import clients
    from commands.callers import operator

    print_one(_done(client_id, clients.enable(client_id, by=operator)), as_json)


def _done(client_id: str, command: "Step") -> Mapping[str, Any]:
    async def work(here: Here) -> Mapping[str, Any]:
        await here.execute(command)
        return await members(here, client_id)

    return run(work)


async def members(here: Here, client_id: str) -> dict[str, Any]:
    """A client as the API shows it; raises Missing."""
    from msgspec.structs import asdict

    from api.admin import client_answers

    return asdict(await here.ledger.read(client_answers.read, here.ledger.privacy, client_id))


for command in SECRETS:
    client.add_command(command)
