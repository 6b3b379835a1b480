"""`grantlog audit verify|receipt|check-receipt` and `grantlog witness`: logs, checked by independent code."""

import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import rich_click as click

from api.config.settings import Settings, log_origin
from cli.command_services import CommandServices, connected, load_settings, open_keys, prove_key, require_schema, run
from cli.event_text import page
from cli.terminal import USAGE, Failure, ProgressBar, as_json, print_json, read_line, text
from eventstore import issued
from eventstore.database import Connection
from eventstore.transparency import published, signing_keys
from eventstore.transparency.note import parse_checkpoint
from eventstore.transparency.published import Diverged, read_authentic_leaves
from security import jose
from security.private_files import make_private
from security.tokens import Format, digest
from security.vault import Vault
from verifier.note import Key, Malformed, is_name
from verifier.proofs import check_receipt as check
from verifier.proofs import is_export, parse_receipt, verify_export
from verifier.source import open_source
from verifier.verdict import SourceError, Verdict
from verifier.verify import verify as verify_log
from verifier.witness import Memory, Witness, load_or_create_key, server, stop_on_signals

# What the commands that verify have in common: pinned keys, and a verdict that nobody can misread.

COLOURS = {"verified": "green", "tampered": "red", "unverifiable": "yellow"}

pinned_keys: Callable[[Any], Any] = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY|FILE",
    help="The log's verifier key, or a file that holds it; repeat it for the keys before and after a rotation.",
)
witness_keys: Callable[[Any], Any] = click.option(
    "--witness", "witnesses", multiple=True, metavar="KEY|FILE", help="A witness's verifier key; repeatable."
)
demanded: Callable[[Any], Any] = click.option(
    "--quorum",
    type=click.IntRange(0),
    metavar="K",
    help="How many of the witnesses must have cosigned; all of them unless you say so.",
)


def read_keys(given: Sequence[str], option: str) -> list[Key]:
    """Verifier keys as they stand on the command line or in files, one a line. Raises Failure."""
    found = []
    for each in given:
        for line in read_text(each, option).split() if "+" not in each else (each,):
            try:
                found.append(Key.parse(line))
            except Malformed as error:
                raise Failure(f"{option}: {error}", USAGE) from None
    return found


def read_text(name: str, option: str) -> str:
    """What a file holds; Failure when it cannot be read as text."""
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise Failure(f"{option}: {name}: {reason}", USAGE) from None


def needed(quorum: int | None, witnesses: Sequence[Any]) -> int:
    """How many witnesses must have cosigned; Failure when there are not so many."""
    if quorum is None:
        return len(witnesses)
    if quorum > len(witnesses):
        raise Failure(f"--quorum: {quorum} cannot be demanded of {len(witnesses)} witnesses; name them", USAGE)
    return quorum


def end_with(verdict: Verdict, as_json: bool) -> None:
    """Prints the verdict and ends with its exit code."""
    if as_json:
        print_json(verdict.members)
    else:
        word = click.style(verdict.outcome.upper(), fg=COLOURS[verdict.outcome], bold=True)
        click.echo(f"{word}: {text(verdict.reason)}")
        for name, value in verdict.figures:
            click.echo(f"{name:<14}{text(value)}")
    raise SystemExit(verdict.exit_code)


# `grantlog audit verify`: the whole log against its signed checkpoint, by code that shares nothing with the server.

LONGEST_TOKEN = jose.LONGEST_TOKEN


@click.command()
@click.argument("source", required=False)
@pinned_keys
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="FILE",
    help="A checkpoint that you kept from before; repeatable. Only it or witnesses show a history signed anew.",
)
@witness_keys
@demanded
@click.option(
    "--token-file",
    type=click.File(),
    metavar="FILE",
    help="Holds an access token with audit:read, for a server's URL; without one only its tree is checked. - is stdin.",
)
@as_json
def verify(
    source: str | None,
    keys: tuple[str, ...],
    checkpoints: tuple[str, ...],
    witnesses: tuple[str, ...],
    quorum: int | None,
    token_file: IO[str] | None,
    as_json: bool,
) -> None:
    """Verify the log from its first event to its last.

    SOURCE is a server's URL, a database's URL, an SQLite file, or an export made with `proof=1` (- for standard input);
    without it, this server's own database. Exit code 0: verified. 1: tampered, and the first position that does not fit
    is named. 2: it could not be verified, so nothing is proved."""
    cosigners = read_keys(witnesses, "--witness")
    demands: dict[str, Any] = {
        "kept": [read_text(file, "--checkpoint") for file in checkpoints],
        "witnesses": cosigners,
        "quorum": needed(quorum, cosigners),
    }
    try:
        if source is None:
            source, trusted = _own(read_keys(keys, "--key"))
        else:
            trusted = _pinned(keys)
        verdict = _verify(source, trusted, demands, None if token_file is None else _token(token_file))
    except SourceError as error:
        verdict = Verdict("unverifiable", str(error))
    except Failure as failure:
        # This command's exit code says one thing only: what is known about the log. Here it is nothing.
        raise Failure(str(failure), USAGE) from None
    end_with(verdict, as_json)


def _pinned(keys: Sequence[str]) -> list[Key]:
    if not keys:
        raise Failure("--key: name the log's verifier key, which its operator gave you by other means than this source")
    return read_keys(keys, "--key")


def _token(file: IO[str]) -> str:
    """What the file holds; Failure when it is not one word, which a failed command before this one leaves there."""
    text = file.read(LONGEST_TOKEN + 1).strip()
    if not re.fullmatch(rf"[!-~]{{1,{LONGEST_TOKEN}}}", text):
        raise Failure("--token-file: there is no access token in it")
    return text


def _own(keys: list[Key]) -> tuple[str, list[Key]]:
    """This server's database; unless keys are pinned, those of its vault, which anyone who holds the master key
    trusts."""
    settings = load_settings()
    require_schema(settings)
    return settings.database_url, keys or read_keys(_of_the_vault(settings), "the vault")


def _of_the_vault(settings: Settings) -> list[str]:
    """Read past the ledger: nothing is folded that somebody may have tampered with, and nothing is written."""
    keyring = open_keys(settings)
    vault = Vault(keyring)
    with connected(settings) as connection:
        prove_key(connection, vault, keyring)
        newest = published.newest_signed(connection)
        try:
            origin = log_origin(settings) if newest is None else parse_checkpoint(newest.note).origin
            return [str(signer.verifier) for signer in signing_keys.signers(connection, vault, origin)]
        except ValueError:
            raise Failure("the newest checkpoint cannot be read; pin the log's key with --key") from None


def _verify(source: str, keys: list[Key], demands: dict[str, Any], token: str | None) -> Verdict:
    with ProgressBar("verify") as progress:
        if source == "-":
            return verify_export(sys.stdin.buffer, keys, progress=progress, **demands)
        if is_export(source):
            with Path(source).open("rb") as lines:
                return verify_export(lines, keys, progress=progress, **demands)
        with closing(open_source(source, token)) as opened:
            return verify_log(opened, keys, progress=progress, **demands)


# `grantlog audit receipt` and `check-receipt`: that one event is in the log, shown without log and server.


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
    stands in no list of processes and no history of a shell."""
    if subject != "-" and not (subject.isascii() and subject.isdigit() and 0 < int(subject) < 2**53):
        raise click.UsageError("POSITION must be a position of the log, or - for a token on standard input")
    raw = read_line().strip() if subject == "-" else None
    written = run(lambda services: _receipt(services, raw, subject))
    if output is None:
        click.echo(written, nl=False)
        return
    try:
        output.write_text(written, encoding="utf-8")
    except OSError as error:
        raise Failure(f"--output: {output}: {error.strerror}") from None
    click.echo(f"Written to {output}.", err=True)


async def _receipt(services: CommandServices, raw: str | None, subject: str) -> str:
    position = int(subject) if raw is None else await services.ledger.read(_issued_at, services.format, raw)
    try:
        written = await services.ledger.read(published.receipt, position, read_authentic_leaves)
    except Diverged as found:
        await services.note_divergence(found)
        raise Failure(f"no receipt can be given: {found}") from None
    if written is None:
        raise Failure(f"no checkpoint covers position {position}; a running server signs one within a second")
    return written


def _issued_at(connection: Connection, format: Format, raw: str) -> int:
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

    Exit code 0: the event is in the log. 1: the receipt is false. 2: it could not be checked."""
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
    if event is not None:
        click.echo(page(event.decode()))
        click.echo()


# `grantlog witness`: a witness of other people's logs (C2SP tlog-witness). It needs no settings and no database.


@click.command()
@click.option("--name", required=True, metavar="NAME", help="The witness's name in its signatures, such as a host's.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    required=True,
    metavar="KEY|FILE",
    help="The verifier key of a log to watch; repeatable, also for the keys of one log.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where its key and its memory are kept. Whoever loses the memory can be shown an older log.",
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8403, show_default=True, help="Port to listen on.")
def witness(name: str, logs: tuple[str, ...], data_dir: Path, host: str, port: int) -> None:
    """Run a witness, away from the server whose log it watches, in somebody else's hands.

    It cosigns a checkpoint when the log is the one that it cosigned before, or that one with events added; whatever
    else the log signs is refused, and kept as evidence. Its verifier key is printed first."""
    if not is_name(name):
        raise Failure("--name: must have neither blanks nor plus signs", USAGE)
    watched = read_keys(logs, "--log")
    make_private(data_dir)
    try:
        cosigner = load_or_create_key(data_dir / "witness.key", name)
    except (Malformed, ValueError) as error:
        raise Failure(f"--data-dir: {error}", USAGE) from None
    serving = Witness(cosigner, watched, Memory(data_dir / "witness.db"), lambda: int(time.time()))
    try:
        listening = server(serving, host, port)
    except OSError as error:
        raise Failure(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --host and --port"
        ) from None
    stop_on_signals(listening)
    with listening:
        click.echo(f"{cosigner.key}")
        click.echo(f"Listening on http://{host}:{listening.server_address[1]}/", err=True)
        listening.serve_forever(poll_interval=0.1)
