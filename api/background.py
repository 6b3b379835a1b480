"""What a process does beside answering: recording grouped facts, following the log, letting expired rows go."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from api.audit import readings
from api.audit.checking import Checking
from api.audit.retaining import Retention
from api.leaks import credentials
from api.notifications.delivering import Notifier
from api.services import Services
from api.starting import SYSTEM
from commands import client_secrets
from domain.event import Moment
from eventstore.asking import Connection
from eventstore.commands import DatabaseAway, Origin, Overloaded
from projections import grants, sessions, tokens
from security.vault import Vault

FOLLOW_EVERY = 0.1
"""Seconds. What follows the log is that far behind it at most, as long as it keeps pace."""

RECORD_EVERY = 0.5
"""Seconds. A first use from a new address is in the log within a second."""

TELL_EVERY = 0.5
"""Seconds until people begin to be told of what they must know."""

RESUME_EVERY = 5.0
"""Seconds. Reported secrets that a killed process left are ended so long after `reported.LEASE` at most."""

ROTATE_EVERY = 60.0
"""Seconds. Secrets that rotate on schedule are rotated that late at most."""

MEASURE_EVERY = 10.0
"""Seconds. What the comparison of projections with the log has found is in the metrics that late at most."""

RETAIN_EVERY = 600.0
"""Seconds. A month whose addresses are to end does so that late at most."""

WIPE_EVERY = 1.0
"""Seconds. What was destroyed in the vault is readable in SQLite's files that long, or as long as readers are busy."""

log = structlog.get_logger("api")


class Background:
    """The process's own tasks; `start` them with the app, `stop` them before the ledger closes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins the tasks."""
        settings = self._services.settings
        notifier = Notifier(self._services.ledger, settings)
        checking = Checking(self._services)
        self._tasks = [
            asyncio.create_task(_every(RECORD_EVERY, self._record)),
            asyncio.create_task(_every(RECORD_EVERY, self._services.token_uses.record)),
            asyncio.create_task(_every(FOLLOW_EVERY, self._follow)),
            asyncio.create_task(_every(settings.prune_interval, self._prune)),
            asyncio.create_task(_every(RESUME_EVERY, partial(credentials.resume, self._services.ledger))),
            asyncio.create_task(_every(ROTATE_EVERY, self._rotate)),
            asyncio.create_task(checking.run()),
            asyncio.create_task(_every(MEASURE_EVERY, checking.measure)),
            asyncio.create_task(_every(RETAIN_EVERY, Retention(self._services).enforce)),
            asyncio.create_task(_every(WIPE_EVERY, self._services.ledger.wipe)),
            asyncio.create_task(_every(TELL_EVERY, notifier.distribute)),
            *(asyncio.create_task(_every(TELL_EVERY, partial(_deliver, notifier, name))) for name in notifier.names),
        ]

    async def stop(self) -> None:
        """Ends the tasks and records what was counted and not yet told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._services.ledger.arrivals.close()
        await readings.closed()
        await credentials.ended()
        try:
            await self._services.uses.record(everything=True)
            await self._services.token_uses.record(everything=True)
            await self._services.tallies.close_elapsed(everything=True)
        except (DatabaseAway, Overloaded) as error:
            log.warning("counts lost", error=type(error).__name__)

    async def _record(self) -> None:
        self._services.metrics.write(self._services.hasher.waiting)
        self._services.transparency.measure(self._services.metrics)
        await self._services.uses.record()
        await self._services.tallies.close_elapsed()

    async def _follow(self) -> None:
        await self._services.follower.keep_up()

    async def _rotate(self) -> None:
        here = self._services
        await client_secrets.rotate_due(here.ledger, here.format, Origin(SYSTEM))

    async def _prune(self) -> None:
        here = self._services
        before, limit = here.ledger.clock.now(), here.settings.prune_batch
        for prune in (tokens.prune, grants.prune, sessions.prune, _answers(here.ledger.vault)):
            while await here.ledger.maintain(prune, before, limit) >= limit:
                await asyncio.sleep(0)


def _answers(vault: Vault) -> Callable[[Connection, Moment, int], int]:
    return vault.prune_answers


async def _deliver(notifier: Notifier, name: str) -> None:
    await notifier.deliver(name)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (DatabaseAway, Overloaded) as error:
            log.warning("background work postponed", error=type(error).__name__)
        except Exception:
            log.exception("background work failed")
