"""`grantlog keys …`: the master key's rotation."""

import rich_click as click

from api.cli.failures import Failure
from api.cli.opening import Here, run

BATCH = 500


@click.group()
def keys() -> None:
    """Care for the keys that the vault is wrapped with."""


@keys.command()
def rewrap() -> None:
    """Wrap everything in the vault anew with the first master key, so that the others can be dropped one day.

    Put the new key in front of the old one in GRANTLOG_MASTER_KEY, restart every server, and run this. To be rid of the
    old key stop the servers, set the new key alone, and run `grantlog keys retire`.
    """

    async def work(here: Here) -> int:
        wrapped = 0
        while count := await here.ledger.maintain(here.ledger.vault.rewrap, BATCH):
            wrapped += count
        return wrapped

    click.echo(f"{run(work):,} values are wrapped anew")


@keys.command()
def retire() -> None:
    """After `rewrap`, with the new master key alone in the settings: compute the blind indexes anew with it.

    Login names are found by indexes that come from the oldest master key. Stop the servers, set the new key alone, run
    this, start them again. A server that was left running with the old key cannot write any more. If this is killed,
    run it once more.
    """
    from api.cli.opening import load_settings, open_keys, require_schema
    from api.cli.progress import Bar
    from api.key_proof import PROOF, finish_indexing
    from eventstore import indexing_key
    from eventstore.engines import migrating
    from eventstore.privacy import Privacy
    from eventstore.rebuilding import Rebuild
    from eventstore.schema import server_role
    from projections import accounts, event_index
    from security.blind_index import BlindIndex
    from security.clock import SystemClock
    from security.keyring import MasterKeyError, WrapBroken
    from security.rewrapping import is_rewrapped
    from security.sealing import Sealer
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)
    if len(keyring.ids) > 1:
        raise Failure("there are several master keys: set the new one alone, with the servers stopped")
    owner = settings.migration_database_url or settings.database_url
    engine, vault, now = migrating(owner), Vault(keyring), SystemClock().now()
    with engine.connect() as connection:
        try:
            vault.get_secret(connection, PROOF)
            is_wrapped = is_rewrapped(connection, keyring)
        except (MasterKeyError, WrapBroken):
            is_wrapped = False
    if not is_wrapped:
        raise Failure("the vault is not wrapped with this key: run `grantlog keys rewrap` with both first")
    with engine.begin() as connection:
        indexing_key.tell(connection, keyring.derivation_id)
    privacy = Privacy(Sealer(vault), BlindIndex(keyring))
    role = server_role(settings.database_url, owner)
    with Bar("accounts") as bar:
        Rebuild(engine, (accounts,), privacy, now, server_role=role).run(bar)
    with engine.begin() as connection:
        # Addresses stand in the search index by the same kind of index; the servers fill it again as they run.
        event_index.start_over(connection)
        finish_indexing(connection, vault, keyring, now)
    click.echo("login names are found by the new key now; the old one can be destroyed")
