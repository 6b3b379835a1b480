"""What a process does beside answering: recording grouped facts, following the log, checking, rotating, forgetting."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import structlog

from api.audit.queries import auditor
from api.leaks import address_target, revoke
from api.letters.noticing import NoticeWriter
from api.letters.postman import Postman
from api.notifications.backchannel_logout import LogoutNotifier
from api.notifications.delivering import Notifier
from api.server.presence import SAY_EVERY, Presence
from api.services import SYSTEM, Services
from api.signals.signal_delivery import SignalNotifier
from commands import clients, people, signing_keys
from commands.audit import destroy_month
from commands.servers import note_difference
from domain.event import SECOND, Moment, Recorded
from eventstore import may_write, origin_months, used_ids
from eventstore.database import Connection
from eventstore.database.engines import is_sqlite
from eventstore.database.wakefulness import Wakefulness
from eventstore.execution import Origin
from eventstore.pending import client_documents, console_sessions, device_requests, mailed_links, pushed_requests
from eventstore.pending.due import next_due
from eventstore.projecting.check_rounds import Difference, ProjectionRounds
from eventstore.projecting.rebuild import differing, note
from eventstore.unavailable import DatabaseAway, Forged, InDoubt, LedgerOverloaded
from eventstore.view import View
from projections import grants, session_grants, sessions, tokens
from security.vault import Vault

# The read models held against the log for as long as a process lives, and what is told when one of them differs.

AFTER_START_S = 60.0
"""Seconds before the first step: a server that starts has other things to do."""

AGAIN_AFTER_S = 5.0
"""Seconds until it goes on after something unforeseen."""

log = structlog.get_logger("api")


class Checking:
    """One per process."""

    def __init__(self, services: Services) -> None:
        self._here = services
        settings = services.settings
        self.rounds = ProjectionRounds(services.ledger, settings.database_url, self.tell, workers=settings.workers)

    async def run(self) -> None:
        """Goes round until cancelled."""
        try:
            await asyncio.sleep(AFTER_START_S)
            while True:
                try:
                    await self.rounds.run()
                except Forged as error:
                    # Others say so and refuse it; the way through the rest of the log goes on.
                    log.critical("projections.not_compared", reason=str(error))
                except Exception:
                    log.exception("the comparison of projections with the log has stopped for a moment")
                await asyncio.sleep(AGAIN_AFTER_S)
        finally:
            self.rounds.close()

    async def tell(self, difference: Difference) -> None:
        """Records a difference, once until its read model was made anew; raises the alarm where it stands."""
        ledger, name = self._here.ledger, difference.projection
        if name in await ledger.read(differing):
            return

        def stands(view: View) -> bool:
            # Another process may have found the same meanwhile.
            return name not in differing(view.connection) and difference.stands(view.connection)

        def keep(view: View, recorded: tuple[Recorded, ...]) -> None:
            if recorded:
                note(view.connection, name)

        noted = note_difference(name, difference.key_sha256, stands)
        executed = await ledger.execute(noted, origin=Origin(SYSTEM), then=keep)
        if executed.recorded:
            log.critical("projections.differed", projection=name, key_sha256=difference.key_sha256)

    async def measure(self) -> None:
        """Tells what it found and how long a round takes, for `/metrics`."""
        found = await self._here.ledger.read(differing)
        self._here.metrics.compared(len(found), self.rounds.round_seconds)


# Addresses and user agents end after their retention, month by month, unless something keeps a month.

FORGOTTEN_AT_ONCE = 500
"""Rows of read models that leave in one transaction."""


class Retention:
    """One per process; any number may be at it at once."""

    def __init__(self, services: Services) -> None:
        self._here = services
        self._forgotten: set[str] = set()
        self._said: dict[str, str | None] = {}

    async def enforce(self) -> None:
        """Ends every month that is due and that nothing keeps, and what read models have left of those that ended."""
        ledger, days = self._here.ledger, self._here.settings.address_retention
        if found := await ledger.read(origin_months.due, ledger.clock.now(), days):
            certain = await ledger.read(may_write.certain, ledger.clock)
            for month in found:
                await self._end(month, days, certain)
        for each in await ledger.read(origin_months.ended):
            if each.month not in self._forgotten:
                await self._forget(each)

    async def _end(self, month: str, days: int, certain: Moment) -> None:
        try:
            executed = await self._here.ledger.execute(destroy_month(month, days, certain), origin=Origin(SYSTEM))
        except InDoubt:
            # While the log has diverged nothing that it holds is destroyed.
            return
        if executed.refusal is None:
            log.info("audit.addresses_ended", month=month)
        elif self._said.get(month) != executed.refusal.detail:
            # Anyone who reads the lines is told once, and again when something else keeps it.
            self._said[month] = executed.refusal.detail
            log.info("audit.addresses_kept", month=month, reason=executed.refusal.detail)

    async def _forget(self, month: origin_months.EndedMonth) -> None:
        ledger = self._here.ledger
        for forget in (origin_months.forget_addresses, origin_months.forget_sightings):
            while await ledger.follow(forget, month, FORGOTTEN_AT_ONCE):
                await asyncio.sleep(0)
        self._forgotten.add(month.month)


RECORD_EVERY = 0.5
"""Seconds. A first use from a new address is in the log within a second."""

LOGOUTS_EVERY = 0.5
"""Seconds. A client is told within a second that a session has ended."""

LETTERS_EVERY = 0.5
"""Seconds. So soon is mail to a person handed on."""

WIPE_EVERY = 1.0
"""Seconds. What was destroyed in the vault is readable in SQLite's files that long, or as long as readers are busy."""

BESIDE_EVERY = 2.0
"""Seconds. That what lies beside SQLite's file is gone is known so soon, and what was committed last is saved."""

ASLEEP = 300.0
"""Seconds between two looks at what comes of a log that nothing is heard of. What is due in it is done when it is."""

NEVER_DUE = 60.0
"""The same for what no row tells when it is due."""

PRUNED_ASLEEP = 10
"""A log of which nothing is heard is pruned so many times less often."""


class Chore(NamedTuple):
    """What is done again and again."""

    every: float
    """The seconds between."""
    do: Callable[[], Awaitable[object]]
    """Returns False where it is to be done again whether anything is heard or not."""
    asleep: float | None = ASLEEP
    """The seconds between while nothing is heard of the log; None where it makes no difference."""


class Background:
    """The process's own tasks; `start` them with the app, `stop` them before the ledger closes."""

    def __init__(self, services: Services, presence: Presence | None = None) -> None:
        self._services = services
        self._presence = presence
        self._tasks: list[asyncio.Task[None]] = []
        self._notifier = Notifier(services.ledger, services.settings)

    def start(self) -> None:
        """Begins the tasks."""
        checking = Checking(self._services)
        wakefulness = self._services.ledger.wakefulness
        works = (*self._works(), Chore(10.0, checking.measure))
        self._tasks = [asyncio.create_task(_again(work, wakefulness)) for work in works]
        self._tasks += [asyncio.create_task(checking.run()), asyncio.create_task(wakefulness.run(self._due))]

    async def go_round(self) -> None:
        """Does everything once, beside those tasks if they run; raises `DatabaseAway`."""
        try:
            for work in self._works():
                await work.do()
        finally:
            await self._notifier.stop()

    async def _due(self, later: bool) -> float | None:
        """In how many seconds there is something to do, or something else than what is due by now."""
        ledger = self._services.ledger
        now = ledger.clock.now()
        try:
            due = await ledger.read(next_due, now if later else None)
        except DatabaseAway:
            return 0
        return None if due is None else max(0, due - now) / SECOND

    def _works(self) -> list[Chore]:
        """What is done again and again."""
        services, ledger, notifier = self._services, self._services.ledger, self._notifier
        logouts, signals, postman = LogoutNotifier(services), SignalNotifier(services), Postman(services)
        notices = NoticeWriter(services)
        pruned = services.settings.prune_interval
        return [
            *self._watching(),
            # What was counted is in memory, whatever is heard of the log.
            Chore(RECORD_EVERY, self._record, None),
            Chore(RECORD_EVERY, services.token_uses.record, None),
            Chore(RECORD_EVERY, services.refusals.record, None),
            # What follows the log is that far behind it at most, as long as it keeps pace.
            Chore(0.1, services.follower.keep_up),
            Chore(pruned, self._prune, PRUNED_ASLEEP * pruned),
            # Reported secrets that a killed process left are ended so long after `reported.LEASE` at most.
            Chore(5.0, partial(revoke.resume, ledger)),
            Chore(5.0, partial(address_target.resume_settling, ledger), NEVER_DUE),
            Chore(60.0, partial(clients.rotate_due, ledger, services.format, Origin(SYSTEM)), NEVER_DUE),
            Chore(60.0, partial(people.erase_due, ledger, Origin(SYSTEM)), NEVER_DUE),
            Chore(60.0, self._settle_keys, None),
            *(() if self._presence is None else (Chore(SAY_EVERY, self._presence.say, SAY_EVERY),)),
            Chore(600.0, Retention(services).enforce, None),
            Chore(WIPE_EVERY, ledger.wipe),
            Chore(0.5, notifier.distribute),
            Chore(0.5, notifier.deliver_chosen),
            Chore(LOGOUTS_EVERY, logouts.distribute),
            Chore(LOGOUTS_EVERY, logouts.deliver),
            Chore(LETTERS_EVERY, notices.distribute),
            Chore(LOGOUTS_EVERY, signals.distribute),
            Chore(LOGOUTS_EVERY, signals.deliver),
            Chore(LETTERS_EVERY, postman.deliver),
            *(Chore(0.5, partial(notifier.deliver, name)) for name in notifier.names),
        ]

    def _watching(self) -> tuple[Chore, ...]:
        """SQLite's files are looked at whether anybody asks for the log or not."""
        ledger = self._services.ledger
        if not is_sqlite(self._services.settings.database_url):
            return ()
        return (Chore(BESIDE_EVERY, partial(ledger.read, ledger.changes.require_log_beside), None),)

    async def stop(self) -> None:
        """Ends the tasks and records what was counted and not yet told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._notifier.stop()
        await self._services.ledger.arrivals.close()
        await auditor.closed(self._services.ledger)
        await revoke.ended(self._services.ledger)
        await address_target.stop_settling(self._services.ledger)
        try:
            await self._services.uses.record(everything=True)
            await self._services.token_uses.record(everything=True)
            await self._services.refusals.record()
            await self._services.repeated_facts.close_elapsed(everything=True)
        except (DatabaseAway, LedgerOverloaded) as error:
            log.warning("counts lost", error=type(error).__name__)

    async def _record(self) -> None:
        self._services.metrics.write(self._services.hasher.waiting)
        self._services.transparency.measure(self._services.metrics)
        await self._services.uses.record()
        await self._services.repeated_facts.close_elapsed()

    async def _settle_keys(self) -> None:
        await signing_keys.settle(self._services.ledger, Origin(SYSTEM))
        await self._services.private_keys.load()

    async def _prune(self) -> None:
        services = self._services
        before, limit = services.ledger.clock.now(), services.settings.prune_batch
        for prune in (
            tokens.prune,
            grants.prune,
            used_ids.prune,
            device_requests.prune,
            pushed_requests.prune,
            mailed_links.prune,
            console_sessions.prune,
            client_documents.prune,
            session_grants.prune,
            sessions.prune,
            _answers(services.ledger.vault),
        ):
            while await services.ledger.tidy(prune, before, limit) >= limit:
                await asyncio.sleep(0)
        # Answers that were kept are gone from SQLite's files too, though nobody else heard of it.
        await services.ledger.wipe()


def _answers(vault: Vault) -> Callable[[Connection, Moment, int], int]:
    return vault.prune_answers


async def _again(work: Chore, wakefulness: Wakefulness) -> None:
    heard: int | None = None
    while True:
        await asyncio.sleep(work.every)
        if heard is not None and work.asleep is not None:
            await wakefulness.turn(heard, work.asleep)
        heard = wakefulness.heard
        try:
            if await work.do() is False:
                heard = None
        except (DatabaseAway, LedgerOverloaded) as error:
            log.warning("background work postponed", error=type(error).__name__)
            heard = None
        except Exception:
            log.exception("background work failed")
            heard = None
