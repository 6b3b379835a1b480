"""Rows that are written with the log, held against what its events make of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select, tuple_

from domain.event import SECOND, Moment, Recorded
from eventstore.checking.expected import AT_ONCE, CATEGORIES, TABLES, Expected, Key, Row, beside, key_of, owners
from projections import digests, tokens

SLACK: Moment = 300 * SECOND
"""A row that leaves so soon may have left: another node's clock decides about that."""


class Suspicion(NamedTuple):
    """A row that looked wrong, and the streams by which that is judged. `name` is the table's."""

    name: str
    key: Key
    streams: tuple[str, ...]

    @property
    def projection(self) -> str:
        """The read model, by the name under which it is rebuilt."""
        return TABLES[self.name][0].__name__.rpartition(".")[2]

    @property
    def key_sha256(self) -> str:
        """Names the row to whoever has it, and tells nobody else anything."""
        return sha256(msgspec.json.encode((self.name, *self.key))).hexdigest()


class Checks:
    """Compares. What it finds is a suspicion until `stands` says so under the log's lock."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected

    def begun(self, connection: Connection, recorded: Iterable[Recorded], now: Moment) -> list[Suspicion]:
        """Looks for the rows of every stream that begins with one of these events."""
        begun = [each.stream for each in recorded if each.version == 1]
        whole = {name for each in begun if each.partition(":")[0] in CATEGORIES for name in beside(each)}
        made = self._expected.rows(connection, whole)
        found = []
        for name, rows in made.items():
            for key in self._differing(connection, name, rows, rows.keys(), made, now):
                named = owners(connection, name, [rows[key]])[0]
                found.append(Suspicion(name, key, named))
        return found

    def standing(self, connection: Connection, name: str, rows: Sequence[Row], now: Moment) -> list[Suspicion]:
        """Looks for what explains rows of a table."""
        streams = owners(connection, name, rows)
        made = self._expected.rows(connection, {each for named in streams for each in named})
        by_key = {key_of(name, row): named for row, named in zip(rows, streams, strict=True)}
        wrong = self._differing(connection, name, made.get(name, {}), by_key.keys(), made, now)
        return [Suspicion(name, key, by_key[key]) for key in wrong]

    def stands(self, connection: Connection, suspicion: Suspicion, now: Moment) -> bool:
        """Whether it is so, asked under the log's lock, where rows and events belong together."""
        name, key, streams = suspicion
        made = self._expected.rows(connection, streams)
        return bool(self._differing(connection, name, made.get(name, {}), (key,), made, now))

    def _differing(
        self,
        connection: Connection,
        name: str,
        expected: Mapping[Key, Row],
        keys: Collection[Key],
        made: Mapping[str, Mapping[Key, Row]],
        now: Moment,
    ) -> list[Key]:
        live = rows_at(connection, name, keys)
        wrong = [key for key in keys if expected.get(key) != live.get(key)]
        if not wrong:
            return []
        if name == "digests":
            return [key for key in wrong if not _is_kept(key, live.get(key), made.get("tokens", {}), now)]
        horizon = getattr(TABLES[name][0], "HORIZON", None)
        if horizon is None:
            return wrong
        place = TABLES[name][1].columns.keys().index(horizon)
        gone = {key for key in wrong if key not in live and expected[key][place] < now + SLACK}
        lost = set(gone) if name != "tokens" else gone & _kept(connection, {key: expected[key] for key in gone})
        return [key for key in wrong if key not in lost]


def _is_kept(key: Key, live: Row | None, made: Mapping[Key, Row], now: Moment) -> bool:
    """Whether a digest is that of a token whose row may have left."""
    token = made.get(key)
    if token is None or live is None:
        return False
    told = dict(zip(tokens.COLUMNS, token, strict=True))
    return bool(told["position"] == live[1] and told[tokens.HORIZON] < now + SLACK)


def _kept(connection: Connection, made: Mapping[Key, Row]) -> set[Key]:
    """Those of the tokens whose digests are kept where their rows have left."""
    place = tokens.COLUMNS.index("position")
    kept = digests.find_all(connection, [key[0] for key in made])
    return {key for key, row in made.items() if kept.get(key[0]) == row[place]}


def rows_at(connection: Connection, name: str, keys: Iterable[Key]) -> dict[Key, Row]:
    """The live rows with these keys."""
    _, table = TABLES[name]
    wanted = list(keys)
    own = tuple_(*table.primary_key.columns)
    found: dict[Key, Row] = {}
    for start in range(0, len(wanted), AT_ONCE):
        query = select(table).where(own.in_(wanted[start : start + AT_ONCE]))
        found |= {key_of(name, row): row for row in map(tuple, connection.execute(query))}
    return found


def next_rows(connection: Connection, name: str, after: Key | None, limit: int) -> list[Row]:
    """Some rows of a table in the order of its key, behind one."""
    _, table = TABLES[name]
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [tuple(row) for row in connection.execute(query)]
