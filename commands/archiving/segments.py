"""Copying old events into sealed segments, each verified before the log tells of it, and looking at them again."""

import asyncio
import gc
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from commands import servers
from domain import log, server
from domain.decision import Conflict, Outcome, Refusal, refuse
from domain.event import Moment, Recorded
from domain.log import Archived
from domain.rules import feature_level
from eventstore.archiving import archived as archive
from eventstore.archiving import dropping, row_packing, shortening, tiles
from eventstore.archiving.stretch import Endings
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.projecting import packed_digests, packed_grants, packing, repacking
from eventstore.projecting.rebuild import Progress
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.recorder import portions, versions
from eventstore.sealed import packed_rows, segment
from eventstore.sealed.dropped import look_again
from eventstore.sealed.segment import Contents, SegmentDamaged
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.transparency.note import Checkpoint
from eventstore.transparency.published import Diverged
from eventstore.unavailable import ArchiveAway
from eventstore.view import View
from projections.named import digest_runs
from projections.named.digest_runs import Runs
from projections.named.grant_runs import GRANTS


class NotArchived(Exception):
    """The log refused to tell of a segment: somebody else archives at the same time."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


async def archive_before(
    ledger: Ledger, place: SegmentPlace, before: Moment, by: Origin, progress: Progress
) -> AsyncIterator[Archived]:
    """Archives what can be of before a moment, segment by segment; nothing is taken away.

    Whenever it is broken off, what the log tells of is there and whole; it may be called again and goes on. Raises
    `PlaceAway`, `SegmentDamaged`, `Diverged` and `Forged`.
    """
    with _seldom_collected():
        async for each in _archived_before(ledger, place, before, by, progress):
            yield each


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """With each segment some hundred thousand objects come and go, few of which refer to each other: all of them would
    be walked over many times, which takes as long as half of the work."""
    before = gc.get_threshold()
    gc.set_threshold(500_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _archived_before(
    ledger: Ledger, place: SegmentPlace, before: Moment, by: Origin, progress: Progress
) -> AsyncIterator[Archived]:
    told = await ledger.read_long(archive.find)
    known, seen = [each.archived for each in told], max((each.version for each in told), default=0)
    signed, last = await ledger.read_long(archive.bounds, ledger.vault, before)
    endings = Endings(before)
    for first, end in archive.stretches(last):
        taken = archive.taken(known, first, end)
        contents = await ledger.read_long(archive.collect, signed, first, end, taken, endings)
        if contents is not None:
            made = await _put(ledger, place, signed, contents)
            seen = await _tell(ledger, made, seen, by)
            known.append(made)
            yield made
        progress(end, last)


async def _put(ledger: Ledger, place: SegmentPlace, signed: Checkpoint, contents: Contents) -> Archived:
    packed = await asyncio.to_thread(segment.pack, contents)
    made = archive.described(contents, packed, place.url)
    await asyncio.to_thread(place.put, made.segment, packed)
    # What was read again counts, and not what was to be written.
    await ledger.read_long(archive.verify, signed, made, await asyncio.to_thread(place.get, made.segment))
    return made


async def _tell(ledger: Ledger, made: Archived, seen: int, by: Origin) -> int:
    """Tells of a segment, unless there is another by now that was not `seen`; the version of the event."""

    def decide(state: log.State, view: View) -> Outcome | Refusal:
        if archive.find(view.connection, seen):
            return refuse(Conflict.EXISTS)
        return log.archive(state, now=view.now, archived=made)

    executed = await ledger.execute(Command(log.STREAM, decide), origin=by)
    if executed.refusal is not None:
        raise NotArchived(executed.refusal)
    return executed.recorded[0].version


class OlderNode(Exception):
    """A process that serves the log is of a version that does not know what is about to be done."""


class SegmentLook(NamedTuple):
    """A segment of which the log tells at a position, whether it alone has its events, and what is wrong with it; None
    for nothing."""

    position: int
    archived: Archived
    dropped: bool
    problem: str | None


async def look(
    ledger: Ledger, place: SegmentPlace | None, *, check: bool, progress: Progress
) -> AsyncIterator[SegmentLook]:
    """Every segment of which the log tells, read from where it was put, or from another place, and verified if asked.
    Raises `Diverged`."""
    known = await ledger.read_long(archive.find)
    signed = (await ledger.read_long(archive.bounds, ledger.vault, 0)).signed
    dropped = await ledger.read_long(dropping.dropped)
    for done, each in enumerate(known, 1):
        problem = await _problem(ledger, place, signed, each.archived) if check else None
        progress(done, len(known))
        yield SegmentLook(each.position, each.archived, each.archived.sha256 in dropped, problem)


async def _problem(ledger: Ledger, place: SegmentPlace | None, signed: Checkpoint, archived: Archived) -> str | None:
    try:
        packed = await asyncio.to_thread((place or SegmentPlace(archived.place)).get, archived.segment)
        await ledger.read_long(archive.verify, signed, archived, packed)
    except (PlaceAway, SegmentDamaged, Diverged, ArchiveAway) as error:
        # A tile that has left the table may stand in another segment alone, and that may be away.
        return str(error)
    return None


async def drop_archived(
    ledger: Ledger, by: Origin, progress: Progress, copies: SegmentPlace | None = None
) -> AsyncIterator[Archived]:
    """Takes the text of archived events out of the database, segment by segment; each is read and verified once more
    before, and compared with what stands in the database. What the search index has of them is packed first, also of
    those that were dropped when it was not yet, or before it was made anew, and so are the digests of their secrets and
    then their rows. What lives among them is put in short, and the tiles of their hashes go last. Segments in a store
    are copied into the directory `copies` before, which is where they are read from then on.

    The ledger must have been opened as the owner of the tables. Raises `OlderNode`, `PlaceAway`, `SegmentDamaged` and
    `Diverged`.
    """
    with _seldom_collected():
        async for each in _dropped(ledger, by, progress, copies):
            yield each


async def _dropped(
    ledger: Ledger, by: Origin, progress: Progress, copies: SegmentPlace | None
) -> AsyncIterator[Archived]:
    # Before the rest, so that what another drops meanwhile is seen with the one or the other.
    meanwhile = dropping.Meanwhile((await ledger.read_long(versions, (log.STREAM,)))[log.STREAM])
    known = [each.archived for each in await ledger.read_long(archive.find)]
    dropped, packed = await ledger.read_long(dropping.dropped), await ledger.read_long(packing.finished)
    settled, short = await ledger.read_long(digest_runs.done), await ledger.read_long(packed_rows.STREAMS.done)
    brief = await ledger.read_long(shortening.finished)
    waiting = [each for each in known if each.sha256 not in dropped & packed & settled & short & brief]
    is_due = await ledger.read_long(repacking.is_due)
    if not waiting and not is_due and not await ledger.read_long(tiles.due, known, dropped):
        # There is no way back from the level, so it does not rise for nothing.
        return
    await _require_level(ledger, by)
    await _repack(ledger)
    signed = (await ledger.read_long(archive.bounds, ledger.vault, 0)).signed
    owners, gone = StreamOwners(), {*dropped}
    for number, told in enumerate(waiting, 1):
        of = await _copied(told, copies)
        opened = await _opened(ledger, of, await _verified(ledger, signed, of))
        if of.sha256 not in packed:
            await _pack(ledger, opened, owners)
        if of.sha256 not in dropped:
            await _drop(ledger, opened, meanwhile, by, None if of is told else of.place)
            gone.add(of.sha256)
            yield of
        if of.sha256 not in settled:
            await _pack_digests(ledger, opened)
        if of.sha256 not in short:
            await _pack_rows(ledger, opened)
        if of.sha256 not in brief:
            await _shorten(ledger, opened)
        await _drop_its_tiles(ledger, opened, known, gone)
        progress(number, len(waiting))
    every = [each.archived for each in await ledger.read_long(archive.find)]
    await _drop_tiles(ledger, signed, every, await ledger.read_long(dropping.dropped))


class _SegmentAtHand(NamedTuple):
    """A segment that was verified, with its events as what is made of them takes them, each decoded once; what they
    leave, and the events that live among them."""

    archived: Archived
    contents: Contents
    told: Mapping[int, Recorded]
    left: Mapping[int, dropping.EmptiedRow]
    living: Mapping[int, Recorded]


async def _opened(ledger: Ledger, archived: Archived, contents: Contents) -> _SegmentAtHand:
    told = await ledger.read_long(packing.told, contents.forms)
    left = await asyncio.to_thread(dropping.emptied, contents.forms)
    return _SegmentAtHand(archived, contents, told, left, await ledger.read_long(packing.beside, contents.forms))


async def _repack(ledger: Ledger) -> None:
    """Gives what earlier versions packed the form that it has today, in many transactions."""
    while (joining := await ledger.read_long(repacking.due_runs)) is not None:
        if not await ledger.follow(packed_digests.join, joining):
            return
    if await ledger.read_long(repacking.is_finished):
        return
    rows = await ledger.read_long(repacking.due_rows)
    while rows:
        await ledger.follow(repacking.rewrite, rows)
        rows = await ledger.read_long(repacking.due_rows, rows[-1])
    await ledger.follow(repacking.finish)


async def _require_level(ledger: Ledger, by: Origin) -> None:
    """Raises the log to the level that dropping takes; raises `OlderNode` where a node does not know it."""
    await ledger.execute(servers.raise_feature_level(feature_level.SHORTENS_FORMS), origin=by)
    state: server.State = await ledger.state(server.STREAM)
    if state.feature_level < feature_level.SHORTENS_FORMS:
        raise OlderNode


async def _copied(archived: Archived, copies: SegmentPlace | None) -> Archived:
    """The segment where it may be read once it alone has its events."""
    place = SegmentPlace(archived.place)
    if place.is_directory or copies is None:
        return archived
    packed = await asyncio.to_thread(place.get, archived.segment)
    if sha256(packed).hexdigest() != archived.sha256:
        raise SegmentDamaged(f"{archived.place}/{archived.segment}: it is not what was archived: its digest differs")
    await asyncio.to_thread(copies.put, archived.segment, packed)
    return replace(archived, place=copies.url)


async def _verified(ledger: Ledger, signed: Checkpoint, archived: Archived) -> Contents:
    place = SegmentPlace(archived.place)
    if not place.is_directory:
        raise PlaceAway(
            f"{archived.place}: what stands in a segment alone must be in a directory of every node; name one"
        )
    packed = await asyncio.to_thread(place.get, archived.segment)
    return await ledger.read_long(archive.verify, signed, archived, packed)


async def _pack(ledger: Ledger, opened: _SegmentAtHand, owners: StreamOwners) -> None:
    """In many transactions, none of which takes long."""
    archived = opened.archived
    first, last = packing.first_of(archived.first), archived.last
    packings = await ledger.read_long(packing.prepared, opened.told, opened.living, owners)
    for some in packing.by_kind(packings):
        if not await ledger.follow(packing.pack, some, first, last):
            return
    if await ledger.follow(packed_grants.pack, packings, first, last):
        await _join(ledger, GRANTS)
        await ledger.follow(packing.finish, archived.sha256, last)


async def _join(ledger: Ledger, of: Runs) -> None:
    while (joining := await ledger.read_long(packed_digests.joining, of)) is not None:
        if not await ledger.follow(packed_digests.join, joining):
            return


async def _pack_digests(ledger: Ledger, opened: _SegmentAtHand) -> None:
    issued, beside = (packed_digests.issued_by(each.values()) for each in (opened.told, opened.living))
    await ledger.follow(packed_digests.pack, opened.archived.sha256, issued, beside)
    await _join(ledger, digest_runs.DIGESTS)


async def _pack_rows(ledger: Ledger, opened: _SegmentAtHand) -> None:
    due = await asyncio.to_thread(row_packing.prepared, opened.contents.forms, opened.left)
    # Of a stream the oldest first, so each of them before the next is looked at.
    gone = [await ledger.tidy(row_packing.pack, some, ledger.clock.now()) for some in row_packing.together(due)]
    if all(gone):
        await ledger.tidy(row_packing.finish, opened.archived.sha256)
    await _join(ledger, packed_rows.STREAMS)


async def _shorten(ledger: Ledger, opened: _SegmentAtHand) -> None:
    """In transactions that take as long as one of packing rows, at most."""
    for some in portions(shortening.candidates(opened.living), shortening.AT_ONCE):
        standing = await ledger.read_long(shortening.standing, some)
        if shorter := await asyncio.to_thread(shortening.shortened, standing):
            await ledger.tidy(shortening.exchange, shorter)
    await ledger.tidy(shortening.finish, opened.archived.sha256)


async def _drop_its_tiles(
    ledger: Ledger, opened: _SegmentAtHand, known: Sequence[Archived], dropped: Collection[str]
) -> None:
    """Those of a segment that is at hand; what other segments of its stretch have of a tile counts as well."""
    stretch = packing.first_of(opened.archived.first)
    near = [each for each in known if packing.first_of(each.first) == stretch]
    due = await ledger.read_long(tiles.due, near, dropped)
    if mine := tiles.within(opened.archived, due):
        await ledger.follow(tiles.remove, mine, opened.contents.tiles)


async def _drop_tiles(ledger: Ledger, signed: Checkpoint, known: Sequence[Archived], dropped: Collection[str]) -> None:
    """All that are due yet, of which the segments were dropped before."""
    due = await ledger.read_long(tiles.due, known, dropped)
    for archived in known:
        if mine := tiles.within(archived, due):
            contents = await _verified(ledger, signed, archived)
            due -= await ledger.follow(tiles.remove, mine, contents.tiles)


async def _drop(
    ledger: Ledger, opened: _SegmentAtHand, meanwhile: dropping.Meanwhile, by: Origin, copied: str | None
) -> None:
    archived, forms, left = opened.archived, opened.contents.forms, opened.left

    def decide(state: log.State, view: View) -> Outcome | Refusal:
        if meanwhile.has(view.connection, archived.sha256):
            return refuse(Conflict.EXISTS)
        dropping.require_same(view.connection, forms, left)
        return log.drop_archived(state, now=view.now, archived=archived, place=copied)

    executed = await ledger.execute(
        Command(log.STREAM, decide, alone=True), origin=by, then=lambda view, _: dropping.empty(view.connection, left)
    )
    if executed.refusal is not None:
        raise NotArchived(executed.refusal)
    await ledger.read_long(look_again)
