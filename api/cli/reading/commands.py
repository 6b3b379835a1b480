"""`grantlog audit history|state|events|export`. A secret never stands among the arguments."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import rich_click as click

from api.cli.failures import USAGE, Failure
from api.cli.opening import Here, run
from api.cli.progress import Bar
from api.cli.showing import as_json, new_file, print_json
from api.cli.standard_input import read_text, sha256

if TYPE_CHECKING:
    from api.audit.answering.state import State
    from api.audit.answering.token_state import TokenState
    from api.audit.rendering import ShownEvent

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
@sha256
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

    async def work(here: Here) -> Any:
        from api.cli.reading import work

        return await work.history(here, text, sha256, id_, names=names, sealed=sealed)

    found = run(work)
    if as_json:
        print_json(found)
        return
    from api.cli.reading.timeline import print_history

    print_history(found)


@click.command()
@click.argument("stream", required=False, metavar="[STREAM]")
@sha256
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

    async def work(here: Here) -> "State | TokenState":
        from api.cli.reading import work

        if stream is not None:
            return await work.stream_state(here, stream, at, position, sealed=sealed)
        return await work.token_state(here, text, sha256, at, position)

    found = run(work)
    if as_json:
        print_json(found)
        return
    from api.cli.reading.timeline import print_state

    print_state(found)


@click.command()
@filters
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many at most.")
@sealed
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for scripts.")
def events(limit: int, sealed: bool, as_json: bool, **given: Any) -> None:
    """Search the log: the events that match every option."""

    async def work(here: Here) -> bool:
        from api.cli.reading import work
        from api.cli.reading.timeline import print_events

        def show(found: "Sequence[ShownEvent]", begins: bool) -> None:
            print_events(found, as_json=as_json, begins=begins)

        return await work.list_events(here, _asked(given), limit, show, sealed=sealed)

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
        async def work(here: Here) -> None:
            from api.cli.reading import work

            await work.export(here, _asked(given), form, sink, progress, proof=proof, sealed=sealed)

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
