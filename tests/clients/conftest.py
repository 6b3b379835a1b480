"""A served process, the parties to a flow, and a person with a browser who says yes."""

from dataclasses import dataclass
from urllib.parse import urljoin

import httpx
import pytest

from tests import plain_http
from tests.processes.conftest import Served, Start, issuer, master_key, start, world
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN
from tests.scenarios.browser import Browser
from tests.scenarios.world import Client, Person, World

__all__ = ["issuer", "master_key", "start", "world"]

CALLBACK = "http://127.0.0.1:9400/callback"
SCOPE = ("orders", "catalog:read")
OPENID = ("openid", "email", "profile", "offline_access")
RESOURCES = ("https://catalog.example/api", "https://prints.example/api")
GRANTS = ("authorization_code", "refresh_token", "client_credentials")


@dataclass(frozen=True)
class Stage:
    """What client programs are told when they are registered, and the person who will be asked.

    `client` and `public` have scopes of the installation, `shop` signs people in.
    """

    issuer: str
    client: Client
    public: Client
    shop: Client
    person: Person

    async def approve(self, address: str, callback: str = CALLBACK) -> str:
        """Opens the address that a client leads to, signs in, approves; where the browser is sent then."""
        async with plain_http.caller(self.issuer) as connection:
            browser = Browser(connection)
            page = await browser.open(address)
            page = await browser.press(page, SIGN_IN, username=self.person.username, password=self.person.password)
            page = await browser.press(page, CONSENT, APPROVE)
            assert page.location.startswith(f"{callback}?")
            return page.location

    async def visit(self, address: str, callback: str) -> httpx.Response:
        """What a browser is shown at last that opens a page behind a program which wants to know who comes."""
        async with plain_http.caller() as browser:
            sent = await browser.get(address)
            assert sent.is_redirect, sent.text
            sent = await browser.get(await self.approve(sent.headers["location"], callback))
            assert sent.is_redirect, sent.text
            return await browser.get(urljoin(address, sent.headers["location"]))

    async def is_active(self, token: str) -> bool:
        """What the server says of a token to the client that got it."""
        async with plain_http.caller(self.issuer) as connection:
            answer = await connection.post("/oauth/introspect", data={"token": token}, auth=self.client.auth)
            active: bool = answer.json()["active"]
            return active


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database: a client on the network cannot tell which it is, and a start takes its time."""
    return sqlite_url


@pytest.fixture
def settings() -> dict[str, str]:
    """What the server is told beside the usual, by the settings' names."""
    return {}


@pytest.fixture
async def stage(world: World, start: Start, settings: dict[str, str]) -> Stage:  # noqa: F811 - fixtures from elsewhere
    await world.define_role("platform", "customer", *SCOPE, default=True)
    person = await world.register_person("paula", claims={"email_verified": True})
    client = await world.register_client(
        grant_types=GRANTS, redirect_uris=(CALLBACK,), scope=SCOPE, resources=RESOURCES
    )
    public = await world.register_client(
        "Desktop", grant_types=GRANTS[:2], redirect_uris=(CALLBACK,), scope=SCOPE, public=True
    )
    shop = await world.register_client("Shop", redirect_uris=(CALLBACK,), scope=OPENID)
    served: Served = await start(**settings)
    return Stage(served.base, client, public, shop, person)
