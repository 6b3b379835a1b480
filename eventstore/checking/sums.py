"""Read models whose rows come of many streams, followed once more from the log's beginning and compared as a whole.

They are filled in temporary tables of one connection, as by `eventstore.refollowing`, a portion at a time.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection

from domain.event import Moment
from eventstore import refollowing, searching
from eventstore.comparing import compared
from eventstore.fresh_tables import tables_of
from eventstore.hidden_tables import hiding, transaction
from eventstore.privacy import Privacy
from eventstore.replaying import Replay
from projections import event_index, secrets, sightings

STEP = 500
"""Events of one portion."""


_TABLES = (
    *((module, table) for module in refollowing.MODELS[sightings.NAME][0] for table in tables_of(module)),
    (secrets, secrets.USES),
)


class Unlike(NamedTuple):
    """A table that is not what the log makes of it, and the first key that differs."""

    projection: str
    key: str

    @property
    def key_sha256(self) -> str:
        """Names the row to whoever has it."""
        return sha256(f"{self.projection}\0{self.key}".encode()).hexdigest()


class Sums:
    """Passes over the log, one after the other."""

    def __init__(self, url: str, privacy: Privacy, now: Callable[[], Moment]) -> None:
        self._url = url
        self._privacy = privacy
        self._now = now

    def passing(self) -> Iterator[list[Unlike]]:
        """One pass: yields nothing after each portion, and last what differs."""
        with hiding(self._url, [table for _, table in _TABLES] + [secrets.TABLE], self._privacy.vault) as connection:
            following = refollowing.Anew(connection, refollowing.MODELS[sightings.NAME][1](), self._privacy)
            replay = Replay((secrets,), self._privacy, lambda statement: statement, self._now())
            counted, more = 0, True
            while more:
                with transaction(connection, snapshot=True):
                    reached, head = event_index.reached(connection, sightings.NAME), searching.newest(connection)
                    until = min(head, counted + STEP)
                    following.follow(min(reached, until))
                    replay.step(connection, counted, until)
                    counted, more = until, until < head
                yield []
            with transaction(connection, snapshot=True):
                following.follow(event_index.reached(connection, sightings.NAME))
                replay.step(connection, counted, searching.newest(connection))
                yield self._unlike(connection)

    def _unlike(self, connection: Connection) -> list[Unlike]:
        found = []
        for module, table in _TABLES:
            differs_at = compared(table.name, *refollowing.sides(connection, table)).differs_at
            if differs_at is not None:
                found.append(Unlike(module.__name__.rpartition(".")[2], differs_at))
        return found
