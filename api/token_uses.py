"""Uses of tokens: at resource servers, which ask about them, and at this server's own API. Recorded as grouped facts.

Never one write for one read: the first use of a token from a new address is recorded within a second, further ones as
one count for each token, address and interval. A use after the token's end is one of these facts too, and says so. What
a killed server had not recorded yet is lost; a stopped one records everything.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from api.arrival import normalise
from domain import usage
from domain.event import SECOND, Moment
from eventstore import issued
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger
from projections.tokens import Found

KEPT = 50_000
"""Token and address together that are told apart at a time. Beyond it the oldest counts as new again."""

AT_ONCE = 500
"""Facts that wait for the ledger together."""

Key = tuple[bytes, str | None, str | None, bool]


@dataclass(slots=True)
class _Uses:
    token: Found | None
    via: usage.TokenVia
    origin: Origin
    told_ip: str | None
    told_user_agent: str | None
    ended: str | None
    since: Moment
    told: bool = False
    count: int = 0


class TokenUses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int) -> None:
        self._ledger = ledger
        self._interval = interval_seconds * SECOND
        self._seen: OrderedDict[Key, _Uses] = OrderedDict()

    def note(
        self,
        digest: bytes,
        token: Found | None,
        ended: str | None,
        *,
        via: usage.TokenVia,
        address: str | None,
        origin: Callable[[], Origin],
        seen_by: str | None,
        told_ip: str | None = None,
        told_user_agent: str | None = None,
    ) -> None:
        """One use, now; a repeat costs a look-up. `token` is None for one without a row, which may be long dead.

        `address` is the caller's and `origin` says the rest about them. `seen_by` is the client that asked about the
        token, `told_…` what it says of whoever brought it.
        """
        key = (digest, seen_by, told_ip or address, ended is not None)
        uses = self._seen.get(key)
        if uses is None:
            if len(self._seen) >= KEPT:
                self._make_room()
            told = None if told_ip is None else normalise(told_ip)
            agent = None if told_user_agent is None else told_user_agent[: usage.TOLD_MAXIMUM]
            uses = _Uses(token, via, origin(), told, agent, ended, self._ledger.clock.now())
            self._seen[key] = uses
        uses.count += 1

    def _make_room(self) -> None:
        for key, uses in self._seen.items():
            if uses.told and not uses.count:
                del self._seen[key]
                return
        self._seen.popitem(last=False)

    async def record(self, *, everything: bool = False) -> None:
        """Records first uses, and the counts whose interval is over; with `everything` all of them."""
        now = self._ledger.clock.now()
        due = [
            (key, uses)
            for key, uses in self._seen.items()
            if not uses.told or (uses.count and (everything or now - uses.since >= self._interval))
        ]
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(
                *(self._tell(key, uses, now, everything) for key, uses in due[start : start + AT_ONCE])
            )
        for key in [key for key, uses in self._seen.items() if self._over(uses, now)]:
            del self._seen[key]

    def _over(self, uses: _Uses, now: Moment) -> bool:
        return uses.told and not uses.count and now - uses.since >= self._interval

    async def _tell(self, key: Key, uses: _Uses, now: Moment, everything: bool) -> None:
        facts = await self._facts(key, uses)
        if facts is None:
            # Well-formed, but never issued here: nothing of ours was used.
            uses.told, uses.count = True, 0
            return
        stream = usage.stream(key[0].hex())
        if not uses.told:
            uses.told, uses.count, uses.since = True, uses.count - 1, now
            await self._ledger.execute(Command(stream, usage.note_token, facts), origin=uses.origin)
            if not everything:
                return
        if uses.count:
            seconds = max(1, (now - uses.since) // SECOND)
            counted = facts | {"count": uses.count, "window_seconds": seconds}
            uses.count, uses.since = 0, now
            await self._ledger.execute(Command(stream, usage.note_token, counted), origin=uses.origin)

    async def _facts(self, key: Key, uses: _Uses) -> dict[str, object] | None:
        digest, seen_by, _, _ = key
        told = {
            "via": uses.via,
            "seen_by": seen_by,
            "told_ip": uses.told_ip,
            "told_user_agent": uses.told_user_agent,
            "ended": uses.ended,
        }
        if uses.token is not None:
            token = uses.token
            about: dict[str, object] = {"kind": token.kind, "client_id": token.client_id, "grant_id": token.grant_id}
            return told | about | {"account_id": token.account_id, "secret_id": token.secret_id}
        found = await self._ledger.read(issued.find, digest)
        if found is None or found.kind == "client_secret":
            return None
        about = {"kind": found.kind, "client_id": found.client_id, "grant_id": found.grant_id}
        return told | about | {"account_id": found.account_id, "secret_id": found.secret_id}
