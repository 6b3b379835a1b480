"""`grantlog role …`."""

from collections.abc import Mapping
from typing import Any

import rich_click as click

from api.cli.client import REALMS
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, print_list, print_one


@click.group()
def role() -> None:
    """Decide what people may have."""


@role.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the roles of every realm."""

    async def work(here: Here) -> list[Mapping[str, Any]]:
        from projections import roles

        found = await every(lambda after: here.ledger.read(roles.page, after=after, limit=200))
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

    async def work(here: Here) -> None:
        from commands.grant_context import known_scopes
        from domain import role as roles
        from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
        from eventstore.commands import Command
        from eventstore.present import people
        from eventstore.view import View

        facts = {
            "realm": realm,
            "name": name,
            "scopes": scopes,
            "default": default,
            "caller_scope": ADMINISTRATIVE_SCOPES,
        }

        def under_lock(view: View) -> Mapping[str, Any]:
            last = view.look(people.is_last_administrators_role, realm, name)
            return {"known_scopes": known_scopes(view, scopes), "leaves_no_administrator": last}

        await here.execute(Command(roles.stream(realm, name), roles.put, facts, under_lock))

    run(work)
    print_one({"realm": realm, "name": name, "scopes": scopes, "default": default}, as_json)


@role.command()
@click.argument("realm", type=REALMS)
@click.argument("name")
def retire(realm: str, name: str) -> None:
    """End a role that nobody has."""

    async def work(here: Here) -> None:
        from domain import role as roles
        from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
        from eventstore.commands import Command
        from eventstore.present import people
        from eventstore.view import View

        def under_lock(view: View) -> Mapping[str, Any]:
            return {
                "leaves_no_administrator": view.look(people.is_last_administrators_role, realm, name),
                "in_use": view.look(people.having_role, realm, name),
            }

        facts = {"caller_scope": ADMINISTRATIVE_SCOPES}
        await here.execute(Command(roles.stream(realm, name), roles.retire, facts, under_lock))

    run(work)
