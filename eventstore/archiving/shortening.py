"""Putting what lives among dropped events in short (`eventstore.sealed.short_forms`), by the owner of their table:
events of grants, of sessions and of uses, which are nearly all.

It is done within transactions that have the log's lock. A text leaves for what has all of it, and only where it stands
there to the octet, so that this may be broken off anywhere and done again. It is no event of its own, since what is
read stays the same.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, text, update

from domain.event import Recorded
from eventstore.database.append_only import lifted
from eventstore.mapper import decoder
from eventstore.sealed import packed_rows, short_forms
from eventstore.sealed.excerpt import EVENT
from eventstore.sealed.log_rows import rows_of
from eventstore.stored import ROW, events
from eventstore.unavailable import Forged
from projections import event_index

AT_ONCE = 256
"""Rows of a transaction, while which those who write wait."""

_NOTE = f"{short_forms.NUMBER:02x}"
_DIGITS = 64
"""Of a segment's digest, behind which that is noted."""

_STANDING = select(*ROW).where(
    events.c.id.in_(bindparam("b_positions", expanding=True)),
    events.c.state.startswith(EVENT.decode(), autoescape=True),
)
_EXCHANGE = (
    update(events)
    .where(events.c.id == bindparam("b_position"), events.c.state == bindparam("b_text"))
    .values(state=bindparam("b_short"))
)
_EXCHANGE_TOGETHER = text(
    f"UPDATE {events.name} SET state = given.value ->> 2 "  # noqa: S608 - names of ours
    "FROM json_array_elements(CAST(:rows AS json)) AS given (value) "
    f"WHERE {events.name}.id = CAST(given.value ->> 0 AS bigint) AND {events.name}.state = given.value ->> 1"
)
"""All in one statement and as one value: the driver would look at each text of a list, while those who write wait."""


class ShortRow(NamedTuple):
    """A row that is to be put in short: what stands there, and what takes its place."""

    position: int
    text: str
    short: str


def finished(connection: Connection) -> frozenset[str]:
    """The digests of the segments among whose events nothing is left to be put in short."""
    noted = packed_rows.STREAMS.done(connection)
    return frozenset(each[:_DIGITS] for each in noted if each[_DIGITS:] == _NOTE)


def candidates(living: Mapping[int, Recorded]) -> list[int]:
    """The positions of those events that may be put in short, in order."""
    return sorted(position for position, each in living.items() if each.stream.startswith(short_forms.CATEGORIES))


def standing(connection: Connection, positions: Sequence[int]) -> dict[int, bytes]:
    """The texts of those of the events that are not in short, as far as they are authentic."""
    form_of, found = decoder(connection).form, dict[int, bytes]()
    for row in rows_of(connection.execute(_STANDING, {"b_positions": positions}).all()):
        with suppress(Forged):
            found[row.id] = form_of(row)
    return found


def shortened(forms: Mapping[int, bytes]) -> list[ShortRow]:
    """What takes the place of texts, without those that stay; before anybody has to wait."""
    found = ((position, form, short_forms.shortened(form)) for position, form in sorted(forms.items()))
    return [ShortRow(at, form.decode(), short.decode()) for at, form, short in found if short is not None]


def exchange(connection: Connection, rows: list[ShortRow]) -> None:
    """Puts them there. Of PostgreSQL's roles only the one that owns the table may."""
    with lifted(connection, "update"):
        if connection.dialect.name == "postgresql":
            connection.execute(_EXCHANGE_TOGETHER, {"rows": json.dumps(rows)})
        else:
            given = [{"b_position": each.position, "b_text": each.text, "b_short": each.short} for each in rows]
            connection.execute(_EXCHANGE, given)


def finish(connection: Connection, sha256: str) -> None:
    """Notes that nothing is left to be put in short among the events of a segment."""
    event_index.hold(connection, event_index.NAME)
    packed_rows.STREAMS.note(connection, sha256 + _NOTE)
