"""`grantlog role …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from cli.client import REALMS
from cli.output import as_json, every, print_list, print_one
from cli.services import CommandServices, run


@click.group()
def role() -> None:
    """Decide what people may have."""


@role.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the roles of every realm."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        from projections import roles

        found = await every(lambda after: services.ledger.read(roles.page, after=after, limit=200))
        return [
            {"realm": each.realm, "name": each.name, "scopes": each.scopes, "default": each.default} for each in found
        ]

    print_list(run(work), ("realm", "name", "default", "scopes"), as_json)


@role.command()
@click.argument("realm", type=REALMS)
@click.argument("name")
@click.option("--scope", default="", metavar="NAMES", help="What the role allows: scope names, separated by blanks.")
@click.option("--default/--no-default", default=False, help="Whether people made without roles get this one.")
@as_json
def put(realm: str, name: str, scope: str, default: bool, as_json: bool) -> None:
    """Define a role, or change it to this."""
    scopes = tuple(scope.split())

    from commands import permissions
    from commands.permissions import operator

    command = permissions.put_role(realm, name, scopes_allowed=scopes, default=default, by=operator)
    run(lambda services: services.execute(command))
    print_one({"realm": realm, "name": name, "scopes": scopes, "default": default}, as_json)


@role.command()
@click.argument("realm", type=REALMS)
@click.argument("name")
def retire(realm: str, name: str) -> None:
    """End a role that nobody has."""
    from commands import permissions
    from commands.permissions import operator

    run(lambda services: services.execute(permissions.retire_role(realm, name, by=operator)))
