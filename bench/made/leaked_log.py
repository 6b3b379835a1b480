"""A secret version with so many live tokens behind it: the log of a busy client, written by the real mapper.

Of a hundred tokens ninety are the client's own, and five pairs belong to people who allowed it something. Events come
as the server would write them, and every read model is brought up to them by its own code.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, update

from domain import account
from domain.event import Actor, Event, Moment, Recorded
from domain.grant import CodeIssued, CodeRedeemed, TokensIssued
from eventstore.appending.rows import Replay
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper, authenticate
from eventstore.projecting.catch_up import CatchUpSubscription, EventIndexing, Sightings
from eventstore.projecting.counting import EventCounting
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.recorder import INSERT
from eventstore.stored import head
from projections import PROJECTIONS
from security.clock import SECOND, SystemClock
from security.keyring import parse_keyring
from security.tokens import digest, new_id, ordered_id

STEP = 10_500
"""Events in one transaction: those of ten thousand tokens."""

OWN, PAIRS = 90, 5
TOKENS_OF_PERSON = 20
ACCESS_LIFETIME = 86_400
REFRESH_LIFETIME = 30 * 86_400
SCOPE = "catalog:read"
AGENT = "shop/2.1"

ADDRESSES_TOLD = 500
"""Events that say from where they were caused, the first ones."""

NOBODY = Origin(Actor("anonymous"))

Say = Callable[[str], None]


class Leaked(NamedTuple):
    """The version whose secret leaks, and the address from where all of it was used; without one hardly any says so."""

    client_id: str
    secret_id: str
    address: str | None = None


class _Writing:
    """Turns events into rows, position by position."""

    def __init__(self, ledger: Ledger, leaked: Leaked, position: int, lifetimes: tuple[int, int]) -> None:
        self._privacy = ledger.privacy
        self._leaked = leaked
        self._position = position
        self._told = position + ADDRESSES_TOLD
        self._mapper = LogMapper(ledger.ring)
        self._lifetimes = lifetimes
        self._people: list[str] = []
        self._number = 0

    def rows(self, connection: Connection, now: Moment, people: int) -> Iterator[dict[str, object]]:
        """The rows of a hundred more tokens."""
        for _ in range(OWN):
            yield from self._happened(connection, now, _new_grant(now), self._alone())
        for _ in range(PAIRS):
            if len(self._people) < max(1, people):
                self._people.append(new_id())
                known = iter([(NOBODY.actor, account.AccountRegistered(realm="platform"))])
                yield from self._happened(connection, now, account.stream(self._people[-1]), known)
            self._number += 1
            allowed = self._allowed(self._people[self._number % len(self._people)])
            yield from self._happened(connection, now, _new_grant(now), allowed)

    def _happened(
        self, connection: Connection, now: Moment, stream: str, happened: Iterator[tuple[Actor, Event]]
    ) -> Iterator[dict[str, object]]:
        for version, (actor, event) in enumerate(happened, 1):
            self._position += 1
            event_id = new_id()
            # To seal an address for each would take longer than everything else, and nothing here goes by them.
            told = (self._position < self._told or self._leaked.address is not None) and actor == self._client
            address = self._leaked.address or f"192.0.2.{self._position % 250}"
            origin = Origin(actor, None, address, AGENT) if told else NOBODY
            ip, agent = self._privacy.seal_origin(connection, origin, event_id, now)
            stored = self._mapper.to_stored_event(
                Recorded(self._position, event_id, stream, version, now, actor, ordered_id(now), ip, agent, event)
            )
            yield {
                "id": self._position,
                "originator_id": stream,
                "originator_version": version,
                "topic": stored.topic,
                "state": stored.state.decode(),
            }

    def _alone(self) -> Iterator[tuple[Actor, Event]]:
        yield self._client, self._issued("client_credentials", None, None)

    def _allowed(self, account_id: str) -> Iterator[tuple[Actor, Event]]:
        code, session_id = _digest(), new_id()
        yield (
            Actor("person", account_id, {"session_id": session_id}),
            CodeIssued(
                client_id=self._leaked.client_id,
                account_id=account_id,
                session_id=session_id,
                redirect_uri="https://shop.example/callback",
                scope=SCOPE,
                code_challenge=_digest()[:43],
                code=code,
                lifetime=60,
            ),
        )
        yield self._client, CodeRedeemed()
        yield self._client, self._issued("authorization_code", account_id, code)

    @property
    def _client(self) -> Actor:
        return Actor("client", self._leaked.client_id, {"secret_id": self._leaked.secret_id})

    def _issued(self, grant_type: str, account_id: str | None, code: str | None) -> TokensIssued:
        return TokensIssued(
            grant_type=grant_type,
            client_id=self._leaked.client_id,
            account_id=account_id,
            scope=SCOPE,
            secret_id=self._leaked.secret_id,
            secret_version=1,
            access_token=_digest(),
            lifetime=self._lifetimes[0],
            refresh_token=None if code is None else _digest(),
            refresh_lifetime=None if code is None else self._lifetimes[1],
            refresh_ends_in=None if code is None else 3 * self._lifetimes[1],
            code=code,
        )


def _new_grant(now: Moment) -> str:
    return f"grant:{ordered_id(now)}"


def _digest() -> str:
    return digest(new_id()).hex()


def write(url: str, master_key: str, leaked: Leaked, tokens: int, seconds: int, say: Say) -> None:
    """Adds the events of so many tokens, issued within the last `seconds`, and brings everything up to them."""
    asyncio.run(_write(url, master_key, leaked, tokens, seconds, say))


async def _write(url: str, master_key: str, leaked: Leaked, tokens: int, seconds: int, say: Say) -> None:
    ledger = await Ledger.open(url, parse_keyring(master_key), SystemClock())
    first, _ = await ledger.head()
    _fill(url, ledger, leaked, (first, tokens, seconds), say)
    await ledger.close()
    # Another one, which has seen nothing of the log as it was before.
    ledger = await Ledger.open(url, parse_keyring(master_key), SystemClock())
    owners, done = StreamOwners(), False
    follower = CatchUpSubscription(ledger, EventIndexing(owners), Sightings(), EventCounting(owners), batch=5_000)
    while not done:
        done = await follower.follow(steps=10)
        say(f"{follower.position:,} of {ledger.changes.position:,} events followed")
    await ledger.close()


def _fill(url: str, ledger: Ledger, leaked: Leaked, what: tuple[int, int, int], say: Say) -> None:
    first, tokens, seconds = what
    engine, now = migrating(url), SystemClock().now()
    authenticate(engine, ledger.vault)
    # Whenever they were issued, all of them live.
    lifetimes = max(ACCESS_LIFETIME, 2 * seconds), max(REFRESH_LIFETIME, 2 * seconds)
    writing, position = _Writing(ledger, leaked, first, lifetimes), first
    replay = Replay(PROJECTIONS, ledger.privacy, lambda statement: statement, now)
    made = 0
    while made < tokens:
        with engine.begin() as connection:
            rows: list[dict[str, object]] = []
            moment = now
            while made < tokens and len(rows) < STEP:
                moment = now - seconds * SECOND * (tokens - made) // tokens
                rows += writing.rows(connection, moment, tokens // OWN * PAIRS // TOKENS_OF_PERSON)
                made += OWN + 2 * PAIRS
            INSERT.run(connection, rows)
            before, position = position, position + len(rows)
            connection.execute(update(head).where(head.c.id == 1).values(position=position, time=moment))
            replay.step(connection, before, position)
        say(f"{made:,} of {tokens:,} tokens")
    engine.dispose()
