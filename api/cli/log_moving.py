"""`grantlog log export` and `grantlog log import`: a whole log on its way to another database."""

import os
from pathlib import Path
from typing import Any

import rich_click as click

from api.cli.failures import Failure, unavailable
from api.cli.log import log as log
from api.cli.opening import Here, connected, load_settings, open_keys, prove_key, require_schema, run
from api.cli.progress import Bar


@log.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(file: Path) -> None:
    """Write the whole log to a new FILE: events, proofs, checkpoints and the vault, whose keys stay wrapped.

    Keep the file as you keep the database. It is of no use without the master key.
    """
    from eventstore.carrying import write
    from eventstore.commands import Forged
    from eventstore.engines import snapshot
    from eventstore.mapper import authenticate
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{file} is there already") from None
    with os.fdopen(descriptor, "wb") as sink, snapshot(settings.database_url) as connection, Bar("export") as bar:
        authenticate(connection, Vault(keyring))
        try:
            count = write(connection, sink, bar)
        except Forged as error:
            raise Failure(f"{error}: nothing that can be trusted was written") from None
        sink.flush()
        os.fsync(sink.fileno())
    click.echo(f"{count:,} events are in {file}")


@log.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def import_(file: Path) -> None:
    """Bring an exported log into this database, which must be migrated and empty, and prove that it is whole.

    Positions, proofs and checkpoints stay what they were; erasures in the log are applied to the vault again.
    When it is broken off after the events are here, `grantlog projections rebuild` does what is left.
    """
    from eventstore.carrying import NotALog, read
    from eventstore.engines import migrating
    from eventstore.rebuilding import Rebuild
    from eventstore.schema import server_role
    from projections import PROJECTIONS
    from security.clock import SystemClock
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)
    owner = settings.migration_database_url or settings.database_url
    engine, vault, now = migrating(owner), Vault(keyring), SystemClock().now()
    try:
        with file.open("rb") as source, Bar("import") as bar:
            carried = read(engine, vault, source, now, bar, lambda connection: _prove_keys(connection, vault, keyring))
    except NotALog as error:
        raise Failure(str(error)) from None
    with Bar("projections") as bar:
        role = server_role(settings.database_url, owner)
        Rebuild(engine, PROJECTIONS, privacy_of(keyring, vault), now, server_role=role).run(bar)
    click.echo(f"{carried.events:,} events are here; {carried.erased} erasures were applied again")
    _prove(settings, vault)
    run(begin_what_is_due)


async def begin_what_is_due(_: Here) -> None:
    """Who opens the log begins the MAC key that is due, and tells of it."""


def _prove_keys(connection: Any, vault: Any, keyring: Any) -> None:
    """Raises Failure unless the master keys are those of the vault that was carried here, and all of them."""
    from security.keyring import MasterKeyError, WrapBroken
    from security.rewrapping import sample

    prove_key(connection, vault, keyring)
    try:
        sample(connection, keyring)
    except (MasterKeyError, WrapBroken) as error:
        raise unavailable(str(error)) from None


def privacy_of(keyring: Any, vault: Any) -> Any:
    """What seals and finds with these keys."""
    from eventstore.privacy import Privacy
    from security.blind_index import BlindIndex
    from security.sealing import Sealer

    return Privacy(Sealer(vault), BlindIndex(keyring))


def _prove(settings: Any, vault: Any) -> None:
    """Has the verifier, which shares no code with the server, look at what is here now."""
    from eventstore.transparency import published
    from verifier.note import Key
    from verifier.source import open_source
    from verifier.verify import verify

    with connected(settings, vault) as connection:
        keys = _verifier_keys(connection)
        signed = published.newest_signed(connection)
    if signed is None or not keys:
        click.echo("the log has no checkpoint yet, so there is nothing to prove it by")
        return
    with Bar("verify") as bar:
        verdict = verify(open_source(settings.database_url), [Key.parse(key) for key in keys], progress=bar)
    if verdict.exit_code:
        raise Failure(f"the log does not verify: {verdict.reason}", verdict.exit_code)
    click.echo(f"verified up to position {verdict.checked:,}")


def _verifier_keys(connection: Any) -> list[str]:
    from domain.log_key import STREAM, Introduced
    from eventstore.past import history

    events = (recorded.event for recorded in history(connection, STREAM))
    return [event.verifier_key for event in events if isinstance(event, Introduced)]
