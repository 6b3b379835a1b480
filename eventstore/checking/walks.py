"""The ways through log and read models, each a stretch at a time and from its end to its beginning again."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection

from domain.event import Moment
from eventstore import searching
from eventstore.checking import index, rows, vault
from eventstore.checking.expected import TABLES, Expected, key_of
from eventstore.checking.index import Index, Misnamed
from eventstore.checking.rows import Checks, Suspicion
from eventstore.checking.vault import Missing
from eventstore.privacy import Privacy
from eventstore.recorder import store

POSITIONS_OF_A_ROW = 4
"""So many are thought to be in a row of the index. Where there are more, fewer rows are looked at together."""

STRETCH = 64
"""Events, or rows, of one step: a few milliseconds."""

Found = Suspicion | Misnamed | Missing


class Walk(Protocol):
    """`step` looks at one stretch, and says what looked wrong there and whether it was the last of a round."""

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]: ...


class AlongTheLog:
    """Every event, from a position on and around: the rows of what begins there, what it names, and its keys."""

    def __init__(self, checks: Checks, index: Index, begin: int, stretch: int) -> None:
        self._checks = checks
        self._index = index
        self._stretch = stretch
        self._begin = self._after = begin
        self._is_behind = True
        """Whether it is on the way from where it begins to the head, and not yet from the first event to there."""

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next events."""
        goal = searching.newest(connection) if self._is_behind else self._begin
        after, until = self._after, min(self._after + self._stretch, goal)
        self._after = until
        recorded = [*store(connection).between(after, until)]
        found: list[Found] = [
            *self._checks.begun(connection, recorded, now),
            *self._index.begun(connection, recorded),
            *vault.begun(connection, recorded),
        ]
        if until < goal:
            return found, False
        if self._is_behind and self._begin:
            self._is_behind, self._after = False, 0
            return found, False
        self._is_behind, self._after = True, self._begin
        return found, True


class AlongATable:
    """Every row of one table that is written with the log, in the order of its key."""

    def __init__(self, checks: Checks, name: str, stretch: int) -> None:
        self._checks = checks
        self._name = name
        self._stretch = stretch
        self._after: tuple[Any, ...] | None = None

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next rows."""
        found = rows.next_rows(connection, self._name, self._after, self._stretch)
        done = len(found) < self._stretch
        self._after = None if done else key_of(self._name, found[-1])
        return [*self._checks.standing(connection, self._name, found, now)], done


class AlongTheIndex:
    """Every row of the search index."""

    def __init__(self, index: Index, stretch: int) -> None:
        self._index = index
        self._stretch = stretch
        self._after: tuple[int, bytes, int] | None = None

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next rows."""
        found = index.next_rows(connection, self._after, self._stretch)
        taken = _few(found, self._stretch * POSITIONS_OF_A_ROW)
        done = len(taken) == len(found) < self._stretch
        self._after = None if done else taken[-1][:3]
        return [*self._index.standing(connection, taken)], done


def _few(found: Sequence[index.Entry], positions: int) -> Sequence[index.Entry]:
    """The first of the rows, at least one, that have about so many positions together."""
    for place, (_, _, _, before) in enumerate(found, 1):
        positions -= 1 + len(before or b"")
        if positions <= 0:
            return found[:place]
    return found


class AlongTheVault:
    """Every destroyed key."""

    def __init__(self, stretch: int) -> None:
        self._stretch = stretch
        self._after = ""

    def step(self, connection: Connection, now: Moment) -> tuple[list[Found], bool]:
        """Looks at the next keys."""
        found, after = vault.destroyed(connection, self._after, self._stretch)
        self._after = after or ""
        return [*found], after is None


class Walks:
    """All of them, and how what they found is judged."""

    def __init__(self, privacy: Privacy, begin: int, stretch: int = STRETCH) -> None:
        self._expected = Expected(privacy)
        self._checks = Checks(self._expected)
        self._index = Index(privacy)
        self.all: Sequence[Walk] = (
            AlongTheLog(self._checks, self._index, begin, stretch),
            *(AlongATable(self._checks, name, stretch) for name in TABLES),
            AlongTheIndex(self._index, stretch),
            AlongTheVault(stretch),
        )

    def stands(self, connection: Connection, found: Found, now: Moment) -> bool:
        """Whether it is so, asked under the log's lock."""
        if isinstance(found, Suspicion):
            return self._checks.stands(connection, found, now)
        if isinstance(found, Misnamed):
            return self._index.stands(connection, found)
        return vault.stands(connection, found)

    def close(self) -> None:
        """Lets the memory go."""
        self._expected.close()
