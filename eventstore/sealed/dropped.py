"""Events whose text was taken out of the database: rows without it, filled from the segments that the log names.

What the log says of a segment is an event of its own, which is authentic or not believed. A segment is read as a whole,
compared with the digest in that event, and the last few are kept.
"""

from base64 import b64decode
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import structlog
from msgspec.structs import replace
from sqlalchemy import BigInteger, Connection, bindparam, select

from domain import log
from domain.event import Moment
from domain.log import Archived, ArchiveDropped
from eventstore.mapper import LogMapper, Ring, decoder, is_authenticated
from eventstore.sealed import segment
from eventstore.sealed.segment import HASH_BYTES, LONGEST, WIDTH, SegmentDamaged
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.stored import ROW, events
from eventstore.unavailable import ArchiveAway
from projections.prepared import Prepared
from security.lru import Lru

log_lines = structlog.get_logger("archive")

KEPT = 1 << 26
"""Bytes of segments in memory: four of the largest, or hundreds of those that have few events."""

AROUND_A_FORM = 150
"""Bytes that a stored form takes in memory beside its own."""

TIMES_KEPT = 1 << 14
"""Times in memory of events that stand in segments: some for each segment of a long log, so that a moment is found
with hardly a segment read."""

TILES_KEPT = 512
"""Tiles in memory: 4 MiB."""

T = TypeVar("T")

ELSEWHERE = "segments_elsewhere"
"""In the `info` of a connection: who reads over it waits for no segment."""


class SegmentElsewhere(Exception):
    """What is asked for takes a segment that is not in memory, or all that the log tells of them, or many packed rows,
    and is to be asked again by a thread."""


def require_thread(connection: Connection) -> None:
    """Raises `SegmentElsewhere` on the event loop: a segment is read as a whole, for tens of milliseconds."""
    if ELSEWHERE in connection.info:
        raise SegmentElsewhere


_TOLD = Prepared(
    select(*ROW)
    .where(events.c.originator_id == log.STREAM, events.c.originator_version > bindparam("after", type_=BigInteger))
    .order_by(events.c.originator_version)
)

_ANY = Prepared(
    select(events.c.id).where(events.c.originator_id == log.STREAM, events.c.topic == Archived.type).limit(1)
)


class _Segment(NamedTuple):
    """`bits` are its positions: a set of them would take five hundred times as much."""

    first: int
    archived: Archived
    bits: bytes

    def has(self, position: int) -> bool:
        byte, bit = divmod(position - self.first, 8)
        return 0 <= byte < len(self.bits) and bool(self.bits[byte] >> bit & 1)

    def placed(self, dropped: ArchiveDropped | None) -> "_Segment":
        """The segment as it is read once its events were dropped."""
        return self if dropped is None else self._replace(archived=log.placed(self.archived, dropped))


class _Segments:
    """The segments of one log, as far as they were told."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        """The digests of those that could not be read when they were needed last."""
        self.times: Lru[int, Moment] = Lru(TIMES_KEPT)
        self._told: list[_Segment] = []
        self._version = 0
        self._horizon = 0
        self._is_stale = True
        self._lock = Lock()

    def of(self, connection: Connection, position: int) -> Archived | None:
        """The segment that has the event; None when the log tells of none."""
        found = self._known(position)
        # What a transaction told that was rolled back is told by another by now, at the same version. Nor is anything
        # read from a store: when it was dropped, it was told where there is a copy.
        for anew in (False, True):
            if found is None or "://" in found.place:
                self._read(connection, anew=anew)
                found = self._known(position)
        return found

    def horizon(self, connection: Connection) -> int:
        """The last position of the segments whose events were dropped, of which the log tells by now."""
        if self._is_stale:
            # First, since another one may be told meanwhile.
            self._is_stale = False
            try:
                self._read(connection, anew=False)
            except BaseException:
                self._is_stale = True
                raise
        return self._horizon

    def look_again(self) -> None:
        """Has the log been asked before `horizon` says anything more."""
        self._is_stale = True

    def near(self, connection: Connection, first: int, last: int) -> list[Archived]:
        """The segments that have an event of those from `first` to `last`, of which the log tells by now."""
        self._read(connection, anew=False)
        found = (each for each in self._told if each.first <= last and each.archived.last >= first)
        return [each.archived for each in found if any(each.has(position) for position in range(first, last + 1))]

    def _known(self, position: int) -> Archived | None:
        told = self._told
        at = bisect_right(told, position, key=lambda each: each.first)
        while at and told[at - 1].first > position - LONGEST:
            if told[at - 1].has(position):
                return told[at - 1].archived
            at -= 1
        return None

    def _read(self, connection: Connection, *, anew: bool) -> None:
        """Reads what the log has told since, or all of it: of many segments that takes as long as to read one."""
        if (anew or not self._version) and _ANY.first(connection, {}) is not None:
            require_thread(connection)
        mapper = decoder(connection)
        with self._lock:
            known, version = ([], 0) if anew else (self._told, self._version)
            rows = _TOLD.all(connection, {"after": version})
            events_ = [mapper.recorded(row).event for row in rows]
            found = [*known, *(_segment(each) for each in events_ if isinstance(each, Archived))]
            # What an import brought back was dropped once more, and has its copy still.
            drops = [each for each in events_ if isinstance(each, ArchiveDropped)]
            dropped = {each.sha256: each for each in drops if each.place}
            placed = (each.placed(dropped.get(each.archived.sha256)) for each in found)
            self._horizon = max([self._horizon, *(each.last for each in drops)])
            self._told = sorted(placed, key=lambda each: each.first)
            self._version = max([version, *(row[2] for row in rows)])


def _segment(archived: Archived) -> _Segment:
    # Each process keeps all of them, so that the positions are there once.
    return _Segment(archived.first, replace(archived, positions=""), b64decode(archived.positions))


_SEGMENTS: WeakKeyDictionary[Ring, _Segments] = WeakKeyDictionary()


class _Opened(NamedTuple):
    """The events of a segment, and the bytes that they take."""

    forms: Mapping[int, bytes]
    size: int


_FORMS: Lru[str, _Opened] = Lru(KEPT, lambda opened: opened.size)
"""By the digest of a segment, so that nothing else can stand here."""


_TILES: Lru[tuple[str, int], bytes] = Lru(TILES_KEPT)
"""By the same, and the tile's number."""


def horizon(connection: Connection) -> int:
    """The last position whose row can have left the table of events; what has one behind it never did. It is kept until
    `look_again`."""
    if not is_authenticated(connection):
        return 0
    return _SEGMENTS.setdefault(decoder(connection).ring, _Segments()).horizon(connection)


def look_again(connection: Connection) -> None:
    """Has the next question about the horizon be asked of the log, since something was dropped."""
    _SEGMENTS.setdefault(decoder(connection).ring, _Segments()).look_again()


def times(connection: Connection) -> Lru[int, Moment]:
    """The times of events in segments that this process has read, by position; anyone who reads one adds it."""
    return _SEGMENTS.setdefault(decoder(connection).ring, _Segments()).times


def forms(connection: Connection, positions: Sequence[int]) -> dict[int, bytes]:
    """The stored forms of events that stand in segments alone, as they were archived; without those of which the log
    tells nothing. Raises `ArchiveAway`.
    """
    if not is_authenticated(connection):
        return {}
    mapper: LogMapper = decoder(connection)
    segments = _SEGMENTS.setdefault(mapper.ring, _Segments())
    found = {}
    # PostgreSQL gives rows in any order, and few segments stay in memory.
    for position in sorted(positions):
        archived = segments.of(connection, position)
        if archived is not None:
            found[position] = _forms(connection, segments, archived)[position]
    return found


def tile(connection: Connection, number: int, fits: Callable[[bytes], bool]) -> bytes | None:
    """A full tile of level 0 that a segment in a directory has, if it `fits` the tree; None where there is none. Raises
    `ArchiveAway`. Of the file nothing is read but its beginning, since anybody may ask for tiles.
    """
    if not is_authenticated(connection):
        return None
    segments = _SEGMENTS.setdefault(decoder(connection).ring, _Segments())
    away: ArchiveAway | None = None
    for archived in segments.near(connection, number * WIDTH + 1, (number + 1) * WIDTH):
        try:
            found = _tile(connection, segments, archived, number, fits) if _is_in_directory(archived) else None
        except ArchiveAway as error:
            # Another one of this stretch has the same tile.
            away = error
            continue
        if found is not None:
            return found
    if away is not None:
        raise away
    return None


def _tile(
    connection: Connection, segments: _Segments, archived: Archived, number: int, fits: Callable[[bytes], bool]
) -> bytes | None:
    known = _TILES.used((archived.sha256, number))
    if known is not None:
        return known
    require_thread(connection)

    def read(packed: bytes) -> bytes | None:
        hashes = segment.tile_of(packed, number)
        if hashes is None or len(hashes) != WIDTH * HASH_BYTES:
            return None
        if not fits(hashes):
            raise SegmentDamaged(f"tile {number} is not that of the log's tree")
        return hashes

    found = _read(segments, archived, lambda place: place.beginning(archived.segment, segment.TILES), read)
    if found is not None:
        _TILES.put((archived.sha256, number), found)
    return found


def _is_in_directory(archived: Archived) -> bool:
    try:
        return SegmentPlace(archived.place).is_directory
    except PlaceAway:
        return False


def away(ring: Ring) -> int:
    """How many segments of a log could not be read when this process needed them last."""
    segments = _SEGMENTS.get(ring)
    return 0 if segments is None else len(segments.away)


def _forms(connection: Connection, segments: _Segments, archived: Archived) -> Mapping[int, bytes]:
    known = _FORMS.used(archived.sha256)
    if known is None:
        require_thread(connection)
        forms = _read(
            segments,
            archived,
            lambda place: place.get(archived.segment),
            lambda packed: segment.opened(packed, archived).forms,
        )
        known = _Opened(forms, sum(len(each) + AROUND_A_FORM for each in forms.values()))
        _FORMS.put(archived.sha256, known)
    return known.forms


def _read(
    segments: _Segments, archived: Archived, get: Callable[[SegmentPlace], bytes], read: Callable[[bytes], T]
) -> T:
    try:
        found = read(get(SegmentPlace(archived.place)))
    except (PlaceAway, SegmentDamaged) as error:
        if archived.sha256 not in segments.away:
            # Anyone who asks for event after event says it once.
            log_lines.error("archive.away", segment=archived.segment, first=archived.first, last=archived.last)
        segments.away.add(archived.sha256)
        raise ArchiveAway(archived.segment, archived.first, archived.last, str(error)) from error
    segments.away.discard(archived.sha256)
    return found
