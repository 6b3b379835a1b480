"""Events that concern people, exchanged for letters to them by any number of processes."""

import structlog

from api.services import Services
from commands.mailing import notices
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from projections import person_notices

AT_ONCE = 50
log = structlog.get_logger("api")


class NoticeWriter:
    """Finds out who is to be notified of what. One per process."""

    def __init__(self, services: Services) -> None:
        self._here = services

    async def distribute(self) -> None:
        """Looks at every event that waits; without mail nobody is told."""
        ledger = self._here.ledger
        if self._here.settings.mail == "off":
            await self._pass_over()
            return
        more = True
        while more and (positions := await ledger.read(person_notices.waiting, AT_ONCE)):
            more = len(positions) == AT_ONCE
            # What may still turn out never to have been committed is not announced.
            await ledger.settled()
            told: set[notices.ConcernedPerson | None] = {None}
            found: list[tuple[int, notices.ConcernedPerson | None]] = []
            for position in positions:
                whom = await self._concerned(position)
                # What was done at once, and what is repeated by machines, is one letter.
                found.append((position, None if whom in told else whom))
                told.add(whom)
            await ledger.maintain(notices.write_letters, ledger.vault, found, ledger.clock.now())

    async def _pass_over(self) -> None:
        ledger = self._here.ledger
        if waiting := await ledger.read(person_notices.waiting, 1):
            await ledger.settled()
            # The first is not beyond what is known by now, unless somebody else put it there: it goes too, since it
            # would cost a transaction at each look for ever.
            await ledger.tidy(person_notices.pass_over, max(ledger.changes.position, *waiting))

    async def _concerned(self, position: int) -> notices.ConcernedPerson | None:
        """Who is told; nobody of what cannot be looked at, since others wait behind it."""
        ledger = self._here.ledger
        try:
            return await ledger.look(notices.concerned, ledger.privacy, position)
        except (DatabaseAway, LedgerOverloaded):
            raise
        except Exception:
            log.exception("nobody is told of an event", position=position)
            return None
