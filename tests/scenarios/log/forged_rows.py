"""Somebody who may write to the database, and what the server decides about everybody after they did."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Table, Text, insert, select, update
from sqlalchemy.exc import DBAPIError

from api.services import SYSTEM
from commands import clients
from commands.clients import rotate_due
from commands.permissions import operator
from domain import client_secret, session
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from security.tokens import digest
from tests.any_command import any_command
from tests.scenarios.asking import CONSENT, SIGN_IN, Scene, set_scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard
from tests.scenarios.world import Client, World

FOREIGN = "https://evil.example"
RETIRED = "orders:retired"
DAY = 86_400

Decisions = dict[str, Any]


class Cast:
    """People and clients with something of each kind, alive and dead, and the secrets to ask about it with."""

    def __init__(self, scene: Scene, service: Client, dashboard: Dashboard, asking: Client) -> None:
        self.scene = scene
        self.service = service
        self.dashboard = dashboard
        self.asking = asking
        self.tokens: dict[str, str] = {}
        self.dead_secret = ""
        self.browsers: dict[str, dict[str, str]] = {}


async def cast(world: World) -> Cast:
    """Everybody, with at least one thing of theirs that has ended."""
    scene = await set_scene(world)
    await world.define_role("administration", "administrator", "people:write", default=True)
    await world.define_role("platform", "other", "billing")
    await world.register_person("ada", realm="administration")
    service = await world.register_client("Service", grant_types=("client_credentials",), scope=("orders",))
    asking = await world.register_client("Asking")
    made = Cast(scene, service, await make_dashboard(world), asking)
    world.services.dashboard_secrets  # noqa: B018 - is there once the app has started
    browser = await scene.signed_in()
    made.browsers["live"] = browser.cookies
    first = await scene.redeem(await scene.approved(browser))
    again = await _refreshed(world, scene.shop, first["refresh_token"])
    second = await scene.redeem(await browser.open(scene.address()))
    made.tokens = {
        "access": again["access_token"],
        "refresh": again["refresh_token"],
        "rotated": first["refresh_token"],
        "revoked": second["access_token"],
        "service": await _own(world, service),
    }
    await world.client.post("/oauth/revoke", data={"token": second["access_token"]}, auth=scene.shop.auth)
    ended = await scene.signed_in()
    made.browsers["ended"] = ended.cookies
    started = (await world.events("session.started"))[-1]
    await world.execute(any_command(started.stream, session.end, {"reason": "signed_out"}))
    made.dead_secret = await _rotated(world, service)
    policy = {"maximum_age": 90 * DAY, "overlap": DAY, "warning": 14 * DAY}
    await world.execute(any_command(made.dashboard.stream, client_secret.set_policy, policy))
    return made


async def _refreshed(world: World, owner: Client, raw: str) -> dict[str, Any]:
    data = {"grant_type": "refresh_token", "refresh_token": raw}
    found: dict[str, Any] = (await world.client.post("/oauth/token", data=data, auth=owner.auth)).json()
    return found


async def _own(world: World, owner: Client) -> str:
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=owner.auth)
    raw: str = answer.json()["access_token"]
    return raw


async def _rotated(world: World, owner: Client) -> str:
    """A secret version that was made and revoked."""
    secret, new = clients.mint_secret(world.services.format)
    await world.execute(clients.rotate_secret(owner.client_id, new, by=operator))
    await world.execute(clients.revoke_secret(owner.client_id, new.secret_id))
    return secret.reveal()


# What the server decides ----------------------------------------------------------------------------------------------


async def decisions(world: World, on: Cast) -> Decisions:
    """What it decides about everybody, by what is decided. `REFUSED` says what nobody gains by."""
    found: Decisions = {}
    # At an address of its own each time: nobody is to be slowed down for what was refused before.
    caller = world.caller(_address())
    for name, raw in on.tokens.items():
        owner = on.service if name == "service" else on.scene.shop
        answer = await caller.post("/oauth/introspect", data={"token": raw}, auth=owner.auth)
        found[f"token {name}"] = answer.json()
    for name, secret in (("right", on.service.secret), ("dead", on.dead_secret)):
        auth = (on.service.client_id, secret or "")
        answer = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
        found[f"secret {name}"] = (answer.status_code, answer.json().get("scope"))
    for name, cookies in on.browsers.items():
        found[f"session {name}"] = await _who(_browser(world, cookies))
    browser = _browser(world, on.browsers["live"])
    found["consent given"] = _outcome(await browser.open(on.scene.address()))
    found["consent asked"] = _outcome(await browser.open(on.scene.address(on.asking)))
    found["redirect"] = (await browser.open(on.scene.address(redirect_uri=FOREIGN))).status
    login = await on.dashboard.login(on.scene.person, by=caller)
    found["sign-in"] = (login.status_code, login.json().get("scope"))
    foreign = await on.dashboard.login(on.scene.person, by=caller, origin=FOREIGN)
    found["foreign page"] = foreign.status_code
    preflight = {"origin": FOREIGN, "access-control-request-method": "POST"}
    answer = await caller.options("/oauth/token", headers=preflight)
    found["preflight"] = answer.headers.get("access-control-allow-origin")
    before = await world.head()
    await rotate_due(world.services.ledger, world.services.format, Origin(SYSTEM))
    found["rotation"] = await world.types_after(before)
    return found


def _address() -> str:
    number = next(_addresses)
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


_addresses = count(1)

REFUSED: Decisions = {
    "token": {"active": False},
    "session": None,
    "consent": "sign in",
    "sign-in": (401, None),
    "foreign": 404,
}
"""What is decided where a row leads nowhere, by the first word of what is asked."""


def refusals(found: Decisions) -> Iterator[str]:
    """Of what may be decided otherwise, because the way to it is gone, what was."""
    for name, value in found.items():
        if value == REFUSED.get(name.partition(" ")[0], ...) or (name == "sign-in" and value[0] in (401, 404)):
            yield name


def _browser(world: World, cookies: dict[str, str]) -> Browser:
    browser = world.browser()
    for name, value in cookies.items():
        browser.client.cookies.set(name, value, domain="127.0.0.1")
    return browser


async def _who(browser: Browser) -> str | None:
    page = await browser.open("/account/grants?realm=platform")
    # As the page shows a name: three letters alone stand in a form's random values now and then.
    return next((name for name in ("paul", "ada") if f"<bdi>{name}</bdi>" in page.text), None)


def _outcome(page: Page) -> Any:
    if page.status == 303:
        return "code" if "code" in page.parameters else page.parameters
    paths = {form.action.partition("?")[0] for form in page.forms}
    if SIGN_IN in paths:
        return "sign in"
    return ("asked", "May orders" in page.text, "evil.example" in page.text) if CONSENT in paths else page.status


# Who may write to the database ----------------------------------------------------------------------------------------


@contextmanager
def intruding(url: str) -> Iterator[Connection]:
    """A connection of the role that owns the tables; what it did is undone at the end."""
    engine = migrating(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


class Spoilt:
    """The rows of a table as they were, to be put back."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self.rows = [dict(row._mapping) for row in connection.execute(select(table))]

    def spoil(self, column: Column[Any], value: Any) -> bool:
        """Every row gets this value in this column; whether the database took it anywhere."""
        keys = [each for each in self._table.primary_key.columns]
        taken = False
        for row in self.rows:
            if row[column.name] == value:
                continue
            try:
                with self._connection.begin_nested():
                    where = [key == row[key.name] for key in keys]
                    self._connection.execute(update(self._table).where(*where).values({column.name: value}))
                    taken = True
            except DBAPIError:
                # Unique, and another row has it by now.
                continue
        self._connection.commit()
        return taken

    def restore(self) -> None:
        self._connection.execute(self._table.delete())
        if self.rows:
            self._connection.execute(insert(self._table), self.rows)
        self._connection.commit()


def hostile(column: Column[Any], rows: list[dict[str, Any]]) -> Iterator[Any]:
    """What somebody might write there: what stands in other rows, nothing, too little, too much, what suits them."""
    yield from {row[column.name] for row in rows}
    if column.nullable:
        yield None
    if isinstance(column.type, Text):
        yield from ("enabled", "disabled", "deleted", "platform", "none", f'["{FOREIGN}","billing","other"]', "")
    elif isinstance(column.type, LargeBinary):
        yield secrets.token_bytes(32)
    elif column.type.python_type is bool:
        yield from (True, False)
    else:
        yield from (0, 1, 2**31 - 1)


def forget(world: World) -> None:
    """What the process remembers is gone, as in one that has just begun."""
    ledger = world.services.ledger
    for kept in (ledger._states._kept, ledger.validation._kept, ledger.validation._absent, ledger.validation._places):
        kept.clear()
    world.services.credentials._kept.clear()


def sha256(raw: str) -> bytes:
    """The digest of a secret."""
    return digest(raw)
