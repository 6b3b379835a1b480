"""How the tree follows the log: from its own size to the log's head, each leaf read and hashed once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, update

from eventstore.stored import CHECKPOINTS, EDGE, INSERTS, begin_edge, put_tile
from eventstore.transparency import merkle, published
from eventstore.transparency.merkle import EMPTY_ROOT, HASH_BYTES, HEIGHT, WIDTH, Edge, Tile, leaf_hash, widths
from eventstore.transparency.note import Checkpoint, Signer, is_signed_by
from eventstore.transparency.published import NOTHING, AcceptedDigests, Diverged, ReadLeaves, is_accepted
from projections.prepared import Prepared
from security.clock import Clock

LARGEST_STEP = 4_096
"""Leaves in one step. SQLite's writers wait while the tiles of a step are stored, which takes some milliseconds."""

ReadSigners = Callable[[Connection], Sequence[Signer]]
"""The log's keys that sign now, the active one first. Asked within the transaction that stores what they sign."""

_PUT_TILE = {dialect: Prepared(put_tile(dialect)) for dialect in INSERTS}
"""SQLAlchemy would compile it each time."""

_ADVANCE = Prepared(
    update(EDGE)
    .where(EDGE.c.id == 1, EDGE.c.size == bindparam("b_before"))
    .values(size=bindparam("b_after"))
    .returning(EDGE.c.size)
)
_SIGNED = Prepared(insert(CHECKPOINTS))


class Growth(NamedTuple):
    """What one step adds to the tree. `more` says that the log goes on behind it."""

    before: int
    checkpoint: Checkpoint
    tiles: tuple[Tile, ...]
    more: bool


class Followed(NamedTuple):
    """Where the tree stands after a step; `note` is None when this step added nothing or another process did it."""

    note: str | None
    more: bool


class Tree:
    """The stored tree of one log. Any number of processes may follow; each step of the tree is taken by one of them.

    `origin` is the log's name as this process knows it; what is signed bears that of the keys. `witnessed` says that a
    checkpoint is shown only after `published.publish`, once witnesses were asked.
    """

    def __init__(
        self,
        origin: str,
        signers: ReadSigners,
        clock: Clock,
        *,
        witnessed: bool = False,
        largest_step: int = LARGEST_STEP,
    ) -> None:
        self.origin = origin
        self._signers = signers
        self._clock = clock
        self._witnessed = witnessed
        self._largest_step = largest_step
        self._seen = (0, EMPTY_ROOT)

    def follow(self, connection: Connection, read_leaves: ReadLeaves) -> Followed:
        """One step in the caller's transaction: grow and keep. Repeat while `more`. Raises `Diverged`."""
        growth = self.grow(connection, read_leaves)
        if growth is None:
            return Followed(None, more=False)
        return Followed(self.keep(connection, growth), growth.more)

    def grow(
        self, connection: Connection, read_leaves: ReadLeaves, accepted: AcceptedDigests = NOTHING
    ) -> Growth | None:
        """Reads and hashes what the log has beyond the tree, without a lock and without writing; None when nothing.

        Raises `Diverged` when the tree's newest leaf is not the log's event at that position any more (the log was cut
        or rewritten), when the stored tree is not the one that its newest checkpoint signed, or when it does not begin
        with the tree that this process saw last.
        """
        edge = stored_edge(connection)
        self._compare_with_the_last(connection, edge)
        before = edge.size
        overlap = min(before, 1)
        leaves = read_leaves(connection, before - overlap, self._largest_step + overlap)
        if overlap and (not leaves or leaf_hash(leaves[0]) != _last_leaf(connection, edge)):
            if not is_accepted(connection, before, accepted):
                raise Diverged.at(before)
            overlap, leaves = 0, read_leaves(connection, before, self._largest_step)
        fresh = leaves[overlap:]
        if not fresh:
            return None
        full = edge.append(fresh)
        checkpoint = Checkpoint(self.origin, edge.size, edge.root())
        return Growth(before, checkpoint, (*full, *edge.partial()), len(fresh) == self._largest_step)

    def newest(self, connection: Connection) -> str | None:
        """The newest checkpoint that the log's own keys signed, shown or not: what somebody else put there is none."""
        stored = published.newest_signed(connection)
        return stored.note if stored is not None and is_signed_by(stored.note, self._signers(connection)) else None

    def remember(self, kept: Checkpoint) -> None:
        """What this process signed: a later tree that does not begin so was built anew by the one who owns
        the database."""
        self._seen = (kept.size, kept.root)

    def _compare_with_the_last(self, connection: Connection, edge: Edge) -> None:
        size, root = self._seen
        now = edge.root()
        if edge.size < size:
            raise Diverged(f"the tree had {size} leaves and has {edge.size} now")
        if (edge.size, now) == self._seen:
            return
        try:
            path = published.consistency(connection, size, edge.size)
        except LookupError as error:
            raise Diverged(f"the stored tree of {edge.size} leaves has a gap: {error}") from error
        if not merkle.consistent(size, root, edge.size, now, path):
            raise Diverged(f"the tree of {edge.size} leaves does not begin with that of {size}")
        self._seen = (edge.size, now)

    def keep(self, connection: Connection, growth: Growth) -> str | None:
        """Stores and signs a growth, in the caller's transaction; None if another process moved the edge first."""
        if growth.before == 0:
            connection.execute(begin_edge(connection.dialect.name))
        if not _ADVANCE.all(connection, {"b_before": growth.before, "b_after": growth.checkpoint.size}):
            return None
        rows = [{"level": t.level, "number": t.number, "width": t.width, "hashes": t.hashes} for t in growth.tiles]
        _PUT_TILE[connection.dialect.name].run(connection, rows)
        signers, now = self._signers(connection), self._clock.now()
        # The keys bear the log's present name. Since this process started it may have become another.
        note = growth.checkpoint._replace(origin=signers[0].name).signed(signers)
        _, size, root = growth.checkpoint
        shown = None if self._witnessed else now
        row = {"size": size, "root": root, "note": note, "time": now, "published": shown}
        _SIGNED.run(connection, (row,))
        return note


def stored_edge(connection: Connection) -> Edge:
    """The right edge of the stored tree. Raises `Diverged` when tiles are missing or contradict the checkpoint."""
    size = published.size(connection)
    partial = []
    for level, width in enumerate(widths(size)):
        hashes = published.tile(connection, level, size >> HEIGHT * (level + 1), width) if width else b""
        if hashes is None:
            raise Diverged(f"the edge of the tree of {size} leaves lacks its tile of level {level}")
        partial.append(hashes)
    edge = Edge(size, partial)
    if size:
        signed = published.of_size(connection, size)
        if signed is None or signed.root != edge.root():
            raise Diverged(f"the stored tree of {size} leaves is not the one that was signed")
    return edge


def _last_leaf(connection: Connection, edge: Edge) -> bytes:
    newest = edge.last_leaf()
    if newest is None:
        tile = published.tile(connection, 0, edge.size // WIDTH - 1)
        newest = b"" if tile is None else tile[-HASH_BYTES:]
    return newest


def holds(connection: Connection, head: Checkpoint, read_leaves: ReadLeaves) -> bool:
    """Whether the log has the events that the checkpoint was signed over; what the tree has not yet is hashed."""
    edge = stored_edge(connection)
    if head.size <= edge.size:
        hashes = merkle.Hashes(published.reader(connection), edge.size)
        return (hashes.range(0, head.size) if head.size else Edge().root()) == head.root
    while edge.size < head.size:
        leaves = read_leaves(connection, edge.size, min(LARGEST_STEP, head.size - edge.size))
        if not leaves:
            return False
        edge.append(leaves)
    return edge.root() == head.root
