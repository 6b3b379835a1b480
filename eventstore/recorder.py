"""The library's recorder and event store over the table of events: the one way to read it and append to it.

Who reads events asks `store(connection)`, and gets the library's `EventStore` within that connection's transaction:

    store(connection).get(stream, gt=version)               # a stream's events, by `recorder.select_events`
    store(connection).between(after, until)                 # the log's, by `recorder.select_notifications`
    store(connection).recorder.select_notifications(…)      # the same as rows: `mapper.text` gives the stored form
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, TypeVar, cast

from eventsourcing.persistence import EventStore, StoredEvent
from eventsourcing_sqlalchemy.recorders import SQLAlchemyApplicationRecorder
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Text,
    bindparam,
    column,
    func,
    insert,
    or_,
    outerjoin,
    select,
    text,
    true,
)

from domain.event import Recorded
from eventstore.database.shared_connections import shared_of
from eventstore.mapper import LogMapper, decoder
from eventstore.sealed import packed_rows
from eventstore.sealed.dropped import horizon
from eventstore.sealed.log_rows import (
    EventRow,
    dropped_streams,
    is_asked,
    is_whole,
    merged,
    row_of,
    rows_of,
    whole,
    with_packed,
)
from eventstore.sealed.short_names import as_kept, kept_stream
from eventstore.stored import EVENTS, ROW, events, head, named, place
from projections.prepared import Prepared, translate

T = TypeVar("T")

INSERT = Prepared(insert(events))
_NAMES = tuple(str(each.key) for each in events.c)
CHANNEL = EVENTS
"""Where PostgreSQL tells of what was appended, and where the library's own subscription listens. What is told is the
schema: a channel is that of a whole database, and anyone who follows one log of many there is not to look for all."""

_NOTIFY = Prepared(text(f"SELECT pg_notify('{CHANNEL}', current_schema())"))

DATABASE_TIME = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
"""What PostgreSQL's own clock shows, in microseconds. SQLite has none: it is the machine's."""

HEAD = Prepared(
    select(head.c.position, head.c.time, head.c.indexed_by, events.c.state)
    .select_from(outerjoin(head, events, events.c.id == head.c.position))
    .where(head.c.id == 1)
)
"""On SQLite, whose file others may write to as they please: the newest event's bytes are compared each time."""

NO_HEAD = "the log has no head here"
"""It was taken away under its lock when the log was moved; anyone who comes later, by whatever connection, finds
none."""


def portions(found: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """So many at a time: as many as one statement should name."""
    return (found[start : start + size] for start in range(0, len(found), size))


_NEWEST = Prepared(select(func.max(events.c.id)))


def _bound(name: str) -> Any:
    return bindparam(name, type_=BigInteger)


@lru_cache(256)
def notifications(start: bool, inclusive: bool, stop: bool, topics: tuple[str, ...] = ()) -> Prepared:
    """The query of `select_notifications`, by which of its arguments are given."""
    query = select(*ROW).order_by(events.c.id).limit(_bound("limit"))
    if start:
        query = query.where(events.c.id >= _bound("start") if inclusive else events.c.id > _bound("start"))
    if stop:
        query = query.where(events.c.id <= _bound("stop"))
    if topics:
        query = query.where(or_(*(events.c.topic == topic for topic in as_kept(topics))))
    return Prepared(query)


def _of_stream(shortened: bool) -> ColumnElement[bool]:
    """Rows of `stream`, and with `shortened` those in which it has the name that dropped events keep, `kept`."""
    name = events.c.originator_id
    own, kept = (bindparam(each, type_=Text) for each in ("stream", "kept"))
    return name.in_((own, kept)) if shortened else name == own


def _asked(stream: str) -> dict[str, Any]:
    return {"stream": stream, "kept": kept_stream(stream)}


def _is_shortened(asked: Mapping[str, Any]) -> bool:
    return bool(asked["kept"] != asked["stream"])


def _by_kept(streams: Iterable[str]) -> dict[str, str]:
    """Those of the streams that have another name in the rows of dropped events, by that."""
    return {kept: stream for stream in streams if (kept := kept_stream(stream)) != stream}


@lru_cache(64)
def stream_events(gt: bool, lte: bool, desc: bool, limit: bool, stop: bool, shortened: bool = False) -> Prepared:
    """The same of `select_events`."""
    version = events.c.originator_version
    query = select(*ROW).where(_of_stream(shortened))
    if gt:
        query = query.where(version > _bound("gt"))
    if lte:
        query = query.where(version <= _bound("lte"))
    if stop:
        query = query.where(place <= _bound("stop"))
    if limit:
        query = query.limit(_bound("limit"))
    return Prepared(query.order_by(version.desc() if desc else version))


_WANTED = (
    func.unnest(bindparam("streams", type_=ARRAY(Text)), bindparam("versions", type_=ARRAY(BigInteger)), type_=Text)
    .table_valued(column("stream", Text), column("version", BigInteger))
    .render_derived(name="wanted")
)
_LATER = (
    select(*ROW)
    .where(events.c.originator_id == _WANTED.c.stream, events.c.originator_version > _WANTED.c.version)
    .order_by(events.c.originator_version)
    .limit(_bound("limit"))
    .lateral("later")
)
EVENTS_OF_ALL = Prepared(
    select(*[_LATER.c[each.name] for each in ROW])
    .join_from(_WANTED, _LATER, true())
    .order_by(_WANTED.c.stream, _LATER.c.originator_version)
)
"""The events of many streams. A LATERAL subquery with an order is read stream by stream, by the index of streams. Any
other join may read the whole log."""

_NEWEST_VERSION = {
    shortened: Prepared(select(func.max(events.c.originator_version)).where(_of_stream(shortened)))
    for shortened in (False, True)
}
_NEWEST_OF_EACH = (
    select(events.c.originator_version)
    .where(events.c.originator_id == named.c.stream)
    .order_by(events.c.originator_version.desc())
    .limit(1)
    .lateral("last")
)
NEWEST_OF_ALL = Prepared(
    select(named.c.stream, _NEWEST_OF_EACH.c.originator_version).join_from(named, _NEWEST_OF_EACH, true())
)


def versions(connection: Connection, streams: Collection[str], living: Collection[str] = frozenset()) -> dict[str, int]:
    """The newest version of each stream as this connection sees it, 0 for one without events. Of those that are
    `living` nothing was ever archived."""
    found = _standing_versions(connection, streams)
    asked = [each for each, version in found.items() if not version and each not in living]
    if asked := [each for each in asked if packed_rows.may_be_packed(each)]:
        found |= {each: rows[-1][2] for each, rows in packed_rows.of_streams(connection, asked).items()}
    return found


def _standing_versions(connection: Connection, streams: Collection[str]) -> dict[str, int]:
    found = dict.fromkeys(streams, 0)
    if len(streams) > 1 and connection.dialect.name == "postgresql":
        by_kept = _by_kept(streams)
        for name, version in NEWEST_OF_ALL.all(connection, {"streams": [*streams, *by_kept]}):
            stream = by_kept.get(name, name)
            found[stream] = max(found[stream], version)
        return found
    for stream in streams:
        asked = _asked(stream)
        row = _NEWEST_VERSION[_is_shortened(asked)].first(connection, asked)
        found[stream] = (row and row[0]) or 0
    return found


@lru_cache(4)
def positions_of_stream(descending: bool, shortened: bool) -> Prepared:
    """The query of `positions_in`."""
    version = events.c.originator_version
    query = select(events.c.id).where(_of_stream(shortened), place >= _bound("low"), place <= _bound("high"))
    return Prepared(query.order_by(version.desc() if descending else version).limit(_bound("limit")))


def positions_in(
    connection: Connection, stream: str, low: int, high: int, limit: int, *, descending: bool
) -> list[int]:
    """At most `limit` positions of a stream's events from `low` to `high`, both inclusive, in order."""
    asked = _asked(stream)
    query = positions_of_stream(descending, _is_shortened(asked))
    found = [row[0] for row in query.all(connection, {**asked, "low": low, "high": high, "limit": limit})]
    if not packed_rows.may_be_packed(stream) or (
        descending and len(found) == limit and found[-1] > horizon(connection)
    ):
        return found
    packed = packed_rows.of_streams(connection, (stream,)).get(stream, ())
    every = {*found, *(row[0] for row in packed if low <= row[0] <= high)}
    return sorted(every, reverse=descending)[:limit]


class LogRecorder(SQLAlchemyApplicationRecorder):
    """Reads events as they were stored, and inserts within the ledger's transaction: no table lock, no sequence.

    The library's queries load an object of a mapped class for each row and copy it: 19.8 µs of processor time for an
    event on SQLite, 19.0 on PostgreSQL. These give out what the driver gave: 2.1 and 1.8 (`python -m bench.reading`).
    """

    _over: Connection | None = None

    def __init__(self, datastore: Any, *, events_table_name: str) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self._kept: list[Connection] = []
        """The one connection while nobody uses it."""
        engine = datastore.engine
        self._shared = shared_of(engine) if isinstance(engine, Engine) else None
        if self._shared is not None:
            self._shared.keep(self, self.release)

    @classmethod
    def over(cls, connection: Connection) -> Self:
        """One that reads and inserts within this connection's transaction. To make it costs next to nothing."""
        recorder = cls.__new__(cls)
        recorder._over = connection
        return recorder

    def commit(self, connection: Connection) -> None:
        """Commits: it is on disk when this returns, or when what is sent `together` is done."""
        driver: Any = connection.connection.driver_connection
        run(connection, "COMMIT", driver.execute, "COMMIT")

    def taken(self) -> Connection | None:
        """The kept connection, for one who uses it alone until it is `keep`; None where there is none."""
        # Another thread may let it go at the same moment.
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def keep(self, connection: Connection) -> None:
        """Keeps it while nobody uses it."""
        self._kept.append(connection)
        if self._shared is not None and self._shared.is_wanted:
            self.release()

    def release(self) -> bool:
        """Lets the connection go, unless it is in use; whether there was one."""
        connection = self.taken()
        if connection is None:
            return False
        connection.close()
        return True

    def close(self) -> None:
        """Lets it go for good."""
        if self._shared is not None:
            self._shared.keep_no_more(self)
        self.release()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Appends rows at their own dense positions. Raises SQLAlchemy's IntegrityError when one is taken already."""
        connection = self._over
        if connection is None:
            raise AssertionError("only the ledger appends, in a transaction that holds the log's lock")
        rows = cast(Sequence[EventRow], stored_events)
        values = [(id_, stream, version, topic, form.decode()) for id_, stream, version, topic, form in rows]
        INSERT.insert(connection, _NAMES, values)
        if connection.dialect.name == "postgresql":
            _NOTIFY.run(connection, ({},))
        return [each.id for each in rows]

    def select_events(  # type: ignore[override]
        self,
        originator_id: Any,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
        *,
        stop: int | None = None,
    ) -> list[EventRow]:
        """One stream's events in order of their version; with `stop` no further than to that position."""
        asked = _asked(originator_id)
        given = (gt is not None, lte is not None, desc, limit is not None, stop is not None)
        query = stream_events(*given, _is_shortened(asked))

        def both(connection: Connection, rows: list[EventRow]) -> list[EventRow]:
            if not packed_rows.may_be_packed(originator_id):
                return rows
            if is_whole(connection, rows, gt or 0, desc=desc, limit=limit):
                return rows
            packed = packed_rows.of_streams(connection, (originator_id,)).get(originator_id, ())
            wanted = [row for row in packed if is_asked(row, gt, lte, stop)]
            found = merged(rows, wanted, order=2) if wanted else rows
            return (found[::-1] if wanted and desc else found)[:limit]

        return self._rows(query, {**asked, "gt": gt, "lte": lte, "limit": limit, "stop": stop}, both)

    def select_events_of(self, wanted: Mapping[str, int], limit: int | None = None) -> dict[str, list[EventRow]]:
        """The same of many streams, of each what follows a version of it; one question on PostgreSQL."""
        if len(wanted) < 2 or self._over is None or self._over.dialect.name != "postgresql":
            return {stream: self.select_events(stream, gt=version, limit=limit) for stream, version in wanted.items()}
        found: dict[str, list[EventRow]] = {stream: [] for stream in wanted}
        by_kept = _by_kept(wanted)
        every = [*wanted.items(), *((kept, wanted[stream]) for kept, stream in by_kept.items())]
        asked = {"streams": [name for name, _ in every], "versions": [after for _, after in every], "limit": limit}
        dropped = set[str]()

        def both(_: Connection, rows: list[EventRow]) -> list[EventRow]:
            dropped.update(by_kept.get(name, name) for name in dropped_streams(rows))
            return rows

        for row in self._rows(EVENTS_OF_ALL, asked, both):
            # A row that is not its event's still has the name by which it was found.
            found[by_kept.get(row.originator_id, row.originator_id)].append(row)
        packed = self._packed_of(
            self._over, wanted, {each: rows for each, rows in found.items() if each not in dropped}
        )
        for stream in {*by_kept.values(), *packed}:
            # Those of either name are in order.
            found[stream] = merged(found[stream], packed.get(stream, ()), order=2)[:limit]
        return found

    def _packed_of(
        self, connection: Connection, wanted: Mapping[str, int], found: Mapping[str, list[EventRow]]
    ) -> dict[str, list[EventRow]]:
        """What is packed of those of the streams of which anything may be."""
        asked = [
            stream
            for stream, after in wanted.items()
            if packed_rows.may_be_packed(stream) and not is_whole(connection, found.get(stream, ()), after)
        ]
        packed = packed_rows.of_streams(connection, asked) if asked else {}
        later = {stream: [row for row in rows if row[2] > wanted[stream]] for stream, rows in packed.items()}
        return {stream: whole(connection, rows_of(rows)) for stream, rows in later.items()}

    def select_notifications(  # type: ignore[override]
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[EventRow]:
        """The log from `start` to `stop`, both included unless said otherwise, in order of position."""
        query = notifications(start is not None, inclusive_of_start, stop is not None, tuple(topics))
        first = 1 if start is None else max(1, start if inclusive_of_start else start + 1)

        def both(connection: Connection, rows: list[EventRow]) -> list[EventRow]:
            return with_packed(connection, rows, first, limit, stop, topics)

        return self._rows(query, {"start": start, "limit": limit, "stop": stop}, both)

    def rows_between(self, after: int, until: int, topics: Sequence[str] = ()) -> Sequence[EventRow]:
        """The log's rows `after` < position ≤ `until`, whether they verify or not: the mapper tells."""
        return self.select_notifications(after, max(until - after, 0), until, topics, inclusive_of_start=False)

    def max_notification_id(self) -> int | None:
        """The newest position, or None for an empty log."""
        newest: int | None = self._found(_NEWEST, {})[0][0]
        return newest

    def _rows(
        self,
        query: Prepared,
        parameters: dict[str, Any],
        both: Callable[[Connection, list[EventRow]], list[EventRow]] = lambda _, rows: rows,
    ) -> list[EventRow]:
        """What stands, by `both` with what is packed."""
        if self._over is not None:
            return whole(self._over, both(self._over, rows_of(query.all(self._over, parameters))))
        with self.transaction(commit=False) as session:
            connection = session.connection()
            return whole(connection, both(connection, rows_of(query.all(connection, parameters))))

    def _found(self, query: Prepared, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        if self._over is not None:
            return query.all(self._over, parameters)
        with self.transaction(commit=False) as session:
            return query.all(session.connection(), parameters)


def run(connection: Connection, words: str, call: Callable[..., object], *args: str) -> None:
    """Has the driver do something; raises SQLAlchemy's errors, told with these words."""
    try:
        call(*args)
    except Exception as error:
        translate(connection, words, error)


class LogStore(EventStore[str]):
    """The library's event store. What it gives out is a `Recorded`, and authentic; else it raises `Forged`."""

    mapper: LogMapper
    recorder: LogRecorder

    def get(  # type: ignore[override]
        self,
        originator_id: str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Recorded]:
        """A stream's events; with `stop` no further than to that position."""
        return map(self.mapper.recorded, self.recorder.select_events(originator_id, gt, lte, desc, limit, stop=stop))

    def between(self, after: int, until: int, topics: Sequence[str] = ()) -> Iterator[Recorded]:
        """The log's events `after` < position ≤ `until`."""
        return map(self.mapper.recorded, self.recorder.rows_between(after, until, topics))


def store(connection: Connection) -> LogStore:
    """The events as this connection sees them. KeyError when its engine was given no mapper, which is a bug."""
    return LogStore(decoder(connection), LogRecorder.over(connection))


def append(connection: Connection, recorded: Sequence[Recorded]) -> list[EventRow]:
    """Stores recorded events, each at its position, as these rows. There is no object between for each."""
    stored = decoder(connection).stored
    rows = [row_of((each.position, each.stream, each.version, each.event.type, stored(each))) for each in recorded]
    LogRecorder.over(connection).insert_events(rows)
    return rows


# What this process appended lately, for those who read right behind it: nothing is fetched and decoded again.

KEPT = 2_048
"""Events, and up to twice as many: more than a follower is behind in a process that keeps pace."""


class Recent:
    """The newest events of this process, and their rows as they are stored. Any thread may ask while another adds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._events: list[Recorded] = []
        self._rows: dict[int, EventRow] = {}
        self._former: dict[int, EventRow] = {}

    def add(self, recorded: Sequence[Recorded], rows: Sequence[EventRow]) -> None:
        """Events that are committed, in the order of the log. What another process wrote between is not known here."""
        known = self._events
        if not recorded:
            return
        if len(self._rows) >= self._kept:
            self._former, self._rows = self._rows, {}
        self._rows.update([(row[0], row) for row in rows])
        # Anyone who reads meanwhile has a list to which something comes at its end, or one that is changed no more.
        if known and known[-1].position + 1 != recorded[0].position:
            self._events = list(recorded)
        elif len(known) < 2 * self._kept:
            known.extend(recorded)
        else:
            self._events = [*known[-self._kept :], *recorded]

    def between(self, after: int, last: int) -> Sequence[Recorded] | None:
        """Every event with `after` < position ≤ `last`; None when they are not all known here."""
        known = self._events
        if not known or known[0].position > after + 1 or known[-1].position < last:
            return None
        first = after + 1 - known[0].position
        return known[first : first + last - after]

    def others(self, rows: Sequence[EventRow]) -> list[int]:
        """The places of those rows that are not, octet for octet, as this process stored them a moment ago: of these
        alone it is still to be found out whether they are authentic."""
        # Were they changed over between these two, they would be taken for others.
        own, former = self._rows.get, self._former.get
        return [n for n, row in enumerate(rows) if own(row[0]) != row and former(row[0]) != row]
