"""What is handed over on standard input, so that it stands in no list of processes and no history of a shell."""

import sys
from collections.abc import Callable
from typing import Any

import rich_click as click

from cli.failures import is_utf8


def _digest(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and (len(text) != 64 or text.strip("0123456789abcdef")):
        raise click.UsageError("--sha256 takes 64 lower-case hexadecimal digits")
    return text


sha256: Callable[[Any], Any] = click.option(
    "--sha256",
    metavar="HEX",
    callback=_digest,
    help="The SHA-256 of the secret, so that it need not be handed over.",
)


def read_all(longest: int) -> str:
    """All of it, up to so many octets, as it is: line breaks stay, and what is not UTF-8 is replaced.

    Raises UsageError when there is more.
    """
    octets = sys.stdin.buffer.read(longest + 1)
    if len(octets) > longest:
        raise click.UsageError(f"standard input has more than {longest:,} octets; hand it over in parts")
    return octets.decode("utf-8", "replace")


def read_line() -> str:
    """One line without its end. Raises UsageError when it is not UTF-8 text."""
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        line = None
    if line is None or not is_utf8(line):
        raise click.UsageError("standard input is not UTF-8 text")
    return line.rstrip("\r\n")


def read_text() -> str:
    """A text from a pipe, or a secret from a person who does not see what they type."""
    from security.scanning import LONGEST

    if sys.stdin.isatty():
        return read_secret()
    text = read_all(LONGEST)
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
