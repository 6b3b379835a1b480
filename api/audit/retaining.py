"""Addresses and user agents end after their retention, month by month, unless something keeps a month."""

import asyncio

import structlog

from api.services import Services
from api.starting import SYSTEM
from commands.retention import destroy_month
from eventstore import origin_months
from eventstore.commands import InDoubt, Origin

FORGOTTEN_AT_ONCE = 500
"""Rows of read models that leave in one transaction."""

log = structlog.get_logger("api")


class Retention:
    """One per process; any number may be at it at once."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._forgotten: set[str] = set()
        self._said: dict[str, str | None] = {}

    async def enforce(self) -> None:
        """Ends every month that is due and that nothing keeps, and what read models have left of those that ended."""
        ledger, days = self._here.ledger, self._here.settings.address_retention
        for month in await ledger.read(origin_months.due, ledger.clock.now(), days):
            await self._end(month, days)
        for each in await ledger.read(origin_months.ended):
            if each.month not in self._forgotten:
                await self._forget(each)

    async def _end(self, month: str, days: int) -> None:
        try:
            executed = await self._here.ledger.execute(destroy_month(month, days), origin=Origin(SYSTEM))
        except InDoubt:
            # While the log has diverged nothing that it holds is destroyed.
            return
        if executed.refusal is None:
            log.info("audit.addresses_ended", month=month)
        elif self._said.get(month) != executed.refusal.detail:
            # Whoever reads the lines is told once, and again when something else keeps it.
            self._said[month] = executed.refusal.detail
            log.info("audit.addresses_kept", month=month, reason=executed.refusal.detail)

    async def _forget(self, month: origin_months.Ended) -> None:
        ledger = self._here.ledger
        for forget in (origin_months.forget_addresses, origin_months.forget_sightings):
            while await ledger.follow(forget, month, FORGOTTEN_AT_ONCE):
                await asyncio.sleep(0)
        self._forgotten.add(month.month)
