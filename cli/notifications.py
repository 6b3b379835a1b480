"""`grantlog notifications`: who is told, what has not reached them, and telling it again."""

import rich_click as click

from api.notifications.channels import destinations as configured
from api.notifications.chosen import subscribed
from cli.command_services import CommandServices, run
from cli.terminal import POSITION, USAGE, Failure, as_json, moment, print_json, print_list
from domain.notifying import destination
from eventstore import search
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing
from projections import outbox
from projections.event_index import NameKind
from projections.outbox import Destination

LISTED_AT_MOST = 10_000
AT_ONCE = 500


@click.group()
def notifications() -> None:
    """What people are notified of at once: incidents, replays, the use of dead secrets. See docs/notifications.md."""


@notifications.command()
@as_json
def destinations(as_json: bool) -> None:
    """Who is told, of which types of events, and whether the settings or the API say so."""

    async def ask(services: CommandServices) -> list[dict[str, str | list[str]]]:
        return [
            {"destination": each.name, "managed_by": by, "types": sorted(each.types)}
            for by, told in (("settings", configured(services.settings)), ("api", await _chosen(services)))
            for each in told
        ]

    print_list(run(ask), ("destination", "managed_by", "types"), as_json)


@notifications.command(name="list")
@click.option("--dead", is_flag=True, help="Only dead letters: what is not tried any more.")
@as_json
def list_(dead: bool, as_json: bool) -> None:
    """What has not been delivered: when it is tried next, and what came of the attempt before."""

    async def ask(services: CommandServices) -> list[outbox.Delivery]:
        return await services.ledger.read(outbox.undelivered, dead_only=dead, limit=LISTED_AT_MOST)

    rows = [
        {
            "position": each.position,
            "type": each.type,
            "destination": each.destination,
            "state": "dead" if each.dead else "waiting",
            "attempts": each.attempts,
            "next_at": None if each.dead else moment(each.due_at),
            "outcome": each.outcome,
        }
        for each in run(ask)
    ]
    print_list(rows, ("position", "type", "destination", "state", "attempts", "next_at", "outcome"), as_json)


@notifications.command()
@click.option("--from", "low", type=POSITION, required=True, help="The first position of the log.")
@click.option("--to", "high", type=POSITION, help="The last one. [default: the newest]")
@click.option("--destination", "only", help="Tell only this one. [default: everybody]")
@as_json
def replay(low: int, high: int | None, only: str | None, as_json: bool) -> None:
    """Tell again what stands in the log from a position on, dead letters included.

    A running server delivers it. Receivers know a repeat by its `webhook-id`, which is the event's own id."""

    async def again(services: CommandServices) -> int:
        known = [*configured(services.settings), *await _chosen(services)]
        wanted = [each for each in known if only is None or each.name == only]
        if not wanted:
            names = ", ".join(each.name for each in known) or "none: see docs/notifications.md"
            raise Failure(f"there is no such destination; there are {names}", USAGE)
        return await _again(services, wanted, low, high)

    told = run(again)
    if as_json:
        print_json({"deliveries": told})
    else:
        click.echo(f"deliveries that wait for a running server: {told:,}")


async def _again(services: CommandServices, wanted: list[Destination], low: int, high: int | None) -> int:
    ledger = services.ledger
    await CatchUpSubscription(ledger, EventIndexing()).follow()
    newest, _ = await ledger.head()
    last = newest if high is None else min(high, newest)
    macs = ledger.vault.row_macs(outbox.DELIVERIES.name)
    told = await ledger.maintain(outbox.revive, macs, [each.name for each in wanted], low, last, ledger.clock.now())
    for type in sorted(frozenset().union(*(each.types for each in wanted))):
        criteria = search.Criteria((((NameKind.TYPE, type.encode()),),), low, last)
        start: int | None = low
        while start is not None:
            found = await ledger.read(search.search, criteria, AT_ONCE, start)
            events = [(position, type) for position in found.positions]
            told += await ledger.maintain(outbox.deliver, macs, events, wanted, ledger.clock.now())
            start = found.resume
    return told


async def _chosen(services: CommandServices) -> list[Destination]:
    """Those whom administrators chose."""
    state: destination.State = await services.ledger.state(destination.STREAM)
    return subscribed(state.destinations)
