"""One question tells when there is something to do for a log of which nothing is heard."""

import pytest
from sqlalchemy import Connection, insert

from domain.event import Moment
from eventstore.ledger import Ledger
from eventstore.pending.due import next_due
from eventstore.stored import letters, reported_secrets
from projections import outbox
from tests.eventstore.conftest import HERE, register

pytestmark = pytest.mark.anyio


def letter(connection: Connection, due_at: Moment) -> None:
    row = {"letter_id": "a", "account_id": "b", "made_at": 0, "due_at": due_at, "attempts": 0, "sealed": b""}
    connection.execute(insert(letters).values(row))


def report(connection: Connection, due_at: Moment) -> None:
    row = {"report_id": str(due_at), "due_at": due_at, "attempts": 0, "sealed": b""}
    connection.execute(insert(reported_secrets).values(row))


def delivery(connection: Connection, due_at: Moment, *, dead: int) -> None:
    row = {"position": 1, "destination": str(dead), "type": "any", "attempts": 0, "due_at": due_at, "dead": dead}
    connection.execute(insert(outbox.DELIVERIES).values({**row, "mac": b""}))


async def test_the_earliest_of_what_waits_is_due(ledger: Ledger) -> None:
    assert await ledger.read(next_due) is None
    await ledger.maintain(letter, 7_000)
    assert await ledger.read(next_due) == 7_000
    await ledger.maintain(report, 5_000)
    await ledger.maintain(delivery, 3_000, dead=0)
    # Nobody tries it any more.
    await ledger.maintain(delivery, 1_000, dead=1)
    assert await ledger.read(next_due) == 3_000
    # A delivery to somebody who is told no more stays, and hides nothing.
    assert await ledger.read(next_due, 3_000) == 5_000
    assert await ledger.read(next_due, 7_000) is None


async def test_an_event_that_nobody_has_followed_is_due_now(ledger: Ledger) -> None:
    await ledger.execute(register("shop"), origin=HERE)
    assert await ledger.read(next_due) == 0
    assert await ledger.read(next_due, 0) is None
