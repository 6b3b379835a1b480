"""`grantlog scope …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from cli.output import as_json, print_list, print_one
from cli.services import CommandServices, run


@click.group()
def scope() -> None:
    """Define what applications can ask for."""


@scope.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List scopes by name."""

    async def work(services: CommandServices) -> list[Mapping[str, Any]]:
        from projections import scopes

        found = await services.ledger.read(scopes.all_of)
        return [{"name": each.name, "description": each.description} for each in found]

    print_list(run(work), ("name", "description"), as_json)


@scope.command()
@click.argument("name")
@click.argument("description")
@as_json
def put(name: str, description: str, as_json: bool) -> None:
    """Define a scope, or describe it anew.

    DESCRIPTION completes "It asks to:" in a person's words, such as "See your orders".
    """
    from commands import permissions
    from commands.permissions import operator

    run(lambda services: services.execute(permissions.put_scope(name, description, by=operator)))
    print_one({"name": name, "description": description}, as_json)


@scope.command()
@click.argument("name")
def retire(name: str) -> None:
    """End a scope that no client and no role names any more."""
    from commands import permissions

    run(lambda services: services.execute(permissions.retire_scope(name)))
