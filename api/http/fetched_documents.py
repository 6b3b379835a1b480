"""Documents that others publish and the server reads again and again: fetched in the one guarded way, and kept as
long as their header fields say, within bounds of ours (RFC 9111 §5.2.2).
"""

import asyncio
import re
from dataclasses import dataclass, field

from api.http.outgoing_requests import FetchedResponse, NoAnswer, NotAllowed, OutgoingRequests
from security.clock import SECOND, Clock, Moment
from security.lru import Lru

KEPT = 256
"""Documents that a process keeps."""

LEAST_FRESH, USUALLY_FRESH, MOST_FRESH = 60, 600, 86_400
"""Seconds for which a document is not asked for again: at least, where nothing is said, and at most."""

AGAIN_AFTER = 10
"""Seconds between two requests for a document, whether the first one was answered or not."""

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})\"?(?:$|[,\s])", re.IGNORECASE)
_NOT_KEPT = re.compile(r"(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])", re.IGNORECASE)


@dataclass(eq=False, slots=True)
class _Document:
    """What is known of an address. `body` is None where there has been no answer yet."""

    body: bytes | None = None
    fresh_until: Moment = 0
    asked_at: Moment | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FetchedDocuments:
    """One per process."""

    def __init__(self, outgoing: OutgoingRequests, clock: Clock) -> None:
        self._outgoing = outgoing
        self._clock = clock
        self._kept: Lru[str, _Document] = Lru(KEPT)

    async def get(self, url: str, *, accept: str, largest: int, anew: bool = False) -> bytes:
        """The document, at most `largest` bytes; with `anew` not an older one than `AGAIN_AFTER`. However many want it
        at once, it is asked for once.

        Raises NotAllowed and NoAnswer. One that was had before is given on while there is no answer.
        """
        found = self._kept.get(url)
        if found is None:
            found = _Document()
            self._kept.put(url, found)
        async with found.lock:
            now = self._clock.now()
            wanted = found.body is None or anew or now >= found.fresh_until
            may_ask = found.asked_at is None or now >= found.asked_at + AGAIN_AFTER * SECOND
            if wanted and may_ask:
                found.asked_at = now
                await self._ask(url, found, accept, largest)
            if found.body is None:
                raise NoAnswer("there was no answer a moment ago")
            return found.body

    async def _ask(self, url: str, found: _Document, accept: str, largest: int) -> None:
        try:
            answer = await self._outgoing.send("GET", url, headers={"Accept": accept}, largest=largest)
            if answer.status != 200:
                raise NoAnswer("the answer is not 200")
        except (NoAnswer, NotAllowed):
            if found.body is None:
                raise
            return
        found.body, found.fresh_until = answer.body, self._clock.now() + freshness(answer) * SECOND


def freshness(answer: FetchedResponse) -> int:
    """Seconds for which an answer is kept."""
    said = answer.headers.get("cache-control", "")
    if _NOT_KEPT.search(said):
        return LEAST_FRESH
    stated = _MAX_AGE.search(said)
    return USUALLY_FRESH if stated is None else min(max(int(stated[1]), LEAST_FRESH), MOST_FRESH)
