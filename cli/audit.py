"""`grantlog audit …`: proof that the log is whole, what it says, and what of it is kept."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import rich_click as click

from cli.audit_verify import check_receipt, receipt, verify
from cli.failures import USAGE, Failure, refused
from cli.output import Bar, as_json, moment, new_file, print_json, print_list, print_one
from cli.services import CommandServices, run
from cli.standard_input import read_text
from cli.standard_input import sha256 as standard_input_sha256
from commands.audit import place_hold, release_hold
from domain import hold as holds
from domain import log_key

if TYPE_CHECKING:
    from api.audit.queries.history import State, TokenState
    from api.audit.rendering import ShownEvent


# `grantlog audit history|state|events|export`. A secret never stands among the arguments.

POSITION = click.IntRange(1, 2**53 - 1)
MOST = 1_000_000
"""Events that can be listed. Whoever wants more wants an export."""

sealed: Callable[[Any], Any] = click.option("--sealed", is_flag=True, help="Leave personal values sealed.")
names: Callable[[Any], Any] = click.option("--names", is_flag=True, help="Say what clients and people are called now.")

_FILTERS: tuple[Callable[[Any], Any], ...] = (
    click.option("--type", "types", multiple=True, metavar="TYPE", help="Such as grant.ended or grant.*; repeatable."),
    click.option("--client", "client_id", metavar="ID", help="What names this client, or what it caused."),
    click.option("--account", "account_id", metavar="ID", help="What names this person, or what they caused."),
    click.option("--grant", "grant_id", metavar="ID", help="What names this grant, or was caused with it."),
    click.option("--secret-id", metavar="ID", help="What names this secret version, or was caused with it."),
    click.option("--username", metavar="NAME", help="Of the person with exactly this username now."),
    click.option("--email", metavar="ADDRESS", help="Of the person with exactly this e-mail address now."),
    click.option("--ip", metavar="ADDRESS", help="The network address of the caller."),
    click.option("--request-id", metavar="ID", help="The X-Request-Id."),
    click.option("--since", metavar="TIME", help="At this RFC 3339 time or later."),
    click.option("--until", metavar="TIME", help="Before this RFC 3339 time."),
    click.option("--from", "first", type=POSITION, metavar="N", help="At this position or later."),
    click.option("--desc", "descending", is_flag=True, help="The newest first."),
    names,
)


def filters(command: Any) -> Any:
    """The options that say which events are meant."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.command()
@standard_input_sha256
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
    text = read_text() if sha256 is None and id_ is None else None

    async def work(services: CommandServices) -> Any:
        from cli import audit_answers

        return await audit_answers.history(services, text, sha256, id_, names=names, sealed=sealed)

    found = run(work)
    if as_json:
        print_json(found)
        return
    from cli.audit_answers import print_history

    print_history(found)


@click.command()
@click.argument("stream", required=False, metavar="[STREAM]")
@standard_input_sha256
@click.option("--at", metavar="TIME", help="As it was at this RFC 3339 time, that very microsecond included.")
@click.option("--position", type=POSITION, metavar="N", help="As it was when this was the newest event.")
@sealed
@as_json
def state(
    stream: str | None, sha256: str | None, at: str | None, position: int | None, sealed: bool, as_json: bool
) -> None:
    """Say whether a token was valid and why; or what STREAM, such as client:ID, was like. Now, unless told when.

    Without STREAM it is about the first secret in a text on standard input, or the one with a digest.
    """
    if stream is not None and sha256 is not None:
        raise click.UsageError("give either STREAM or --sha256")
    text = read_text() if stream is None and sha256 is None else None

    async def work(services: CommandServices) -> "State | TokenState":
        from cli import audit_answers

        if stream is not None:
            return await audit_answers.stream_state(services, stream, at, position, sealed=sealed)
        return await audit_answers.token_state(services, text, sha256, at, position)

    found = run(work)
    if as_json:
        print_json(found)
        return
    from cli.audit_answers import print_state

    print_state(found)


@click.command()
@filters
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many at most.")
@sealed
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for scripts.")
def events(limit: int, sealed: bool, as_json: bool, **given: Any) -> None:
    """Search the log: the events that match every option."""

    async def work(services: CommandServices) -> bool:
        from cli import audit_answers
        from cli.audit_answers import print_events

        def show(found: "Sequence[ShownEvent]", begins: bool) -> None:
            print_events(found, as_json=as_json, begins=begins)

        return await audit_answers.list_events(services, _asked(given), limit, show, sealed=sealed)

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
def export(
    form: Literal["jsonl", "csv", "cloudevents", "ocsf"],
    proof: bool,
    output: Path | None,
    sealed: bool,
    **given: Any,
) -> None:
    """Export the events that match every option, all of them without one. Any length."""

    def into(sink: BinaryIO, progress: Callable[[int, int], None]) -> None:
        async def work(services: CommandServices) -> None:
            from cli import audit_answers

            await audit_answers.export(services, _asked(given), form, sink, progress, proof=proof, sealed=sealed)

        run(work)

    if output is None:
        if sys.stdout is None:
            raise Failure("standard output is closed, where the export has to go: nothing was done", USAGE)
        into(sys.stdout.buffer, lambda _, __: None)
        return
    with new_file(output) as sink:
        with Bar("export") as bar:
            into(sink, bar)
        os.fsync(sink.fileno())


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The filters under the names of the API."""
    asked = dict(given)
    asked["types"] = asked["types"] or None
    asked["order"] = "desc" if asked.pop("descending") else "asc"
    return asked


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
        from eventstore.origin_months import destroyed
        from security.ids import new_id

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


# `grantlog audit key` and `rotate-key`: the key that auditors pin, and its successors.


@click.command()
@as_json
def key(as_json: bool) -> None:
    """Show the log's verifier key and its fingerprint, for you to give to auditors on a way of your own.

    `/log/vkey` shows the key too, but whoever replaces the log can replace that answer with it.
    """
    print_one(run(shown), as_json)


@click.command(name="rotate-key")
@click.option("--finish", "step", flag_value="finish", help="End a rotation: the former key signs no longer.")
@click.option("--compromised", "step", flag_value="compromised", help="Somebody else has the key: end it at once.")
@as_json
def rotate_key(step: Literal["finish", "compromised"] | None, as_json: bool) -> None:
    """Make a new key, by which the log is known from now on.

    The former key signs beside it until `--finish`, so that auditors have time to pin the new one. Each step is an
    event of the log. Old checkpoints stay verifiable by the key that signed them.
    """
    print_one(run(lambda services: _rotate(services, step)), as_json)


async def _keys(services: CommandServices) -> log_key.State:
    from api.server.keeper import ensure_key

    return await ensure_key(services.ledger, services.settings, services.origin)


async def shown(services: CommandServices) -> dict[str, str | list[str] | None]:
    """The keys as `grantlog audit key` prints them."""
    return _members(await _keys(services))


async def _rotate(
    services: CommandServices, step: Literal["finish", "compromised"] | None
) -> dict[str, str | list[str] | None]:
    from commands import log_keys

    origin = str((await _keys(services)).origin)
    if step == "finish":
        refusal = await log_keys.retire(services.ledger, origin, services.origin)
    elif step == "compromised":
        refusal = await log_keys.revoke(services.ledger, origin, "compromised", services.origin)
    else:
        refusal = await log_keys.rotate(services.ledger, origin, services.origin)
    if refusal is not None:
        raise refused(refusal)
    return await shown(services)


def _members(state: log_key.State) -> dict[str, str | list[str] | None]:
    if state.verifier_key is None:
        raise Failure("the log has no key yet")
    fingerprint = sha256(state.verifier_key.encode()).hexdigest()
    return {
        "verifier_key": state.verifier_key,
        "fingerprint": " ".join(fingerprint[at : at + 8] for at in range(0, 64, 8)),
        "origin": state.origin,
        "also_signing": [state.keys[key_id].verifier_key for key_id in state.in_standing("beside")],
        "retired": [state.keys[key_id].verifier_key for key_id in state.in_standing("retired")],
        "revoked": [state.keys[key_id].verifier_key for key_id in state.in_standing("revoked")],
    }


@click.group()
def audit() -> None:
    """Verify the log, hand out and check receipts, and read what happened.

    What verifies needs none of this server's settings or keys: take it elsewhere, with the log's key and a checkpoint
    that you kept.
    """


for command in (verify, receipt, check_receipt, history, state, events, export, key, rotate_key, hold):
    audit.add_command(command)
