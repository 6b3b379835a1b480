"""A whole server in this process over a real database, and the people and clients who use it.

Actors are made by commands on the ledger, so that a scenario depends on no endpoint but the ones it is about.
"""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from msgspec.structs import replace
from sqlalchemy import Connection, select

from api import app as starting
from api import background, monitoring
from api.app import create
from api.config.settings import Settings
from api.environment import load
from api.http import private_keys
from api.http.middleware import Middleware
from api.oauth import person_authentication
from api.pages import recover, register
from api.services import Services
from api.serving import ForOperators
from api.throttling.limits import SECTIONS
from commands import clients, people, permissions
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.event import Actor, Recorded
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from domain.rules.built_in_scope import BUILT_IN
from eventstore.database import threads
from eventstore.execution import Executed, Origin, Step
from eventstore.ledger import Ledger
from eventstore.mapper import decoder
from eventstore.stored import ROW
from eventstore.stored import events as stored_events
from security import jose
from security.clock import ManualClock
from security.keyring import Keyring
from security.tokens import new_id
from tests.scenarios.browser import Browser
from tests.scenarios.lent_keys import lent_key, ready
from tests.scenarios.lent_routes import lent_routes
from tests.started import PATIENCE

SYSTEM = Origin(Actor("system", None, {"user": "tests"}))
ADDRESS = "192.0.2.7"
"""The address of everybody who names no other."""

starting.gc = SimpleNamespace(collect=int, freeze=int, set_threshold=gc.set_threshold)  # type: ignore[attr-defined, assignment]
"""A start goes through all that is in memory, which takes longer than most scenarios."""

jose.make_key = lent_key
private_keys.PrivateKey = ready  # type: ignore[attr-defined, assignment]
"""An RSA key takes longer than most scenarios, too."""

threads.ANSWERS_WITHIN = monitoring.ANSWERS_WITHIN = PATIENCE
"""On a busy machine an answer may take longer than callers are kept waiting, and that is another matter."""

for room in (person_authentication, register, recover):
    vars(room)["REFUSED_AFTER"] = 0.001
"""Whether an answer tells what was recorded by the time that it takes is one scenario's question, and that one asks for
how long a failure waits instead of waiting."""

background.RECORD_EVERY = 3_600.0
"""What is counted is recorded when a scenario says so, so that no fact comes between those that it looks at."""

background.LOGOUTS_EVERY = 3_600.0
"""Likewise, clients are told of ended sessions when a scenario says so."""

background.LETTERS_EVERY = 3_600.0
"""And so is mail to people handed on."""

_take_cookies = httpx.Cookies.extract_cookies


def _take_those_there_are(cookies: httpx.Cookies, answer: httpx.Response) -> None:
    """Looks for cookies in answers that set some: to find none takes longer than anything else that a client does."""
    if "set-cookie" in answer.headers:
        _take_cookies(cookies, answer)


httpx.Cookies.extract_cookies = _take_those_there_are  # type: ignore[method-assign, assignment]

httpx._urls.urlparse = httpx._urlparse.urlparse = lru_cache(4096)(httpx._urlparse.urlparse)  # type: ignore[attr-defined]
"""A client takes each address apart three times, and most are asked for again."""

(Ledger.open.__kwdefaults__ or {})["read_threads"] = 1
"""Each of them makes a connection of its own, and PostgreSQL a process, to answer what one answers as soon."""

SECTIONS.update({name: places // 16 for name, places in SECTIONS.items()})
"""A file for as many callers as any server may have would be made anew for those few of each scenario."""

CHEAP = {"argon2_memory": 1_024, "argon2_time": 2}
"""Less than any installation may ask for. What a password check costs is none of a scenario's business."""

ENABLES_CLIENT = {"caller_scope": ADMINISTRATIVE_SCOPES}
ENABLES_PERSON = {"caller_scope": ADMINISTRATIVE_SCOPES, "role_scopes": dict[str, tuple[str, ...]]()}
"""What `enable` of a client and of a person needs to know of somebody who may do everything."""

PASSWORD = "a long and unguessable password"
REDIRECT_URI = "https://shop.example/callback"


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in. Their e-mail address is `<username>@example.test`."""

    account_id: str
    realm: str
    username: str
    password: str

    @property
    def email(self) -> str:
        return f"{self.username}@example.test"

    @property
    def typed(self) -> dict[str, str]:
        """What they type into a sign-in form."""
        return {"username": self.username, "password": self.password}


@dataclass(frozen=True)
class Client:
    """A registered client; `secret` is None for a public one."""

    client_id: str
    secret: str | None
    redirect_uri: str

    @property
    def auth(self) -> tuple[str, str]:
        """What httpx takes for Basic authentication."""
        assert self.secret is not None
        return self.client_id, self.secret


class World:
    """The server, its clock and its log. `client` is a program on the network that keeps no cookies of anybody's, and
    `operators` one that comes over the listener for those who look after the server."""

    def __init__(
        self, app: Middleware, settings: Settings, clock: ManualClock, services: Services | None = None
    ) -> None:
        self.app = app
        self.settings = settings
        self.clock = clock
        self.services: Services = services or app.app.state.services  # type: ignore[attr-defined]
        self._opened: list[httpx.AsyncClient] = []
        self.client = self.caller()
        self.operators = self._open(ForOperators(app), ADDRESS)

    def caller(self, address: str = ADDRESS, **given: Any) -> httpx.AsyncClient:
        """One more program, at an address of its own, which follows no redirects; cookies are kept."""
        return self._open(self.app, address, **given)

    def _open(self, app: Any, address: str, **given: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=app, client=(address, 50_000))
        opened = httpx.AsyncClient(transport=transport, base_url=self.settings.issuer, **given)
        self._opened.append(opened)
        return opened

    def browser(self, address: str = ADDRESS) -> Browser:
        """One more browser, signed in nowhere."""
        return Browser(self.caller(address))

    async def close(self) -> None:
        for opened in self._opened:
            await opened.aclose()

    # -- facts --------------------------------------------------------------------------------------------------------
    async def execute(self, *commands: Step, origin: Origin = SYSTEM, **given: Any) -> Executed[Any]:
        """Executes commands that must be accepted."""
        executed = await self.services.ledger.execute(*commands, origin=origin, **given)
        assert executed.refusal is None, executed.refusal
        return executed

    async def events(
        self, type: str | None = None, *, stream: str | None = None, after: int = 0
    ) -> tuple[Recorded, ...]:
        """What is in the log now, personal values sealed. `type` may end in `.*`; `after` is a position."""
        found = await self.services.ledger.read(_log, after)
        if type is not None:
            wanted = type.removesuffix("*")
            found = tuple(
                each for each in found if each.type == type or (wanted != type and each.type.startswith(wanted))
            )
        return tuple(each for each in found if stream is None or each.stream == stream)

    async def head(self) -> int:
        """The newest position, to tell later what has been committed since."""
        position, _ = await self.services.ledger.head()
        return position

    async def types_after(self, position: int) -> list[str]:
        """The types of the events committed since."""
        return [each.type for each in await self.events(after=position)]

    # -- actors -------------------------------------------------------------------------------------------------------
    async def define_scopes(self, *names: str) -> None:
        """Scopes, each with the description `May <name>`; those that are built in are there."""
        for name in names:
            if name in BUILT_IN:
                continue
            await self.execute(permissions.put_scope(name, f"May {name}", by=operator))

    async def define_role(self, realm: str, name: str, *allowed: str, default: bool = False) -> None:
        """A role and the scopes that it names."""
        await self.define_scopes(*allowed)
        await self.execute(permissions.put_role(realm, name, scopes_allowed=allowed, default=default, by=operator))

    async def register_person(
        self,
        username: str = "paul",
        *,
        realm: str = "platform",
        roles_of: Sequence[str] = (),
        password: str = PASSWORD,
        **attributes: Any,
    ) -> Person:
        """A person with these roles, or their realm's default ones. Further attributes as `claims`."""
        account_id = new_id()
        person = people.PersonRegistration(
            realm=realm,
            username=username,
            email=f"{username}@example.test",
            password_hash=await self.services.hasher.hash(password),
            roles=tuple(roles_of) or None,
            **attributes,
        )
        await self.execute(people.register(account_id, person, privacy=self.services.ledger.privacy, by=operator))
        return Person(account_id, realm, username, password)

    async def register_client(
        self,
        name: str = "Shop",
        *,
        grant_types: Sequence[str] = ("authorization_code", "refresh_token"),
        redirect_uris: Sequence[str] | None = None,
        scope: Sequence[str] = ("orders", "catalog:read"),
        public: bool = False,
        client_id: str | None = None,
        **attributes: Any,
    ) -> Client:
        """A client; its scopes are defined if need be. Further attributes by their RFC 7591 names. One with a
        `client_id` came from elsewhere."""
        await self.define_scopes(*scope)
        if redirect_uris is None:
            redirect_uris = (REDIRECT_URI,) if "authorization_code" in grant_types else ()
        client_id = client_id or new_id()
        secret, made = (None, None) if public else clients.mint_secret(self.services.format)
        asked = client.Attributes(
            client_name=name,
            grant_types=tuple(grant_types),
            redirect_uris=tuple(redirect_uris),
            scope=tuple(scope),
            token_endpoint_auth_method="none" if public else "client_secret_basic",
            **attributes,
        )
        registration = Registration(attributes=asked, secret=made)
        await self.execute(clients.register(client_id, registration, issuer=self.settings.issuer, by=operator))
        raw = None if secret is None else secret.reveal()
        return Client(client_id, raw, redirect_uris[0] if redirect_uris else "")

    def changing(self, client_id: str, changes: client.Attributes) -> Step:
        """The command that changes a client."""
        privacy, issuer = self.services.ledger.privacy, self.settings.issuer
        return clients.update(client_id, changes, privacy=privacy, issuer=issuer, by=operator)

    async def token(self, *scopes: str) -> str:
        """An access token with these scopes, of a service client made for it (`client_credentials`)."""
        service = await self.register_client("Service", grant_types=("client_credentials",), scope=scopes)
        answer = await self.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
        assert answer.status_code == 200, answer.text
        raw: str = answer.json()["access_token"]
        return raw


def _log(connection: Connection, after: int) -> tuple[Recorded, ...]:
    query = select(*ROW).where(stored_events.c.id > after).order_by(stored_events.c.id)
    return tuple(map(decoder(connection).recorded, connection.execute(query)))


@asynccontextmanager
async def open_world(
    database_url: str, data_dir: Path, keyring: Keyring, clock: ManualClock | None = None, **given: Any
) -> AsyncIterator[World]:
    """A running server. `given` are settings; the clock stands still until it is moved."""
    clock = clock or ManualClock()
    settings = load(
        {},
        None,
        **{"environment": "demo", "data_dir": data_dir, "database_url": database_url, "log_requests": False} | given,
    )
    if not any(name.startswith("argon2") for name in given):
        settings = replace(settings, **CHEAP)
    with lent_routes(settings) as inner:
        app = create(settings, lambda: keyring, clock, inner)
        async with inner.lifespan():
            world = World(app, settings, clock)
            try:
                yield world
            finally:
                await world.close()
