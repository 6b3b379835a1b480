"""What is handed over on standard input, so that it stands in no list of processes and no history of a shell."""

import sys

import rich_click as click

from api.cli.failures import is_utf8


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
