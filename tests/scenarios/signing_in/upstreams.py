"""Another Grantlog as the OpenID provider at which people of this one sign in."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api.http.outgoing_requests import FetchedResponse, NoAnswer
from security.keyring import Keyring
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.asking import SIGN_IN as AUTHORIZE_SIGN_IN
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import Client, Person, World, open_world

CORP = "http://127.0.0.1:8499"
CALLBACK = "/account/upstream/platform/corp"
ONE = "/admin/realms/platform/upstreams/corp"
GIVEN_NAME = "given@example.test"


@dataclass
class Provider:
    """The other server, as this one reaches it. `answers` replaces what an address there says, None
    where it says nothing."""

    home: World
    world: World
    client: Client
    person: Person
    asked: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, bytes | None] = field(default_factory=dict)

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", largest: int | None = 0
    ) -> FetchedResponse:
        """Brings a request of this server's there."""
        parts = urlsplit(url)
        self.asked.append((method, parts.path))
        if not url.startswith(CORP + "/"):
            raise NoAnswer("ConnectError")
        if parts.path in self.answers:
            said = self.answers[parts.path]
            if said is None:
                raise NoAnswer("ReadTimeout")
            return FetchedResponse(200, {}, said)
        answer = await self.world.client.request(method, url, headers=dict(headers), content=content)
        return FetchedResponse(answer.status_code, dict(answer.headers), answer.content)

    async def configure(self, **changes: Any) -> Any:
        """Has people of the platform sign in there."""
        admin = await administering(self.home)
        terms = {
            "issuer": CORP,
            "client_id": self.client.client_id,
            "client_secret": self.client.secret,
            "title": "Corp",
        }
        return ok(await admin.put(ONE, json=terms | changes), 201)

    async def leave(self, browser: Browser, page: Page, path: str) -> str:
        """Presses the provider's button; where the browser is sent then."""
        (form,) = [each for each in page.forms if ("upstream", "corp") in each.buttons]
        assert urlsplit(form.action).path == path
        left = await browser.submit(form, ("upstream", "corp"))
        assert left.status == 200, left.text
        refresh: str = left.answer.headers["refresh"]
        return refresh.partition("url=")[2]

    async def sign_in(self, url: str, person: Person | None = None) -> str:
        """Signs in there; where the browser is sent back to."""
        browser, who = self.world.browser(), person or self.person
        page = await browser.press(await browser.open(url), AUTHORIZE_SIGN_IN, **who.typed)
        # What they allowed before is remembered there.
        return (page if page.status == 303 else await browser.press(page, CONSENT, APPROVE)).location

    async def around(self, browser: Browser, address: str, path: str, person: Person | None = None) -> Page:
        """From a page of this server there and back."""
        url = await self.leave(browser, await browser.open(address), path)
        return await browser.open(await self.sign_in(url, person))


@asynccontextmanager
async def provider_beside(scene: Scene, url: str, directory: Path, keyring: Keyring) -> AsyncIterator[Provider]:
    """Another server over the database at `url`, where somebody of the same address has another id."""
    (directory / "corp").mkdir()
    async with open_world(url, directory / "corp", keyring, scene.world.clock, issuer=CORP, port=8499) as world:
        back = scene.world.settings.issuer + CALLBACK
        client = await world.register_client("Grantlog", redirect_uris=(back,), scope=("openid", "email"))
        await world.define_role("platform", "member", default=True)
        person = await world.register_person("paul", claims={"email_verified": True})
        yield Provider(scene.world, world, client, person)
