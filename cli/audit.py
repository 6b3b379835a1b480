"""`grantlog audit …`: proof that the log is whole, what it says, and what of it is kept."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, get_args

import msgspec
import rich_click as click

from api.audit.queries import counts as counting
from api.audit.queries import differences, pasted_text
from api.audit.queries import overview as looking
from api.audit.queries.auditor import closed
from api.audit.queries.counts import CountedBy
from api.audit.queries.export import Export, ExportFormat, prepared
from api.audit.queries.history import StateShown, TokenState, state_of, token_history, token_state
from api.audit.queries.package import Package, packaged
from api.audit.queries.search import EventOutcome, Filters, Order, page, read_filters
from api.http.errors import Missing
from api.http.parameters import LARGEST
from api.leaks.resolve import nothing_in
from cli import terminal
from cli.command_services import CommandServices, run
from cli.event_text import full, print_events, print_history, print_overview, print_state
from cli.log import key, rotate_key
from cli.terminal import USAGE, Failure, ProgressBar, as_json, moment, print_json, print_list, print_one
from cli.verify import check_receipt, receipt, verify
from commands.audit import place_hold, release_hold
from domain import hold as holds
from eventstore.origin_months import destroyed
from security import tokens
from security.scanning import extract
from security.tokens import new_id

# `grantlog audit history|state|events|export`. A secret never stands among the arguments.

POSITION = click.IntRange(1, 2**53 - 1)
MOST = 1_000_000
"""Events that can be listed. Anyone who wants more wants an export."""

sealed: Callable[[Any], Any] = click.option("--sealed", is_flag=True, help="Leave personal values sealed.")
names: Callable[[Any], Any] = click.option("--names", is_flag=True, help="Say what clients and people are called now.")

_CHOOSING: tuple[Callable[[Any], Any], ...] = (
    click.option("--type", multiple=True, metavar="TYPE", help="Such as grant.ended or grant.*; repeatable."),
    click.option("--not-type", multiple=True, metavar="TYPE", help="Leave out this type or kind; repeatable."),
    click.option("--outcome", type=click.Choice(get_args(EventOutcome)), help="What failed, or everything else."),
    click.option("--client", "client_id", multiple=True, metavar="ID", help="What names this client, or it caused."),
    click.option("--account", "account_id", multiple=True, metavar="ID", help="What names this person, or is theirs."),
    click.option("--by", "by_account_id", multiple=True, metavar="ID", help="What this person caused."),
    click.option("--about", "about_account_id", multiple=True, metavar="ID", help="What concerns this person."),
    click.option("--by-client", "by_client_id", multiple=True, metavar="ID", help="What this client caused."),
    click.option("--grant", "grant_id", multiple=True, metavar="ID", help="What names this grant, or came by it."),
    click.option("--secret-id", multiple=True, metavar="ID", help="What names this secret version, or came by it."),
    click.option("--incident", "incident_id", multiple=True, metavar="ID", help="What names this incident."),
    click.option("--username", metavar="NAME", help="Of the person with exactly this username now."),
    click.option("--email", metavar="ADDRESS", help="Of the person with exactly this e-mail address now."),
    click.option("--ip", multiple=True, metavar="ADDRESS", help="The network address of the caller."),
    click.option("--request-id", multiple=True, metavar="ID", help="The X-Request-Id."),
    click.option("--since", metavar="TIME", help="At this RFC 3339 time or later."),
    click.option("--until", metavar="TIME", help="Before this RFC 3339 time."),
)
_FILTERS: tuple[Callable[[Any], Any], ...] = (
    *_CHOOSING,
    click.option("--from", "first", type=POSITION, metavar="N", help="At this position or later."),
    click.option("--desc", "descending", is_flag=True, help="The newest first."),
    names,
)


def filters(command: Any) -> Any:
    """The options that say which events are meant."""
    return _with(_FILTERS, command)


def choosing(command: Any) -> Any:
    """The same without where they begin and how they are shown."""
    return _with(_CHOOSING, command)


def _with(options: Sequence[Callable[[Any], Any]], command: Any) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@terminal.sha256_option
@click.option("--id", "id_", metavar="ID", help="A token's jti, or the id of a grant, session or secret version.")
@names
@sealed
@as_json
def history(sha256: str | None, id_: str | None, names: bool, sealed: bool, as_json: bool) -> None:
    """Show all that happened with a token, code or secret, from its ground to its last use.

    It is the first secret in a text that is read from standard input, or that is asked for, unless an option names it.
    """
    if sha256 is not None and id_ is not None:
        raise click.UsageError("give one of --sha256 and --id")
    text = terminal.read_text() if sha256 is None and id_ is None else None

    async def work(services: CommandServices) -> Any:
        token = None if text is None else _first_secret(text, services.format)
        try:
            return await token_history(services.auditor(personal=not sealed), token, sha256, id_, names=names)
        except Missing:
            if token is None or services.format.parse(token) is not None:
                raise
            raise Failure(nothing_in(token, services.format)) from None

    found = run(work)
    if as_json:
        print_json(found)
    else:
        print_history(found)


@click.command()
@click.argument("stream", required=False, metavar="[STREAM]")
@terminal.sha256_option
@click.option("--at", metavar="TIME", help="As it was at this RFC 3339 time, that very microsecond included.")
@click.option("--position", type=POSITION, metavar="N", help="As it was when this was the newest event.")
@sealed
@as_json
def state(
    stream: str | None, sha256: str | None, at: str | None, position: int | None, sealed: bool, as_json: bool
) -> None:
    """Say whether a token was valid and why; or what STREAM, such as client:ID, was like. Now, unless told when.

    Without STREAM it is about the first secret in a text on standard input, or the one with a digest."""
    if stream is not None and sha256 is not None:
        raise click.UsageError("give either STREAM or --sha256")
    text = terminal.read_text() if stream is None and sha256 is None else None

    async def work(services: CommandServices) -> StateShown | TokenState:
        if stream is not None:
            return await state_of(services.auditor(personal=not sealed), stream, at, position)
        token = None if text is None else _first_secret(text, services.format)
        if token is not None and services.format.parse(token) is None:
            click.echo(nothing_in(token, services.format), err=True)
        return await token_state(services.auditor(personal=False), token, sha256, at, position)

    found = run(work)
    if as_json:
        print_json(found)
    else:
        print_state(found)


@click.command()
@filters
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many at most.")
@sealed
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for scripts.")
def events(limit: int, sealed: bool, as_json: bool, **given: Any) -> None:
    """Search the log: the events that match every option."""

    async def work(services: CommandServices) -> bool:
        asking, wanted = services.auditor(personal=not sealed), _filters(given)
        left, after = limit, None
        while True:
            # As many at a time as a page of the API has.
            found = await page(asking, wanted, min(left, LARGEST), after, steps=None)
            print_events(found.items, as_json=as_json, begins=after is None)
            left, after = left - len(found.items), found.next
            if after is None or left == 0:
                return after is not None

    if run(work):
        click.echo("There are more: raise --limit, or use `grantlog audit export`.", err=True)


@click.command()
@filters
@click.option(
    "--format",
    "form",
    type=click.Choice(("jsonl", "csv", "cloudevents", "ocsf")),
    default="jsonl",
    show_default=True,
    help="Of each record.",
)
@click.option("--proof", is_flag=True, help="Stored forms with all that proves them, for `grantlog audit verify`.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to a new file that only you can read instead of standard output.",
)
@sealed
def export(form: ExportFormat, proof: bool, output: Path | None, sealed: bool, **given: Any) -> None:
    """Export the events that match every option, all of them without one. Any length."""

    async def prepare(services: CommandServices) -> Export:
        asking = services.auditor(personal=not sealed)
        return await prepared(asking, _filters(given), form, proof=proof, steps=None)

    _hand_out(output, "export", prepare)


@click.command()
@filters
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to a new file that only you can read instead of standard output.",
)
def package(output: Path | None, **given: Any) -> None:
    """Write a zip file with the events that match every option and all that it takes to check them elsewhere.

    It has the export with its proof, receipts, the checkpoint and a page that verifies them offline."""

    async def prepare(services: CommandServices) -> Package:
        return await packaged(services.auditor(personal=False), _filters(given), steps=None)

    _hand_out(output, "package", prepare)


def _hand_out(
    output: Path | None,
    what: str,
    prepare: Callable[[CommandServices], Awaitable[Export | Package]],
) -> None:
    """Writes an export, or what holds one, to a new file with a bar, or to standard output."""

    def into(sink: BinaryIO, progress: Callable[[int, int], None]) -> None:
        async def work(services: CommandServices) -> None:
            wanted = await prepare(services)
            try:
                async with aclosing(await wanted.open()) as parts:
                    async for part in parts:
                        sink.write(part.lines)
                        sink.flush()
                        progress(*wanted.looked_through(part))
            finally:
                # Whatever became of it, its end is recorded before this returns.
                await closed(services.ledger)

        run(work)

    if output is None:
        if sys.stdout is None:
            raise Failure("standard output is closed, where the export has to go: nothing was done", USAGE)
        into(sys.stdout.buffer, lambda _, __: None)
        return
    with terminal.new_file(output) as sink:
        with ProgressBar(what) as bar:
            into(sink, bar)
        os.fsync(sink.fileno())


def _first_secret(text: str, format: tokens.Format) -> str:
    """The first secret in a text; the text itself, without what surrounds it, where there is none of ours."""
    found = extract(text, format).secrets
    if not found:
        return text.strip()
    if len(found) > 1:
        click.echo(f"{len(found):,} secrets are in the text; this is about the first", err=True)
    return found[0].reveal()


def _filters(given: Mapping[str, Any]) -> Filters:
    """The filters under the names of the API."""
    order: Order = "desc" if given["descending"] else "asc"
    return _chosen(given).between(given["since"], given["until"], given["first"], order, names=given["names"])


def _chosen(given: Mapping[str, Any]) -> Filters:
    repeated = {name: value for name, value in given.items() if isinstance(value, tuple)}
    return read_filters(repeated, outcome=given["outcome"], username=given["username"], email=given["email"])


# `grantlog audit find|counts|diff|overview`: what a text names, how many there were, what changed, what is going on.


@click.command()
@as_json
def find(as_json: bool) -> None:
    """Say what a text names: secrets, ids, a position, the name of a client, a username or an e-mail address.

    The text is read from standard input, or asked for. Names of people are found whole or not at all."""
    text = terminal.read_text()
    found = run(lambda services: pasted_text.find(services.auditor(), text))
    print_list([msgspec.to_builtins(each) for each in found], ("kind", "id", "label"), as_json)


@click.command()
@choosing
@click.option("--step", type=click.IntRange(1), metavar="SECONDS", help="Count in stretches of so many seconds.")
@click.option("--each", "by", type=click.Choice(get_args(CountedBy)), help="Say how many there were of each, too.")
@as_json
def counts(step: int | None, by: CountedBy | None, as_json: bool, **given: Any) -> None:
    """Count the events that match every option: of the last day, unless told since when and until when."""

    async def work(services: CommandServices) -> counting.Counts:
        chosen = _chosen(given).between(given["since"], given["until"], None)
        return await counting.counts(services.auditor(), chosen, step, by)

    found = run(work)
    if as_json:
        print_json(found)
        return
    rows: list[dict[str, Any]] = [msgspec.to_builtins(each) for each in found.items]
    for row in rows:
        row["by"] = [f"{name} {count:,}" for name, count in row["by"].items()]
    print_list(rows, ("from", "to", "count") if by is None else ("from", "to", "count", "by"), False)
    if not found.exact:
        click.echo("These are estimates: more events would have to be looked at than one question may.", err=True)


@click.command()
@click.argument("stream")
@click.option("--from", "since", metavar="WHEN", help="RFC 3339 time or position. [default: the beginning]")
@click.option("--to", "until", metavar="WHEN", help="RFC 3339 time or position. [default: now]")
@sealed
@as_json
def diff(stream: str, since: str | None, until: str | None, sealed: bool, as_json: bool) -> None:
    """Say what of STREAM, such as client:ID, is not what it was, between two moments."""
    found = run(lambda services: differences.diff(services.auditor(personal=not sealed), stream, since, until))
    members: dict[str, Any] = msgspec.to_builtins(found)
    if as_json:
        print_json(members)
        return
    changes = [
        {"path": each["path"], "before": full(each["before"]), "after": full(each["after"])}
        for each in members["changes"]
    ]
    print_list(changes, ("path", "before", "after"), False)


@click.command()
@sealed
@as_json
def overview(sealed: bool, as_json: bool) -> None:
    """Say what is going on: open incidents, secrets that end soon, a day beside the same one a week ago, and what
    administrators did."""
    found = run(lambda services: looking.overview(services.auditor(personal=not sealed)))
    if as_json:
        print_json(found)
    else:
        print_overview(found)


# `grantlog audit hold …`: months whose addresses and user agents are kept beyond their retention.


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

    async def work(services: CommandServices) -> dict[str, Any]:
        hold_id = new_id()
        await services.execute(place_hold(hold_id, first, last, reason))
        gone = await services.ledger.read(destroyed)
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

    async def work(services: CommandServices) -> list[dict[str, Any]]:
        state: holds.State = await services.ledger.state(holds.STREAM)
        return [
            {
                "hold_id": hold_id,
                "first": each.first,
                "last": each.last,
                "placed_at": moment(each.placed_at),
                "reason": await services.ledger.unseal(each.reason),
            }
            for hold_id, each in state.holds.items()
        ]

    print_list(run(work), ("hold_id", "first", "last", "placed_at", "reason"), as_json)


@hold.command()
@click.argument("hold_id")
def release(hold_id: str) -> None:
    """End a hold; months that it alone kept beyond their retention end within minutes."""
    run(lambda services: services.execute(release_hold(hold_id)))
    click.echo("the hold is released")


@click.group()
def audit() -> None:
    """Verify the log, hand out and check receipts, and read what happened.

    What verifies needs none of this server's settings or keys: take it elsewhere, with the log's key and a checkpoint
    that you kept."""


for command in (
    *(verify, receipt, check_receipt, history, state, events, export, package, find, counts, diff, overview),
    *(key, rotate_key, hold),
):
    audit.add_command(command)
