"""Whether the log is the one that the tree was built over: a stretch of it, or what a process was told of."""

from sqlalchemy import Connection

from eventstore.transparency import divergence, published
from eventstore.transparency.columns import misplaced
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.leaves import ReadLeaves
from eventstore.transparency.merkle import fold, leaf_hash, split
from eventstore.transparency.tiles import HASH_BYTES, WIDTH, width_in


def compare(connection: Connection, index: int, at_most: int, read_leaves: ReadLeaves) -> int:
    """Compares events from the index on with their tile and their columns, no further than it goes; where to go on.

    That is 0 again at the tree's end. Where a full tile ends, it is compared with the hash above it, and so on upwards:
    the edge, where this comes to its end, is compared with what was signed whenever the tree is looked at. Once round
    is therefore the whole log under the signed root. Raises `Diverged`.
    """
    size = published.size(connection)
    if index >= size:
        return 0
    number = index // WIDTH
    width = width_in(size, 0, number)
    first = number * WIDTH
    end = min(index + at_most, first + width)
    hashes = published.tile(connection, 0, number, width)
    if hashes is None:
        raise Diverged(f"the tree of {size} leaves lacks its tile {number} of level 0", index + 1)
    found = [leaf_hash(leaf) for leaf in read_leaves(connection, index, end - index)]
    if b"".join(found) != hashes[(index - first) * HASH_BYTES : (end - first) * HASH_BYTES]:
        expected = split(hashes)[index - first :]
        same = next((at for at, hash_ in enumerate(found) if hash_ != expected[at]), len(found))
        raise Diverged.at(index + same + 1)
    astray = misplaced(connection, index, end)
    if astray is not None:
        raise Diverged(f"the event at position {astray} is filed under another stream, version or type", astray)
    if end % WIDTH == 0:
        _compare_upwards(connection, size, number, hashes)
    return end % size


def _compare_upwards(connection: Connection, size: int, number: int, hashes: bytes) -> None:
    level, last = 0, (number + 1) * WIDTH
    while True:
        above, at = divmod(number, WIDTH)
        parent = published.tile(connection, level + 1, above, width_in(size, level + 1, above))
        if parent is None or parent[at * HASH_BYTES :][:HASH_BYTES] != fold(split(hashes)):
            raise Diverged(f"the tile {number} of level {level} is not the one that the tree was built over", last)
        if at + 1 < WIDTH:
            return
        level, number, hashes = level + 1, above, parent


def examine(connection: Connection, read_leaves: ReadLeaves) -> int | None:
    """Looks where another process has noticed something; the position if all is well there. Raises `Diverged`."""
    position = divergence.told(connection)
    if position is not None:
        compare(connection, (position - 1) // WIDTH * WIDTH, WIDTH, read_leaves)
        published.receipt(connection, position, read_leaves)
    return position
