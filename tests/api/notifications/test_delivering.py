"""What happened is told: signed, at least once, to everybody who asked for it, and to nobody twice without need."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, update

from api.notifications import delivering, message
from api.notifications.delivering import FIRST_DELAY, LEASE, LONGEST_DELAY, DeliveryCounts, Notifier, delay
from api.notifications.message import NotificationMessage
from domain import client_secret, incident
from domain.event import SECOND
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData
from eventstore.projecting.rebuild import Rebuild
from projections import PROJECTIONS, outbox
from security.clock import ManualClock
from tests.any_command import any_command
from tests.api.notifications.conftest import EVIDENCE, SOMEBODY, report
from tests.api.notifications.receiver import Receiver
from tests.eventstore.conftest import register

pytestmark = pytest.mark.anyio

Made = Callable[..., Notifier]


def macs(ledger: Ledger) -> outbox.Macs:
    return ledger.vault.row_macs(outbox.DELIVERIES.name)


async def undelivered(ledger: Ledger, *, dead_only: bool = False) -> list[outbox.Delivery]:
    return await ledger.read(outbox.undelivered, dead_only=dead_only, limit=100)


async def test_incident_message_is_signed_and_holds_nothing_personal(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    notifier = notifier_of({"pager": receiver.url})
    (position,) = await report(ledger)
    assert await ledger.read(outbox.is_waiting)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(1, 0)
    (told,) = receiver.taken
    assert told["type"] == "incident.reported"
    assert told["timestamp"] == told["data"]["time"]
    assert told["data"]["position"] == position
    assert told["data"]["id"] == receiver.ids[0]
    assert told["data"]["data"] == {"source": "administrator", "evidence": None}
    assert told["data"]["sealed"] == ["ip", "user_agent", "data.evidence"]
    assert EVIDENCE not in json.dumps(told)
    assert receiver.forged == 0
    assert await undelivered(ledger) == []
    assert not await ledger.read(outbox.is_waiting)


async def test_the_end_of_a_secrets_time_is_told_before_it_comes(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    notifier = notifier_of({"pager": receiver.url}, "client.rotation_announced")
    await ledger.execute(register("shop"), origin=SOMEBODY)
    told = []
    for warning in (0, client_secret.DAY, client_secret.DAY):
        policy = {"maximum_age": client_secret.DAY, "overlap": 0, "warning": warning}
        commands = (
            any_command("client:shop", client_secret.set_policy, policy),
            any_command("client:shop", client_secret.announce),
        )
        await ledger.execute(*commands, origin=SOMEBODY)
        await notifier.distribute()
        told.append(await notifier.deliver("pager"))
    assert told == [DeliveryCounts(0, 0), DeliveryCounts(1, 0), DeliveryCounts(0, 0)]
    (announced,) = receiver.taken
    assert announced["type"] == "client.rotation_announced"
    assert announced["data"]["stream"] == "client:shop"
    assert announced["data"]["data"]["version"] == 1
    assert announced["data"]["data"]["due_at"]


async def test_failing_receiver_gets_every_message_in_the_end(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, clock: ManualClock
) -> None:
    notifier = notifier_of({"pager": receiver.url})
    receiver.answers = [500, 503]
    positions = await report(ledger, 3)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(1, 2)
    receiver.stop()
    clock.advance(2 * FIRST_DELAY // SECOND)
    assert await notifier.deliver("pager") == DeliveryCounts(0, 2)
    assert {each.outcome for each in await undelivered(ledger)} == {"ConnectError"}
    receiver.start()
    # Not before its time, whoever asks.
    assert await notifier.deliver("pager") == DeliveryCounts(0, 0)
    clock.advance(40)
    assert await notifier.deliver("pager") == DeliveryCounts(2, 0)
    assert sorted(each["data"]["position"] for each in receiver.taken) == positions
    assert len(set(receiver.ids)) == 3
    assert await undelivered(ledger) == []


async def test_last_failed_attempt_makes_a_dead_letter_to_revive(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, clock: ManualClock
) -> None:
    notifier = notifier_of({"pager": receiver.url}, notification_attempts=2)
    receiver.answers = [500, 500]
    (position,) = await report(ledger)
    await notifier.distribute()
    await notifier.deliver("pager")
    present = clock.advance(60)
    await notifier.deliver("pager")
    clock.advance(1_000_000)
    assert await notifier.deliver("pager") == DeliveryCounts(0, 0)
    (letter,) = await undelivered(ledger, dead_only=True)
    assert (letter.position, letter.attempts, letter.outcome) == (position, 2, "status 500")
    clock.set(present)
    assert await ledger.maintain(outbox.revive, macs(ledger), ["pager"], 1, position, clock.now()) == 1
    assert await notifier.deliver("pager") == DeliveryCounts(1, 0)
    assert await undelivered(ledger) == []


async def test_event_without_a_message_is_a_dead_letter_alone(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = notifier_of({"pager": receiver.url}, notification_attempts=2)
    poison, *others = await report(ledger, 3)

    def compose(connection: Connection, privacy: PersonalData, position: int) -> NotificationMessage | None:
        return 1 // 0 if position == poison else message.compose(connection, privacy, position)  # type: ignore[return-value]

    monkeypatch.setattr(delivering, "compose", compose)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(len(others), 1)
    clock.advance(1_000)
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    (letter,) = await undelivered(ledger)
    assert (letter.position, letter.attempts, letter.outcome) == (poison, 2, "ZeroDivisionError")
    assert await undelivered(ledger, dead_only=True) == [letter]


async def test_who_is_gone_is_tried_once(ledger: Ledger, receiver: Receiver, notifier_of: Made) -> None:
    notifier = notifier_of({"pager": receiver.url})
    receiver.answers = [410]
    await report(ledger)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    assert [each.outcome for each in await undelivered(ledger, dead_only=True)] == ["status 410"]


async def test_a_redirect_is_not_followed(ledger: Ledger, receiver: Receiver, notifier_of: Made) -> None:
    notifier = notifier_of({"pager": receiver.url})
    receiver.answers = [307]
    await report(ledger)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    assert [path for path, _ in receiver.requests] == ["/hook"]


async def test_two_processes_deliver_each_event_once(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, clock: ManualClock
) -> None:
    both = [notifier_of({"pager": receiver.url}) for _ in range(2)]
    positions = await report(ledger, 20)
    delivered = 0
    # What one leaves to the other's claim, or could not deliver, is taken up later, as the background task does.
    for _ in range(10):
        await asyncio.gather(*(each.distribute() for each in both))
        delivered += sum(told.delivered for told in await asyncio.gather(*(each.deliver("pager") for each in both)))
        # Beyond a first delay, and within the five minutes for which a receiver takes a signature.
        clock.advance(2 * FIRST_DELAY // SECOND)
    assert delivered == 20
    assert sorted(each["data"]["position"] for each in receiver.taken) == positions


async def test_message_leased_by_a_dead_process_is_taken_again(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, clock: ManualClock
) -> None:
    notifier = notifier_of({"pager": receiver.url})
    await report(ledger)
    await notifier.distribute()
    now = clock.now()
    (taken,) = await ledger.maintain(outbox.claim, macs(ledger), "pager", now, now + LEASE, 10)
    assert await notifier.deliver("pager") == DeliveryCounts(0, 0)
    clock.advance(LEASE // SECOND)
    receiver.answers = [500]
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    # The first comes back late: what it found out decides nothing any more.
    await ledger.maintain(outbox.failed, macs(ledger), "pager", taken, "too late", now, dead=True)
    (left,) = await undelivered(ledger)
    assert (left.attempts, left.dead, left.outcome) == (2, False, "status 500")


async def test_subscribers_get_what_they_asked_for_independently(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    both = notifier_of({"pager": receiver.url, "away": "http://127.0.0.1:9/"})
    other = notifier_of({"grants": receiver.url}, "grant.*")
    await report(ledger)
    await both.distribute()
    await other.distribute()
    assert await both.deliver("away") == DeliveryCounts(0, 1)
    assert await both.deliver("pager") == DeliveryCounts(1, 0)
    assert await other.deliver("grants") == DeliveryCounts(0, 0)


async def test_outbox_stays_empty_without_listeners_or_incidents(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    await report(ledger)
    nobody = notifier_of({})
    await nobody.distribute()
    assert not await ledger.read(outbox.is_waiting)
    assert await undelivered(ledger) == []
    await ledger.execute(register("a"), origin=SOMEBODY)
    assert not await ledger.read(outbox.is_waiting)


async def test_a_rebuild_tells_nobody_anything_again(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, database_url: str, clock: ManualClock
) -> None:
    notifier = notifier_of({"pager": receiver.url})
    await report(ledger)
    await notifier.distribute()
    await notifier.deliver("pager")
    engine: Engine = migrating(database_url)
    try:
        await asyncio.to_thread(Rebuild(engine, PROJECTIONS, ledger.privacy, clock.now()).run)
    finally:
        engine.dispose()
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 0)
    assert len(receiver.taken) == 1


async def test_an_event_that_is_not_committed_is_told_to_nobody(ledger: Ledger) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    command = any_command(incident.stream("x"), incident.report, {"source": "policy"})
    with pytest.raises(ZeroDivisionError):
        await ledger.execute(command, origin=SOMEBODY, then=fail)
    assert not await ledger.read(outbox.is_waiting)


async def test_a_private_address_is_not_called_unless_it_may_be(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    notifier = notifier_of({"pager": receiver.url.replace("http:", "https:")}, allow_private_urls=False)
    await report(ledger)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    assert receiver.requests == []
    (left,) = await undelivered(ledger)
    assert left.outcome == "the address is private (GRANTLOG_ALLOW_PRIVATE_URLS)"


def test_delays_grow_and_are_spread() -> None:
    assert [delay(attempt, 0) // SECOND for attempt in range(1, 9)] == [5, 20, 80, 320, 1280, 5120, 20480, 21600]
    assert delay(1, 1) == FIRST_DELAY * 3 // 2
    assert delay(100, 1) == LONGEST_DELAY * 3 // 2


@pytest.mark.parametrize("altered", [{"dead": 1}, {"due_at": 2**60}, {"attempts": 99}, {"mac": b""}], ids=str)
async def test_who_alters_a_delivery_keeps_nobody_from_being_told(
    ledger: Ledger, receiver: Receiver, notifier_of: Made, altered: dict[str, Any]
) -> None:
    notifier = notifier_of({"pager": receiver.url}, notification_attempts=2)
    receiver.answers = [500]
    (position,) = await report(ledger)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)

    await ledger.maintain(lambda connection: connection.execute(update(outbox.DELIVERIES).values(altered)).rowcount)
    # A process looks when it begins, and every ten minutes.
    notifier = notifier_of({"pager": receiver.url}, notification_attempts=2)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(1, 0)
    assert [each["data"]["position"] for each in receiver.taken] == [position]
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 0)


async def test_inserted_row_of_an_unsubscribed_event_sends_nothing(
    ledger: Ledger, receiver: Receiver, notifier_of: Made
) -> None:
    notifier = notifier_of({"pager": receiver.url})
    await ledger.execute(register("shop"), origin=SOMEBODY)
    position, _ = await ledger.head()
    row = {"position": position, "type": "incident.reported"}
    await ledger.maintain(lambda connection: connection.execute(insert(outbox.TABLE), row).rowcount)
    await notifier.distribute()
    assert await notifier.deliver("pager") == DeliveryCounts(0, 1)
    assert receiver.taken == []
    (letter,) = await undelivered(ledger, dead_only=True)
    assert letter.outcome == "nobody is told of such an event"
