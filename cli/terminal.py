"""What every command does at its ends: it reads what is handed over, prints its answer, and fails in plain words."""

import codecs
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.http.errors import HTTPError
from cli.ending import ToldToEnd
from domain.decision import Refusal
from security.clock import format_rfc3339
from security.scanning import LONGEST

# Failing: in plain words on standard error, with an exit code that a script can tell apart.

REFUSED = 1
USAGE = 2
"""Wrong usage, or a file that cannot be read or written, the output among them."""
UNAVAILABLE = 3
"""The database or the keys: nothing is wrong with the command itself."""

_NOT_ALLOWED = "42501"
"""PostgreSQL's code for what a role may not do. The server's role may do little, as it should be."""

_OWNER = "the database's role may not do this; name the one that owns the tables in GRANTLOG_MIGRATION_DATABASE_URL"


class Failure(Exception):
    """Ends the command with one of the exit codes above; its message is for the person who ran it."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.exit_code = code


class Failing(click.RichGroup):
    """The commands; what fails says so in plain text, so that what a script captures holds no frames and colours."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return self._written(*args, **extra)
        except ToldToEnd as ended:
            ended.carry_out()
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
        with suppress(OSError):
            click.echo(f"Error: {failure}", err=True)
        _give_up_output()
        sys.exit(failure.exit_code)

    def _written(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except ToldToEnd:
            raise
        except SystemExit:
            # Help is left to Python's end, which has a code and words of its own for what finds no room then.
            _write_out()
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(not is_utf8(each) for each in args):
            raise click.UsageError("an argument is not UTF-8 text", ctx)
        return super().parse_args(ctx, args)


def is_utf8(text: str) -> bool:
    """Whether it came as UTF-8: Python takes every other octet along as half of a surrogate pair (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _failure(error: Exception) -> Failure | None:
    """What went wrong in words; None for what is a bug of ours."""
    match error:
        case Failure():
            return error
        case OSError(errno=int(), strerror=str(why)) if error.errno != errno.EPIPE:
            # Only what cannot be opened has a name.
            what = error.filename or "a file or the output cannot be read or written"
            return Failure(f"{what}: {why}", USAGE)
        case UnicodeDecodeError():
            return Failure("what it was given to read is not UTF-8 text", USAGE)
    from api.http.errors import HTTPError
    from eventstore.database.engines import away, in_words
    from eventstore.database.table_locks import TablesInUse
    from eventstore.mapper import EventTooLarge
    from eventstore.projecting.alone import AnotherFills
    from eventstore.unavailable import ArchiveAway, DatabaseAway
    from security.keyring import MasterKeyError, WrapBroken
    from security.sealing import SealBroken

    if isinstance(error, HTTPError):
        return of_problem(error)
    if isinstance(error, EventTooLarge):
        return Failure(f"what was given is too long to be recorded: {error}")
    if isinstance(error, MasterKeyError | WrapBroken | SealBroken | ArchiveAway | AnotherFills | TablesInUse):
        return unavailable(str(error))
    if any(getattr(getattr(each, "orig", None), "sqlstate", None) == _NOT_ALLOWED for each in (error, error.__cause__)):
        return unavailable(_OWNER)
    # Whatever it was doing, the database may go, fill up or be locked at any moment.
    gone = error if isinstance(error, DatabaseAway) else away(error)
    return None if gone is None else unavailable(f"the database does not answer: {in_words(gone)}")


def _write_out() -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has read enough.
        _give_up_output()


def _give_up_output() -> None:
    """Python writes at its end what is left over, and would fail by it once more."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()


def refused(refusal: Refusal) -> Failure:
    """A refusal of the domain in words, led by the field at fault."""
    said = refusal.words or refusal.reason.value.replace("_", " ")
    return Failure(f"{refusal.field}: {said}" if refusal.field else said)


def of_problem(problem: HTTPError) -> Failure:
    """What the API would refuse, in its words, led by the field at fault."""
    if problem.errors:
        return Failure(f"{problem.errors[0].field}: {problem.errors[0].detail}")
    return Failure(str(problem.detail))


def unavailable(message: str) -> Failure:
    """The database or a key is not there, or not the right one."""
    return Failure(message, UNAVAILABLE)


# Printing: columns for people, JSON for scripts, a new secret exactly once, the bar of what takes long.

as_json: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
POSITION = click.IntRange(1, 2**63 - 1)
"""A position of the log as an argument: what the database can count to."""

output: Callable[[Any], Any] = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the answer with the secret to a new file that only you can read, and print nothing of it.",
)


def moment(value: int | None) -> str | None:
    """RFC 3339, as the API writes it."""
    return None if value is None else format_rfc3339(value)


def print_json(value: Any) -> None:
    """One JSON document."""
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
    if isinstance(value, Mapping):
        return ", ".join(f"{text(name)} {text(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or "-"
    return "".join(character if character.isprintable() else "�" for character in str(value))


@contextmanager
def secret_file(path: Path | None) -> Iterator[Callable[[Mapping[str, Any], bool], None]]:
    """Gives what prints an answer that holds a secret, or writes it to the file. The file is made before anything is
    committed, so that a secret that exists can always be handed over; it goes again when the command fails. Raises
    Failure that says so when a secret finds no room all the same."""
    if path is None:
        if sys.stdout is None:
            raise Failure("standard output is closed, where the new secret has to be shown: nothing was done", USAGE)
        yield _or_say_that_it_is_lost(print_one)
        return
    with new_file(path) as stream:

        def write(members: Mapping[str, Any], _: bool) -> None:
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


class ProgressBar:
    """A bar on standard error with rate and time left, where that is a terminal."""

    def __init__(self, title: str) -> None:
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


# Reading what is handed over on standard input, so that it stands in no list of processes and no history of a shell.


def _digest(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and (len(text) != 64 or text.strip("0123456789abcdef")):
        raise click.UsageError("--sha256 takes 64 lower-case hexadecimal digits")
    return text


sha256_option: Callable[[Any], Any] = click.option(
    "--sha256", metavar="HEX", callback=_digest, help="The SHA-256 of the secret, so that it need not be handed over."
)


def read_line() -> str:
    """One line without its end. Raises UsageError when it is not UTF-8 text."""
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        line = None
    if line is None or not is_utf8(line):
        raise click.UsageError("standard input is not UTF-8 text")
    return line.rstrip("\r\n")


_PACKED: Mapping[bytes, str] = {
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a ZIP file",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\0": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a": "a RAR archive",
    b"%PDF-": "a PDF",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
}
"""How files begin whose text is not to be seen in their octets."""


def _encoding(octets: bytes) -> str:
    """By the byte order mark, with which PowerShell begins what it writes into a file."""
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def read_text() -> str:
    """A text from a pipe, or a secret from a person who does not see what they type."""
    if sys.stdin.isatty():
        return read_secret()
    octets = sys.stdin.buffer.read(LONGEST + 1)
    if len(octets) > LONGEST:
        raise click.UsageError(f"standard input has more than {LONGEST:,} octets; hand it over in parts")
    packed = next((name for head, name in _PACKED.items() if octets.startswith(head)), None)
    if packed is not None:
        raise click.UsageError(
            f"standard input is {packed}: what is in it cannot be looked at; hand over the text in it"
        )
    # Line breaks stay, and what is not of that encoding is replaced.
    text = octets.decode(_encoding(octets), "replace")
    if not text.strip():
        raise click.UsageError("hand the text over on standard input, or name something else by an option")
    return text


def read_secret() -> str:
    """The secret, from a pipe or from a person who does not see what they type."""
    if not sys.stdin.isatty():
        secret = read_line().strip()
    else:
        secret = click.prompt("Secret", hide_input=True, err=True).strip()
    if not secret:
        raise click.UsageError("hand the secret over on standard input, or name something else by an option")
    return secret
