"""Whether the log is the one that the tree was built over, stretch by stretch."""

from sqlalchemy import Connection

from eventstore.transparency import published
from eventstore.transparency.columns import misplaced
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.leaves import ReadLeaves
from eventstore.transparency.merkle import fold, leaf_hash, split
from eventstore.transparency.standing import NOTHING, Accepted, is_accepted
from eventstore.transparency.tiles import HASH_BYTES, WIDTH, width_in


def compare(
    connection: Connection, index: int, at_most: int, read_leaves: ReadLeaves, accepted: Accepted = NOTHING
) -> int:
    """Compares events from the index on with their tile and their columns, no further than it goes; where to go on.

    That is 0 again at the tree's end. Where a full tile ends, it is compared with the hash above it, and so on upwards:
    the edge, where this comes to its end, is compared with what was signed whenever the tree is looked at. Once round
    is therefore the whole log under the signed root. What does not fit and is accepted is passed over. Raises
    `Diverged`.
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
    expected = hashes[(index - first) * HASH_BYTES : (end - first) * HASH_BYTES]
    while expected:
        start = end - len(expected) // HASH_BYTES
        found = [leaf_hash(leaf) for leaf in read_leaves(connection, start, end - start)]
        if b"".join(found) == expected:
            break
        same = next((at for at, hash_ in enumerate(split(expected)) if found[at : at + 1] != [hash_]), len(found))
        if not is_accepted(connection, start + same + 1, accepted):
            raise Diverged.at(start + same + 1)
        expected = expected[(same + 1) * HASH_BYTES :]
    astray = misplaced(connection, index, end)
    while astray is not None:
        if not is_accepted(connection, astray, accepted):
            raise Diverged(f"the event at position {astray} is filed under another stream, version or type", astray)
        astray = misplaced(connection, astray, end)
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
