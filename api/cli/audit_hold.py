"""`grantlog audit hold …`: months whose addresses and user agents are kept beyond their retention."""

from typing import Any

import rich_click as click

from api.cli.opening import Here, run
from api.cli.showing import as_json, moment, print_list, print_one
from commands.retention import place_hold, release_hold
from domain import hold as holds


@click.group()
def hold() -> None:
    """Keep the addresses and user agents of some months, which would end with GRANTLOG_ADDRESS_RETENTION."""


@hold.command()
@click.option("--first", required=True, metavar="YYYY-MM", help="First month, in UTC.")
@click.option("--last", required=True, metavar="YYYY-MM", help="Last month; the same for a single one.")
@click.option("--reason", required=True, help="Why, for those who decide about it one day. It is stored encrypted.")
@as_json
def add(first: str, last: str, reason: str, as_json: bool) -> None:
    """Keep the months FIRST to LAST until the hold is released. What has ended already cannot be brought back."""

    async def work(here: Here) -> dict[str, Any]:
        from eventstore.origin_months import destroyed
        from security.ids import new_id

        hold_id = new_id()
        await here.execute(place_hold(hold_id, first, last, reason))
        gone = await here.ledger.read(destroyed)
        return {
            "hold_id": hold_id,
            "first": first,
            "last": last,
            "ended_already": [month for month in gone if first <= month <= last],
        }

    print_one(run(work), as_json)


@hold.command(name="list")
@as_json
def list_(as_json: bool) -> None:
    """The holds that were not released."""

    async def work(here: Here) -> list[dict[str, Any]]:
        state: holds.State = await here.ledger.state(holds.STREAM)
        return [
            {
                "hold_id": hold_id,
                "first": each.first,
                "last": each.last,
                "placed_at": moment(each.placed_at),
                "reason": await here.ledger.unseal(each.reason),
            }
            for hold_id, each in state.holds.items()
        ]

    print_list(run(work), ("hold_id", "first", "last", "placed_at", "reason"), as_json)


@hold.command()
@click.argument("hold_id")
def release(hold_id: str) -> None:
    """End a hold; months that it alone kept beyond their retention end within minutes."""
    run(lambda here: here.execute(release_hold(hold_id)))
    click.echo("the hold is released")
