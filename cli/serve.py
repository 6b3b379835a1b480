"""`grantlog serve`, and `grantlog demo`, which `make run` calls."""

import asyncio
import gc
import os
import shlex
import socket
import subprocess
import sys
from typing import get_args

import msgspec
import rich_click as click

from api.config import demonstration
from api.config.demonstration import FILE
from api.config.settings import Settings
from api.http.log_lines import configure
from api.letters.postman import FOLDER
from api.server.parent import end_with_parent
from api.server.transparency import NotContinued, require_continuation
from api.server.worker import is_taken
from api.services import IssuerChanged, is_recorded, require_issuer
from cli.command_services import (
    connected,
    in_plain_words,
    load_settings,
    open_keys,
    opened,
    prove_key,
    require_schema,
    schema_is_current,
)
from cli.installation import upgrade_to_newest
from cli.playing import HistoryWish
from cli.terminal import Failure, unavailable
from commands.servers import DASHBOARDS
from domain import server
from eventstore.database.engines import reading
from eventstore.ledger import Ledger
from eventstore.projecting.rebuild import Outdated, outdated
from eventstore.unavailable import WrongClock
from projections import FOLLOWING, PROJECTIONS
from security.clock import SystemClock
from security.keyring import Keyring
from security.passwords import Argon2Parameters, Hasher
from security.private_files import make_private
from security.vault import Vault


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [GRANTLOG_HOST]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [GRANTLOG_PORT]")
@click.option("--workers", type=click.IntRange(1, 256), help="Server processes.  [GRANTLOG_WORKERS]")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve, in production.

    Checks settings, master key and migrations first. SIGTERM and SIGINT stop it after what it accepted is answered."""
    without_collections(context)
    override(host=host, port=port, workers=workers)
    settings = load_settings(environment=os.environ.get("GRANTLOG_ENVIRONMENT"))
    require_schema(settings)
    configure_log(settings)
    prepare(settings, open_keys(settings))
    raise SystemExit(start(settings))


def without_collections(context: click.Context) -> None:
    """Until `start`: they cost a sixth of the start, and find nothing while modules are being imported."""
    gc.disable()
    context.call_on_close(gc.enable)


def override(**given: object) -> None:
    """Options outweigh the environment, and workers read the environment."""
    os.environ |= {f"GRANTLOG_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def configure_log(settings: Settings) -> None:
    """What is logged before there are workers looks like what they log."""
    prefixes = (settings.token_prefix, *settings.former_token_prefixes)
    configure(format=settings.log_format, level=settings.log_level, prefixes=prefixes)


def prepare(settings: Settings, keyring: Keyring) -> None:
    """Proves the key and the issuer, and installs what an empty database gets; raises Failure."""
    with connected(settings) as connection:
        prove_key(connection, Vault(keyring), keyring)
        old = outdated(connection, (*PROJECTIONS, *FOLLOWING))
    if old:
        raise unavailable(str(Outdated(old)))

    async def install() -> None:
        ledger = await Ledger.open(settings.database_url, keyring, SystemClock())
        try:
            await require_continuation(ledger, settings, first=True)
        finally:
            await ledger.close()
        async with opened(settings, keyring) as services:
            state: server.State = await services.ledger.state(server.STREAM)
            require_issuer(state, settings.issuer)
            if not is_recorded(state, settings) and (fault := await services.ledger.clock_fault()):
                # No worker could start.
                raise WrongClock(fault)

    try:
        with in_plain_words(settings):
            asyncio.run(install())
    except NotContinued as error:
        raise unavailable(str(error)) from None
    except IssuerChanged as error:
        raise Failure(str(error)) from None


def require_free_port(settings: Settings) -> None:
    """Raises Failure where nobody can listen, so that this is told before anything is made or announced."""
    from api.server.worker import is_taken

    if is_taken(settings.host, settings.port):
        raise Failure(_taken(settings.host, settings.port, "GRANTLOG_HOST and GRANTLOG_PORT"))


def start(settings: Settings) -> int:
    """Runs the server in this process's children; the exit code."""
    from api.server.board import prepare_directory
    from api.server.worker import listen
    from security.private_files import make_private

    try:
        main = listen(settings.host, settings.port)
    except OSError:
        raise Failure(_taken(settings.host, settings.port, "GRANTLOG_HOST and GRANTLOG_PORT")) from None
    health = _listen_for_operators(settings)
    make_private(settings.data_dir)
    prepare_directory(settings.data_dir.absolute() / "metrics" / str(settings.port))
    # With it comes the app, imported once here: what is forked from this process has it already, and shares its memory.
    from api.serving import serve as serve_app

    # A collection in a worker would touch, and so copy, every object of these modules.
    gc.freeze()
    gc.enable()
    return serve_app(settings, main, health)


def _listen_for_operators(settings: Settings) -> socket.socket | None:
    """The socket for health and numbers; None where there is to be none."""
    from api.server.worker import listen

    if not settings.health_port:
        return None
    try:
        return listen(settings.health_host, settings.health_port)
    except OSError:
        text = _taken(settings.health_host, settings.health_port, "GRANTLOG_HEALTH_HOST and GRANTLOG_HEALTH_PORT")
    if settings.environment == "demo":
        # Several demos on one machine are nobody's fault.
        click.echo(f"Warning: {text}. The demo goes on without its listener for health and numbers.", err=True)
        return None
    raise Failure(text)


def _taken(host: str, port: int, variables: str) -> str:
    return (
        f"cannot listen on {host}:{port}: the address is taken or not this machine's. Choose another with {variables}"
    )


# `grantlog demo`.

PATIENCE = 5
"""Seconds that the third-party application gets to end by itself."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [GRANTLOG_PORT]")
@click.option("--demo-port", type=click.IntRange(1, 65535), help="The third party's port.  [GRANTLOG_DEMO_PORT]")
@click.option(
    "--history",
    type=click.Choice(get_args(HistoryWish)),
    is_flag=False,
    flag_value="required",
    help="Play a month of made-up events into an empty log first; with `if-empty`, where there is an empty one.",
)
@click.pass_context
def demo(context: click.Context, port: int | None, demo_port: int | None, history: HistoryWish | None) -> None:
    """Serve with example people and clients, and a third-party application beside.

    Makes the database, a master key and the demo at the first start. Passwords and secrets are in demo.json in the data
    directory, and nowhere else."""
    without_collections(context)
    override(environment="demo", port=port, demo_port=demo_port)
    settings = load_settings()
    require_free_port(settings)
    configure_log(settings)
    make_private(settings.data_dir)
    keyring = open_keys(settings)
    if not schema_is_current(settings):
        upgrade_to_newest(settings)
    if history is not None:
        play_history(settings, keyring, history)
    prepare_demo(settings, keyring)
    third_party = start_third_party(settings)
    show_where_to_look(settings, third_party is not None)
    try:
        code = start(settings)
    finally:
        if third_party is not None:
            stop_third_party(third_party)
    raise SystemExit(code)


def play_history(settings: Settings, keyring: Keyring, wish: HistoryWish) -> None:
    """Plays a month into an empty log; raises Failure."""
    from cli.playing.history import play

    with in_plain_words(settings):
        if asyncio.run(play(settings, keyring, wish)):
            click.echo("A month was played into the log: what came before now is made up.")


def prepare_demo(settings: Settings, keyring: Keyring) -> None:
    """Sees to it that the demo's people and clients exist and `demo.json` tells of them; raises Failure."""
    prepare(settings, keyring)
    engine = reading(settings.database_url, 1)
    try:
        with engine.connect() as connection:
            if demonstration.present(connection, settings):
                return
    finally:
        engine.dispose()
    try:
        asyncio.run(_make(settings, keyring))
    except demonstration.DemoFileLost as error:
        raise unavailable(str(error)) from None


async def _make(settings: Settings, keyring: Keyring) -> None:
    hasher = Hasher(Argon2Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism))
    try:
        async with opened(settings, keyring) as services:
            await demonstration.prepare(services.ledger, settings, services.format, hasher, services.origin)
    finally:
        hasher.close()


def start_third_party(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Starts the application as an ordinary program; its secret goes through a pipe, which nobody else can read."""
    if is_taken("127.0.0.1", settings.demo_port):
        click.echo(
            f"Warning: port {settings.demo_port} is taken, so the demo's third party does not start. "
            "Choose another with GRANTLOG_DEMO_PORT.",
            err=True,
        )
        return None
    registered = demonstration.read(settings).third_party
    config = msgspec.structs.asdict(registered) | {"issuer": settings.issuer, "name": demonstration.THIRD_PARTY_NAME}
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, and arguments of ours
        [sys.executable, "-m", "demo.third_party", "--config", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
        env={name: value for name, value in os.environ.items() if name != "GRANTLOG_MASTER_KEY"},
    )
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    with process.stdin as pipe:
        pipe.write(msgspec.json.encode(config))
    return process


def stop_third_party(process: subprocess.Popen[bytes]) -> None:
    """Asks it to end, and ends it when it does not."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_where_to_look(settings: Settings, with_third_party: bool) -> None:
    """The addresses, and the file that holds what is needed to sign in."""
    directory = os.environ.get("GRANTLOG_DATA_DIR")
    prefix = f"GRANTLOG_DATA_DIR={shlex.quote(directory)} " if directory else ""
    lines = [("Start here", f"{settings.issuer}/")]
    lines += [(each.client_name, f"{settings.issuer}/dashboards/{each.slug}") for each in DASHBOARDS]
    if settings.console:
        lines.append(("Console", f"{settings.issuer}/console/"))
    if with_third_party:
        lines.append(("Third party", f"http://127.0.0.1:{settings.demo_port}/"))
    lines += [
        ("API", f"{settings.issuer}/schema"),
        ("Passwords", str(settings.data_dir / FILE)),
        *([("Mail", str(settings.data_dir / FOLDER))] if settings.mail == "file" else []),
        ("Watch the log", f"{prefix}{sys.argv[0]} log tail"),
    ]
    click.echo("Grantlog, a demo")
    for label, where in lines:
        click.echo(f"  {label:<18}{where}")
    sys.stdout.flush()
