"""`grantlog log …`: the events as they happen, a whole log on its way, and what is done about one that does not fit."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal

import rich_click as click

from api.config.settings import Settings
from api.server.transparency import Transparency, ensure_key, kept_of, lost_of
from cli.archiving import archive, archived, drop_archived
from cli.command_services import (
    CommandServices,
    Owned,
    chosen_issuer,
    connected,
    load_settings,
    open_keys,
    owned,
    prove_key,
    require_schema,
    run,
)
from cli.event_text import line, page
from cli.terminal import POSITION, REFUSED, USAGE, Failure, ProgressBar, as_json, print_one, refused, unavailable
from commands import log_keys, servers
from commands.log_keys import begin_mac_key
from domain import server
from domain.events import EVENTS
from domain.keys import log_key
from domain.keys.log_key import STREAM, LogKeyIntroduced
from domain.server import MISFITS_MAXIMUM
from eventstore import repository
from eventstore.database import Connection
from eventstore.database.engines import snapshot
from eventstore.export_import import NotALog, read, write
from eventstore.forged import remove
from eventstore.mapper import UPCASTS, authenticate
from eventstore.projecting.refollow import MODELS
from eventstore.recorder import store
from eventstore.search import newest
from eventstore.time_travel import history
from eventstore.transparency import published, signing_keys
from eventstore.transparency.comparison import NotAcceptable, misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import Forged
from projections import PROJECTIONS, clients
from security.keyring import Keyring, MasterKeyError, WrapBroken
from security.vault import Vault, sample
from verifier.note import Key
from verifier.source import open_source
from verifier.verify import verify

# `grantlog log …`: the events as they happen. Anyone who may read the database sees them; what is sealed stays sealed.

LAST = 10
BATCH = 500
PAUSE = 0.2
"""Seconds between two looks. Positions are dense and in the order of the commits, so a look can miss nothing."""

raw = click.option("--json", "raw", is_flag=True, help="Print the stored form itself: one JSON object a line.")


@click.group()
def log() -> None:
    """Watch and read the log of events."""


log.add_command(archive)
log.add_command(archived)
log.add_command(drop_archived)


@log.command()
@click.option("--follow/--no-follow", "-f", default=True, show_default=True, help="Go on as events happen, or end.")
@click.option("--from", "start", type=POSITION, metavar="N", help="Begin at position N.")
@click.option("--last", type=POSITION, default=LAST, show_default=True, metavar="N", help="Else begin N events back.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type, or `client.*`; repeatable.")
@raw
def tail(follow: bool, start: int | None, last: int, types: tuple[str, ...], raw: bool) -> None:
    """Show the last events, and each further one as it happens."""
    topics = _topics(types)
    # Ctrl-C and a closed pipe are the usual ways to end this, and no failures.
    with suppress(KeyboardInterrupt, BrokenPipeError), _connected() as connection:
        position = (start if start is not None else max(1, newest(connection) - last + 1)) - 1
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        named = _client_names(connection)
        while True:
            head = newest(connection)
            while position < head:
                # What the filter passes over is not looked at again.
                stored = _between(connection, position, head, topics)
                position = stored[-1][0] if len(stored) == BATCH else head
                for _, text in stored:
                    click.echo(text if raw else line(text, named, width))
            if not follow:
                return
            time.sleep(PAUSE)


def _topics(types: Sequence[str]) -> list[str]:
    """The types of these names, each a tag or `noun.*`; raises Failure for one that no event has, which would be waited
    for in vain."""
    named: dict[str, list[str]] = {}
    for tag in (*(event.type for event in EVENTS), *UPCASTS):
        for name in (tag, f"{tag.partition('.')[0]}.*"):
            named.setdefault(name, []).append(tag)
    for each in types:
        if each not in named:
            raise Failure(f"--type {each}: there are no such events", USAGE)
    return [tag for each in types for tag in named[each]]


@log.command()
@click.argument("position", type=POSITION)
@as_json
def show(position: int, as_json: bool) -> None:
    """Show the event at POSITION with everything that it says."""
    with _connected() as connection:
        stored = _between(connection, position - 1, position, ())
    if not stored:
        raise Failure(f"POSITION: the log has no event {position} yet")
    text = stored[0][1]
    click.echo(text if as_json else page(text))


@contextmanager
def _connected() -> Iterator[Connection]:
    settings = load_settings()
    require_schema(settings)
    with connected(settings, Vault(open_keys(settings))) as connection:
        yield connection


def _client_names(connection: Connection) -> Callable[[str], str | None]:
    """What clients are called now, each asked for once. People's names are sealed, and stay so here."""
    known: dict[str, str | None] = {}

    def named(stream: str) -> str | None:
        category, _, client_id = stream.partition(":")
        if category == "client" and stream not in known:
            row = clients.by_id(connection, client_id)
            known[stream] = None if row is None else row.client_name
        return known.get(stream)

    return named


def _between(connection: Connection, after: int, last: int, topics: Sequence[str]) -> list[tuple[int, str]]:
    """At most BATCH stored events of these types; of all, when none is named."""
    log = store(connection)
    rows = log.recorder.select_notifications(after, BATCH, last, topics, inclusive_of_start=False)
    try:
        return [(row.id, log.mapper.text(row)) for row in rows]
    except Forged as error:
        raise Failure(str(error), REFUSED) from None


# `grantlog log export` and `grantlog log import`: a whole log on its way to another database.


@log.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(file: Path) -> None:
    """Write the whole log to a new FILE: events, proofs, checkpoints and the vault, whose keys stay wrapped.

    Keep the file as you keep the database. It is of no use without the master key."""
    settings = load_settings()
    require_schema(settings)
    chosen = chosen_issuer(settings)
    export_log(settings, open_keys(settings), file, None if chosen is None else chosen.id)


def export_log(settings: Settings, keyring: Keyring, file: Path, issuer_id: str | None) -> None:
    """Writes a whole log to a new file; raises Failure."""
    with _whole(file) as sink, snapshot(settings.database_url) as connection, ProgressBar("export") as bar:
        authenticate(connection, Vault(keyring))
        try:
            count = write(connection, sink, bar, issuer_id)
        except Forged as error:
            raise Failure(f"{error}: nothing that can be trusted was written") from None
        sink.flush()
        os.fsync(sink.fileno())
    click.echo(f"{count:,} events are in {file}")


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """A new file that goes again when the command fails: the next one may have its name, and a full disk its room."""
    with _created(file) as sink:
        try:
            yield sink
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def _created(file: Path) -> BinaryIO:
    """A new file that only its owner can read; raises Failure where it is there already."""
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise Failure(f"{file} is there already") from None


@log.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def import_(file: Path) -> None:
    """Bring an exported log into this database, which must be migrated and empty, and prove that it is whole.

    Positions, proofs and checkpoints stay what they were; erasures in the log are applied to the vault again. When it
    is broken off after the events are here, `grantlog projections rebuild` does what is left."""
    import_log(owned(), file)
    run(begin_what_is_due)


def import_log(database: Owned, file: Path) -> None:
    """Brings an exported log into an empty database, and proves it; raises Failure."""
    try:
        with file.open("rb") as source, ProgressBar("import") as bar:
            carried = read(database.engine, database.vault, source, database.now, bar, partial(_prove_keys, database))
    except NotALog as error:
        raise Failure(str(error)) from None
    click.echo(f"{carried.events:,} events are here; {carried.erased} erasures were applied again")
    make_whole(database)


def has_log(database: Owned) -> bool:
    """Whether an import that was broken off had brought it there, which is whole or not at all."""
    with database.engine.connect() as connection:
        return repository.newest(connection)[0] > 0


def make_whole(database: Owned) -> None:
    """Computes what an imported log lacks, and proves it; raises Failure."""
    database.rebuild("projections", PROJECTIONS)
    _prove(database.settings, database.vault)


async def begin_what_is_due(_: CommandServices) -> None:
    """Who opens the log begins the MAC key that is due, and tells of it."""


def _prove_keys(database: Owned, connection: Connection) -> None:
    """Raises Failure unless the master keys are those of the vault that was carried here, and all of them."""
    prove_key(connection, database.vault, database.keyring)
    try:
        sample(connection, database.keyring)
    except (MasterKeyError, WrapBroken) as error:
        raise unavailable(str(error)) from None


def _prove(settings: Settings, vault: Vault) -> None:
    """Has the verifier, which shares no code with the server, look at what is here now."""
    with connected(settings, vault) as connection:
        events = [recorded.event for recorded in history(connection, STREAM)]
        signed = published.newest_signed(connection)
    keys = [Key.parse(event.verifier_key) for event in events if isinstance(event, LogKeyIntroduced)]
    if signed is None or not keys:
        click.echo("the log has no checkpoint yet, so there is nothing to prove it by")
        return
    with closing(open_source(settings.database_url)) as source, ProgressBar("verify") as bar:
        verdict = verify(source, keys, progress=bar)
    if verdict.exit_code:
        raise Failure(f"the log does not verify: {verdict.reason}", verdict.exit_code)
    click.echo(f"verified up to position {verdict.checked:,}")


# `grantlog log succeed`: how a log goes on after its database was put back to an older copy.


@log.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The newest checkpoint known from before the restore.  [the one that this node kept]",
)
@click.option("--origin", required=True, metavar="NAME", help="The log's new name, which it never had before.")
@as_json
def succeed(checkpoint: Path | None, origin: str, as_json: bool) -> None:
    """Go on under a new name and key after a restore, naming the head that the log had.

    What the log held beyond this copy is lost, and auditors and witnesses rightly refuse it under its former name. The
    new log begins with the old one's events and tells in an event which checkpoint it cannot fulfil. The former key
    signs nothing more; give the new one to auditors and witnesses."""
    print_one(run(lambda services: _succeed(services, checkpoint, origin)), as_json)


async def _succeed(
    services: CommandServices, checkpoint: Path | None, origin: str
) -> dict[str, str | list[str] | None]:
    kept = kept_of(services.settings)
    note = kept.read() if checkpoint is None else checkpoint.read_text(encoding="utf-8")
    if note is None:
        raise Failure(f"--checkpoint: this node has kept none in {kept.path}", USAGE)
    try:
        refusal = await log_keys.succeed(services.ledger, note, origin, services.origin)
    except ValueError as error:
        raise Failure(f"the log cannot go on so: {error}") from None
    if refusal is not None:
        raise refused(refusal)
    await _have_signed(services, origin)
    return await shown(services)


# `grantlog audit key` and `rotate-key`: the key that auditors pin, and its successors.


@click.command()
@as_json
def key(as_json: bool) -> None:
    """Show the log's verifier key and its fingerprint, for you to give to auditors by a way of your own.

    `/log/vkey` shows the key too, but anyone who replaces the log can replace that answer with it."""
    print_one(run(shown), as_json)


@click.command(name="rotate-key")
@click.option("--finish", "step", flag_value="finish", help="End a rotation: the former key signs no longer.")
@click.option("--compromised", "step", flag_value="compromised", help="Somebody else has the key: end it at once.")
@as_json
def rotate_key(step: Literal["finish", "compromised"] | None, as_json: bool) -> None:
    """Make a new key, by which the log is known from now on.

    The former key signs beside it until `--finish`, so that auditors have time to pin the new one. Each step is an
    event of the log. Old checkpoints stay verifiable by the key that signed them."""
    print_one(run(lambda services: _rotate(services, step)), as_json)


async def _keys(services: CommandServices) -> log_key.State:
    return await ensure_key(services.ledger, services.settings, services.origin)


async def shown(services: CommandServices) -> dict[str, str | list[str] | None]:
    """The keys as `grantlog audit key` prints them."""
    return _members(await _keys(services))


async def _rotate(
    services: CommandServices, step: Literal["finish", "compromised"] | None
) -> dict[str, str | list[str] | None]:
    origin = str((await _keys(services)).origin)
    if step == "finish":
        refusal = await log_keys.retire(services.ledger, origin, services.origin)
    elif step == "compromised":
        refusal = await log_keys.revoke(services.ledger, origin, "compromised", services.origin)
    else:
        refusal = await log_keys.rotate(services.ledger, origin, services.origin)
    if refusal is not None:
        raise refused(refusal)
    await _have_signed(services, origin)
    return await shown(services)


async def _have_signed(services: CommandServices, origin: str) -> None:
    """Signs with the keys that are left, unless a server has: until then the log would be called tampered with."""
    ledger = services.ledger
    if await ledger.read(signing_keys.is_shown_signed, ledger.vault, origin):
        return
    transparency = Transparency(ledger, services.settings)
    try:
        await transparency.sign(services.origin)
    except Forged as error:
        # The key has ended all the same, and the new one has to be told.
        click.echo(f"nothing is signed with it: {error}; `grantlog audit verify` tells more", err=True)
    finally:
        await transparency.stop()


def _members(state: log_key.State) -> dict[str, str | list[str] | None]:
    if state.verifier_key is None:
        raise Failure("the log has no key yet")
    fingerprint = sha256(state.verifier_key.encode()).hexdigest()
    return {
        "verifier_key": state.verifier_key,
        "fingerprint": " ".join(fingerprint[at : at + 8] for at in range(0, 64, 8)),
        "origin": state.origin,
        "also_signing": [state.keys[key_id].verifier_key for key_id in state.in_standing("beside")],
        "retired": [state.keys[key_id].verifier_key for key_id in state.in_standing("retired")],
        "revoked": [state.keys[key_id].verifier_key for key_id in state.in_standing("revoked")],
    }


# `grantlog log accept-divergence`: how a server goes on after somebody has understood why its log does not fit.


@log.command(name="accept-divergence")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def accept_divergence(yes: bool, as_json: bool) -> None:
    """Accept what does not fit in the log, and have the servers issue and sign again.

    Also after the log went back under a server, as in a fail-over to a standby that lacked the newest events. Compares
    the whole log with its tree, shows every position that does not fit, and records who accepted which. Do so when you
    know what was changed, by whom, and what that may have led to. Auditors go on finding those positions; this event
    tells them the rest. It is an alarm again when anything else is changed, or the same once more."""
    print_one(run(lambda services: _accept(services, yes)), as_json)


async def _accept(services: CommandServices, yes: bool) -> dict[str, str | list[str] | None]:
    state: server.State = await services.ledger.state(server.STREAM)
    kept = kept_of(services.settings)
    lost = lost_of(kept, services.ledger.clock.now())
    reason = state.diverged.reason if state.diverged is not None else lost.reason if lost is not None else None
    if reason is None:
        raise Failure("nothing has diverged")
    found = await _misfits(services, state)
    positions = ", ".join(found) or "none any more"
    click.echo(f"{reason}\nPositions that do not fit: {positions}", err=True)
    if not yes:
        click.confirm("Accept this?", abort=True, err=True)
    await services.execute(servers.accept_divergence(reason, found))
    kept.forget_lost()
    return {"reason": reason, "accepted": list(found)}


async def _misfits(services: CommandServices, state: server.State) -> dict[str, str]:
    with ProgressBar("compare") as bar:
        try:
            return await services.ledger.read(misfits, read_leaves, state.accepted, MISFITS_MAXIMUM, bar)
        except NotAcceptable as error:
            raise Failure(
                f"{error}. That cannot be accepted: put the database back from a backup, and see `grantlog log succeed`"
            ) from None


# `grantlog log remove-forged` and `grantlog log rotate-mac-key`: what is done about events that nobody here wrote.


@log.command(name="remove-forged")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def remove_forged(file: Path) -> None:
    """Save the events that do not verify to a new FILE and take them out of the database.

    Stop the servers. On PostgreSQL name the role that owns the tables in GRANTLOG_MIGRATION_DATABASE_URL. Everything
    from the first event on that does not verify is removed, the read models are made again, a new MAC key begins, and
    the next event, `log.forged_removed`, names the file's digest. Find out how somebody came to write to the database
    before the servers are started again: FILE says what they wanted."""
    database = owned()
    authenticate(database.engine, database.vault)
    sink, removal = _created(file), None
    try:
        with sink:
            removal = remove(database.engine, database.vault, sink, database.now)
    finally:
        if removal is None:
            file.unlink()
    if removal is None:
        raise Failure("nothing in the log is forged")
    database.rebuild("projections", PROJECTIONS)
    for name in MODELS:
        database.refollow(name)
    run(begin_what_is_due)
    click.echo(f"{removal.count:,} rows from position {removal.first:,} on are in {file}")
    click.echo(f"sha256 {removal.sha256}")


@log.command(name="rotate-mac-key")
def rotate_mac_key() -> None:
    """Authenticate events by a new key from now on, in every server at once.

    Former keys stay in the vault: events are verified by the key of their own time. One that has leaked makes nothing
    at the head any more."""

    async def work(services: CommandServices) -> str:
        await services.execute(begin_mac_key(services.ledger.ring, "rotated"))
        return services.ledger.ring.writing(services.ledger.changes.position).key_id

    click.echo(f"the log's MAC key is {run(work)} now")
