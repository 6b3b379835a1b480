"""The rows of dropped events, packed: many of them in a row of a table of their own, found by position and by stream.

What a row says of a dropped event is made of the event alone and as short as it can be; most of what it took was its
head, and its places in two indexes. Here 1,024 positions have one row, compressed. It takes the place of theirs and is
a hint as they are: anyone who reads an event has it from its segment, and a position that is neither in the table of
events nor here is missing.

Of a stream the oldest events are packed, so that what came after a row which stands in the table is there too.
They are found by eleven bytes for each, as the secrets of dropped events are.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import islice

import zstandard
from sqlalchemy import BigInteger, Connection, bindparam, delete, func, insert, select, update

from eventstore.sealed.dropped import require_thread
from eventstore.sealed.excerpt import TEXTS
from eventstore.sealed.short_names import kept_stream
from eventstore.stored import archived_events
from projections.named.digest_runs import Runs, entry
from projections.prepared import Prepared

BUCKET = 1_024
"""Positions of a row."""

LEVEL = 12
"""Of Zstandard: what is here is packed while those who write wait."""

LARGEST = 1 << 22
"""Bytes of a row that is unpacked, at most: anybody who writes to the table might put anything there."""

AT_ONCE = 16
"""Rows of the table that are read together, of those that are read in order."""

FEW = 4
"""Rows of the table that are unpacked on the event loop, each of which takes a millisecond."""

PackedRow = tuple[int, str, int, str, bytes]
"""As in the table of events: position, stream, version and type, the two names in short, and the excerpt."""

STREAMS = Runs("archived_streams", top=4)
"""Which positions are of a stream, by the SHA-256 of its name in short; and which segments have all that can be packed
packed."""

_NAMED = re.compile(r"(grant|session):([\w-]+)|([\w-]{22})", re.ASCII).fullmatch
"""Streams of which rows are packed, by their names in short: grants, sessions, uses of tokens. Of others few end."""

_KINDS = {"grant": "g", "session": "s"}
_BEGINNINGS = {"g": "grant:", "s": "session:", "u": ""}


def may_be_packed(stream: str) -> bool:
    """Whether rows of such a stream may be here, by its name, in short or not."""
    return _NAMED(kept_stream(stream)) is not None


# How a row of the table looks --------------------------------------------------------------------------------------


def packed(rows: Sequence[PackedRow]) -> bytes:
    """Rows of one bucket, in order: a line for each column, with tabs between, compressed by Zstandard."""
    names = [_NAMED(row[1]) for row in rows]
    columns: tuple[Iterable[str], ...] = (
        (str((row[0] - 1) % BUCKET) for row in rows),
        ("".join(_KINDS.get(found[1] or "", "u") for found in names if found is not None),),
        ((found[2] or found[3]) for found in names if found is not None),
        (str(row[2]) for row in rows),
        (row[3] for row in rows),
        (row[4].decode() for row in rows),
    )
    text = "\n".join("\t".join(column) for column in columns)
    return zstandard.ZstdCompressor(level=LEVEL).compress(text.encode())


@lru_cache(16)
def unpacked(first: int, entries: bytes) -> Sequence[PackedRow]:
    """What was packed there, in order; nothing where that is nothing of ours, and no event: one that stands there alone
    would be in the log, and no longer in its stream."""
    try:
        if zstandard.frame_content_size(entries) > LARGEST:
            return ()
        text = zstandard.ZstdDecompressor().decompress(entries, max_output_size=LARGEST).decode()
        offsets, kinds, *columns = (line.split("\t") for line in text.split("\n"))
        rows = [
            (first + int(offset), _BEGINNINGS[kind] + name, int(version), type_, excerpt.encode())
            for offset, kind, name, version, type_, excerpt in zip(offsets, kinds[0], *columns, strict=True)
        ]
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, IndexError):
        return ()
    if "\0" in text:
        # No text has it, and PostgreSQL would take no name with it.
        return ()
    is_whole = all(first <= row[0] < first + BUCKET and 0 < row[2] < 1 << 62 for row in rows)
    return [row for row in rows if not row[4].startswith(TEXTS)] if is_whole and first % BUCKET == 1 else ()


def first_of(position: int) -> int:
    """The position with which the bucket of a position begins."""
    return position - (position - 1) % BUCKET


def _rows(first: object, entries: object) -> Sequence[PackedRow]:
    # SQLite keeps whatever somebody else puts there.
    return unpacked(first, entries) if isinstance(first, int) and isinstance(entries, bytes) else ()


# Reading ----------------------------------------------------------------------------------------------------------

_HIGHEST = (1 << 63) - 1
_NEWEST = Prepared(select(func.max(archived_events.c.first)))
_ONE = Prepared(
    select(archived_events.c.first, archived_events.c.entries).where(
        archived_events.c.first == bindparam("b_first", type_=BigInteger)
    )
)
_THESE = select(archived_events.c.first, archived_events.c.entries).where(
    archived_events.c.first.in_(bindparam("b_firsts", expanding=True))
)
_BETWEEN = Prepared(
    select(archived_events.c.first, archived_events.c.entries)
    .where(
        archived_events.c.first >= bindparam("b_low", type_=BigInteger),
        archived_events.c.first <= bindparam("b_high", type_=BigInteger),
    )
    .order_by(archived_events.c.first)
    .limit(AT_ONCE)
)


def at(connection: Connection, positions: Collection[int]) -> list[PackedRow]:
    """Those of these positions that are packed, in order."""
    newest = _NEWEST.first(connection, {}) if positions else None
    if newest is None or newest[0] is None:
        return []
    wanted = {each for each in positions if 0 < each < newest[0] + BUCKET}
    firsts = sorted({first_of(each) for each in wanted})
    if len(firsts) > FEW:
        require_thread(connection)
    found = _at(connection, iter(firsts))
    return [row for first, entries in found for row in _rows(first, entries) if row[0] in wanted]


def _at(connection: Connection, firsts: Iterator[int]) -> Iterator[Sequence[object]]:
    while some := list(islice(firsts, AT_ONCE)):
        yield from sorted(connection.execute(_THESE, {"b_firsts": some}).all(), key=lambda each: each[0])


def between(
    connection: Connection, low: int, high: int, limit: int, types: Collection[str] | None = None
) -> list[PackedRow]:
    """At most `limit` of the packed rows from `low` to `high`, both inclusive, in order; with `types` those alone that
    say one of these."""
    every = (
        row
        for first, entries in _between(connection, low, high)
        for row in _rows(first, entries)
        if low <= row[0] <= high and (types is None or row[3] in types)
    )
    return list(islice(every, limit))


def _between(connection: Connection, low: int, high: int) -> Iterator[Sequence[object]]:
    start, last = first_of(max(low, 1)), min(high, _HIGHEST)
    while start <= last:
        found = _BETWEEN.all(connection, {"b_low": start, "b_high": last})
        if len(found) > FEW:
            require_thread(connection)
        yield from found
        if len(found) < AT_ONCE:
            return
        start = found[-1][0] + 1


def of_streams(connection: Connection, streams: Collection[str]) -> dict[str, list[PackedRow]]:
    """The packed rows of streams, by their names as they are asked for, in order; without streams that have none."""
    by_digest = {_digest(kept_stream(each)): each for each in streams}
    found = STREAMS.positions(connection, [*by_digest])
    rows = at(connection, {each for places in found.values() for each in places})
    by_name = defaultdict[str, list[PackedRow]](list)
    for row in rows:
        by_name[row[1]].append(row)
    # Two names may begin alike.
    return {each: by_name[name] for each in streams if (name := kept_stream(each)) in by_name}


def not_found(connection: Connection, rows: Sequence[PackedRow]) -> list[PackedRow]:
    """Those packed rows that are not found by their streams."""
    found = STREAMS.positions(connection, [*{_digest(row[1]) for row in rows}])
    return [row for row in rows if row[0] not in found.get(_digest(row[1]), ())]


def _digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


# Writing, by the owner of the tables, under the log's lock --------------------------------------------------------

_PUT = insert(archived_events)
_REPLACE = (
    update(archived_events)
    .where(archived_events.c.first == bindparam("b_first"))
    .values(entries=bindparam("b_entries"))
)
_REMOVE = delete(archived_events).where(archived_events.c.first.in_(bindparam("b_firsts", expanding=True)))
_BEHIND = delete(archived_events).where(archived_events.c.first > bindparam("b_first"))


def by_bucket(rows: Iterable[PackedRow]) -> Mapping[int, Sequence[PackedRow]]:
    """Rows by where their buckets begin."""
    found = defaultdict[int, list[PackedRow]](list)
    for row in rows:
        found[first_of(row[0])].append(row)
    return found


def add(connection: Connection, rows: Iterable[PackedRow], lost: Iterable[PackedRow] = ()) -> None:
    """Adds rows beside those that are here, of which those that were `lost` are found by their streams again."""
    entries = [entry(_digest(row[1]), row[0]) for row in lost]
    for first, some in by_bucket(rows).items():
        standing = _ONE.first(connection, {"b_first": first})
        known = () if standing is None else _rows(*standing)
        together = {row[0]: row for row in (*known, *some)}
        form = packed([together[each] for each in sorted(together)])
        if standing is None:
            connection.execute(_PUT, {"first": first, "entries": form})
        else:
            connection.execute(_REPLACE, {"b_first": first, "b_entries": form})
        entries += [entry(_digest(row[1]), row[0]) for row in some]
    STREAMS.add(connection, entries)


def forget_from(connection: Connection, position: int) -> None:
    """Removes the rows from a position on, as those of the table of events are."""
    first = first_of(position)
    connection.execute(_BEHIND, {"b_first": first})
    left = [row for row in at(connection, range(first, first + BUCKET)) if row[0] < position]
    if left:
        connection.execute(_REPLACE, {"b_first": first, "b_entries": packed(left)})
    else:
        connection.execute(_REMOVE, {"b_firsts": [first]})
