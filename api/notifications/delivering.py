"""The outbox emptied by any number of processes: a delivery is taken by one at a time, and tried until it is made."""

import asyncio
from collections.abc import Mapping
from random import SystemRandom
from typing import NamedTuple

import structlog

from api.config.settings import Settings
from api.http.outgoing_requests import OutgoingRequests
from api.notifications.channels import destinations, senders
from api.notifications.chosen import sender, subscribed
from api.notifications.message import Failed, SendNotification, compose
from commands.destinations import secrets_of
from domain.event import SECOND, Moment
from domain.notifying import destination
from domain.notifying.destination import DestinationTerms
from eventstore.ledger import Ledger
from eventstore.unavailable import DatabaseAway
from projections import outbox
from projections.outbox import Claimed

AT_ONCE = 8
"""Deliveries to one destination that are under way at a time."""

LEASE: Moment = 60 * SECOND
"""For how long a delivery is taken: longer than any attempt lasts. A process that dies lets go of it by then."""

FIRST_DELAY: Moment = 5 * SECOND
LONGEST_DELAY: Moment = 6 * 3600 * SECOND
DISTRIBUTED_AT_ONCE = 200
MEND_EVERY: Moment = 600 * SECOND
"""After so long it is looked again whether anybody altered what waits to be delivered."""

log = structlog.get_logger("api")
_random = SystemRandom()


class DeliveryCounts(NamedTuple):
    """What came of a round: how many were delivered, and how many were tried in vain."""

    delivered: int
    failed: int


def delay(attempts: int, chance: float) -> Moment:
    """How long to wait after so many attempts: four times as long each time, up to six hours, and up to a half more by
    `chance`, from 0 to 1, so that those who failed together do not all come back together."""
    longest = min(FIRST_DELAY << 2 * min(attempts - 1, 12), LONGEST_DELAY)
    return longest + int(longest * chance / 2)


class Notifier:
    """Distributes events among the destinations of the settings and of the administrators, and delivers to each of them
    on its own.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._macs = ledger.vault.row_macs(outbox.DELIVERIES.name)
        self._mended_at: Moment | None = None
        self._attempts = settings.notification_attempts
        self._settings = settings
        self._outgoing = OutgoingRequests(allow_private=settings.allow_private_urls)
        self._destinations = destinations(settings)
        self._senders = senders(settings, ledger.clock)
        self._delivering: dict[str, asyncio.Task[DeliveryCounts]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations of the settings, each of which waits for no other."""
        return tuple(self._senders)

    async def distribute(self) -> None:
        """Exchanges events that wait for the deliveries that they become; without destinations, for none."""
        ledger = self._ledger
        await self._mend()
        while await ledger.read(outbox.is_waiting):
            told = [*self._destinations, *subscribed(await self._chosen())]
            await ledger.maintain(outbox.distribute, self._macs, told, ledger.clock.now(), DISTRIBUTED_AT_ONCE)

    async def _mend(self) -> None:
        """Now and then has what was altered in the database delivered all the same."""
        now = self._ledger.clock.now()
        if self._mended_at is not None and self._mended_at <= now < self._mended_at + MEND_EVERY:
            return
        if mended := await self._ledger.maintain(outbox.mend, self._macs, now):
            log.error("deliveries were altered in the database, and begin anew", deliveries=mended)
        self._mended_at = now

    async def _chosen(self) -> Mapping[str, DestinationTerms]:
        state: destination.State = await self._ledger.state(destination.STREAM)
        return state.destinations

    async def deliver_chosen(self) -> None:
        """Sees to it that what is due for those whom administrators named is tried. None of them waits for another: who
        does not answer keeps nobody else from being told."""
        names = await self._chosen()
        for name in names:
            task = self._delivering.get(name)
            if task is None or task.done():
                self._delivering[name] = asyncio.create_task(self._deliver_anew(name))
        for name in [each for each in self._delivering if each not in names]:
            self._delivering.pop(name).cancel()

    async def _deliver_anew(self, name: str) -> DeliveryCounts:
        try:
            return await self.deliver(name)
        except DatabaseAway:
            # The next round tries again.
            return DeliveryCounts(0, 0)

    async def stop(self) -> None:
        """Ends what is under way."""
        tasks = list(self._delivering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def deliver(self, name: str) -> DeliveryCounts:
        """Tries what is due for one destination, until nothing is."""
        ledger, delivered, failed = self._ledger, 0, 0
        while await ledger.read(outbox.is_due, name, ledger.clock.now()):
            now = ledger.clock.now()
            claimed = await ledger.maintain(outbox.claim, self._macs, name, now, now + LEASE, AT_ONCE)
            done = await asyncio.gather(*(self._attempt(name, each) for each in claimed))
            delivered += sum(done)
            failed += len(done) - sum(done)
        return DeliveryCounts(delivered, failed)

    async def _attempt(self, name: str, claimed: Claimed) -> bool:
        ledger = self._ledger
        await ledger.settled()
        failed = await self._send(name, claimed.position)
        if failed is None:
            await ledger.maintain(outbox.made, name, claimed.position)
            return True
        dead = failed.final or claimed.attempt >= self._attempts
        again = ledger.clock.now() + delay(claimed.attempt, _random.random())
        await ledger.maintain(outbox.failed, self._macs, name, claimed, failed.outcome, again, dead=dead)
        (log.error if dead else log.warning)(
            "notification is a dead letter" if dead else "notification not delivered",
            destination=name,
            position=claimed.position,
            attempt=claimed.attempt,
            outcome=failed.outcome,
        )
        return False

    async def _sender(self, name: str) -> SendNotification:
        """As it is told now: its address may be another than a moment ago."""
        ledger = self._ledger
        terms = (await self._chosen())[name]
        secrets = await ledger.read(secrets_of, ledger.vault, name)
        return sender(name, terms, secrets, self._settings, self._outgoing, ledger.clock)

    async def _send(self, name: str, position: int) -> Failed | None:
        try:
            message = await self._ledger.read(compose, self._ledger.privacy, position)
            if message is None:
                return Failed("the log has no such event", final=True)
            if message.event.type not in outbox.TYPES:
                return Failed("nobody is told of such an event", final=True)
            send = self._senders.get(name) or await self._sender(name)
            return await send(message)
        except DatabaseAway:
            raise
        except Exception as error:
            # What nobody foresaw must end as a dead letter that people see, not as one that is tried for ever.
            log.exception("notification failed", destination=name)
            return Failed(type(error).__name__)
