"""How a command fails: in plain words on standard error, with an exit code that a script can tell apart."""

from typing import Any

import rich_click as click

from api.refusal_words import words
from domain.decision import Refusal

REFUSED = 1
USAGE = 2
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            click.echo(f"Error: {failure}", err=True)
            ctx.exit(failure.exit_code)
        except Exception as error:
            if getattr(getattr(error, "orig", None), "sqlstate", None) != _NOT_ALLOWED:
                raise
            click.echo(f"Error: {_OWNER}", err=True)
            ctx.exit(UNAVAILABLE)


def refused(refusal: Refusal) -> Failure:
    """A refusal of the domain in words, led by the field at fault."""
    said = words(refusal) or refusal.reason.value.replace("_", " ")
    return Failure(f"{refusal.field}: {said}" if refusal.field else said)


def unavailable(message: str) -> Failure:
    """The database or a key is not there, or not the right one."""
    return Failure(message, UNAVAILABLE)
