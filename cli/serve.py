"""`grantlog serve`."""

import gc
import os
from typing import TYPE_CHECKING

import rich_click as click

from cli.failures import Failure, unavailable
from cli.services import connected, load_settings, open_keys, opened, prove_key, require_schema

if TYPE_CHECKING:
    import socket

    from api.config.settings import Settings
    from security.keyring import Keyring


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [GRANTLOG_HOST]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [GRANTLOG_PORT]")
@click.option("--workers", type=click.IntRange(1, 256), help="Server processes.  [GRANTLOG_WORKERS]")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve, in production.

    Checks settings, master key and migrations first. SIGTERM and SIGINT stop it after what it accepted is answered.
    """
    without_collections(context)
    override(host=host, port=port, workers=workers)
    settings = load_settings(environment=os.environ.get("GRANTLOG_ENVIRONMENT"))
    require_schema(settings)
    prepare(settings, open_keys(settings))
    raise SystemExit(start(settings))


def without_collections(context: click.Context) -> None:
    """Until `start`: they cost a sixth of the start, and find nothing while modules are being imported."""
    gc.disable()
    context.call_on_close(gc.enable)


def override(**given: object) -> None:
    """Options outweigh the environment, and workers read the environment."""
    os.environ |= {f"GRANTLOG_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def prepare(settings: "Settings", keyring: "Keyring") -> None:
    """Proves the key and the issuer, and installs what an empty database gets; raises Failure."""
    import asyncio

    from api.server.keeper import NotContinued, require_continuation
    from api.services import IssuerChanged, require_issuer
    from domain import server
    from eventstore.database.engines import in_words
    from eventstore.errors import DatabaseAway, WrongClock
    from eventstore.ledger import Ledger
    from eventstore.projecting.rebuild import Outdated, outdated
    from projections import FOLLOWING, PROJECTIONS
    from security.clock import SystemClock
    from security.vault import Vault

    with connected(settings) as connection:
        prove_key(connection, Vault(keyring), keyring)
        old = outdated(connection, (*PROJECTIONS, *FOLLOWING))
    if old:
        raise unavailable(str(Outdated(old)))

    async def install() -> None:
        ledger = await Ledger.open(settings.database_url, keyring, SystemClock())
        try:
            await require_continuation(ledger, settings)
        finally:
            await ledger.close()
        async with opened(settings, keyring) as services:
            require_issuer(await services.ledger.state(server.STREAM), settings.issuer)

    try:
        asyncio.run(install())
    except NotContinued as error:
        raise unavailable(str(error)) from None
    except IssuerChanged as error:
        raise Failure(str(error)) from None
    except WrongClock as error:
        raise unavailable(f"nothing is written while this machine's clock is off: {error}") from None
    except DatabaseAway as error:
        raise unavailable(f"the database does not answer: {in_words(error, settings.database_url)}") from None


def require_free_port(settings: "Settings") -> None:
    """Raises Failure where nobody can listen, so that this is told before anything is made or announced."""
    from api.server.worker import is_taken

    if is_taken(settings.host, settings.port):
        raise Failure(_taken(settings.host, settings.port, "GRANTLOG_HOST and GRANTLOG_PORT"))


def start(settings: "Settings") -> int:
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


def _listen_for_operators(settings: "Settings") -> "socket.socket | None":
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
