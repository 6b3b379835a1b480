"""Looking at the whole log for what does not fit, so that somebody who has understood it can accept that and no more.

Nothing of the tree changes by it: what was signed stays signed, a receipt for such a position is still refused, and an
auditor still finds it, and beside it the event that tells who accepted it.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from eventstore.transparency import published
from eventstore.transparency.comparing import compare
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.following import stored_edge
from eventstore.transparency.leaves import ReadLeaves
from eventstore.transparency.standing import Accepted, standing
from eventstore.transparency.tiles import WIDTH


class NotAcceptable(Exception):
    """The tree itself is damaged, or so much does not fit that it is another log; says which."""


def misfits(
    connection: Connection,
    read_leaves: ReadLeaves,
    accepted: Accepted,
    at_most: int,
    progress: Callable[[int, int], None] = lambda done, goal: None,
) -> dict[str, str]:
    """Every position that does not fit and is not accepted yet, with the digest of what stands there.

    Compares the whole log with its tree, at some hundred thousand events a second. Raises `NotAcceptable`.
    """
    found: dict[str, str] = {}
    size, index = published.size(connection), 0
    try:
        stored_edge(connection)
    except Diverged as damaged:
        raise NotAcceptable(str(damaged)) from None
    while index < size:
        try:
            index = compare(connection, index, WIDTH, read_leaves, {**accepted, **found}) or size
        except Diverged as misfit:
            position = str(misfit.position)
            if misfit.position is None or position in found:
                raise NotAcceptable(str(misfit)) from None
            found[position] = standing(connection, misfit.position)
            if len(found) > at_most:
                raise NotAcceptable(f"more than {at_most} positions do not fit: this is another log") from None
        progress(index, size)
    return dict(sorted(found.items(), key=lambda each: int(each[0])))
