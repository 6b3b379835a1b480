"""`grantlog issuer …`: the URL by which clients know the server, and further issuers with a log of their own each."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from api.config.settings import Settings
from api.issuers.moves import go_on, moves_to_node, owner_of
from api.issuers.registry import (
    IssuerEntry,
    IssuerPlace,
    IssuerRegistry,
    IssuerStanding,
    RegistryError,
    default_place,
    keyring_of,
    new_issuer_id,
    refusal,
    settings_of,
)
from cli.command_services import CommandServices, Owned, in_plain_words, load_settings, open_keys, opened, owned_by, run
from cli.installation import upgrade_to_newest
from cli.log import export_log, has_log, import_log, make_whole
from cli.terminal import USAGE, Failure, ProgressBar, as_json, print_list, unavailable
from commands import servers, signing_keys
from domain import server
from domain.rules import origin as issuers
from eventstore import database
from eventstore.database import DBAPIError, citus, schema
from eventstore.database.citus import MoveUnderWay
from eventstore.database.engines import file_of, in_words
from eventstore.database.moving import NotMovable, is_moved, is_taken, unless_moved
from eventstore.database.moving import move as move_log
from eventstore.export_import import NotALog, issuer_of
from eventstore.unavailable import Moved
from security.keyring import Keyring


@click.group()
def issuer() -> None:
    """The URL by which clients know this server, and further issuers that it serves."""


@issuer.command()
@click.argument("url")
def accept(url: str) -> None:
    """Let the server start under another issuer URL.

    Clients compare it character by character: anyone who knows the former one has to be told, tokens that name it are
    refused by those who look, and dashboards have origins of their own to be put right. A server that is given another
    one than its log knows does not start."""
    if problem := issuers.fault(url):
        raise Failure(f"URL: {problem}", USAGE)

    async def work(services: CommandServices) -> bool:
        return bool(await services.execute(servers.accept_issuer(url)))

    click.echo(f"The server starts as {url} from now on." if run(work) else f"Nothing to do: it is {url} already.")


# Further issuers.


def placing(command: Any) -> Any:
    """Gives a command the options that say where an issuer's log is."""
    for option in (
        click.option("--schema", metavar="NAME", help="PostgreSQL's schema; one of the issuer's id if none is named."),
        click.option("--migration-database", metavar="URL", help="The same as the role that owns the tables."),
        click.option("--database", metavar="URL", help="Its database; else that of GRANTLOG_DATABASE_URL."),
    ):
        command = option(command)
    return command


def registry_of(settings: Settings) -> IssuerRegistry:
    """The issuers of these settings, which can be read; raises Failure."""
    registry = IssuerRegistry.of(settings)
    try:
        registry.entries()
    except RegistryError as error:
        raise unavailable(str(error)) from None
    return registry


def found(registry: IssuerRegistry, url: str) -> IssuerEntry:
    """The issuer with this URL; raises Failure."""
    try:
        return registry.find(url)
    except RegistryError as error:
        raise Failure(str(error)) from None


def put(registry: IssuerRegistry, entry: IssuerEntry) -> None:
    """Has the servers know it so; raises Failure."""
    try:
        registry.put(entry)
    except RegistryError as error:
        raise Failure(str(error)) from None


def change(registry: IssuerRegistry, entry: IssuerEntry, **changes: Any) -> None:
    """Has the servers know this of it, and leaves what others changed; raises Failure."""
    try:
        registry.change(entry.id, lambda now: msgspec.structs.replace(now, **changes))
    except RegistryError as error:
        raise Failure(str(error)) from None


def change_place(registry: IssuerRegistry, entry: IssuerEntry, **changes: Any) -> bool:
    """Has the servers know where it is by now, or where it goes, unless somebody else has said so meanwhile; whether it
    was said. Raises Failure."""
    said = []

    def changed(now: IssuerEntry) -> IssuerEntry:
        # Anyone whose copy took the log's head has moved it, whatever another one thought of it before.
        if now.place != entry.place or ("place" not in changes and now.moving_to != entry.moving_to):
            return now
        said.append(True)
        return msgspec.structs.replace(now, **changes)

    try:
        registry.change(entry.id, changed)
    except RegistryError as error:
        raise Failure(str(error)) from None
    return bool(said)


@issuer.command()
@click.argument("url")
@placing
@click.option("--citus", is_flag=True, help="The database is a coordinator of Citus; a node gets the schema.")
def add(url: str, database: str | None, migration_database: str | None, schema: str | None, citus: bool) -> None:
    """Serve one more issuer, with a log, keys, people and clients of its own.

    Makes its database, or its schema in a database of PostgreSQL, and installs there what a new server gets. Servers
    that run take requests to it within a second, and know it by `Host` alone. What was broken off goes on when it is
    added again, in another place if one is named."""
    settings = load_settings()
    keyring, registry = open_keys(settings), registry_of(settings)
    given = IssuerPlace(database, migration_database, schema, citus)
    entry = next((each for each in registry.entries() if each.issuer == url), None)
    if entry is not None and entry.standing != "adding":
        raise Failure(f"{url} is there already")
    if entry is None or given != IssuerPlace():
        # What it broke off by may have been the place.
        issuer_id = new_issuer_id() if entry is None else entry.id
        entry = IssuerEntry(issuer_id, url, "adding", default_place(settings, issuer_id, given))
    if problem := refusal(settings, url, entry.place):
        raise Failure(problem, USAGE)
    put(registry, entry)
    prepare_place(settings_of(settings, entry), entry.place)
    entry = with_node(settings, entry)
    install(settings_of(settings, entry), keyring_of(keyring, entry))
    change(registry, entry, standing="enabled")
    click.echo(f"{url} is served, with the id {entry.id}")


def with_node(settings: Settings, entry: IssuerEntry) -> IssuerEntry:
    """The issuer as it is served: from the node that Citus chose for its schema, where it did; raises Failure."""
    if not entry.place.citus or entry.place.schema is None:
        return entry
    try:
        node = citus.node_of(owner_of(settings_of(settings, entry)), entry.place.schema)
    except NotMovable as error:
        raise Failure(str(error)) from None
    return msgspec.structs.replace(entry, place=msgspec.structs.replace(entry.place, node=str(node)))


def prepare_place(settings: Settings, place: IssuerPlace) -> None:
    """Makes what an issuer's log is kept in, and brings it to the newest revision; raises Failure."""
    if place.schema is not None:
        owner = settings.migration_database_url or settings.database_url
        try:
            if place.citus and not citus.is_there(owner):
                raise Failure("the database has no Citus: run CREATE EXTENSION citus there")
            schema.make_schema(settings.database_url, owner, place.schema)
        except DBAPIError as error:
            said = in_words(error, settings.database_url, owner)
            raise unavailable(f"the schema cannot be made: {said}") from None
    upgrade_to_newest(settings)


def install(settings: Settings, keyring: Keyring) -> None:
    """Installs what an empty log gets, its keys included; raises Failure."""

    async def inside() -> None:
        async with opened(settings, keyring) as services:
            await signing_keys.ensure(services.ledger, services.origin)

    with in_plain_words(settings):
        asyncio.run(inside())


@issuer.command(name="list")
@as_json
def list_(as_json: bool) -> None:
    """Show the further issuers, and where their logs are."""
    settings = load_settings()
    rows = [
        {
            "issuer": each.issuer,
            "id": each.id,
            "standing": "moving" if each.moving_to is not None else each.standing,
            "database_url": database.shown(settings_of(settings, each).database_url),
            "schema": each.place.schema,
            "node": each.place.node,
        }
        for each in registry_of(settings).entries()
    ]
    print_list(rows, ("issuer", "standing", "database_url", "schema", "node", "id"), as_json)


@issuer.command()
@click.argument("url")
def disable(url: str) -> None:
    """Serve an issuer no longer; its log stays where it is. Within a second its requests get 421."""
    _stand(url, "disabled")
    click.echo(f"{url} is served no longer")


@issuer.command()
@click.argument("url")
def enable(url: str) -> None:
    """Serve an issuer again."""
    _stand(url, "enabled")
    click.echo(f"{url} is served again")


def _stand(url: str, standing: IssuerStanding) -> None:
    registry = registry_of(load_settings())
    entry = found(registry, url)
    if entry.standing == "adding":
        raise Failure(f"{url} was never added to the end: add it again")
    change(registry, entry, standing=standing)


@issuer.command()
def upgrade() -> None:
    """Bring the databases of all further issuers to what this version needs, as `grantlog database upgrade` does for
    that of the settings."""
    settings = load_settings()
    for each in registry_of(settings).entries():
        upgrade_to_newest(settings_of(settings, each))
        click.echo(f"{each.issuer} is at the newest revision")


# An issuer's log on its way to another installation, and back.


@issuer.command()
@click.argument("url")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(url: str, file: Path) -> None:
    """Write an issuer's whole log to a new FILE, as `grantlog log export` does, with the id from which its keys come.

    Disable it before, if it is to go on elsewhere: what happens afterwards is not in the file."""
    settings = load_settings()
    keyring, entry = open_keys(settings), found(registry_of(settings), url)
    export_log(settings_of(settings, entry), keyring_of(keyring, entry), file, entry.id)


@issuer.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("url")
@placing
def import_(file: Path, url: str, database: str | None, migration_database: str | None, schema: str | None) -> None:
    """Serve an issuer whose log was exported, under this URL.

    The master key must be the one with which it was exported. Clients and dashboards know the issuer by its URL, so
    another one is a change that they have to be told. What was broken off goes on when it is given again."""
    settings = load_settings()
    keyring, registry = open_keys(settings), registry_of(settings)
    try:
        with file.open("rb") as source:
            issuer_id = issuer_of(source.readline())
    except NotALog as error:
        raise Failure(str(error)) from None
    if issuer_id is None:
        raise Failure("this is the log of a server's own issuer: `grantlog log import` brings it in")
    begun = next((each for each in registry.entries() if each.id == issuer_id), None)
    if begun is not None and (begun.issuer, begun.standing) != (url, "adding"):
        raise Failure("that issuer is here already")
    given = IssuerPlace(database, migration_database, schema)
    goes_on = begun is not None and given in (IssuerPlace(), begun.place)
    place = begun.place if begun is not None and goes_on else default_place(settings, issuer_id, given)
    entry = IssuerEntry(issuer_id, url, "adding", place)
    if problem := refusal(settings, url, place):
        raise Failure(problem, USAGE)
    put(registry, entry)
    theirs, own = settings_of(settings, entry), keyring_of(keyring, entry)
    there, is_anothers = owned_by(theirs, own), False
    try:
        prepare_place(theirs, place)
        if goes_on and has_log(there):
            make_whole(there)
        else:
            is_anothers = has_log(there)
            import_log(there, file)
    except Failure:
        if is_anothers or not _may_have_come(there, before=goes_on):
            registry.drop(entry)
        raise
    with in_plain_words(theirs):
        asyncio.run(_known_as(theirs, own, url))
    change(registry, entry, standing="enabled")
    click.echo(f"{url} is served, with the id {issuer_id}")


def _may_have_come(there: Owned, *, before: bool) -> bool:
    """Whether the log is in its place, as far as one can tell: then only what is known of it lets the import go on."""
    try:
        # A look must not make the file that it looks for.
        return not database.is_missing(there.settings.database_url) and has_log(there)
    except DBAPIError:
        return before


async def _known_as(settings: Settings, keyring: Keyring, url: str) -> None:
    async with opened(settings, keyring) as services:
        state: server.State = await services.ledger.state(server.STREAM)
        if state.issuer not in (None, url):
            await services.execute(servers.accept_issuer(url))


# Moving an issuer's log to another place.

NOTICED_WITHIN = 2.0
"""Seconds after which every server has seen that an issuer is being moved, and lets its requests wait."""


@issuer.command()
@click.argument("url")
@placing
@click.option("--node", metavar="HOST:PORT", help="The node of Citus that is to have the schema, or has it by now.")
def move(url: str, database: str | None, migration_database: str | None, schema: str | None, node: str | None) -> None:
    """Move an issuer's log to another schema, database or server, while it is served.

    Requests wait meanwhile, for ten seconds at most, and get 503 afterwards. The log is copied whole under the lock of
    its head, which is taken away from the old place at the end: anyone who has not heard of the move is refused there.
    Run it again when it was killed. What is left in the old place is yours to remove."""
    settings = load_settings()
    keyring, registry = open_keys(settings), registry_of(settings)
    entry, given = found(registry, url), IssuerPlace(database, migration_database, schema)
    if entry.standing == "adding":
        raise Failure(f"{url} was never added to the end: add it again")
    if node is not None or moves_to_node(entry):
        if given != IssuerPlace():
            raise Failure("a node of Citus has the schema that is there, in the database that it is in", USAGE)
        move_to_node(settings, registry, entry, node)
        return
    resumed = entry.moving_to is not None
    target = entry.moving_to or default_place(settings, entry.id, given)
    if resumed and given not in (IssuerPlace(), target):
        raise Failure(f"{url} is on its way elsewhere: run this without options first")
    if target == entry.place:
        # It may have been killed behind its last write.
        click.echo(f"{url} is served from that place already")
        return
    _require_room(settings, entry, target, resumed=resumed)
    moving = _set_out(registry, entry, target)
    try:
        carry(settings, keyring, entry, target, resumed=resumed)
    except MoveUnderWay:
        raise unavailable("not moved: somebody else is at it, or its database does not answer") from None
    except (Failure, DBAPIError) as error:
        if not is_moved(owner_of(settings_of(settings, entry))):
            change_place(registry, moving, moving_to=None)
        new = settings_of(settings, entry, target).database_url
        said = str(error) if isinstance(error, Failure) else in_words(error, new)
        raise unavailable(f"not moved: {said}") from None
    change_place(registry, moving, place=target, moving_to=None)
    click.echo(f"{url} is served from the new place")


def _require_room(settings: Settings, entry: IssuerEntry, target: IssuerPlace, *, resumed: bool) -> None:
    """Raises Failure when a log may not go there, or would come upon something else."""
    if problem := refusal(settings, entry.issuer, target):
        raise Failure(problem, USAGE)
    if not resumed and is_taken(owner_of(settings_of(settings, entry, target)), target.schema):
        # What is there now would go with the copy, should that be broken off.
        raise Failure("there is something in that place already; name a new one")


def _set_out(registry: IssuerRegistry, entry: IssuerEntry, target: IssuerPlace) -> IssuerEntry:
    """Has the servers know where it is going to, if nobody has moved it meanwhile; raises Failure."""
    if not change_place(registry, entry, moving_to=target):
        raise unavailable("not moved: somebody else is at it")
    return msgspec.structs.replace(entry, moving_to=target)


def move_to_node(settings: Settings, registry: IssuerRegistry, entry: IssuerEntry, words: str | None) -> None:
    """Moves the schema of an issuer to another node of Citus, or goes on with that; raises Failure."""
    place, target = entry.place, entry.moving_to
    if not place.citus or place.schema is None:
        raise Failure(f"{entry.issuer} is in no schema of Citus", USAGE)
    if target is None:
        target = msgspec.structs.replace(place, node=words)
    elif words not in (None, target.node):
        raise Failure(f"{entry.issuer} is on its way elsewhere: run this without options first")
    node = citus.CitusNode.of(target.node or "")
    if node is None:
        raise Failure("a node is its host and port, as Citus calls it", USAGE)
    moving = _set_out(registry, entry, target)
    time.sleep(NOTICED_WITHIN)
    owner = owner_of(settings_of(settings, entry))
    try:
        go_on(settings, registry, moving)
    except NotMovable as error:
        raise unavailable(f"not moved: {in_words(error, owner)}") from None
    except MoveUnderWay:
        raise unavailable("not moved: somebody else is at it, a server perhaps") from None
    except RegistryError as error:
        raise Failure(str(error)) from None
    except DBAPIError as error:
        # Nobody knows how far it came, so it stays on its way.
        raise unavailable(f"run it again, or a server does: {in_words(error, owner)}") from None
    click.echo(f"{entry.issuer} is served from the node {node}")


def carry(
    settings: Settings, keyring: Keyring, entry: IssuerEntry, target: IssuerPlace, *, resumed: bool = False
) -> None:
    """Moves the log, unless that was done before the command was killed; raises Failure."""
    old, new = settings_of(settings, entry), settings_of(settings, entry, target)
    # Of those who move it at the same time one may just have made that place the log's.
    if resumed and not _cleared(old, new, target):
        return
    time.sleep(NOTICED_WITHIN)
    prepare_place(new, target)

    def prove(position: int) -> None:
        async def inside() -> int:
            async with opened(new, keyring_of(keyring, entry)) as services:
                return (await services.ledger.head())[0]

        # To open it verifies what no checkpoint covers yet.
        with in_plain_words(new):
            if asyncio.run(inside()) < position:
                raise Failure("the copy is not whole")

    try:
        with ProgressBar("move") as bar:
            move_log(owner_of(old), owner_of(new), prove, bar)
    except Moved:
        # To the same place, where this one goes on with what was begun.
        if not resumed:
            raise Failure("somebody else has moved it meanwhile") from None
    except NotMovable as error:
        raise Failure(str(error)) from None


def _cleared(old: Settings, new: Settings, target: IssuerPlace) -> bool:
    """False when the log was moved by now. Raises `MoveUnderWay` when nobody can tell."""
    try:
        return unless_moved(owner_of(old), lambda: _clear(new, target))
    except DBAPIError:
        raise MoveUnderWay from None


def _clear(settings: Settings, place: IssuerPlace) -> None:
    """Removes a copy that was never served from."""
    if place.schema is not None:
        schema.drop_schema(owner_of(settings), place.schema)
        return
    for end in ("", "-wal", "-shm"):
        Path(file_of(settings.database_url) + end).unlink(missing_ok=True)
