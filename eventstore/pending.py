"""Changes of the counts on their way to the rows: neighbours are summed up, cut-offs stay in their place."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain.event import Moment
from projections import derived, derived_people
from projections.derived import NO_SECRET, Cleared, Kind, Piece, Row, Total
from projections.derived_people import Life, Person, lives_of

_ACCESS, _REFRESH, _, _GRANT, _NEWEST = map(int, Kind)


class Changes(NamedTuple):
    """What one event changes: something is cut off, or pieces of a person's or of a client's own come and go."""

    cleared: Cleared | None = None
    pieces: Sequence[tuple[Piece, int]] = ()
    account_id: str | None = None


class Fresh(NamedTuple):
    """A grant that started with its tokens. Those of one second that are alike become the same rows."""

    client_id: str
    secret_id: str | None
    lifetime: int
    refresh_lifetime: int | None
    second: int
    exact: bool
    """Whether it was issued just as the second began, so that it ends as one begins."""

    def rows(self) -> Iterable[Row]:
        """What is counted as alive of it."""
        secret_id, begun = self.secret_id or NO_SECRET, self.second + (0 if self.exact else 1)
        lifetimes = ((_ACCESS, self.lifetime), (_REFRESH, self.refresh_lifetime or 0))
        longest = max(lifetime for _, lifetime in lifetimes)
        for kind, lifetime in lifetimes:
            if lifetime > 0:
                yield self.client_id, secret_id, kind, begun + lifetime, self.second
        if longest > 0:
            if secret_id != NO_SECRET:
                yield self.client_id, secret_id, _GRANT, begun + longest, self.second
            yield self.client_id, secret_id, _NEWEST, begun + longest, self.second

    def totals(self, count: int) -> Iterable[Total]:
        """What so many of them add to everything ever issued."""
        refresh = count if self.refresh_lifetime is not None else 0
        yield Total(self.client_id, NO_SECRET, grants=count)
        yield Total(
            self.client_id,
            self.secret_id or NO_SECRET,
            grants=count if self.secret_id is not None else 0,
            access_tokens=count,
            refresh_tokens=refresh,
        )


class _Sums:
    """What can be written together."""

    def __init__(self) -> None:
        self.fresh: dict[Fresh, int] = {}
        self.issued: dict[Total, int] = {}
        self.pieces: dict[Row, int] = {}
        self.totals: dict[tuple[str, str], Total] = {}
        self.people: dict[tuple[str, str, str], tuple[Moment, Moment]] = {}
        self.lives: dict[Life, int] = {}

    def count(self, row: Row, number: int) -> None:
        self.pieces[row] = self.pieces.get(row, 0) + number

    def count_of(self, account_id: str | None, rows: Iterable[Row], number: int) -> None:
        if account_id is not None:
            for life in lives_of(account_id, rows):
                self.lives[life] = self.lives.get(life, 0) + number

    def total(self, total: Total) -> None:
        key, former = total[:2], self.totals.get(total[:2])
        self.totals[key] = total if former is None else former.plus(total)

    def person(self, key: tuple[str, str, str], issued_at: Moment, until: Moment) -> None:
        known = self.people.get(key)
        if known is not None:
            issued_at, until = max(known[0], issued_at), max(known[1], until)
        self.people[key] = (issued_at, until)

    def add(self, other: "_Sums") -> None:
        for fresh, number in other.fresh.items():
            self.fresh[fresh] = self.fresh.get(fresh, 0) + number
        for total, number in other.issued.items():
            self.issued[total] = self.issued.get(total, 0) + number
        for row, number in other.pieces.items():
            self.count(row, number)
        for total in other.totals.values():
            self.total(total)
        for key, (issued_at, until) in other.people.items():
            self.person(key, issued_at, until)
        for life, number in other.lives.items():
            self.lives[life] = self.lives.get(life, 0) + number

    def write(self, connection: Connection) -> None:
        for fresh, number in self.fresh.items():
            for row in fresh.rows():
                self.count(row, number)
            for total in fresh.totals(number):
                self.total(total)
        for total, number in self.issued.items():
            self.total(Total(*total[:2], *(each * number for each in total[2:])))
        derived.count(connection, self.pieces)
        derived.add_totals(connection, self.totals.values())
        derived_people.add(connection, (Person(*key, *times) for key, times in self.people.items()))
        derived_people.count(connection, self.lives)


class Pending:
    """Changes in the order of the log."""

    def __init__(self) -> None:
        self._steps: list[Cleared | _Sums] = []
        self._sums = _Sums()
        self._steps.append(self._sums)

    def fresh(self, fresh: Fresh, account_id: str | None) -> None:
        """A grant started with its tokens."""
        self._sums.fresh[fresh] = self._sums.fresh.get(fresh, 0) + 1
        if account_id is not None:
            self._sums.count_of(account_id, fresh.rows(), 1)

    def moved(self, account_id: str | None, before: Iterable[Row], after: Iterable[Row]) -> None:
        """A grant went on: what was counted of it, and what is from now on."""
        sums = self._sums
        sums.count_of(account_id, before, -1)
        sums.count_of(account_id, after, 1)
        for row in before:
            sums.count(row, -1)
        for row in after:
            sums.count(row, 1)

    def issued(self, total: Total) -> None:
        """Something more was issued."""
        self._sums.issued[total] = self._sums.issued.get(total, 0) + 1

    def person(self, key: tuple[str, str, str], issued_at: Moment, until: Moment) -> None:
        """Something was issued on behalf of a person, by client and secret version."""
        self._sums.person(key, issued_at, until)

    def take(self, change: Changes) -> None:
        """Adds one event's changes, behind what must come before them."""
        if change.cleared is not None:
            self._sums = _Sums()
            self._steps += (change.cleared, self._sums)
        for piece, number in change.pieces:
            self._sums.count(piece.row, number)
            self._sums.count_of(change.account_id, (piece.row,), number)

    def add(self, other: "Pending") -> None:
        """Adds what comes behind all of this; `other` is used up by it."""
        first, *rest = other._steps
        if isinstance(first, _Sums):
            self._sums.add(first)
        if rest:
            self._steps += rest
            self._sums = other._sums

    def write(self, connection: Connection) -> None:
        """Writes everything."""
        for step in self._steps:
            if isinstance(step, _Sums):
                step.write(connection)
            else:
                derived.clear(connection, step)
                derived_people.clear(connection, step)
