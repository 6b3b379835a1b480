"""Opens the log of each idle issuer once in a while, so that its outbox, expiry, retention and keys go on."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from api.background import Background
from api.http.log_lines import trace
from api.issuers.open_issuers import OpenIssuers
from api.issuers.registry import IssuerEntry
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.clock import Moment, SteadyClock

ROUND = 3_600.0
"""Seconds in which every issuer is opened at least once."""

LEAST_REST = 0.5
"""Seconds between two issuers, so that those who are served are not starved."""

VISITED_WITHIN = 60.0
"""Seconds for one visit. What is not done by then is done in the next one."""

log = structlog.get_logger("api")


class Caretaker:
    """Goes round among the issuers that are not open. Each process has one: what it does may be done any number of
    times, and by several at once."""

    def __init__(self, open_issuers: OpenIssuers, entries: Callable[[], Sequence[IssuerEntry]]) -> None:
        self._open = open_issuers
        self._entries = entries

    async def run(self) -> None:
        """Visits one after the other, spread over the round."""
        visited: dict[str, Moment] = {}
        clock = SteadyClock()
        while True:
            entries = self._entries()
            await asyncio.sleep(max(LEAST_REST, ROUND / (len(entries) + 1)))
            visited = {each.id: visited.get(each.id, 0) for each in entries}
            if entries:
                next_one = min(entries, key=lambda each: visited[each.id])
                visited[next_one.id] = clock.now()
                await self.visit(next_one)

    async def visit(self, entry: IssuerEntry) -> None:
        """Does once for an issuer what is done for an open one again and again. One that is open needs nobody."""
        if entry.moving_to is not None or self._open.opened(entry.id) is not None:
            return
        try:
            issuer = await self._open.get(entry)
            with issuer.visited():
                async with asyncio.timeout(VISITED_WITHIN):
                    await Background(issuer.services).go_round()
        except (DatabaseAway, LedgerOverloaded, TimeoutError) as error:
            log.warning("an issuer was not looked after", issuer=entry.issuer, error=type(error).__name__)
        except Exception as error:
            log.error("an issuer was not looked after", issuer=entry.issuer, **trace(error))
