"""`grantlog dashboard …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from cli.client import REALMS, members
from cli.output import as_json, every, print_list, print_one
from cli.services import CommandServices, run


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

    async def work(services: CommandServices) -> Mapping[str, Any]:
        from commands import clients
        from commands.permissions import operator
        from domain.client import Attributes
        from domain.rules import origin
        from eventstore.present import dashboard_by_slug
        from eventstore.view import View
        from security.ids import new_id

        issuer = services.settings.issuer
        if await services.ledger.look(dashboard_by_slug, slug) is None:
            changes.setdefault("allowed_origins", (origin.of_issuer(issuer),))
        client_id, (secret, made) = new_id(), clients.mint_secret(services.format)

        def keep(view: View, _: object) -> str:
            clients.keep_if_made(services.ledger.vault, view, client_id, secret)
            found = view.look(dashboard_by_slug, slug)
            return client_id if found is None else found.client_id

        command = clients.put_dashboard(client_id, slug, Attributes(**changes), secret=made, issuer=issuer, by=operator)
        return await members(services, await services.make(command, then=keep))

    print_one(run(work), as_json)


@dashboard.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List dashboards."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        from projections import clients

        found = await every(lambda after: services.ledger.read(clients.dashboards, after=after, limit=200))
        urls = [f"{services.settings.issuer}/dashboards/{each.slug}/login" for each in found]
        return [
            await members(services, each.client_id) | {"login_url": url} for each, url in zip(found, urls, strict=True)
        ]

    print_list(run(work), ("slug", "client_name", "realm", "state", "login_url"), as_json)
