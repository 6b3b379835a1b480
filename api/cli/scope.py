"""`grantlog scope …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from api.cli.opening import Here, run
from api.cli.showing import as_json, print_list, print_one


@click.group()
def scope() -> None:
    """Define what applications can ask for."""


@scope.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List scopes by name."""

    async def work(here: Here) -> list[Mapping[str, Any]]:
        from projections import scopes

        found = await here.ledger.read(scopes.all_of)
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

    async def work(here: Here) -> None:
        from domain import scope as scopes
        from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
        from eventstore.commands import Command

        facts = {"name": name, "description": description, "caller_scope": ADMINISTRATIVE_SCOPES}
        await here.execute(Command(scopes.stream(name), scopes.put, facts))

    run(work)
    print_one({"name": name, "description": description}, as_json)


@scope.command()
@click.argument("name")
def retire(name: str) -> None:
    """End a scope that no client and no role names any more."""

    async def work(here: Here) -> None:
        from domain import scope as scopes
        from eventstore.commands import Command
        from eventstore.present import clients, roles
        from eventstore.view import View

        def under_lock(view: View) -> Mapping[str, Any]:
            return {"in_use": view.look(clients.naming_scope, name) or view.look(roles.naming_scope, name)}

        await here.execute(Command(scopes.stream(name), scopes.retire, {}, under_lock))

    run(work)
