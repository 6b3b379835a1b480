"""The read models held against the log for as long as a process lives, and what is told when one of them differs."""

import asyncio

import structlog

from api.services import Services
from api.starting import SYSTEM
from commands.servers import note_difference
from domain.event import Recorded
from eventstore.checking.differing import differing, note
from eventstore.checking.rounds import Difference, Rounds
from eventstore.commands import Forged, Origin
from eventstore.view import View

AFTER_START_S = 60.0
"""Seconds before the first step: a server that starts has other things to do."""

AGAIN_AFTER_S = 5.0
"""Seconds until it goes on after something unforeseen."""

log = structlog.get_logger("api")


class Checking:
    """One per process."""

    def __init__(self, here: Services) -> None:
        self._here = here
        settings = here.settings
        self.rounds = Rounds(here.ledger, settings.database_url, self.tell, workers=settings.workers)

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
