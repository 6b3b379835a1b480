"""`grantlog bootstrap`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from api.cli.client import registered
from api.cli.failures import Failure
from api.cli.opening import Here, run
from api.cli.showing import as_json, every, output, secret_file


@click.command()
@click.option("--name", default="Administration service", show_default=True, help="The client's name.")
@click.option("--again", is_flag=True, help="Make one although there is one already.")
@output
@as_json
def bootstrap(name: str, again: bool, output: Path | None, as_json: bool) -> None:
    """Make the first service client, which holds every administrative scope.

    It obtains administrator tokens by client_credentials. Its secret is shown once. The first person who may administer
    is made with `grantlog person add --realm administration --role administrator`.
    """

    async def work(here: Here) -> Mapping[str, Any]:
        from api.installation import ADMINISTRATION_SCOPES
        from projections import clients

        known = await every(lambda after: here.ledger.read(clients.page, after=after, limit=200))
        former = [each.client_id for each in known if each.type == "confidential" and "clients:write" in each.scope]
        if former and not again:
            raise Failure(
                f"there is a service client already: {former[0]}. If its secret is lost, run "
                f"`grantlog client rotate-secret {former[0]}`; to make another one all the same, add --again"
            )
        attributes = {
            "client_name": name,
            "grant_types": ("client_credentials",),
            "scope": tuple(ADMINISTRATION_SCOPES),
        }
        made = await registered(here, attributes, has_secret=True)
        return {member: made[member] for member in ("client_id", "client_secret", "scope")}

    with secret_file(output) as hand_over:
        hand_over(run(work), as_json)
