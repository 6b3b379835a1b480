"""A made log on both databases, with all that a server makes of it: its rows, its search index and its tree."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine

from bench.made.made_log import make
from bench.reports import machine
from bench.subjects import databases
from bench.subjects.databases import Database
from eventstore.database.engines import migrating
from eventstore.mapper import authenticate
from eventstore.personal_data import PersonalData, Unsealing
from eventstore.projecting.catch_up import BATCH, EventIndexing
from eventstore.projecting.rebuild import Rebuild
from eventstore.recorder import store
from eventstore.transparency import signing_keys
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from projections import PROJECTIONS, event_index
from security.clock import SystemClock
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.vault import Vault


def on_both(keyring: Keyring, events: int, *, services: bool = False) -> Iterator[tuple[Database, Path]]:
    """A log of so many events on each database in turn, of what `make` makes, with the directory where they are; last
    it tells the machine."""
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name, ExitStack() as opened:
        directory = Path(name)
        directory.chmod(0o755)
        for database in (
            opened.enter_context(databases.sqlite(directory / "sqlite")),
            opened.enter_context(databases.postgresql(directory / "postgresql")),
        ):
            make(database.url, keyring, events, SystemClock().now(), services=services)
            print(database.name, flush=True)
            yield database, directory
        print("\n".join(f"{fact}: {value}" for fact, value in machine.facts(directory).items()))


def rebuilt(url: str, keyring: Keyring) -> None:
    """Makes the rows of all projections."""
    engine = migrating(url)
    Rebuild(engine, PROJECTIONS, _privacy(Vault(keyring), keyring), SystemClock().now()).run()
    engine.dispose()


def followed(url: str, keyring: Keyring, events: int, at_once: int = BATCH) -> float:
    """Brings so many further events into the search index, some in a transaction; seconds of processor time of this
    process for each."""
    engine: Engine = migrating(url)
    vault = Vault(keyring)
    authenticate(engine, vault)
    model, unsealing = EventIndexing(), Unsealing(_privacy(vault, keyring))
    with engine.connect() as connection:
        start = event_index.reached(connection, model.name)
    began = time.process_time()
    for after in range(start, start + events, at_once):
        until = min(after + at_once, start + events)
        with engine.begin() as connection:
            unsealing.begin()
            prepared = model.prepare(connection, [*store(connection).between(after, until)], unsealing)
            if event_index.advance(connection, model.name, after, until):
                model.keep(connection, [prepared])
    engine.dispose()
    return (time.process_time() - began) / events


def signed(url: str, keyring: Keyring, name: str) -> None:
    """Lets the tree come to the log's head, as a running server does."""
    engine, vault = migrating(url), Vault(keyring)
    authenticate(engine, vault)
    tree, more = Tree(name, signing_keys.from_vault(vault, name), SystemClock()), True
    while more:
        with engine.begin() as connection:
            more = tree.follow(connection, read_leaves).more
    engine.dispose()


def _privacy(vault: Vault, keyring: Keyring) -> PersonalData:
    return PersonalData(Sealer(vault), BlindIndex(keyring))
