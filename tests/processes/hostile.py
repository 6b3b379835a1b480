"""What an operator can do to a log whose database is theirs: the protections are off, and nothing is refused."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from eventstore.database.engines import migrating
from eventstore.transparency import signing_keys
from eventstore.transparency.merkle import leaf_hash
from eventstore.transparency.published import read_leaves
from eventstore.transparency.tree import Tree
from security.clock import SystemClock
from security.keyring import parse_keyring
from security.vault import Vault

FAR_AWAY = 1_000_000
"""Rows are moved by way of numbers that nobody has, since no two of them may share one."""


@contextmanager
def unprotected(url: str) -> Iterator[Connection]:
    """A transaction in which no trigger refuses anything any more."""
    engine = migrating(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("ALTER TABLE stored_events DISABLE TRIGGER ALL"))
            else:
                for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                    connection.execute(text(f'DROP TRIGGER "{name}"'))
            yield connection
    finally:
        engine.dispose()


def run(connection: Connection, statement: str, **values: object) -> None:
    connection.execute(text(statement), values)


def stored(connection: Connection, position: int) -> str:
    state: str = connection.scalar(text("SELECT state FROM stored_events WHERE id = :p"), {"p": position})
    return state


def states(url: str) -> list[bytes]:
    """The stored forms as they lie there now, in order."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            rows = connection.scalars(text("SELECT state FROM stored_events ORDER BY id")).all()
            return [state.encode() for state in rows]
    finally:
        engine.dispose()


def newest(url: str, kind: str) -> int:
    """The position of the newest event of the streams whose names begin so."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            newest = text("SELECT max(id) FROM stored_events WHERE originator_id LIKE :streams")
            position: int = connection.scalar(newest, {"streams": f"{kind}%"})
            return position
    finally:
        engine.dispose()


def newest_note(url: str) -> str:
    """The newest checkpoint as it lies there now."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            note: str = connection.scalar(text("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1"))
            return note
    finally:
        engine.dispose()


def change_one_byte(connection: Connection, position: int) -> None:
    """One digit of the event's own id, so that it stays as well formed as it was."""
    state = stored(connection, position)
    at = state.index('"id":"') + len('"id":"')
    changed = state[:at] + ("1" if state[at] == "0" else "0") + state[at + 1 :]
    run(connection, "UPDATE stored_events SET state = :s WHERE id = :p", p=position, s=changed)


def change_what_it_says(connection: Connection, position: int) -> None:
    """Another event, as well formed as the one before: what only a hash can tell."""
    form = json.loads(stored(connection, position))
    form["data"]["scope"] = ["orders", "everything"]
    run(
        connection,
        "UPDATE stored_events SET state = :s WHERE id = :p",
        p=position,
        s=json.dumps(form, separators=(",", ":"), ensure_ascii=False),
    )


def change_and_recompute_its_hash(connection: Connection, position: int) -> None:
    change_what_it_says(connection, position)
    number, place = divmod(position - 1, 256)
    hashes = connection.scalar(text("SELECT hashes FROM log_tiles WHERE level = 0 AND number = :n"), {"n": number})
    forged = bytearray(hashes)
    forged[32 * place : 32 * place + 32] = leaf_hash(stored(connection, position).encode())
    statement = "UPDATE log_tiles SET hashes = :h WHERE level = 0 AND number = :n"
    run(connection, statement, n=number, h=bytes(forged))


def delete_one(connection: Connection, position: int) -> None:
    run(connection, "DELETE FROM stored_events WHERE id = :p", p=position)


def delete_one_and_close_up(connection: Connection, position: int) -> None:
    delete_one(connection, position)
    _shift(connection, position + 1, -1)


def swap_two(connection: Connection, position: int) -> None:
    for old, new in ((position, FAR_AWAY), (position + 1, position), (FAR_AWAY, position + 1)):
        run(connection, "UPDATE stored_events SET id = :new WHERE id = :old", old=old, new=new)


def insert_one(connection: Connection, position: int) -> None:
    form = json.loads(stored(connection, position))
    _shift(connection, position, 1)
    form |= {"id": "0" * 22, "stream": "grant:invented", "version": 1}
    run(
        connection,
        "INSERT INTO stored_events (id, originator_id, originator_version, topic, state) VALUES (:p, :o, 1, :t, :s)",
        p=position,
        o=form["stream"],
        t=form["type"],
        s=json.dumps(form, separators=(",", ":"), ensure_ascii=False),
    )


def cut_the_tail(connection: Connection, position: int) -> None:
    run(connection, "DELETE FROM stored_events WHERE id >= :p", p=position)


def _shift(connection: Connection, start: int, by: int) -> None:
    run(connection, "UPDATE stored_events SET id = id + :far WHERE id >= :start", far=FAR_AWAY, start=start)
    run(connection, "UPDATE stored_events SET id = id - :far + :by WHERE id >= :far", far=FAR_AWAY, by=by)


@dataclass(frozen=True)
class KeyHolder:
    """An operator who has the log's own key as well."""

    master_key: str
    origin: str

    def sign_everything_anew(self, connection: Connection) -> None:
        """Throws away all tiles and checkpoints, and makes new ones over what the events are now."""
        for table in ("log_tiles", "log_checkpoints", "log_edge"):
            run(connection, f"DELETE FROM {table}")  # noqa: S608 - the names stand in the line above
        signers = signing_keys.from_vault(Vault(parse_keyring(self.master_key)), self.origin)
        tree = Tree(self.origin, signers, SystemClock())
        while tree.follow(connection, read_leaves).more:
            pass

    def rewrite(self, attack: "Attack") -> "Attack":
        """The attack, and everything signed anew behind it."""

        def both(connection: Connection, position: int) -> None:
            attack(connection, position)
            self.sign_everything_anew(connection)

        return both


Attack = Callable[[Connection, int], None]
