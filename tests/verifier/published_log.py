"""A made-up log in a real database: rows in the stored form, its tree, and the hands of a hostile operator."""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, insert, text
from sqlalchemy.pool import NullPool

from eventstore import stored
from eventstore.transparency.note import Signer
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from security.clock import ManualClock
from verifier.note import Key
from verifier.source import open_source
from verifier.verdict import Verdict
from verifier.verify import verify

ORIGIN = "log.example/grantlog"
SIGNER = Signer(ORIGIN, bytes(range(32)))
KEY = Key.parse(str(SIGNER.verifier))


def signing(_: Connection) -> Sequence[Signer]:
    return [SIGNER]


def event(position: int, stream: str, version: int, second: int, **data: Any) -> dict[str, Any]:
    """A row of the table of events."""
    form = {
        "position": position,
        "id": f"id-{position:020d}",
        "type": "grant.tokens_issued",
        "stream": stream,
        "version": version,
        "time": f"2026-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000000Z",
        "actor": {"kind": "system"},
        "data": data,
    }
    return {
        "id": position,
        "originator_id": stream,
        "originator_version": version,
        "topic": form["type"],
        "state": json.dumps(form, separators=(",", ":"), ensure_ascii=False),
    }


def events(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Events of three streams that take turns."""
    return [
        event(position, f"grant:{(position - 1) % 3}", (position - 1) // 3 + 1, position // 10, note=f"é {position}")
        for position in range(first, first + count)
    ]


class PublishedLog:
    """A log, its database, and how it grows. What is inserted after `follow()` is not covered by a checkpoint yet."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url, poolclass=NullPool)
        self.clock = ManualClock()
        stored.metadata.create_all(self.engine)

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(stored.events), list(rows))

    def follow(self, *, largest_step: int = 4_096) -> str:
        """Lets the tree catch up, and gives the newest note."""
        tree = Tree(ORIGIN, signing, self.clock, largest_step=largest_step)
        note, more = None, True
        while more:
            with self.engine.begin() as connection:
                step, more = tree.follow(connection, read_leaves)
            note = step or note
        assert note is not None
        return note

    def grow(self, *steps: int) -> str:
        """Appends so many events and lets the tree follow, again and again: one checkpoint for each step."""
        note, size = "", len(self.column("id"))
        for step in steps:
            self.append(events(step, size + 1))
            size += step
            note = self.follow()
        return note

    def tamper(self, statement: str, **values: Any) -> None:
        """What somebody can do who owns the database."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def column(self, name: str, table: str = "stored_events") -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text(f"SELECT {name} FROM {table} ORDER BY 1")))  # noqa: S608 - a test's own words

    def forge_everything(self) -> str:
        """Builds all tiles and checkpoints anew over what the events are now, and signs with the real key."""
        for table in ("log_tiles", "log_checkpoints", "log_edge"):
            self.tamper(f"DELETE FROM {table}")  # noqa: S608 - a test's own words
        return self.follow()


def check(log: PublishedLog, kept: Sequence[str] = (), witnesses: Sequence[Key] = (), quorum: int = 0) -> Verdict:
    """What our verifier says of a log."""
    with closing(open_source(log.url)) as source:
        return verify(source, [KEY], kept=kept, witnesses=witnesses, quorum=quorum)
