"""The log itself: what was done to it that the log cannot do. Stream `log`."""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator

import msgspec
from msgspec.structs import replace

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded
from domain.rules.feature_level import DROPS, DROPS_NAMES

STREAM = "log"
STATELESS = True


class ForgedRemoved(Event, frozen=True, kw_only=True):
    """Somebody had put rows into the table of events. They were saved to a file and taken away, from `first` on.

    `count` is how many, and `sha256` the digest of the file in hex.
    """

    type = "log.forged_removed"
    in_doubt = True

    first: int
    count: int
    sha256: str


class Archived(Event, frozen=True, kw_only=True):
    """Old events of streams that have ended were copied into a sealed segment, which was read again and verified.

    `segment` is the file's name, `place` the directory or URL where it was put, `sha256` its digest in hex and `size`
    its length in bytes. It has `count` events from position `first` to `last`: those whose bits stand in `positions`,
    in base64, the first position's being the lowest bit of the first byte. All of their streams had ended by `before`.
    """

    type = "log.archived"

    segment: str
    place: str
    sha256: str
    size: int
    first: int
    last: int
    count: int
    positions: str
    before: Moment


class ArchiveDropped(Event, frozen=True, kw_only=True):
    """The events of a segment stand there alone: in the same transaction their text was taken out of the database.

    `segment` and `sha256` are those of `log.archived`. Of each event its position, stream, version and type stay.
    `place` is the directory where it was copied, if it had been put where nobody reads it in time.
    """

    type = "log.archive_dropped"
    since = DROPS
    members_since = {"place": DROPS_NAMES}

    segment: str
    sha256: str
    first: int
    last: int
    count: int
    place: str | None = None


EVENTS: tuple[type[Event], ...] = (ForgedRemoved, Archived, ArchiveDropped)


class State(msgspec.Struct, frozen=True):
    """No verb looks back."""


INITIAL = State()


def remove_forged(state: State, *, now: Moment, first: int, count: int, sha256: str) -> Outcome:
    """Tells of a removal. It has happened, so nothing can refuse it."""
    return accept(ForgedRemoved(first=first, count=count, sha256=sha256))


def archive(state: State, *, now: Moment, archived: Archived) -> Outcome:
    """Tells of a segment that stands where the event says."""
    return accept(archived)


def drop_archived(state: State, *, now: Moment, archived: Archived, place: str | None = None) -> Outcome:
    """Tells that the events of a segment stand there alone, or in its copy in `place`."""
    of = archived
    told = ArchiveDropped(
        segment=of.segment, sha256=of.sha256, first=of.first, last=of.last, count=of.count, place=place
    )
    return accept(told)


def placed(archived: Archived, dropped: ArchiveDropped) -> Archived:
    """The segment as it is read since its events were dropped."""
    return archived if dropped.place is None else replace(archived, place=dropped.place)


def bits_of(positions: Collection[int]) -> str:
    """Positions, not none, in ascending order, as `Archived.positions` has them."""
    first, *_, last = (*positions, *positions)
    bits = bytearray((last - first) // 8 + 1)
    for position in positions:
        bits[(position - first) // 8] |= 1 << (position - first) % 8
    return b64encode(bits).decode()


def positions_of(archived: Archived) -> Iterator[int]:
    """The positions whose events stand in the segment, in ascending order."""
    for number, byte in enumerate(b64decode(archived.positions)):
        for bit in range(8):
            if byte >> bit & 1:
                yield archived.first + 8 * number + bit


def evolve(state: State, recorded: Recorded) -> State:
    """Always the same."""
    if not isinstance(recorded.event, EVENTS):
        raise AssertionError(f"{recorded.type} is no event of the log itself")
    return state
