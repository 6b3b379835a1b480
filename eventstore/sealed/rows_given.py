"""Statements over the events at given positions, as `used`: those that stand in the table, and rows that are packed.

`used` has the columns of the table. Of a dropped event its text is an excerpt, so that a statement may look at nothing
else there.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, TextClause

from eventstore.sealed import packed_rows
from eventstore.sealed.packed_rows import PackedRow

T = TypeVar("T")

GIVEN = {
    "sqlite": """(
SELECT used.id, originator_id, originator_version, topic, state
FROM json_each(:positions) AS given CROSS JOIN stored_events AS used ON used.id = given.value
UNION ALL SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(:packed)
) AS used""",
    "postgresql": """(
SELECT id, originator_id, originator_version, topic, state
FROM stored_events WHERE id = ANY (CAST(:positions AS bigint[]))
UNION ALL SELECT CAST(value ->> 0 AS bigint), value ->> 1, CAST(value ->> 2 AS bigint), value ->> 3, value ->> 4
FROM json_array_elements(CAST(:packed AS json))
) AS used""",
}
"""A join with so many positions would have PostgreSQL read the whole log."""


def positions_given(connection: Connection, positions: Sequence[int]) -> str:
    """Positions as `GIVEN` takes them, as one text: the driver would look at each number of a list."""
    found = ",".join(map(str, positions))
    return f"{{{found}}}" if connection.dialect.name == "postgresql" else f"[{found}]"


def ask(connection: Connection, statement: TextClause, positions: Sequence[int], **bound: Any) -> list[Row[Any]]:
    """What a statement with `GIVEN` finds of the events at some positions."""
    given = {"positions": positions_given(connection, positions), **bound}

    def run(packed: Sequence[PackedRow]) -> list[Row[Any]]:
        rows = json.dumps([(*row[:4], row[4].decode()) for row in packed])
        return [*connection.execute(statement, given | {"packed": rows})]

    return _while_packed(connection, positions, run)


def _while_packed(connection: Connection, positions: Sequence[int], run: Callable[[Sequence[PackedRow]], T]) -> T:
    """Looks once more when something was packed meanwhile, which may have been found in neither place."""
    stamp = packed_rows.STREAMS.every_run(connection)
    while True:
        found = run(packed_rows.at(connection, positions))
        before, stamp = stamp, packed_rows.STREAMS.every_run(connection)
        # What is packed adds a run, whatever becomes of the others.
        if stamp == before:
            return found
