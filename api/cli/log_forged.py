"""`grantlog log remove-forged` and `grantlog log rotate-mac-key`: what is done about events that nobody here wrote."""

import os
from pathlib import Path

import rich_click as click

from api.cli.failures import Failure
from api.cli.log_divergence import log as log
from api.cli.log_moving import begin_what_is_due, privacy_of
from api.cli.opening import Here, load_settings, open_keys, require_schema, run
from api.cli.progress import Bar


@log.command(name="remove-forged")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def remove_forged(file: Path) -> None:
    """Save the events that do not verify to a new FILE and take them out of the database.

    Stop the servers. On PostgreSQL name the role that owns the tables in GRANTLOG_MIGRATION_DATABASE_URL. Everything
    from the first event on that does not verify is removed, the read models are made again, a new MAC key begins, and
    the next event, `log.forged_removed`, names the file's digest. Find out how somebody came to write to the database
    before the servers are started again: FILE says what they wanted.
    """
    from eventstore.engines import migrating
    from eventstore.mapper import authenticate
    from eventstore.rebuilding import Rebuild
    from eventstore.refollowing import MODELS, Refollowing
    from eventstore.removing import remove
    from eventstore.schema import server_role
    from projections import PROJECTIONS
    from security.clock import SystemClock
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)
    owner = settings.migration_database_url or settings.database_url
    engine, vault, now = migrating(owner), Vault(keyring), SystemClock().now()
    authenticate(engine, vault)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{file} is there already") from None
    removal = None
    try:
        with os.fdopen(descriptor, "wb") as sink:
            removal = remove(engine, vault, sink, now)
            os.fsync(sink.fileno())
    finally:
        if removal is None:
            file.unlink()
    if removal is None:
        raise Failure("nothing in the log is forged")
    role, privacy = server_role(settings.database_url, owner), privacy_of(keyring, vault)
    with Bar("projections") as bar:
        Rebuild(engine, PROJECTIONS, privacy, now, server_role=role).run(bar)
    for name in MODELS:
        with Bar(name) as bar:
            Refollowing(engine, name, privacy, server_role=role).rebuild(bar)
    run(begin_what_is_due)
    click.echo(f"{removal.count:,} rows from position {removal.first:,} on are in {file}")
    click.echo(f"sha256 {removal.sha256}")


@log.command(name="rotate-mac-key")
def rotate_mac_key() -> None:
    """Authenticate events by a new key from now on, in every server at once.

    Former keys stay in the vault: events are verified by the key of their own time. One that has leaked makes nothing
    at the head any more.
    """

    async def work(here: Here) -> str:
        from commands.mac_keys import begin

        await here.execute(begin(here.ledger.ring, "rotated"))
        return here.ledger.ring.writing(here.ledger.changes.position).key_id

    click.echo(f"the log's MAC key is {run(work)} now")
