"""Counts facts that repeat: each thing's first at once, what follows as one count for each window of time."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar, get_args

import msgspec

from api.http.request_context import normalise
from api.throttling import limits
from commands import counted
from domain import usage
from domain.event import SECOND, Actor, Moment
from domain.grants.validity import TokenKind
from eventstore import issued
from eventstore.appending.aftermath import may_be_repeated
from eventstore.database import Connection
from eventstore.execution import Origin, Single
from eventstore.ledger import Ledger
from eventstore.validation import Known
from security.lru import Lru

# Facts that repeat, grouped: each thing's first fact at once, what follows as one count for each interval.

Thing = TypeVar("Thing")

LOOKED_AT = 2_000
"""Things that one call looks at: nobody waits long for it."""


class DueCount(NamedTuple, Generic[Thing]):
    """What is to be told: a thing's first fact, for which `seconds` is 0, or `number` more within so many seconds."""

    key: int
    thing: Thing
    number: int
    seconds: int
    first: Any = None
    """What was said of the first fact when it began."""


class _Bucket(Generic[Thing]):
    """Things whose interval began at the same moment; they are looked at when it is over."""

    __slots__ = ("keys", "look_at", "since", "things")

    def __init__(self, since: Moment, look_at: Moment) -> None:
        self.since = since
        self.look_at = look_at
        self.keys: list[int] = []
        self.things: list[Thing] = []

    def put(self, key: int, thing: Thing) -> None:
        self.keys.append(key)
        self.things.append(thing)


class Grouping(Generic[Thing]):
    """Counts by key: at most `kept` things, beyond which the oldest count as new again. A thing that was not counted
    for an interval is forgotten once `forget` have passed since it was told last. Times in seconds."""

    def __init__(self, interval: int, forget: int, kept: int) -> None:
        self._interval = interval * SECOND
        self._forget = forget * SECOND
        self._kept = kept
        self.counts: dict[int, int] = {}
        """Further facts by key, to be looked up and added to: a key that is not there has to `begin`."""
        self._new: deque[tuple[int, Thing, Any]] = deque()
        self._early: deque[DueCount[Thing]] = deque()
        """What is told before its time."""
        self._buckets: deque[_Bucket[Thing]] = deque()

    def begin(self, key: int, thing: Thing, first: Any = None) -> None:
        """The first fact of a thing; `first` is kept until it is told."""
        if len(self.counts) >= self._kept:
            self._make_room()
        self.counts[key] = 0
        self._new.append((key, thing, first))

    def _make_room(self) -> None:
        while self._buckets and not self._buckets[0].keys:
            self._buckets.popleft()
        if not self._buckets:
            # So many new ones that none of them has been told yet: the oldest is lost.
            self.counts.pop(self._new.popleft()[0], None)
            return
        bucket = self._buckets[0]
        key, thing = bucket.keys.pop(), bucket.things.pop()
        number = self.counts.pop(key, 0)
        if number and len(self._early) < self._kept:
            self._early.append(DueCount(key, thing, number, _seconds(bucket.since, bucket.look_at)))

    def hurry(self, now: Moment, wanted: Callable[[Thing], bool] = lambda thing: True) -> None:
        """What is wanted is to be told next, whether its interval is over or not."""
        new, self._new = self._new, deque()
        for key, thing, first in new:
            if wanted(thing):
                self._early.append(self._first(key, thing, first, now))
            else:
                self._new.append((key, thing, first))
        for bucket in list(self._buckets):
            keys, things = bucket.keys, bucket.things
            bucket.keys, bucket.things = [], []
            for key, thing in zip(keys, things, strict=True):
                if self.counts[key] and wanted(thing):
                    self._early.append(self._more(key, thing, bucket.since, now))
                else:
                    bucket.put(key, thing)

    @property
    def in_a_hurry(self) -> bool:
        """Whether something is to be told before its time."""
        return bool(self._early)

    def take(self, now: Moment, limit: int) -> tuple[list[DueCount[Thing]], bool]:
        """At most `limit` of what is to be told now, and whether there is more to look at."""
        due: list[DueCount[Thing]] = []
        while self._early and len(due) < limit:
            due.append(self._early.popleft())
        while self._new and len(due) < limit:
            due.append(self._first(*self._new.popleft(), now))
        looked = 0
        while self._buckets and self._buckets[0].look_at <= now and len(due) < limit and looked < LOOKED_AT:
            looked += self._look(self._buckets[0], now, due, limit, LOOKED_AT - looked)
            if not self._buckets[0].keys:
                self._buckets.popleft()
        return due, bool(self._early or self._new or (self._buckets and self._buckets[0].look_at <= now))

    def _look(self, bucket: _Bucket[Thing], now: Moment, due: list[DueCount[Thing]], limit: int, at_most: int) -> int:
        looked, old = 0, now - bucket.since >= self._forget
        idle: _Bucket[Thing] = _Bucket(bucket.since, now + self._interval)
        while bucket.keys and looked < at_most and len(due) < limit:
            looked += 1
            key, thing = bucket.keys.pop(), bucket.things.pop()
            if self.counts[key]:
                due.append(self._more(key, thing, bucket.since, now))
            elif old:
                del self.counts[key]
            else:
                idle.put(key, thing)
        if idle.keys:
            self._buckets.append(idle)
        return looked

    def give_back(self, due: Iterable[DueCount[Thing]]) -> None:
        """What could not be told is told next."""
        self._early.extendleft(reversed(list(due)))

    def _first(self, key: int, thing: Thing, first: Any, now: Moment) -> DueCount[Thing]:
        self._begin_interval(key, thing, now)
        return DueCount(key, thing, 1, 0, first)

    def _more(self, key: int, thing: Thing, since: Moment, now: Moment) -> DueCount[Thing]:
        number, self.counts[key] = self.counts[key], 0
        self._begin_interval(key, thing, now)
        return DueCount(key, thing, number, _seconds(since, now))

    def _begin_interval(self, key: int, thing: Thing, now: Moment) -> None:
        if not self._buckets or self._buckets[-1].since != now:
            self._buckets.append(_Bucket(now, now + self._interval))
        self._buckets[-1].put(key, thing)


def _seconds(since: Moment, now: Moment) -> int:
    return max(1, (now - since) // SECOND)


async def record(
    ledger: Ledger, grouping: Grouping[Thing], told: Sequence[tuple[DueCount[Thing], Single, Origin]]
) -> None:
    """Records what is due. Gives back what could not be recorded, and only that, and raises the first error then."""
    errors = await ledger.execute_each([(command, origin) for _, command, origin in told])
    # What may have been committed, because the database went meanwhile, is not told again, as the ledger does nothing
    # again that may have been done: a use may be missing then, but the log never tells of one that was not made.
    grouping.give_back(due for (due, _, _), error in zip(told, errors, strict=True) if may_be_repeated(error))
    for error in errors:
        if error is not None:
            raise error


# Uses of client secrets that issue no token (introspection, revocation), recorded as grouped facts.

SECRETS_KEPT = 20_000
"""Pairs of secret version and address that are told apart at a time. Beyond it the oldest counts as new again."""

AT_ONCE = 64
"""Facts that are recorded together."""


class _Use(NamedTuple):
    client_id: str
    secret_id: str
    via: usage.Via
    origin: Origin


class SecretUses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int, window_seconds: int) -> None:
        self._ledger = ledger
        self._grouping: Grouping[_Use] = Grouping(interval_seconds, window_seconds, SECRETS_KEPT)
        self._counts = self._grouping.counts

    def again(self, secret_id: str, via: usage.Via, address: str | None) -> bool:
        """One use, now, if there was one from that address lately; otherwise False, and it has to be noted."""
        try:
            self._counts[hash((secret_id, via, address))] += 1
        except KeyError:
            return False
        return True

    def note(self, client_id: str, secret_id: str, via: usage.Via, origin: Origin) -> None:
        """One use, now."""
        if not self.again(secret_id, via, origin.ip):
            self._grouping.begin(hash((secret_id, via, origin.ip)), _Use(client_id, secret_id, via, origin))

    async def record(self, *, everything: bool = False) -> None:
        """Records first uses, and the counts whose interval is over; with `everything` all of them."""
        now = self._ledger.clock.now()
        if everything:
            self._grouping.hurry(now)
        more = True
        while more:
            due, more = self._grouping.take(now, AT_ONCE)
            told = []
            for each in due:
                use = each.thing
                command = counted.use_of_secret(use.secret_id, use.client_id, use.via, each.number, each.seconds)
                told.append((each, command, use.origin))
            await record(self._ledger, self._grouping, told)


# Uses of tokens: at resource servers, which ask about them, and at this server's own API. Recorded as grouped facts.

TOKENS_KEPT = 200_000
"""Token and address together that are told apart at a time. Beyond it the oldest counts as new again."""


TOKENS = frozenset(get_args(TokenKind))
"""The kinds of secrets that have rows as long as they live."""

STRANGERS = 20_000
"""Well-formed tokens without a row that are remembered, so that each is looked up once."""

ASKED = 2_000
"""Of these, those that wait to be looked up. Anyone who invents more of them in half a second is not told apart."""

LOOKED_UP = 200
"""Of these, those that are looked up each time that something is recorded."""

_PLACES = 10_000


class _UseKind(NamedTuple):
    """How a token was used, and by whom. Few are alike in everything but their addresses."""

    via: usage.TokenVia
    seen_by: str | None
    ended: str | None
    unproved: bool
    user_agent: str | None
    told_user_agent: str | None
    actor_kind: Any
    actor_id: str | None
    credential: tuple[tuple[str, str], ...] | None


class _TokenUse(msgspec.Struct, frozen=True, gc=False):
    """All that is kept of a token and a place; the rest is looked up when it is told."""

    digest: bytes
    place: _UseKind
    ip: str | None
    told_ip: str | None

    def origin(self, request_id: str | None) -> Origin:
        """Who brought it, as the event says it. Further uses are of many requests."""
        place = self.place
        credential = None if place.credential is None else dict(place.credential)
        return Origin(Actor(place.actor_kind, place.actor_id, credential), request_id, self.ip, place.user_agent)


class _First(NamedTuple):
    """What is known of a token when it is used first, until that is told."""

    token: counted.UsedToken
    request_id: str | None


_ENDING = 2
"""Of an address so many last characters are told apart."""


def _key_of_use(digest: bytes, seen_by: str | None, address: str | None, ended: bool, unproved: bool) -> int:
    """Names the uses that are counted together."""
    # A line has more addresses than a log has room for. Those that end alike are told as one, which neighbours hardly
    # do: a token is found, and contained, by the address from which it was used. Who brings a dead token here, or one
    # without its key, has proved nothing, and there all of a line are told as one.
    ending = "" if address is None or (seen_by is None and (ended or unproved)) else address[-_ENDING:]
    return hash((digest, seen_by, limits.group(address), ending, ended, unproved))


class TokenUses:
    """Gathers uses and records them when `record` is called."""

    def __init__(self, ledger: Ledger, interval_seconds: int) -> None:
        self._ledger = ledger
        self._grouping: Grouping[_TokenUse] = Grouping(interval_seconds, interval_seconds, TOKENS_KEPT)
        self._counts = self._grouping.counts
        self._places: dict[_UseKind, _UseKind] = {}
        self._strangers: Lru[int, int] = Lru(STRANGERS)
        self._asked: deque[tuple[int, _TokenUse, str | None]] = deque()
        self._turn = asyncio.Lock()

    def again(
        self, digest: bytes, seen_by: str | None, address: str | None, *, ended: bool, unproved: bool = False
    ) -> bool:
        """Counts a use like an earlier one; False when there was none. `address` is whom the resource server told, or
        the caller."""
        key = _key_of_use(digest, seen_by, address, ended, unproved)
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
        unproved: bool = False,
    ) -> None:
        """One use, now, at the caller's `address`, about whom `origin` says the rest. `token` is None for one without a
        row; `seen_by` is the client that asked, and `told_…` what it says of the one who brought the token."""
        if self.again(digest, seen_by, told_ip or address, ended=ended is not None, unproved=unproved):
            return
        if token is None and len(self._asked) >= ASKED:
            return
        key = _key_of_use(digest, seen_by, told_ip or address, ended is not None, unproved)
        came = origin()
        told = None if told_ip is None else normalise(told_ip)
        agent = None if told_user_agent is None else told_user_agent[: usage.TOLD_MAXIMUM]
        place = self._place(_UseKind(via, seen_by, ended, unproved, came.user_agent, agent, *_actor(came)))
        use = _TokenUse(digest if token is None else token.digest, place, came.ip, told)
        if token is None:
            self._strangers.put(key, 0)
            self._asked.append((key, use, came.request_id))
        else:
            self._grouping.begin(key, use, _First(_about_known(token), came.request_id))

    def _place(self, place: _UseKind) -> _UseKind:
        """The one that is kept, which all tokens that were used from there share."""
        if len(self._places) >= _PLACES:
            self._places.clear()
        return self._places.setdefault(place, place)

    async def record(self, *, everything: bool = False, of: Collection[bytes] = ()) -> None:
        """Records first uses and the counts whose interval is over; with `everything` all of them at once. With `of`,
        digests of tokens, all there is about these, and nothing else is waited for."""
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

    async def _tell(self, due: Sequence[DueCount[_TokenUse]]) -> None:
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
                use, place = each.thing, each.thing.place
                how = counted.How(
                    place.via, place.seen_by, use.told_ip, place.told_user_agent, place.ended, place.unproved
                )
                command = counted.use_of_token(use.digest.hex(), token, how, each.number, each.seconds)
                told.append((each, command, use.origin(request_id)))
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


def _about_known(token: Known) -> counted.UsedToken:
    terms = token.terms
    return counted.UsedToken(terms.kind, terms.client_id, token.grant_id, terms.account_id, terms.secret_id)


def _about(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, counted.UsedToken]:
    """What tokens are, by their digests; those that were never issued here are left out, and so is what is no token,
    such as a session, which may live without a row of one, and what had ended and stands in a segment that is away:
    that must not keep the uses of others from being told."""
    found, _ = issued.find_each(connection, digests)
    return {
        digest: counted.UsedToken(known.kind, known.client_id, known.grant_id, known.account_id, known.secret_id)
        for digest, known in found.items()
        if known.kind in TOKENS
    }
