"""A log of any length, as a platform would have written it in three months: tokens, nearly all expired, and their uses.

Events are encoded by the real mapper, with addresses sealed as the server seals them, and put into the tables of a
migrated database. What is measured on it does not depend on how it got there.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, update

from domain import audit, usage
from domain.event import SECOND, Actor, Event, Moment, Recorded
from domain.grant import CodeIssued, CodeRedeemed, TokenRevoked, TokensIssued, TokensRefreshed
from eventstore.database.engines import migrating
from eventstore.database.schema import upgrade
from eventstore.execution import Origin
from eventstore.mapper import LogMapper, Ring
from eventstore.personal_data import PersonalData
from eventstore.recorder import INSERT
from eventstore.stored import head
from security.clock import DAY
from security.keyring import Keyring
from security.mac import BlindIndex
from security.sealing import Sealer
from security.tokens import new_id, ordered_id
from security.vault import Vault

LASTED = 90 * DAY
"""How long the log took to grow, until now."""

BATCH = 20_000
CLIENTS = 40
PEOPLE = 5_000
OPEN_GRANTS = 2_000
"""Grants that are being refreshed at any time."""

TOKENS_USED = 2 / 3
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SCOPE = "catalog:read orders:write"


class _Grant(NamedTuple):
    stream: str
    client_id: str
    account_id: str | None
    secret_id: str


class _Life:
    """What happens, event by event: (stream, actor, event). Repeatable but for its random digests. With `services` no
    person has anything: clients get tokens for themselves, and nothing else happens."""

    def __init__(self, start: Moment, *, services: bool) -> None:
        self._services = services
        self._chance = random.Random(7)  # noqa: S311 - a made-up history is no secret
        self._clients = [(new_id(), new_id()) for _ in range(CLIENTS)]
        self._people = [new_id() for _ in range(PEOPLE)]
        self._open: list[_Grant] = []
        self._issued: list[tuple[str, str]] = []
        self.now = start

    def __iter__(self) -> Iterator[tuple[str, Actor, Event]]:
        while True:
            chance = self._chance.random()
            if self._services:
                yield from self._for_itself()
            elif chance < 0.06 or not self._open:
                yield from self._authorized()
            elif chance < 0.40:
                yield from self._refreshed()
            elif chance < 0.90:
                yield from self._for_itself()
            elif chance < 0.96:
                yield self._counted()
            elif chance < 0.98 and self._issued:
                yield self._revoked()
            else:
                yield self._audited()

    def _digest(self) -> str:
        return f"{self._chance.getrandbits(256):064x}"

    def _authorized(self) -> Iterator[tuple[str, Actor, Event]]:
        client_id, secret_id = self._chance.choice(self._clients)
        account_id = self._chance.choice(self._people)
        stream, code = f"grant:{ordered_id(self.now)}", self._digest()
        session = new_id()
        person = Actor("person", account_id, {"session_id": session})
        yield (
            stream,
            person,
            CodeIssued(
                client_id=client_id,
                account_id=account_id,
                session_id=session,
                redirect_uri="https://shop.example/callback",
                scope=SCOPE,
                code_challenge=self._digest()[:43],
                code=code,
                lifetime=60,
            ),
        )
        client = Actor("client", client_id, {"secret_id": secret_id})
        yield stream, client, CodeRedeemed()
        yield (
            stream,
            client,
            TokensIssued(
                grant_type="authorization_code",
                client_id=client_id,
                account_id=account_id,
                scope=SCOPE,
                secret_id=secret_id,
                secret_version=1,
                access_token=self._digest(),
                lifetime=600,
                refresh_token=self._digest(),
                refresh_lifetime=2_592_000,
                refresh_ends_in=7_776_000,
                code=code,
            ),
        )
        grant = _Grant(stream, client_id, account_id, secret_id)
        if len(self._open) < OPEN_GRANTS:
            self._open.append(grant)
        else:
            self._open[self._chance.randrange(OPEN_GRANTS)] = grant

    def _refreshed(self) -> Iterator[tuple[str, Actor, Event]]:
        grant = self._chance.choice(self._open)
        actor = Actor("client", grant.client_id, {"secret_id": grant.secret_id})
        event = TokensRefreshed(
            client_id=grant.client_id,
            account_id=grant.account_id,
            scope=SCOPE,
            secret_id=grant.secret_id,
            secret_version=1,
            access_token=self._digest(),
            lifetime=600,
            refresh_token=self._digest(),
            refresh_lifetime=2_592_000,
        )
        yield grant.stream, actor, event
        yield from self._used(grant, event.access_token)

    def _for_itself(self) -> Iterator[tuple[str, Actor, Event]]:
        client_id, secret_id = self._chance.choice(self._clients)
        stream, token = f"grant:{ordered_id(self.now)}", self._digest()
        if len(self._issued) < PEOPLE:
            self._issued.append((stream, token))
        event = TokensIssued(
            grant_type="client_credentials",
            client_id=client_id,
            scope="catalog:read",
            secret_id=secret_id,
            secret_version=1,
            access_token=token,
            lifetime=600,
        )
        yield stream, Actor("client", client_id, {"secret_id": secret_id}), event
        yield from self._used(_Grant(stream, client_id, None, secret_id), token)

    def _used(self, grant: _Grant, token: str) -> Iterator[tuple[str, Actor, Event]]:
        """Two tokens of three are shown to a resource server, which asks about them."""
        if self._chance.random() < TOKENS_USED:
            asking, secret_id = self._clients[0]
            event = usage.TokenFirstSeen(
                kind="access",
                client_id=grant.client_id,
                grant_id=grant.stream.partition(":")[2],
                account_id=grant.account_id,
                secret_id=grant.secret_id,
                via="introspection",
                seen_by=asking,
            )
            yield usage.stream(token), Actor("client", asking, {"secret_id": secret_id}), event

    def _counted(self) -> tuple[str, Actor, Event]:
        client_id, secret_id = self._chance.choice(self._clients)
        event = usage.Seen(
            client_id=client_id, via="introspection", count=self._chance.randrange(1, 500), window_seconds=60
        )
        return usage.stream(secret_id), Actor("client", client_id, {"secret_id": secret_id}), event

    def _revoked(self) -> tuple[str, Actor, Event]:
        stream, token = self._issued.pop()
        event = TokenRevoked(access_token=token, expires_at=self.now + 300 * SECOND, by="client")
        client_id, secret_id = self._chance.choice(self._clients)
        return stream, Actor("client", client_id, {"secret_id": secret_id}), event

    def _audited(self) -> tuple[str, Actor, Event]:
        event = audit.Read(question="events", parameters={"client_id": self._clients[0][0]}, count=50)
        return "audit:made", Actor("person", self._people[0], {"grant_id": "made"}), event


def make(url: str, keyring: Keyring, count: int, now: Moment, *, services: bool = False) -> None:
    """Migrates an empty database and gives it a log of `count` events, the last of them at `now`; with `services` of
    nothing but tokens that clients got for themselves, and their uses."""
    upgrade(url)
    engine = migrating(url)
    vault = Vault(keyring)
    privacy, ring = PersonalData(Sealer(vault), BlindIndex(keyring)), Ring(vault)
    life = _Life(now - LASTED, services=services)
    happening, mapper = iter(life), LogMapper(ring)
    versions: dict[str, int] = {}
    for first in range(1, count + 1, BATCH):
        with engine.begin() as connection:
            ring.settle(connection, first - 1, lambda: now)
            stretch = range(first, min(first + BATCH, count + 1))
            rows = []
            for position in stretch:
                life.now = now - LASTED * (count - position) // count
                rows.append(_row(connection, privacy, mapper, versions, position, life.now, *next(happening)))
            INSERT.run(connection, rows)
            values = {"position": stretch[-1], "time": life.now}
            connection.execute(update(head).where(head.c.id == 1).values(values))
    engine.dispose()


def _row(
    connection: Connection,
    privacy: PersonalData,
    mapper: LogMapper,
    versions: dict[str, int],
    position: int,
    now: Moment,
    stream: str,
    actor: Actor,
    event: Event,
) -> dict[str, object]:
    event_id = new_id()
    versions[stream] = version = versions.get(stream, 0) + 1
    origin = Origin(actor=actor, ip=f"192.0.2.{position % 250}", user_agent=AGENT)
    ip, agent = privacy.seal_origin(connection, origin, event_id, now)
    recorded = Recorded(position, event_id, stream, version, now, actor, ordered_id(now), ip, agent, event)
    stored = mapper.to_stored_event(recorded)
    return {
        "id": position,
        "originator_id": stream,
        "originator_version": version,
        "topic": stored.topic,
        "state": stored.state.decode(),
    }
