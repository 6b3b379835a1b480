"""`grantlog database|keys|issuer|settings|projections …`: the installation itself."""

import os
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import rich_click as click

from api.config.settings import Settings, masked, shown
from api.environment import unknown_variables
from cli.command_services import (
    UPGRADE,
    CommandServices,
    Owned,
    connected,
    load_settings,
    owned,
    prove_key,
    require_schema,
    run,
    schema_is_current,
)
from cli.terminal import (
    REFUSED,
    UNAVAILABLE,
    USAGE,
    Failure,
    ProgressBar,
    as_json,
    moment,
    print_json,
    print_list,
    print_one,
    unavailable,
)
from eventstore import may_write, repository
from eventstore.appending.rows import names
from eventstore.database import DBAPIError, schema
from eventstore.database.engines import in_words
from eventstore.database.schema import newest
from eventstore.database.vacuum import Busy, NotOwner, vacuum_vault
from eventstore.may_write import PROOF, finish_indexing
from eventstore.projecting.rebuild import Comparison, count, differing, outdated
from eventstore.projecting.refollow import Incomplete, Refollowing
from projections import FOLLOWING, PROJECTIONS, accounts, event_index
from security.keyring import MasterKeyError, WrapBroken
from security.private_files import make_private
from security.vault import is_rewrapped

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


def upgrade_to_newest(settings: Settings) -> None:
    """Runs the migrations; raises Failure when the database does not let it."""
    make_private(settings.data_dir)
    try:
        schema.upgrade(settings.database_url, settings.migration_database_url)
    except DBAPIError as error:
        said = in_words(error, settings.database_url, settings.migration_database_url)
        raise unavailable(f"the migrations failed, and nothing was changed: {said}") from None


@database.command()
def vacuum() -> None:
    """Take what the vault overwrote, such as keys of the erased, out of the database's files.

    As the role of GRANTLOG_MIGRATION_DATABASE_URL; the server goes on, and waits while the vault is written anew."""
    settings = load_settings()
    require_schema(settings)
    owner = settings.migration_database_url or settings.database_url
    try:
        vacuum_vault(owner)
    except Busy:
        raise unavailable("somebody has been using the database for long; try again later") from None
    except NotOwner:
        raise unavailable("that role owns no tables; name its owner's in GRANTLOG_MIGRATION_DATABASE_URL") from None
    except DBAPIError as error:
        said = in_words(error, settings.database_url, settings.migration_database_url)
        raise unavailable(f"the vault cannot be written anew: {said}") from None
    click.echo("No file of the database keeps what the vault overwrote.")


@database.command()
@as_json
def status(as_json: bool) -> None:
    """Show which database it is, its revision, and where its log stands. Exit code 3 when migrations are missing."""
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


def _log(settings: Settings, current: bool) -> Mapping[str, Any]:
    if not current:
        return {"position": None, "time": None}
    with connected(settings) as connection:
        position, time = repository.newest(connection)
    return {"position": position, "time": moment(time) if position else None}


# `grantlog keys …`: the rotation of the master key, and of the keys that sign tokens.

BATCH = 500


@click.group()
def keys() -> None:
    """Care for the keys: those that wrap the vault, and those that sign tokens."""


@keys.command()
def rewrap() -> None:
    """Wrap everything in the vault anew with the first master key, so that the others can be dropped one day.

    Put the new key in front of the old one in GRANTLOG_MASTER_KEY, restart every server, and run this. To be rid of the
    old key stop the servers, set the new key alone, and run `grantlog keys retire`."""

    async def work(services: CommandServices) -> int:
        wrapped = 0
        while count := await services.ledger.maintain(services.ledger.vault.rewrap, BATCH):
            wrapped += count
        return wrapped

    click.echo(f"{run(work):,} values are wrapped anew")


@keys.command()
@click.option("--signing", is_flag=True, help="The keys that sign tokens.")
@click.option("--compromised", is_flag=True, help="They are in other hands: revoke them now, and use new ones at once.")
@as_json
def rotate(signing: bool, compromised: bool, as_json: bool) -> None:
    """Publish the next keys that sign tokens; they are used after GRANTLOG_SIGNING_KEY_LEAD, one day by default.

    Until then the present ones go on, so that the one who verifies has the time to learn of the new ones. The master
    key rotates by `grantlog keys rewrap`, the log's by `grantlog audit rotate-key`.
    """
    if not signing:
        raise Failure("say which keys: --signing", USAGE)

    async def work(services: CommandServices) -> list[dict[str, Any]]:
        from commands import signing_keys

        await signing_keys.ensure(services.ledger, services.origin)
        made = await signing_keys.make()
        lead = services.settings.signing_key_lead
        command = signing_keys.compromise(made) if compromised else signing_keys.rotate(made, lead)
        await services.make(command, then=signing_keys.keeping(services.ledger.vault, made))
        return [{"kid": key.key_id, "alg": algorithm} for algorithm, key in made.items()]

    found = run(work)
    if as_json:
        print_json(found)
        return
    for each in found:
        click.echo(f"{each['alg']} {each['kid']}")


@keys.command()
def retire() -> None:
    """After `rewrap`, with the new master key alone in the settings: compute the blind indexes anew with it.

    Login names are found by indexes that come from the oldest master key. Stop the servers, set the new key alone, run
    this, start them again. A server that was left running with the old key cannot write any more. If this is killed,
    run it once more."""
    database = owned()
    keyring, vault = database.keyring, database.vault
    if len(keyring.ids) > 1:
        raise Failure("there are several master keys: set the new one alone, with the servers stopped")
    with database.engine.connect() as connection:
        try:
            vault.get_secret(connection, PROOF)
            is_wrapped = is_rewrapped(connection, keyring)
        except (MasterKeyError, WrapBroken):
            is_wrapped = False
    if not is_wrapped:
        raise Failure("the vault is not wrapped with this key: run `grantlog keys rewrap` with both first")
    with database.engine.begin() as connection:
        may_write.set_indexing_key(connection, keyring.derivation_id)
    database.rebuild("accounts", (accounts,))
    with database.engine.begin() as connection:
        # Addresses stand in the search index by the same kind of index; the servers fill it again as they run.
        event_index.start_over(connection)
        finish_indexing(connection, vault, keyring, database.now)
    click.echo("login names are found by the new key now; the old one can be destroyed")


# `grantlog settings`.

LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)[^)]*\)")
"""A link of docs/settings.md; on a terminal it is the page's path."""


@click.command()
@as_json
def settings(as_json: bool) -> None:
    """Show every setting: its value, its default, its meaning. Secrets are masked."""
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


# `grantlog projections …`: what is computed from the log, computed again, and proved equal.

TOGETHER = ("tokens", "digests")
"""A digest moves from the one to the other, so neither is rebuilt or compared without the other."""


@click.group()
def projections() -> None:
    """The read models: list them, compute them again from the log, prove that they are what the log says."""


@projections.command(name="list")
@as_json
def list_(as_json: bool) -> None:
    """Every projection, its rows, and whether its rows were made by its present definition."""
    with _opened().engine.connect() as connection:
        old = {*outdated(connection, _all()), *differing(connection)}
        rows = [
            {"name": name, "version": module.VERSION, "rows": count(connection, module), "rebuild_needed": name in old}
            for name, module in _named().items()
        ]
    print_list(rows, ("name", "version", "rows", "rebuild_needed"), as_json)


@projections.command()
@click.argument("names", nargs=-1)
def rebuild(names: tuple[str, ...]) -> None:
    """Compute the named projections again, or all of them.

    The whole log is replayed into fresh tables beside the live ones, which take their place in one short transaction;
    the server goes on answering. A rebuild that was broken off goes on where it had come to."""
    database = _opened()
    written, following = _chosen(names)
    if written:
        done = database.rebuild("rebuild", written)
        resumed = f", from position {done.resumed_from:,} where an earlier run had ended" if done.resumed_from else ""
        click.echo(f"rebuilt up to position {done.position:,}{resumed}")
    for name in following:
        try:
            done = database.refollow(name)
        except Incomplete as error:
            raise Failure(f"{name}: {error}", REFUSED) from None
        click.echo(f"{name}: rebuilt up to position {done.position:,}")


@projections.command()
@click.argument("names", nargs=-1)
@as_json
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Prove that the live rows are what the log says; exit code 1 and the first row that differs if they are not."""
    database = _opened()
    written, following = _chosen(names)
    compared = []
    if written:
        with ProgressBar("verify") as progress:
            compared += Comparison(database.engine, written, database.privacy, database.now).run(progress)
    for name in following:
        with ProgressBar(name) as progress:
            compared += Refollowing(database.engine, name, database.privacy).compare(progress)
    if as_json:
        print_json([each._asdict() for each in compared])
    else:
        for each in compared:
            verdict = "equal" if each.differs_at is None else f"DIFFERS, first at {each.differs_at}"
            click.echo(f"{each.table:<20} {each.rows:>10,} rows  sha256 {each.live[:16]}  {verdict}")
    if any(each.differs_at is not None for each in compared):
        raise Failure("live rows are not what the log says; `grantlog projections rebuild` makes them so", REFUSED)


def _all() -> tuple[ModuleType, ...]:
    return (*PROJECTIONS, *FOLLOWING)


def _named() -> dict[str, ModuleType]:
    return dict(zip(names(_all()), _all(), strict=True))


def _chosen(given: Sequence[str]) -> tuple[tuple[ModuleType, ...], tuple[str, ...]]:
    """Of the named projections those that are written with the log, and the followers that move the others on."""
    known = _named()
    for name in given:
        if name not in known:
            raise click.UsageError(f"there is no projection {name}; there are {', '.join(known)}")
    wanted = set(given or known)
    if wanted & set(TOGETHER):
        wanted |= set(TOGETHER)
    chosen = {name: module for name, module in known.items() if name in wanted}
    followers = dict.fromkeys(module.NAME for module in chosen.values() if module in FOLLOWING)
    return tuple(module for module in chosen.values() if module not in FOLLOWING), tuple(followers)


def _opened() -> Owned:
    """The database, proven to have the right key; raises Failure."""
    database = owned()
    try:
        with database.engine.connect() as connection:
            prove_key(connection, database.vault, database.keyring)
    except DBAPIError as error:
        owner = database.settings.migration_database_url or database.settings.database_url
        raise unavailable(f"the database does not answer: {in_words(error, owner)}") from None
    return database
