"""`grantlog demo`, which `make run` calls."""

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import rich_click as click

from cli.failures import unavailable
from cli.installation import upgrade_to_newest
from cli.serve import override, require_free_port, start, without_collections
from cli.serve import prepare as prepare_server
from cli.services import load_settings, open_keys, opened, schema_is_current

if TYPE_CHECKING:
    from api.config.settings import Settings
    from security.keyring import Keyring

PATIENCE = 5
"""Seconds that the third-party application gets to end by itself."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [GRANTLOG_PORT]")
@click.option("--demo-port", type=click.IntRange(1, 65535), help="The third party's port.  [GRANTLOG_DEMO_PORT]")
@click.pass_context
def demo(context: click.Context, port: int | None, demo_port: int | None) -> None:
    """Serve with example people and clients, and a third-party application beside.

    Makes the database, a master key and the demo at the first start. Passwords and secrets are in demo.json in the
    data directory, and nowhere else.
    """
    from security.private_files import make_private

    without_collections(context)
    override(environment="demo", port=port, demo_port=demo_port)
    settings = load_settings()
    require_free_port(settings)
    make_private(settings.data_dir)
    keyring = open_keys(settings)
    if not schema_is_current(settings):
        upgrade_to_newest(settings)
    prepare(settings, keyring)
    third_party = start_third_party(settings)
    show_where_to_look(settings, third_party is not None)
    try:
        code = start(settings)
    finally:
        if third_party is not None:
            stop_third_party(third_party)
    raise SystemExit(code)


def prepare(settings: "Settings", keyring: "Keyring") -> None:
    """Sees to it that the demo's people and clients exist and `demo.json` tells of them; raises Failure."""
    from api.config import demonstration
    from eventstore.database.engines import reading

    prepare_server(settings, keyring)
    engine = reading(settings.database_url, 1)
    try:
        with engine.connect() as connection:
            if demonstration.present(connection, settings):
                return
    finally:
        engine.dispose()
    import asyncio

    try:
        asyncio.run(_make(settings, keyring))
    except demonstration.Lost as error:
        raise unavailable(str(error)) from None


async def _make(settings: "Settings", keyring: "Keyring") -> None:
    from api.config import demonstration
    from security.passwords import Hasher, Parameters

    hasher = Hasher(Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism))
    try:
        async with opened(settings, keyring) as services:
            await demonstration.prepare(services.ledger, settings, services.format, hasher, services.origin)
    finally:
        hasher.close()


def start_third_party(settings: "Settings") -> "subprocess.Popen[bytes] | None":
    """Starts the application as an ordinary program; its secret goes through a pipe, which nobody else can read."""
    import msgspec

    from api.config import demonstration
    from api.server.parent import end_with_parent
    from api.server.worker import is_taken

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


def stop_third_party(process: "subprocess.Popen[bytes]") -> None:
    """Asks it to end, and ends it when it does not."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show_where_to_look(settings: "Settings", with_third_party: bool) -> None:
    """The addresses, and the file that holds what is needed to sign in."""
    from api.config.demonstration import FILE
    from commands.servers import DASHBOARDS

    directory = os.environ.get("GRANTLOG_DATA_DIR")
    prefix = f"GRANTLOG_DATA_DIR={shlex.quote(directory)} " if directory else ""
    lines = [("Start here", f"{settings.issuer}/")]
    lines += [(each.client_name, f"{settings.issuer}/dashboards/{each.slug}") for each in DASHBOARDS]
    if with_third_party:
        lines.append(("Third party", f"http://127.0.0.1:{settings.demo_port}/"))
    lines += [
        ("API", f"{settings.issuer}/schema"),
        ("Passwords", str(settings.data_dir / FILE)),
        ("Watch the log", f"{prefix}{sys.argv[0]} log tail"),
    ]
    click.echo("Grantlog, a demo")
    for label, where in lines:
        click.echo(f"  {label:<18}{where}")
    sys.stdout.flush()
