"""`grantlog witness`: a witness of other people's logs (C2SP tlog-witness). It needs no settings and no database."""

import signal
import threading
import time
from pathlib import Path

import rich_click as click

from cli.audit_verify import read_keys
from cli.failures import USAGE, Failure


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
    else the log signs is refused, and kept as evidence. Its verifier key is printed first.
    """
    from security.private_files import make_private
    from verifier.note import Malformed
    from verifier.witness import Memory, Witness, load_or_create_key, server

    if not name or "+" in name or any(character.isspace() for character in name):
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
    with listening:
        click.echo(f"{cosigner.key}")
        click.echo(f"Listening on http://{host}:{listening.server_address[1]}/", err=True)

        def stop(*_: object) -> None:
            # `shutdown` waits for the loop that this very thread runs.
            threading.Thread(target=listening.shutdown).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        listening.serve_forever(poll_interval=0.1)
