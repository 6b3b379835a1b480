"""`grantlog audit receipt` and `check-receipt`: that one event is in the log, shown without log and server."""

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from api.cli.failures import USAGE, Failure
from api.cli.opening import Here, run
from api.cli.showing import as_json
from api.cli.standard_input import read_line
from api.cli.verdicts import demanded, end_with, needed, pinned_keys, read_keys, read_text, witness_keys

if TYPE_CHECKING:
    from eventstore.asking import Connection
    from security.tokens import Format


@click.command()
@click.argument("subject", metavar="POSITION|-")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the receipt to this file instead of standard output.",
)
def receipt(subject: str, output: Path | None) -> None:
    """Write a receipt for the event at POSITION.

    With - it is for the event that issued the token, code or secret on standard input, which is read there so that it
    stands in no list of processes and no history of a shell.
    """
    if subject != "-" and not (subject.isascii() and subject.isdigit() and 0 < int(subject) < 2**53):
        raise click.UsageError("POSITION must be a position of the log, or - for a token on standard input")
    raw = read_line().strip() if subject == "-" else None
    written = run(lambda here: _receipt(here, raw, subject))
    if output is None:
        click.echo(written, nl=False)
        return
    try:
        output.write_text(written, encoding="utf-8")
    except OSError as error:
        raise Failure(f"--output: {output}: {error.strerror}") from None
    click.echo(f"Written to {output}.", err=True)


async def _receipt(here: Here, raw: str | None, subject: str) -> str:
    from api.cli.reading.sources import diverged
    from eventstore.transparency import published
    from eventstore.transparency.divergence import Diverged
    from eventstore.transparency.leaves import read_authentic_leaves

    position = int(subject) if raw is None else await here.ledger.read(_issued_at, here.format, raw)
    try:
        written = await here.ledger.read(published.receipt, position, read_authentic_leaves)
    except Diverged as found:
        await diverged(here, found)
        raise Failure(f"no receipt can be given: {found}") from None
    if written is None:
        raise Failure(f"no checkpoint covers position {position}; a running server signs one within a second")
    return written


def _issued_at(connection: "Connection", format: "Format", raw: str) -> int:
    from eventstore import issued
    from security.tokens import digest

    if format.parse(raw) is None:
        raise Failure("standard input holds no secret of this server, or one with a typing error")
    found = issued.find(connection, digest(raw))
    if found is None:
        raise Failure("this server never issued that secret")
    return found.by.position


@click.command(name="check-receipt")
@click.argument("file", metavar="FILE")
@pinned_keys
@witness_keys
@demanded
@as_json
def check_receipt(
    file: str, keys: tuple[str, ...], witnesses: tuple[str, ...], quorum: int | None, as_json: bool
) -> None:
    """Check a receipt, with no server and no database, and show the event that it proves.

    Exit code 0: the event is in the log. 1: the receipt is false. 2: it could not be checked.
    """
    from verifier.note import Malformed
    from verifier.receipt import check_receipt as check
    from verifier.receipt import parse_receipt

    if not keys:
        raise Failure("--key: name the log's verifier key", USAGE)
    cosigners = read_keys(witnesses, "--witness")
    text = read_text(file, "FILE")
    verdict = check(text, read_keys(keys, "--key"), witnesses=cosigners, quorum=needed(quorum, cosigners))
    if verdict.outcome == "verified" and not as_json:
        try:
            _show(parse_receipt(text).extra)
        except Malformed:
            raise AssertionError("a receipt that was verified can be read") from None
    end_with(verdict, as_json)


def _show(event: bytes | None) -> None:
    from api.cli.event_line import page

    if event is not None:
        click.echo(page(event.decode()))
        click.echo()
