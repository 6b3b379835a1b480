"""How a command fails: in plain words on standard error, with an exit code that a script can tell apart."""

import errno
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import rich_click as click

from domain.decision import Refusal

if TYPE_CHECKING:
    from api.http.errors import HTTPError

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


class Commands(click.RichGroup):
    """The commands; what fails says so in plain text, so that what a script captures holds no frames and colours."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
        with suppress(OSError):
            click.echo(f"Error: {failure}", err=True)
        _give_up_output()
        sys.exit(failure.exit_code)

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
    from security.keyring import MasterKeyError, WrapBroken

    if isinstance(error, HTTPError):
        return of_problem(error)
    if isinstance(error, MasterKeyError | WrapBroken):
        return unavailable(str(error))
    if getattr(getattr(error, "orig", None), "sqlstate", None) == _NOT_ALLOWED:
        return unavailable(_OWNER)
    return None


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


def of_problem(problem: "HTTPError") -> Failure:
    """What the API would refuse, in its words, led by the field at fault."""
    if problem.errors:
        return Failure(f"{problem.errors[0].field}: {problem.errors[0].detail}")
    return Failure(str(problem.detail))


def unavailable(message: str) -> Failure:
    """The database or a key is not there, or not the right one."""
    return Failure(message, UNAVAILABLE)
