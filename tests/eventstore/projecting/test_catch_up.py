"""The search index follows the log: in bounded steps, by any process, complete and without a row too many."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, select

from domain import account
from domain.event import Actor
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore import search
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.personal_data import Unsealing, address_key
from eventstore.projecting import catch_up
from eventstore.projecting.catch_up import (
    CALM,
    GATHERED_FOR,
    REST,
    CatchUpSubscription,
    EventIndexing,
    Sightings,
)
from projections import event_index, sightings
from projections.event_index import NameKind
from projections.named import runs
from security.clock import ManualClock
from security.keyring import Keyring
from tests.any_command import any_command
from tests.eventstore.conftest import HERE, disable, register

pytestmark = pytest.mark.anyio


def follower(ledger: Ledger, batch: int = 7) -> CatchUpSubscription:
    return CatchUpSubscription(ledger, EventIndexing(), batch=batch)


async def indexed(ledger: Ledger) -> set[tuple[int, bytes, int]]:
    rows = await ledger.read(lambda c: c.execute(select(event_index.TABLE)).all())
    found = list(runs.apart(tuple(row) for row in rows))
    assert len(found) == len(set(found))
    return set(found)


async def computed(ledger: Ledger) -> set[tuple[int, bytes, int]]:
    """What the index should hold, from the whole log at once."""
    recorded = await ledger.read(search.recorded_forms, range(1, ledger.changes.position + 1))
    prepared = await ledger.read(EventIndexing().prepare, recorded, Unsealing(ledger.privacy))
    return set(prepared.rows)


async def write(ledger: Ledger, names: str, count: int) -> None:
    for number in range(count):
        await ledger.execute(register(f"{names}{number}"), origin=HERE)
        await ledger.execute(disable(f"{names}{number}"), origin=HERE)


async def test_it_comes_to_the_head_in_bounded_steps(ledger: Ledger) -> None:
    await write(ledger, "a", 20)
    following = follower(ledger)
    assert await following.follow(steps=2) is False
    assert following.position == 14
    assert await following.follow() is True
    assert following.position == 60
    assert await indexed(ledger) == await computed(ledger)
    assert await ledger.read(event_index.progress) == {event_index.NAME: 60}


async def test_it_goes_on_where_it_was_after_a_restart(ledger: Ledger) -> None:
    await write(ledger, "a", 4)
    await follower(ledger).follow(steps=1)
    again = follower(ledger)
    await again.follow()
    assert await indexed(ledger) == await computed(ledger)
    await again.follow()
    assert await indexed(ledger) == await computed(ledger)


async def test_many_followers_write_each_stretch_once(
    ledger: Ledger, database_url: str, keyring: Keyring, clock: ManualClock
) -> None:
    other = await Ledger.open(database_url, keyring, clock)
    try:
        await asyncio.gather(write(ledger, "a", 20), write(other, "b", 20))
        followers = [follower(each) for each in (ledger, other, ledger, other)]
        await asyncio.gather(*(each.follow() for each in followers), write(ledger, "c", 10))
        await followers[1].follow()
    finally:
        await other.close()
    assert await indexed(ledger) == await computed(ledger)


async def test_an_idle_follower_writes_nothing(ledger: Ledger) -> None:
    await write(ledger, "a", 2)
    following = follower(ledger)
    await following.follow()
    begun: list[object] = []
    engine = ledger.log.factory.datastore.engine  # type: ignore[attr-defined]
    event.listen(engine, "begin", begun.append)
    await following.follow()
    assert begun == []


async def test_addresses_are_blind_indexes_and_leave_with_the_person(ledger: Ledger) -> None:
    facts: dict[str, Any] = {
        "realm": "platform",
        "username": "paul",
        "email": "paul@example.test",
        "password_hash": None,
        "roles": (),
        "role_scopes": {},
        "caller_scope": ADMINISTRATIVE_SCOPES,
        "username_taken": False,
        "email_taken": False,
    }
    paul = Origin(Actor("person", "paul"), ip="198.51.100.4")
    await ledger.execute(any_command("account:paul", account.register, facts), origin=HERE)
    off = {"leaves_no_administrator": False}
    await ledger.execute(any_command("account:paul", account.disable, off), origin=paul)
    following = follower(ledger)
    await following.follow()
    key = address_key(ledger.privacy, "198.51.100.4")
    assert (int(NameKind.ADDRESS), key, 2) in await indexed(ledger)
    assert all(b"198.51.100.4" not in found for _, found, _ in await indexed(ledger))
    # Erased in the same stretch as another act of theirs, before anything of it was indexed.
    await ledger.execute(
        any_command("account:paul", account.enable, {"role_scopes": {}, "caller_scope": frozenset()}), origin=paul
    )
    await ledger.execute(any_command("account:paul", account.erase, off), origin=HERE)
    await following.follow()
    addresses = {(key, position) for kind, key, position in await indexed(ledger) if kind == NameKind.ADDRESS}
    # Those from which others acted on the person stay.
    assert addresses == {(address_key(ledger.privacy, "192.0.2.7"), 1), (address_key(ledger.privacy, "192.0.2.7"), 4)}


async def test_a_step_that_is_read_in_portions_becomes_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "PORTION", 4)
    await write(ledger, "a", 5)
    following = follower(ledger, batch=11)
    assert await following.follow(steps=1) is False
    assert following.position == 11
    assert await following.follow(steps=1)
    assert await indexed(ledger) == await computed(ledger)


async def test_models_at_one_position_move_together_after_catching_up(ledger: Ledger) -> None:
    await write(ledger, "a", 5)
    await follower(ledger).follow()
    await write(ledger, "b", 5)
    both = CatchUpSubscription(ledger, EventIndexing(), Sightings(), batch=7)
    places, index = both.only(sightings.NAME), both.only(event_index.NAME)
    # For the one that is ahead nothing has to be read of what the other one still lacks.
    assert await index.follow(steps=3)
    assert index.position == 30
    assert await places.follow(steps=5)
    assert await ledger.read(event_index.progress) == {event_index.NAME: 30, sightings.NAME: 30}
    await write(ledger, "c", 2)
    assert await both.follow(steps=1)
    assert await ledger.read(event_index.progress) == {event_index.NAME: 36, sightings.NAME: 36}
    assert await indexed(ledger) == await computed(ledger)


async def test_what_comes_fast_is_gathered_for_a_moment(ledger: Ledger) -> None:
    now, many = 0.0, CALM // 3 + 1
    following = CatchUpSubscription(ledger, EventIndexing(), seconds=lambda: now)
    await write(ledger, "a", 1)
    await following.keep_up()
    assert following.position == 3
    await write(ledger, "b", many)
    await following.keep_up()
    assert following.position == 3
    await write(ledger, "c", many)
    now = GATHERED_FOR
    await following.keep_up()
    assert following.position == 3 + 6 * many
    await write(ledger, "d", many)
    await following.keep_up()
    assert following.position == 3 + 6 * many
    # Nothing came since: it is followed at once.
    await following.keep_up()
    assert following.position == 3 + 9 * many
    assert await indexed(ledger) == await computed(ledger)


async def test_standby_follower_takes_over_when_the_other_stops(ledger: Ledger) -> None:
    one, two = follower(ledger), follower(ledger)
    await write(ledger, "a", 1)
    await two.keep_up()
    assert await ledger.read(event_index.progress) == {event_index.NAME: 3}
    for number in range(4):
        await write(ledger, f"b{number}", 1)
        await one.follow()
        await write(ledger, f"c{number}", 1)
        left = await ledger.read(event_index.progress)
        await two.keep_up()
        assert await ledger.read(event_index.progress) == left
    for _ in range(REST + 2):
        await two.keep_up()
    assert await ledger.read(event_index.progress) == {event_index.NAME: 27}
    assert await indexed(ledger) == await computed(ledger)
