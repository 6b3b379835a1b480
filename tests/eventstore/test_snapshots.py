"""Folds of long streams are kept, and believed only as they were kept."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, insert, select, update

from domain import client
from eventstore.ledger import Ledger
from eventstore.mapper import EventColumns, decoder
from eventstore.repository import EVERY, Repository, Snapshots
from eventstore.stored import ROW, events, folds
from eventstore.unavailable import Forged
from security.keyring import Keyring, new_master_key, parse_keyring
from tests.eventstore.conftest import HERE, disable, enable, register

pytestmark = pytest.mark.anyio

STREAM, OTHER = client.stream("long"), client.stream("other")
BEYOND = 40


class Counting(Repository):
    """How many events are folded."""

    folded = 0

    def _fold(self, connection: Connection, stream: str, state: Any, version: int, rows: Any, as_of: int) -> Any:
        self.folded += len(rows)
        return super()._fold(connection, stream, state, version, rows, as_of)


async def grow(ledger: Ledger, name: str, events_to_come: int) -> client.State:
    """A client with a stream of so many events, the last of which disables it."""
    await ledger.execute(register(name), origin=HERE)
    count = 2
    while count < events_to_come:
        steps = [disable(name), enable(name)] * 20
        executed = await ledger.execute(*steps[: events_to_come - count], origin=HERE)
        count += len(executed.recorded)
    state: client.State = await ledger.state(client.stream(name))
    return state


def anew(ledger: Ledger, keyring: Keyring) -> Counting:
    """What a process that has just begun knows."""
    return Counting(ledger.changes, Snapshots(keyring))


async def test_a_long_stream_is_read_on_from_its_kept_fold(ledger: Ledger, keyring: Keyring) -> None:
    expected = await grow(ledger, "long", 3 * EVERY + BEYOND)
    states = anew(ledger, keyring)
    assert (await ledger.read(states.load, STREAM)).state == expected
    assert states.folded == BEYOND
    together = anew(ledger, keyring)
    position, _ = await ledger.head()
    await ledger.read(together.load_all, (STREAM, OTHER), position)
    cached = together.cached(STREAM)
    assert cached is not None
    assert (cached.state, cached.version) == (expected, 3 * EVERY + BEYOND)
    assert together.folded == BEYOND


async def test_a_short_stream_has_no_row(ledger: Ledger) -> None:
    await grow(ledger, "long", EVERY - 1)
    assert await ledger.read(lambda connection: connection.execute(select(folds)).all()) == []


async def write(ledger: Ledger, statement: Any, *rows: Any) -> None:
    await ledger.maintain(lambda connection: connection.execute(statement, *rows).rowcount)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": EVERY - 1},
        {"version": EVERY + BEYOND},
        {"version": 0},
        {"position": 1},
        {"state": b"{}"},
        {"state": b'{"exists":true,"client_id":"long","enabled":true,"scope":["clients:write"]}'},
        {"state": b"no JSON"},
        {"mac": b""},
        {"mac": bytes(32)},
    ],
    ids=str,
)
async def test_an_altered_row_is_as_if_it_were_not_there(
    ledger: Ledger, keyring: Keyring, changed: dict[str, Any]
) -> None:
    expected = await grow(ledger, "long", EVERY + BEYOND)
    await write(ledger, update(folds).values(changed))
    states = anew(ledger, keyring)
    assert (await ledger.read(states.load, STREAM)).state == expected
    assert states.folded == EVERY + BEYOND


async def test_another_streams_row_and_another_keys_are_not_believed(ledger: Ledger, keyring: Keyring) -> None:
    expected = await grow(ledger, "long", EVERY + BEYOND)
    await grow(ledger, "other", EVERY + BEYOND)
    rows = await ledger.read(lambda connection: connection.execute(select(folds).order_by(folds.c.position)).all())
    (mine, theirs) = [dict(row._mapping) for row in rows]
    assert theirs["stream"] == OTHER
    await write(ledger, folds.delete())
    await write(ledger, insert(folds), theirs | {"stream": STREAM})
    assert (await ledger.read(anew(ledger, keyring).load, STREAM)).state == expected
    await write(ledger, update(folds).values(mine))
    states = anew(ledger, parse_keyring(new_master_key()))
    assert (await ledger.read(states.load, STREAM)).state == expected
    assert states.folded == EVERY + BEYOND


async def test_snapshot_of_events_that_a_restore_removed_is_ignored(ledger: Ledger, keyring: Keyring) -> None:
    """It is of the same stream, version and position, and has its right MAC; but another event stands there."""
    expected = await grow(ledger, "long", EVERY + BEYOND)

    def forge(connection: Connection) -> None:
        row = connection.execute(
            select(*ROW).where(events.c.originator_id == STREAM, events.c.originator_version == EVERY)
        ).one()
        taken_back = replace(decoder(connection).recorded(row), id="another")
        Snapshots(keyring).keep(connection, replace(expected, scope=("clients:write",)), taken_back)

    await ledger.maintain(forge)
    states = anew(ledger, keyring)
    assert (await ledger.read(states.load, STREAM)).state == expected
    assert states.folded == EVERY + BEYOND


async def test_a_stream_with_a_gap_is_forged(ledger: Ledger, keyring: Keyring) -> None:
    await grow(ledger, "long", 8)

    def fold(connection: Connection) -> None:
        rows: Sequence[EventColumns] = connection.execute(
            select(*ROW).where(events.c.originator_id == STREAM).order_by(events.c.originator_version)
        ).all()
        states, initial = anew(ledger, keyring), client.INITIAL
        assert states._fold(connection, STREAM, initial, 0, rows, rows[-1][0]).version == 8
        with pytest.raises(Forged):
            states._fold(connection, STREAM, initial, 0, [*rows[:4], *rows[5:]], rows[-1][0])

    await ledger.read(fold)
