"""`grantlog database|keys|issuer|settings …`: the installation itself."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from cli.failures import UNAVAILABLE, USAGE, Failure, unavailable
from cli.output import as_json, moment, print_json, print_one
from cli.services import UPGRADE, CommandServices, connected, load_settings, run, schema_is_current

if TYPE_CHECKING:
    from api.config.settings import Settings


# `grantlog database …`.


@click.group()
def database() -> None:
    """Bring the database to what this version needs."""


@database.command()
def upgrade() -> None:
    """Run the migrations that are missing, as the role of GRANTLOG_MIGRATION_DATABASE_URL."""
    settings = load_settings()
    if schema_is_current(settings):
        click.echo("Nothing to do: the database is at the newest revision.")
        return
    upgrade_to_newest(settings)
    click.echo("The database is at the newest revision.")


def upgrade_to_newest(settings: "Settings") -> None:
    """Runs the migrations; raises Failure when the database does not let it."""
    from eventstore.database import DBAPIError, schema
    from eventstore.database.engines import in_words
    from security.private_files import make_private

    make_private(settings.data_dir)
    try:
        schema.upgrade(settings.database_url, settings.migration_database_url)
    except DBAPIError as error:
        said = in_words(error, settings.database_url, settings.migration_database_url)
        raise unavailable(f"the migrations failed, and nothing was changed: {said}") from None


@database.command()
@as_json
def status(as_json: bool) -> None:
    """Show which database it is, its revision, and where its log stands. Exit code 3 when migrations are missing."""
    from api.config.settings_page import masked
    from eventstore.database.schema import newest

    settings = load_settings()
    current = schema_is_current(settings)
    shown: dict[str, Any] = {
        "database_url": masked(settings, "database_url"),
        "current": current,
        "needed_revision": newest(),
        **_log(settings, current),
    }
    print_one(shown, as_json)
    if not current:
        click.echo(f"Migrations are missing: {UPGRADE}.", err=True)
        raise SystemExit(UNAVAILABLE)


def _log(settings: "Settings", current: bool) -> Mapping[str, Any]:
    if not current:
        return {"position": None, "time": None}
    from eventstore.changes import newest

    with connected(settings) as connection:
        position, time = newest(connection)
    return {"position": position, "time": moment(time) if position else None}


# `grantlog keys …`: the master key's rotation.

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

    async def work(services: CommandServices) -> int:
        wrapped = 0
        while count := await services.ledger.maintain(services.ledger.vault.rewrap, BATCH):
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
    from cli.output import Bar
    from cli.services import load_settings, open_keys, require_schema
    from eventstore import may_write
    from eventstore.database.engines import migrating
    from eventstore.database.schema import server_role
    from eventstore.may_write import PROOF, finish_indexing
    from eventstore.personal_data import PersonalData
    from eventstore.projecting.rebuild import Rebuild
    from projections import accounts, event_index
    from security.clock import SystemClock
    from security.keyring import MasterKeyError, WrapBroken
    from security.mac import BlindIndex
    from security.sealing import Sealer
    from security.vault import Vault, is_rewrapped

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
        may_write.set_indexing_key(connection, keyring.derivation_id)
    privacy = PersonalData(Sealer(vault), BlindIndex(keyring))
    role = server_role(settings.database_url, owner)
    with Bar("accounts") as bar:
        Rebuild(engine, (accounts,), privacy, now, server_role=role).run(bar)
    with engine.begin() as connection:
        # Addresses stand in the search index by the same kind of index; the servers fill it again as they run.
        event_index.start_over(connection)
        finish_indexing(connection, vault, keyring, now)
    click.echo("login names are found by the new key now; the old one can be destroyed")


# `grantlog issuer …`.


@click.group()
def issuer() -> None:
    """The URL by which clients know this server."""


@issuer.command()
@click.argument("url")
def accept(url: str) -> None:
    """Let the server start under another issuer URL.

    Clients compare it character by character: whoever knows the former one has to be told, tokens that name it are
    refused by those who look, and dashboards have origins of their own to be put right. A server that is given another
    one than its log knows does not start.
    """
    from domain.rules import origin as issuers

    if problem := issuers.fault(url):
        raise Failure(f"URL: {problem}", USAGE)

    async def work(services: CommandServices) -> bool:
        from commands import servers

        return bool(await services.execute(servers.accept_issuer(url)))

    click.echo(f"The server starts as {url} from now on." if run(work) else f"Nothing to do: it is {url} already.")


# `grantlog settings`.

LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)[^)]*\)")
"""A link of docs/settings.md; on a terminal it is the page's path."""


@click.command()
@as_json
def settings(as_json: bool) -> None:
    """Show every setting: its value, its default, its meaning. Secrets are masked."""
    from api.config.settings import unknown_variables
    from api.config.settings_page import shown

    every = shown(load_settings())
    for name in unknown_variables(os.environ):
        click.echo(f"Warning: {name} is no setting.", err=True)
    if as_json:
        print_json(every)
        return
    for each in every:
        value = each.value or "(unset)"
        default = each.default.replace("`", "") or "none"
        click.echo(f"{click.style(each.variable, bold=True)}={value}")
        meaning = LINK.sub(r"docs/\2", each.meaning).replace("`", "")
        click.echo(f"    {meaning} Default: {default}.")
