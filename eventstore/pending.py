"""Changes of the counts on their way to the rows: neighbours are written together, cut-offs in their place."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from projections import derived
from projections.derived import Cleared, Person, Piece, Total


class Changes(NamedTuple):
    """What one event changes, to be carried out in this order."""

    cleared: Cleared | None = None
    pieces: Sequence[tuple[Piece, int]] = ()
    totals: Sequence[Total] = ()
    people: Sequence[Person] = ()
    forgotten: tuple[str, ...] = ()


class Pending:
    """Changes that can be written together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: Counter[tuple[str, str, int, int, int]] = Counter()
        self._totals: dict[tuple[str, str], Total] = {}
        self._people: dict[tuple[str, str, str], Person] = {}

    def take(self, change: Changes) -> None:
        """Adds one event's changes, writing what must come before them."""
        if change.cleared is not None or change.forgotten:
            self.flush()
        if change.cleared is not None:
            derived.clear(self._connection, change.cleared)
        for account_id in change.forgotten:
            derived.forget(self._connection, account_id)
        for piece, number in change.pieces:
            self._pieces[piece.row] += number
        for total in change.totals:
            former = self._totals.get(total[:2])
            summed = total if former is None else Total(*total[:2], *map(sum, zip(former[2:], total[2:], strict=True)))
            self._totals[total[:2]] = summed
        for person in change.people:
            known = self._people.get(person[:3])
            if known is not None:
                person = Person(*person[:3], *map(max, zip(known[3:], person[3:], strict=True)))
            self._people[person[:3]] = person

    def flush(self) -> None:
        """Writes what waits."""
        derived.count(self._connection, self._pieces)
        derived.add_totals(self._connection, self._totals.values())
        derived.prolong(self._connection, self._people.values())
        self._pieces, self._totals, self._people = Counter(), {}, {}
