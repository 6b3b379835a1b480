"""What happens in a made log: tokens for services, most of them; people's grants and their refreshes; uses and ends."""

import random
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from bench.made.parties import Parties, Party
from domain import usage
from domain.event import SECOND, Actor, Event, Moment
from domain.grant import CodeIssued, CodeRedeemed, TokenRevoked, TokensIssued, TokensRefreshed
from security.clock import DAY
from security.tokens import ordered_id

ACCESS_LIFETIME = 600
IDLE = 30 * 86_400
ABSOLUTE = 90 * 86_400
SCOPE = "catalog:read orders:write"
IDLE_AT_MOST = 25 * DAY
"""Nobody refreshes a grant that was not used for longer."""

OPEN = 2_000
"""Grants of which one may be refreshed next."""

GRANTS, REFRESHES, USES, ENDS = 0.015, 0.03, 0.10, 0.01
"""Shares of what happens; the rest are tokens for services."""


SOON = SECOND // 100
"""How long after the event before it something happens that follows from it at once."""


class Happening(NamedTuple):
    """One event, when and where."""

    time: Moment
    stream: str
    version: int
    actor: Actor
    event: Event


class _Grant:
    __slots__ = ("account_id", "shop", "stream", "used_at", "version")

    def __init__(self, stream: str, shop: Party, account_id: str, used_at: Moment) -> None:
        self.stream = stream
        self.shop = shop
        self.account_id = account_id
        self.version = 3
        self.used_at = used_at


class Lives:
    """An endless history. Set `now` before each `next`; nothing happens earlier than what happened before."""

    def __init__(self, parties: Parties, start: Moment) -> None:
        self.now = start
        self._parties = parties
        self._chance = random.Random(7)  # noqa: S311 - a made-up history is no secret
        self._open: deque[_Grant] = deque(maxlen=OPEN)
        self._time = start
        self._newest: tuple[str, Party, str, Moment] | None = None
        self._seen = ""

    def __iter__(self) -> Iterator[Happening]:
        chance = self._chance.random
        while True:
            drawn = chance()
            if drawn < GRANTS:
                yield from self._authorized()
            elif drawn < GRANTS + REFRESHES and (grant := self._still_used()) is not None:
                yield self._refreshed(grant)
            elif drawn < GRANTS + REFRESHES + USES and self._newest is not None and self._seen != self._newest[2]:
                yield self._used()
            elif drawn > 1 - ENDS and self._newest is not None and self._time + SOON < self._newest[3]:
                yield self._revoked()
            else:
                yield self._issued()

    def _happening(self, stream: str, version: int, actor: Actor, event: Event, *, soon: bool = False) -> Happening:
        self._time = self._time + SOON if soon else max(self.now, self._time)
        return Happening(self._time, stream, version, actor, event)

    def _digest(self) -> str:
        return self._chance.randbytes(32).hex()

    def _issued(self) -> Happening:
        service = self._chance.choice(self._parties.services)
        stream, token = f"grant:{ordered_id(self.now)}", self._digest()
        self._newest = (stream, service, token, max(self.now, self._time) + ACCESS_LIFETIME * SECOND)
        event = TokensIssued(
            grant_type="client_credentials",
            client_id=service.client_id,
            scope=SCOPE,
            secret_id=service.secret_id,
            secret_version=1,
            access_token=token,
            lifetime=ACCESS_LIFETIME,
        )
        return self._happening(stream, 1, _acting(service), event)

    def _authorized(self) -> Iterator[Happening]:
        shop, account_id = self._chance.choice(self._parties.shops), self._chance.choice(self._parties.people)
        stream, code = f"grant:{ordered_id(self.now)}", self._digest()
        issued = CodeIssued(
            client_id=shop.client_id,
            account_id=account_id,
            redirect_uri="https://shop.example/callback",
            scope=SCOPE,
            code_challenge=self._digest()[:43],
            code=code,
            lifetime=60,
        )
        yield self._happening(stream, 1, Actor("person", account_id), issued)
        yield self._happening(stream, 2, _acting(shop), CodeRedeemed(), soon=True)
        tokens = TokensIssued(
            grant_type="authorization_code",
            client_id=shop.client_id,
            account_id=account_id,
            scope=SCOPE,
            secret_id=shop.secret_id,
            secret_version=1,
            access_token=self._digest(),
            lifetime=ACCESS_LIFETIME,
            refresh_token=self._digest(),
            refresh_lifetime=IDLE,
            refresh_ends_in=ABSOLUTE,
            code=code,
        )
        yield self._happening(stream, 3, _acting(shop), tokens, soon=True)
        self._open.append(_Grant(stream, shop, account_id, self.now))

    def _still_used(self) -> _Grant | None:
        while self._open and self.now - self._open[0].used_at > IDLE_AT_MOST:
            self._open.popleft()
        grant = self._chance.choice(self._open) if self._open else None
        return grant if grant is not None and self.now - grant.used_at <= IDLE_AT_MOST else None

    def _refreshed(self, grant: _Grant) -> Happening:
        grant.version, grant.used_at = grant.version + 1, self.now
        event = TokensRefreshed(
            client_id=grant.shop.client_id,
            account_id=grant.account_id,
            scope=SCOPE,
            secret_id=grant.shop.secret_id,
            secret_version=1,
            access_token=self._digest(),
            lifetime=ACCESS_LIFETIME,
            refresh_token=self._digest(),
            refresh_lifetime=IDLE,
        )
        return self._happening(grant.stream, grant.version, _acting(grant.shop), event)

    def _used(self) -> Happening:
        """The first use of the newest token, at another service."""
        assert self._newest is not None
        stream, service, token, _ = self._newest
        asking = self._chance.choice(self._parties.services)
        self._seen = token
        event = usage.TokenFirstSeen(
            kind="access",
            client_id=service.client_id,
            grant_id=stream.partition(":")[2],
            secret_id=service.secret_id,
            via="introspection",
            seen_by=asking.client_id,
        )
        return self._happening(usage.stream(token), 1, _acting(asking), event, soon=True)

    def _revoked(self) -> Happening:
        assert self._newest is not None
        stream, service, token, expires_at = self._newest
        self._newest = None
        event = TokenRevoked(access_token=token, expires_at=expires_at, by="client")
        return self._happening(stream, 2, _acting(service), event, soon=True)


def _acting(party: Party) -> Actor:
    return Actor("client", party.client_id, {"secret_id": party.secret_id})
