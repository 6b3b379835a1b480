"""Uses of tokens: at resource servers, which ask about them, and at this server's own API. Recorded as grouped facts.

Never one write for one read: the first use of a token from a new address is recorded within a second, further ones as
one count for each token, address and interval. A use after the token's end is one of these facts too, and says so. What
a killed server had not recorded yet is lost; a stopped one records everything.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from api.arrival import normalise
from api.grouping import Due, Grouping, record
from commands import uses
from domain import usage
from domain.event import Actor
from eventstore import issued
from eventstore.asking import Connection
from eventstore.commands import Origin, Single
from eventstore.ledger import Ledger
from eventstore.validation import Known
from security.lru import Lru

KEPT = 200_000
"""Token and address together that are told apart at a time. Beyond it the oldest counts as new again."""

AT_ONCE = 64
"""Facts that are recorded together. Requests come in between, also when a hundred thousand tokens are new at once."""

STRANGERS = 20_000
"""Well-formed tokens without a row that are remembered, so that each is looked up once."""

ASKED = 2_000
"""Of these, those that wait to be looked up. Whoever invents more of them in half a second is not told apart."""

LOOKED_UP = 200
"""Of these, those that are looked up each time that something is recorded."""

_PLACES = 10_000


class _Place(NamedTuple):
    """How a token was used, and by whom. Few are alike in everything but their addresses."""

    via: usage.TokenVia
    seen_by: str | None
    ended: str | None
    user_agent: str | None
    told_user_agent: str | None
    actor_kind: Any
    actor_id: str | None
    credential: tuple[tuple[str, str], ...] | None


class _Use(msgspec.Struct, frozen=True, gc=False):
    """All that is kept of a token and a place; the rest is looked up when it is told."""

    digest: bytes
    place: _Place
    ip: str | None
    told_ip: str | None

    def origin(self, request_id: str | None) -> Origin:
        """Who brought it, as the event says it. Further uses are of many requests."""
        place = self.place
        credential = None if place.credential is None else dict(place.credential)
        return Origin(Actor(place.actor_kind, place.actor_id, credential), request_id, self.ip, place.user_agent)


class _First(NamedTuple):
    """What is known of a token when it is used first, until that is told."""

    token: uses.Token
    request_id: str | None


class TokenUses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int) -> None:
        self._ledger = ledger
        self._grouping: Grouping[_Use] = Grouping(interval_seconds, interval_seconds, KEPT)
        self._counts = self._grouping.counts
        self._places: dict[_Place, _Place] = {}
        self._strangers: Lru[int, int] = Lru(STRANGERS)
        self._asked: deque[tuple[int, _Use, str | None]] = deque()
        self._turn = asyncio.Lock()

    def again(self, digest: bytes, seen_by: str | None, address: str | None, *, ended: bool) -> bool:
        """One use, now, if there was one like it lately; otherwise False, and it has to be noted.

        `address` is the one that the resource server told, or else the caller's.
        """
        key = hash((digest, seen_by, address, ended))
        try:
            self._counts[key] += 1
        except KeyError:
            if key not in self._strangers:
                return False
            self._strangers[key] += 1
        return True

    def note(
        self,
        digest: bytes,
        token: Known | None,
        ended: str | None,
        *,
        via: usage.TokenVia,
        address: str | None,
        origin: Callable[[], Origin],
        seen_by: str | None,
        told_ip: str | None = None,
        told_user_agent: str | None = None,
    ) -> None:
        """One use, now. `token` is None for one without a row, which may be long dead.

        `address` is the caller's and `origin` says the rest about them. `seen_by` is the client that asked about the
        token, `told_…` what it says of whoever brought it.
        """
        if self.again(digest, seen_by, told_ip or address, ended=ended is not None):
            return
        if token is None and len(self._asked) >= ASKED:
            return
        key = hash((digest, seen_by, told_ip or address, ended is not None))
        came = origin()
        told = None if told_ip is None else normalise(told_ip)
        agent = None if told_user_agent is None else told_user_agent[: usage.TOLD_MAXIMUM]
        place = self._place(_Place(via, seen_by, ended, came.user_agent, agent, *_actor(came)))
        use = _Use(digest if token is None else token.digest, place, came.ip, told)
        if token is None:
            self._strangers.put(key, 0)
            self._asked.append((key, use, came.request_id))
        else:
            self._grouping.begin(key, use, _First(_about_known(token), came.request_id))

    def _place(self, place: _Place) -> _Place:
        """The one that is kept, which all tokens that were used from there share."""
        if len(self._places) >= _PLACES:
            self._places.clear()
        return self._places.setdefault(place, place)

    # -- recording ----------------------------------------------------------------------------------------------------
    async def record(self, *, everything: bool = False, of: Collection[bytes] = ()) -> None:
        """Records first uses and the counts whose interval is over; with `everything` all of them at once.

        `of` names tokens by their digests: then all there is about these is recorded, and nothing else is waited for.
        """
        if everything or of:
            await self._hurry(of)
        else:
            await self._look_up(LOOKED_UP)
        more = True
        while more and (not of or self._grouping.in_a_hurry):
            began = perf_counter()
            # To the end even if the server stops meanwhile: what it took would be told by nobody else.
            more = await asyncio.shield(self._portion())
            if more and not everything and not of:
                # However much there is to tell, half of the time is left to those who wait for an answer.
                await asyncio.sleep(perf_counter() - began)
        async with self._turn:
            # What somebody else was recording is recorded.
            return

    async def _hurry(self, of: Collection[bytes]) -> None:
        while self._asked:
            await self._look_up(len(self._asked))
        wanted = set(of)
        self._grouping.hurry(self._ledger.clock.now(), lambda use: not wanted or use.digest in wanted)

    async def _portion(self) -> bool:
        async with self._turn:
            due, more = self._grouping.take(self._ledger.clock.now(), AT_ONCE)
            await self._tell(due)
            return more

    async def _tell(self, due: Sequence[Due[_Use]]) -> None:
        unknown = [each.thing.digest for each in due if each.first is None]
        try:
            found = await self._ledger.read(_about, unknown) if unknown else {}
        except BaseException:
            # Nothing of it has been told.
            self._grouping.give_back(due)
            raise
        told = []
        for each in due:
            first: _First | None = each.first
            token = found.get(each.thing.digest) if first is None else first.token
            if token is not None:
                request_id = None if first is None else first.request_id
                told.append((each, _command(each, token), each.thing.origin(request_id)))
        await record(self._ledger, self._grouping, told)

    async def _look_up(self, limit: int) -> None:
        """Whether tokens without a row were issued here at all. Of those that were not nothing of ours was used."""
        asked = [self._asked.popleft() for _ in range(min(limit, len(self._asked)))]
        if not asked:
            return
        try:
            found = await self._ledger.read(_about, [use.digest for _, use, _ in asked])
        except BaseException:
            # They are remembered as strangers until they are looked up, so nobody would ask for them again.
            self._asked.extendleft(reversed(asked))
            raise
        for key, use, request_id in asked:
            token = found.get(use.digest)
            if token is not None and key not in self._counts:
                self._grouping.begin(key, use, _First(token, request_id))
                self._counts[key] += self._strangers.pop(key, 0)


def _actor(origin: Origin) -> tuple[str, str | None, tuple[tuple[str, str], ...] | None]:
    actor = origin.actor
    return actor.kind, actor.id, None if actor.credential is None else tuple(actor.credential.items())


def _command(due: Due[_Use], token: uses.Token) -> Single:
    use, place = due.thing, due.thing.place
    how = uses.How(place.via, place.seen_by, use.told_ip, place.told_user_agent, place.ended)
    return uses.of_token(use.digest.hex(), token, how, due.number, due.seconds)


def _about_known(token: Known) -> uses.Token:
    terms = token.terms
    return uses.Token(terms.kind, terms.client_id, token.grant_id, terms.account_id, terms.secret_id)


def _about(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, uses.Token]:
    """What tokens are, by their digests; those that were never issued here are left out, and so are client secrets."""
    return {
        digest: uses.Token(known.kind, known.client_id, known.grant_id, known.account_id, known.secret_id)
        for digest, known in issued.find_all(connection, digests).items()
        if known.kind != "client_secret"
    }
