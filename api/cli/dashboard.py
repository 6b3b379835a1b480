"""`grantlog dashboard …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from api.cli.client import REALMS, members
from api.cli.failures import Failure
from api.cli.finding_client import find
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, print_list, print_one


@click.group()
def dashboard() -> None:
    """Make and change dashboards, whose people sign in with a password alone."""


@dashboard.command("set")
@click.argument("slug")
@click.option("--name", "client_name", help="Name that people see.")
@click.option("--realm", type=REALMS)
@click.option(
    "--allowed-origin",
    "allowed_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Where its pages come from; repeatable, same-site with the issuer. A new dashboard has the issuer's own.",
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="URI",
    help="What its tokens are for beside the server; repeatable.",
)
@click.option("--scope", metavar="NAMES", help="Scope names, separated by blanks.")
@click.option("--access-token-lifetime", type=int, metavar="SECONDS")
@click.option("--refresh-token-lifetime", type=int, metavar="SECONDS")
@as_json
def set_(slug: str, as_json: bool, scope: str | None, **named: Any) -> None:
    """Make a dashboard, or change what is named of an existing one. Its secret stays in the server's vault."""
    # Nobody named what is None, and of what may be repeated the empty list.
    changes = {name: value for name, value in named.items() if value not in (None, ())}
    if scope is not None:
        changes["scope"] = tuple(scope.split())

    async def work(here: Here) -> Mapping[str, Any]:
        from eventstore.present import clients

        found = await here.ledger.look(clients.by_slug, slug)
        if found is None:
            client_id = await _make(here, slug, changes)
        else:
            client_id = found.client_id
            await _change(here, client_id, changes)
        return await members(here, await find(here, client_id))

    print_one(run(work), as_json)


@dashboard.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List dashboards."""

    async def work(here: Here) -> list[Mapping[str, Any]]:
        from projections import clients

        found = await every(lambda after: here.ledger.read(clients.dashboards, after=after, limit=200))
        urls = [f"{here.settings.issuer}/dashboards/{each.slug}/login" for each in found]
        return [await members(here, each) | {"login_url": url} for each, url in zip(found, urls, strict=True)]

    print_list(run(work), ("slug", "client_name", "realm", "state", "login_url"), as_json)


async def _make(here: Here, slug: str, changes: dict[str, Any]) -> str:
    from api import issuer
    from api.dashboards.secret import vault_name
    from api.installation import registration
    from domain.client import Attributes
    from eventstore.view import View
    from security.ids import new_id
    from security.tokens import Kind

    missing = [option for option, name in (("--name", "client_name"), ("--realm", "realm")) if name not in changes]
    if missing:
        raise Failure(f"there is no dashboard {slug} yet: to make it, give {' and '.join(missing)}")
    client_id, secret = new_id(), here.format.mint(Kind.CLIENT_SECRET)
    attributes = Attributes(**{"allowed_origins": (issuer.origin(here.settings.issuer),), **changes})

    def keep(view: View, _: object) -> None:
        value = secret.reveal().encode("ascii")
        here.ledger.vault.put_secret(view.connection, vault_name(client_id), value, view.now)

    await here.execute(registration(client_id, attributes, secret, here.settings.issuer, slug=slug), then=keep)
    return client_id


async def _change(here: Here, client_id: str, changes: dict[str, Any]) -> None:
    from commands.grant_context import known_scopes
    from domain import client, client_registration
    from domain.grants import GRANTS
    from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
    from eventstore.commands import Command
    from eventstore.view import View

    facts = {
        "changes": client.Attributes(**changes),
        "caller_scope": ADMINISTRATIVE_SCOPES,
        "grant_types": GRANTS,
        "issuer": here.settings.issuer,
    }

    def under_lock(view: View) -> Mapping[str, Any]:
        return {"known_scopes": known_scopes(view, changes.get("scope", ()))}

    await here.execute(Command(client.stream(client_id), client_registration.update, facts, under_lock))
