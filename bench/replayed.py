"""What is done with a long log, each work on a database that the ones before have prepared; it says how many events."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from api.audit.queries.export import writer
from api.audit.rendering import Rendering
from bench.subjects.processes import children
from eventstore import search
from eventstore.database.engines import migrating, reading, snapshot
from eventstore.database.schema import upgrade
from eventstore.export_import import read, write
from eventstore.personal_data import PersonalData
from eventstore.projecting.rebuild import Rebuild
from eventstore.search import Criteria
from eventstore.transparency.note import Signer
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from projections import digests, tokens
from security.clock import SystemClock
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.vault import Vault
from verifier.note import Key
from verifier.source import open_source
from verifier.verify import verify

EXPORTED = 200_000
"""Events of the JSONL export: it costs the same for each, however many there are."""
AT_ONCE = 250

_SIGNER = Signer("bench.example/log", os.urandom(32))


class Log(NamedTuple):
    """A database, and the file with the log that it gets. `postmaster` is the process of its server, None on SQLite."""

    url: str
    keyring: Keyring
    file: Path
    postmaster: int | None

    @property
    def engine(self) -> Engine:
        return migrating(self.url)

    @property
    def privacy(self) -> PersonalData:
        return PersonalData(Sealer(Vault(self.keyring)), BlindIndex(self.keyring))


class WrongResult(Exception):
    """What was measured did not do its work."""


class Measured(NamedTuple):
    """`cpu` and `wall` are seconds; the former counts the database's server in."""

    events: int
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Events a second of processor time."""
        return self.events / self.cpu


def measured(log: Log, work: Callable[[Log], int]) -> Measured:
    """Does the work and measures it."""
    cpu, wall = _spent(log), time.perf_counter()
    events = work(log)
    return Measured(events, _spent(log) - cpu, time.perf_counter() - wall)


def _spent(log: Log) -> float:
    """Seconds of processor time of this process and of the database's server, with all that it ever started."""
    own = time.process_time()
    if log.postmaster is None:
        return own
    ticks = _ticks(log.postmaster, ended_children=True)
    ticks += sum(_ticks(pid, ended_children=False) for pid in children(log.postmaster))
    return own + ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int, *, ended_children: bool) -> int:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0
    # After the command's name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
    fields = stat.read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13]))


# The works --------------------------------------------------------------------------------------------------------


def carried_in(log: Log) -> int:
    """`grantlog log import`, without the projections that it has computed again."""
    upgrade(log.url)
    with log.file.open("rb") as source:
        return read(log.engine, Vault(log.keyring), source, SystemClock().now()).events


def tree_built(log: Log) -> int:
    """The tree follows the whole log from its beginning, tiles and checkpoints stored and signed."""
    engine = log.engine
    tree = Tree(_SIGNER.name, lambda _: [_SIGNER], SystemClock())
    more = True
    while more:
        with engine.begin() as connection:
            more = tree.follow(connection, read_leaves).more
    engine.dispose()
    with reading(log.url, 1).connect() as connection:
        return search.newest(connection)


def verified(log: Log) -> int:
    """`grantlog audit verify` on the database."""
    source = open_source(log.url)
    verdict = verify(source, [Key.parse(str(_SIGNER.verifier))])
    source.close()
    if verdict.exit_code:
        raise WrongResult(verdict.reason)
    return verdict.checked


def tokens_rebuilt(log: Log) -> int:
    """`grantlog projections rebuild tokens`, which takes the table of digests with it."""
    return Rebuild(log.engine, (tokens, digests), log.privacy, SystemClock().now()).run().position


def carried_out(log: Log) -> int:
    """`grantlog log export`."""
    return written(log.url, log.file.with_suffix(".again"))


def written(url: str, file: Path) -> int:
    """Writes the whole log to a file."""
    with file.open("wb") as sink, snapshot(url) as connection:
        return write(connection, sink)


def written_as_jsonl(log: Log) -> int:
    """`GET /audit/export` for a reader without personal values, from the search to the bytes, without HTTP."""
    writing, privacy = writer("jsonl", "https://bench.example", "0"), log.privacy
    count = 0
    start: int | None = 1
    with reading(log.url, 1).connect() as connection:
        criteria = Criteria((), 1, min(EXPORTED, search.newest(connection)))
        while start is not None:
            found = search.search(connection, criteria, AT_ONCE, start)
            rendering = Rendering(privacy, connection, personal=False)
            states = search.stored_forms(connection, found.positions)
            count += b"".join(writing.write(rendering.event(state)) for state in states).count(b"\n")
            start = found.resume
    return count
