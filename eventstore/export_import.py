"""Carrying a whole log from one database to another: SQLite to PostgreSQL as it grows up, and back.

The file is JSON, one object a line: a head line, the rows of the vault (still wrapped by the master key), of tiles and
checkpoints, then every event's stored form byte for byte, and an end line with the digest of all before it. Positions,
proofs and checkpoints stay what they are. Anyone who has the file and the master key has the log.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, LargeBinary, Table, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError

from domain.event import Moment
from domain.events import DESTROYING
from eventstore import mapper
from eventstore.mapper import PLACE, DueKey, LogMapper, Ring
from eventstore.projecting.rebuild import Progress, set_unmade
from eventstore.recorder import INSERT, store
from eventstore.sealed.segment import WIDTH
from eventstore.search import time_of
from eventstore.stored import CHECKPOINTS, EDGE, TILES, events, head
from eventstore.transparency import published
from eventstore.unavailable import Forged
from projections import PROJECTIONS
from security.vault import KEYS, SECRETS, Vault

FORMAT = "grantlog-log/1"
BATCH = 2_000
"""Events at a time: even the largest that there can be fit into one statement."""

COLUMNS = tuple(str(column.key) for column in events.columns)
EVENT = b'{"position":'
"""How the line of an event begins, and no other."""

CARRIED: tuple[Table, ...] = (KEYS, SECRETS, TILES, CHECKPOINTS, EDGE)
"""Besides the events. Projections are computed again, and answers to repeated commands live a day only."""

_ISSUER_ID = re.compile("[0-9a-f]{32}").fullmatch

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What comes of reading a line that is no JSON, not UTF-8, or nested without end."""

_NO_ROW = (
    *(AttributeError, KeyError, TypeError, ValueError, OverflowError),
    *(DataError, IntegrityError, InterfaceError, ProgrammingError),
)
"""What comes of putting into a table what is no row of it."""


_LOCKED = "55P03"
"""PostgreSQL's code for what another one has locked. SQLite says so by itself, when the transaction begins."""


class NotALog(Exception):
    """The file is none of ours, was cut off or altered, or does not fit where it is to go."""


class Carried(NamedTuple):
    """How many events, and the erasures of people and of months that were applied again."""

    events: int
    erased: int


def write(
    connection: Connection,
    file: BinaryIO,
    progress: Progress = lambda done, goal: None,
    issuer_id: str | None = None,
) -> int:
    """Writes the whole log as this connection sees it, in one snapshot; how many events. `issuer_id` is that of one of
    several issuers, without which its vault does not open. Raises `Forged`."""
    digest, log = sha256(), store(connection)

    def line(content: bytes) -> None:
        digest.update(content)
        file.write(content)

    newest = connection.execute(select(head.c.position, head.c.time).where(head.c.id == 1)).one()
    whose = {} if issuer_id is None else {"issuer_id": issuer_id}
    line(_encoded({"format": FORMAT, "position": newest.position, "time": newest.time} | whose))
    for table in CARRIED:
        for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings():
            line(_encoded({"table": table.name, "row": _out(table, dict(row))}))
    for tile in _archived_tiles(connection):
        line(_encoded({"table": TILES.name, "row": _out(TILES, tile)}))
    done = 0
    while done < newest.position:
        until = min(done + BATCH, newest.position)
        for stored in log.recorder.rows_between(done, until):
            if stored.id != done + 1:
                break
            line(log.mapper.form(stored) + b"\n")
            done += 1
        if done != until:
            raise Forged(done + 1)
        progress(done, newest.position)
    file.write(_encoded({"end": newest.position, "sha256": digest.hexdigest()}))
    return int(newest.position)


def _archived_tiles(connection: Connection) -> Iterator[dict[str, Any]]:
    """The rows of the tiles that segments alone have."""
    standing = set(connection.scalars(select(TILES.c.number).where(TILES.c.level == 0)))
    for number in range(published.size(connection) // WIDTH):
        if number not in standing and (hashes := published.tile(connection, 0, number)) is not None:
            yield {"level": 0, "number": number, "width": WIDTH, "hashes": hashes}


def issuer_of(first: bytes) -> str | None:
    """The id of the issuer whose log begins with this line; None for that of a server's own. Raises `NotALog`."""
    found = _opening(first).get("issuer_id")
    if found is not None and (not isinstance(found, str) or _ISSUER_ID(found) is None):
        # A directory, or a schema, is named by it.
        raise NotALog("the file names an issuer by what can be no id of one")
    return found


def read(
    engine: Engine,
    vault: Vault,
    file: Iterable[bytes],
    now: Moment,
    progress: Progress = lambda done, goal: None,
    prove: Callable[[Connection], None] = lambda connection: None,
) -> Carried:
    """Brings a written log into a migrated database that holds none, in one transaction; raises `NotALog`.

    `prove` looks at the vault before any event is read, and raises when its keys are not to be had. Every event is
    verified under the keys that came with it. Erasures in the log
    are applied to the vault again: the copy of the vault may be older than they are. The projections are left to be
    rebuilt, and noted as such.
    """
    with engine.begin() as connection:
        if _locked_head(connection) != 0:
            raise NotALog("the database has a log already; a log is carried into an empty one")
        lines = _checked(file)
        opening = _opening(next(lines, b""))
        event = _fill(connection, lines)
        prove(connection)
        ring = Ring(vault)
        ring.load(connection)
        done, newest, erased = _append(connection, LogMapper(ring), chain(event, lines), opening["position"], progress)
        if done != opening["position"]:
            raise NotALog(f"the file says that it holds {opening['position']} events and holds {done}")
        # By the event itself, which nobody else could make.
        moment = 0 if newest is None else time_of(newest)
        connection.execute(update(head).where(head.c.id == 1).values(position=done, time=moment))
        for stream in erased:
            vault.destroy(connection, stream, now)
        set_unmade(connection, PROJECTIONS)
        # The keys of the events are in the file, and anyone who had the file may have had them.
        mapper.put_due_key(connection, vault, DueKey("imported", done + 1), now)
    for stream in erased:
        vault.forget(stream)
    return Carried(done, len(erased))


def _locked_head(connection: Connection) -> int:
    """Where the log there stands, with the lock under which all write. One who waited for it would find what another
    import had brought, row for row."""
    try:
        found: int = connection.execute(
            select(head.c.position).where(head.c.id == 1).with_for_update(nowait=True)
        ).scalar_one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCKED:
            raise
        raise NotALog(
            "somebody else writes to the database, such as another import: wait until they are done"
        ) from None
    return found


def _fill(connection: Connection, lines: Iterator[bytes]) -> list[bytes]:
    """Fills the tables besides the events'; the line that came after, of the first event, if there is one."""
    tables = {table.name: table for table in CARRIED}
    for line in lines:
        if line.startswith(EVENT):
            return [line]
        given = _members(line)
        table = tables.get(str(given.get("table")))
        if table is None:
            raise NotALog("a line is neither an event nor a row of a table that a log has")
        try:
            connection.execute(insert(table), _in(table, given["row"]))
        except _NO_ROW:
            raise NotALog(f"a line that should be a row of {table.name} is none") from None
    return []


def _append(
    connection: Connection, mapper: LogMapper, lines: Iterable[bytes], goal: int, progress: Progress
) -> tuple[int, str | None, list[str]]:
    """How many events there were, the newest one's stored form, and the streams whose keys they destroyed."""
    rows: list[tuple[Any, ...]] = []
    erased: list[str] = []
    done, newest = 0, None
    for line in lines:
        try:
            form = PLACE.decode(line)
        except _UNREADABLE:
            raise NotALog(f"what follows position {done} is not an event") from None
        done += 1
        if form.position != done:
            raise NotALog(f"the event after position {done - 1} says that it is at {form.position}")
        if not mapper.is_authentic(done, line.rstrip(b"\n")):
            raise NotALog(f"the event at position {done} is not authentic")
        if form.type in DESTROYING:
            erased.append(form.stream)
        newest = line.rstrip(b"\n").decode()
        rows.append((done, form.stream, form.version, form.type, newest))
        if len(rows) == BATCH:
            INSERT.run_all(connection, COLUMNS, rows)
            rows.clear()
            progress(done, goal)
    if rows:
        INSERT.run_all(connection, COLUMNS, rows)
    progress(done, goal)
    return done, newest, erased


def _checked(file: Iterable[bytes]) -> Iterator[bytes]:
    """The lines before the end line, which must be there and tell their digest."""
    digest = sha256()
    for line in file:
        if line.startswith(b'{"end":'):
            if not (ended := _members(line)):
                break
            if ended.get("sha256") != digest.hexdigest():
                raise NotALog("the file is not what was written: its digest differs")
            return
        if not line.endswith(b"\n"):
            break
        digest.update(line)
        yield line
    raise NotALog("the file was cut off: it has no end")


def _members(line: bytes) -> dict[str, Any]:
    """What a line that is no event's holds; nothing when it is not an object of JSON."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except _UNREADABLE:
        return {}


def _opening(first: bytes) -> dict[str, Any]:
    """The members of a first line. Raises `NotALog`."""
    opening = {} if first.startswith(EVENT) else _members(first)
    if opening.get("format") != FORMAT or not all(isinstance(opening.get(each), int) for each in ("position", "time")):
        raise NotALog("this is not the export of a log, or one of another version")
    return opening


def _encoded(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _binary(table: Table) -> set[str]:
    return {column.name for column in table.columns if isinstance(column.type, LargeBinary)}


def _out(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: b64encode(row[name]).decode() for name in _binary(table) if row[name] is not None}


def _in(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the database takes it. Raises one of `_NO_ROW` for what has other columns."""
    if not row.keys() <= set(table.columns.keys()):
        raise KeyError(table.name)
    return row | {name: b64decode(row[name]) for name in _binary(table) if row[name] is not None}
