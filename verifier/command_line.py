"""The verifier as a program of its own: `grantlog-verify.pyz`, which needs Python and `cryptography` and nothing else.

It says what `grantlog audit verify`, `grantlog audit check-receipt` and `grantlog witness` say, with the same exit
codes: 0 verified, 1 tampered, 2 nothing is proved."""

import argparse
import json
import re
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from verifier.note import Key, Malformed, is_name
from verifier.proofs import check_receipt, is_export, parse_receipt, verify_export
from verifier.source import open_source
from verifier.verdict import SourceError, Verdict
from verifier.verify import verify
from verifier.witness import Memory, Witness, load_or_create_key, server, stop_on_signals

UNPROVED = 2
_TOKEN = re.compile(r"[!-~]{1,8192}")


class Unusable(Exception):
    """What was given is not what it has to be, told in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name; its exit code."""
    given = _parser().parse_args(arguments)
    try:
        code: int = given.work(given)
    except Unusable as error:
        print(f"Error: {error}", file=sys.stderr)
        code = UNPROVED
    except Exception:
        # Python's own code for it would say that the log was tampered with.
        traceback.print_exc()
        code = UNPROVED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grantlog-verify",
        description="Checks what a Grantlog server publishes, with nothing of the server's code.",
        epilog="Exit code 0: verified. 1: tampered. 2: it could not be verified, so nothing is proved.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    log = commands.add_parser("verify", help="verify a log, or an export with proof, from its first event to its last")
    log.add_argument("source", metavar="SOURCE", help="a server's URL, an SQLite file, or an export; - is stdin")
    log.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="one that you kept; repeatable")
    log.add_argument("--token-file", metavar="FILE", help="holds an access token with audit:read; - is stdin")
    log.set_defaults(work=_verify)
    receipt = commands.add_parser("check-receipt", help="check a receipt, and show the event that it proves")
    receipt.add_argument("file", metavar="FILE", help="the receipt")
    receipt.set_defaults(work=_check_receipt)
    for command in (log, receipt):
        command.add_argument("--key", action="append", required=True, help="the log's verifier key, or a file with it")
        command.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness's; repeatable")
        command.add_argument("--quorum", type=int, metavar="K", help="how many of the witnesses must have cosigned")
        command.add_argument("--json", action="store_true", help="print JSON, for scripts")
    witness = commands.add_parser("witness", help="run a witness of other people's logs")
    witness.add_argument("--name", required=True, help="the witness's name in its signatures, such as a host's")
    witness.add_argument("--log", action="append", required=True, metavar="KEY", help="a log to watch; repeatable")
    witness.add_argument("--data-dir", required=True, metavar="DIR", help="where its key and its memory are kept")
    witness.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on")
    witness.add_argument("--port", type=int, default=8403, help="port to listen on")
    witness.set_defaults(work=_witness)
    return parser


def _verify(given: argparse.Namespace) -> int:
    keys, witnesses, quorum = _demanded(given)
    kept = [_text(file) for file in given.checkpoint]
    token = None if given.token_file is None else _token(given.token_file)
    demands: dict[str, Any] = {"kept": kept, "witnesses": witnesses, "quorum": quorum}
    try:
        if given.source == "-":
            verdict = verify_export(sys.stdin.buffer, keys, **demands)
        elif is_export(given.source):
            with Path(given.source).open("rb") as lines:
                verdict = verify_export(lines, keys, **demands)
        else:
            with closing(open_source(given.source, token)) as source:
                verdict = verify(source, keys, **demands)
    except (SourceError, OSError) as error:
        verdict = Verdict("unverifiable", str(error))
    return _end(verdict, given.json)


def _check_receipt(given: argparse.Namespace) -> int:
    keys, witnesses, quorum = _demanded(given)
    text = _text(given.file)
    verdict = check_receipt(text, keys, witnesses=witnesses, quorum=quorum)
    if verdict.outcome == "verified" and not given.json:
        event = parse_receipt(text).extra
        # Read by anyone who checks, and escaped, so that nothing in it moves the cursor.
        print(json.dumps(json.loads(event or b"null"), indent=2))
    return _end(verdict, given.json)


def _demanded(given: argparse.Namespace) -> tuple[list[Key], list[Key], int]:
    keys, witnesses = _keys(given.key, "--key"), _keys(given.witness, "--witness")
    quorum = len(witnesses) if given.quorum is None else given.quorum
    if not 0 <= quorum <= len(witnesses):
        raise Unusable(f"--quorum: {quorum} cannot be demanded of {len(witnesses)} witnesses")
    return keys, witnesses, quorum


def _keys(given: Sequence[str], option: str) -> list[Key]:
    try:
        return [Key.parse(line) for each in given for line in ((each,) if "+" in each else _text(each).split())]
    except Malformed as error:
        raise Unusable(f"{option}: {error}") from None


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise Unusable(f"{name} cannot be read, or is not text") from None


def _token(name: str) -> str:
    token = (sys.stdin.read() if name == "-" else _text(name)).strip()
    if not _TOKEN.fullmatch(token):
        raise Unusable("--token-file: there is no access token in it")
    return token


def _end(verdict: Verdict, as_json: bool) -> int:
    if as_json:
        print(json.dumps(verdict.members))
        return verdict.exit_code
    _say(f"{verdict.outcome.upper()}: {verdict.reason}")
    for name, value in verdict.figures:
        _say(f"{name:<14}{', '.join(value) or '-' if isinstance(value, tuple) else value}")
    return verdict.exit_code


def _say(line: str) -> None:
    """Prints a line. Nothing in it can move the cursor or change a colour."""
    print("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line))


def _witness(given: argparse.Namespace) -> int:
    if not is_name(given.name):
        raise Unusable("--name: must have neither blanks nor plus signs")
    directory = Path(given.data_dir)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        cosigner = load_or_create_key(directory / "witness.key", given.name)
        memory = Memory(directory / "witness.db")
        listening = server(Witness(cosigner, _keys(given.log, "--log"), memory, _now), given.host, given.port)
    except (ValueError, OSError) as error:
        raise Unusable(str(error)) from None
    stop_on_signals(listening)
    with listening:
        print(cosigner.key, flush=True)
        print(f"Listening on http://{given.host}:{listening.server_address[1]}/", file=sys.stderr, flush=True)
        listening.serve_forever(poll_interval=0.1)
    return 0


def _now() -> int:
    return int(time.time())
