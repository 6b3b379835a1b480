"""`grantlog audit verify`: the whole log against its signed checkpoint, by code that shares nothing with the server."""

import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import rich_click as click

from api.cli.failures import USAGE, Failure
from api.cli.opening import connected, load_settings, open_keys, prove_key, require_schema
from api.cli.progress import Bar
from api.cli.showing import as_json
from api.cli.verdicts import demanded, end_with, needed, pinned_keys, read_keys, read_text, witness_keys

if TYPE_CHECKING:
    from api.settings import Settings
    from verifier.note import Key
    from verifier.verdict import Verdict

SQLITE = b"SQLite format 3\x00"
LONGEST_TOKEN = 1024


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
    without it, this server's own database. Exit code 0: verified. 1: tampered, and the first position that does not
    fit is named. 2: it could not be verified, so nothing is proved.
    """
    from verifier.verdict import SourceError, Verdict

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


def _pinned(keys: Sequence[str]) -> list["Key"]:
    if not keys:
        raise Failure("--key: name the log's verifier key, which its operator gave you on another way than this source")
    return read_keys(keys, "--key")


def _token(file: IO[str]) -> str:
    """What the file holds; Failure when it is not one word, which a failed command before this one leaves there."""
    text = file.read(LONGEST_TOKEN + 1).strip()
    if not re.fullmatch(rf"[!-~]{{1,{LONGEST_TOKEN}}}", text):
        raise Failure("--token-file: there is no access token in it")
    return text


def _own(keys: list["Key"]) -> tuple[str, list["Key"]]:
    """This server's database; unless keys are pinned, those of its vault, which whoever holds the master key trusts."""
    settings = load_settings()
    require_schema(settings)
    return settings.database_url, keys or read_keys(_of_the_vault(settings), "the vault")


def _of_the_vault(settings: "Settings") -> list[str]:
    """Read past the ledger: nothing is folded that somebody may have tampered with, and nothing is written."""
    from api.settings import log_origin
    from eventstore.transparency import log_key, published
    from eventstore.transparency.checkpoint import parse
    from security.vault import Vault

    keyring = open_keys(settings)
    vault = Vault(keyring)
    with connected(settings) as connection:
        prove_key(connection, vault, keyring)
        newest = published.newest_signed(connection)
        try:
            origin = log_origin(settings) if newest is None else parse(newest.note).origin
            return [str(signer.verifier) for signer in log_key.signers(connection, vault, origin)]
        except ValueError:
            raise Failure("the newest checkpoint cannot be read; pin the log's key with --key") from None


def _verify(source: str, keys: list["Key"], demands: dict[str, Any], token: str | None) -> "Verdict":
    from verifier.export import verify_export
    from verifier.source import open_source
    from verifier.verify import verify as verify_log

    with Bar("verify") as progress:
        if source == "-":
            return verify_export(sys.stdin.buffer, keys, progress=progress, **demands)
        if _is_export(source):
            with Path(source).open("rb") as lines:
                return verify_export(lines, keys, progress=progress, **demands)
        with closing(open_source(source, token)) as opened:
            return verify_log(opened, keys, progress=progress, **demands)


def _is_export(source: str) -> bool:
    path = Path(source)
    if "://" in source or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) not in (SQLITE, b"")
