"""What commands print: columns for people, JSON for scripts, a new secret exactly once, the bar of a long one."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import rich_click as click

from cli.failures import USAGE, Failure

# What commands print: columns for people, JSON for scripts, and a new secret exactly once.

as_json: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
output: Callable[[Any], Any] = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the answer with the secret to a new file that only you can read, and print nothing of it.",
)


def moment(value: int | None) -> str | None:
    """RFC 3339, as the API writes it."""
    from security.clock import format_rfc3339

    return None if value is None else format_rfc3339(value)


def print_json(value: Any) -> None:
    """One JSON document."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_one(members: Mapping[str, Any], as_json: bool) -> None:
    """One thing: a member a line."""
    if as_json:
        print_json(members)
        return
    width = max(map(len, members), default=0) + 2
    for name, value in members.items():
        click.echo(f"{name:<{width}}{text(value)}".rstrip())


def print_list(items: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Many things: JSON has every member, the columns those that tell them apart."""
    if as_json:
        print_json(items)
        return
    rows = [[text(item[column]) for column in columns] for item in items]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for cells in (columns, *rows):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if cells is columns else line)


def text(value: Any) -> str:
    """A value in a line. Nothing in it can move the cursor or change a colour."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or "-"
    return "".join(character if character.isprintable() else "�" for character in str(value))


@contextmanager
def secret_file(path: Path | None) -> Iterator[Callable[[Mapping[str, Any], bool], None]]:
    """Gives what prints an answer that holds a secret, or writes it to the file.

    The file is made before anything is committed, so that a secret that exists can always be handed over; it goes
    again when the command fails. Raises Failure that says so when a secret finds no room all the same.
    """
    if path is None:
        if sys.stdout is None:
            raise Failure("standard output is closed, where the new secret has to be shown: nothing was done", USAGE)
        yield _or_say_that_it_is_lost(print_one)
        return
    with new_file(path) as stream:

        def write(members: Mapping[str, Any], _: bool) -> None:
            import msgspec

            stream.write(msgspec.json.format(msgspec.json.encode(members), indent=2) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        yield _or_say_that_it_is_lost(write)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner can read, and that was not there before; it goes again when the command fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(f"--output: {path} cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    click.echo(f"Written to {path}.", err=True)


def _or_say_that_it_is_lost(hand_over: Callable[[Mapping[str, Any], bool], None]) -> Callable[..., None]:
    def handing_over(members: Mapping[str, Any], as_json: bool) -> None:
        try:
            hand_over(members, as_json)
        except OSError as error:
            if "client_secret" not in members:
                raise
            whose = members.get("client_id", "CLIENT_ID")
            raise Failure(
                f"the new secret could not be shown ({error.strerror}) and is lost: "
                f"make another with `grantlog client rotate-secret {whose}`",
                USAGE,
            ) from None

    return handing_over


async def every(fetch: Callable[[Any], Any]) -> list[Any]:
    """All pages of a projection's list, from the first to the last."""
    items: list[Any] = []
    after = None
    while True:
        page = await fetch(after)
        items += page.items
        after = page.next
        if after is None:
            return items


# The bar of a command that takes its time.


class Bar:
    """A bar on standard error with rate and time left, where that is a terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("", total=None, rate="")
        return self

    def __call__(self, done: int, goal: int) -> None:
        """So far, of so much."""
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, completed=done, total=goal, rate=f"{speed:,.0f}/s" if speed else "")

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
