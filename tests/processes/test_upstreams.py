"""Two servers, at one of which people of the other sign in: the whole way, over HTTP, as browsers and servers go it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from security.clock import SystemClock
from security.keyring import new_master_key, parse_keyring
from tests import plain_http
from tests.processes.conftest import Served, Start
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, CONSENT
from tests.scenarios.asking import SIGN_IN as AUTHORIZE_SIGN_IN
from tests.scenarios.browser import Browser, Page
from tests.scenarios.factors import SIGN_IN
from tests.scenarios.signing_in.upstreams import CALLBACK, ONE
from tests.scenarios.world import Person, World, open_world
from tests.started import free_port

LINK = "/account/upstream/link"
SIGNED_IN = "Signed in as"


@dataclass
class Corp:
    """The provider, the server of its people, and who they are at either."""

    world: World
    served: Served
    home: Served
    there: Person
    here: Person

    async def around(self, browser: Browser) -> Page:
        """From the sign-in page to the provider, where they sign in, and back."""
        return await browser.open(await self.sent_back(browser))

    async def sent_back(self, browser: Browser) -> str:
        """Where the provider sends them back to."""
        page = await self.leave(browser)
        assert page.status == 200, page.text
        url = page.answer.headers["refresh"].partition("url=")[2]
        assert url.startswith(self.served.base)
        async with plain_http.caller(self.served.base) as connection:
            theirs = Browser(connection)
            page = await theirs.press(await theirs.open(url), AUTHORIZE_SIGN_IN, **self.there.typed)
            page = page if page.status == 303 else await theirs.press(page, CONSENT, APPROVE)
            return page.location

    async def leave(self, browser: Browser) -> Page:
        """Presses the provider's button."""
        page = await browser.open(f"{SIGN_IN}?realm=platform&to=links")
        (form,) = [each for each in page.forms if ("upstream", "corp") in each.buttons]
        return await browser.submit(form, ("upstream", "corp"))


def link_question(page: Page) -> bool:
    return ("decision", "link") in [button for form in page.forms for button in form.buttons]


@pytest.fixture
async def corp(world: World, start: Start, issuer: str, sqlite_url: str, tmp_path: Path) -> AsyncIterator[Corp]:
    """Both of them, which know each other: over PostgreSQL the one where people come from, over SQLite the provider."""
    key, port = new_master_key(), free_port()
    address = f"http://127.0.0.1:{port}"
    home = await start(allow_private_urls="1")
    clock: object = SystemClock()
    async with open_world(
        sqlite_url,
        tmp_path / "corp-inside",
        parse_keyring(key),
        clock,  # type: ignore[arg-type]
        issuer=address,
    ) as there:
        client = await there.register_client("Grantlog", redirect_uris=(issuer + CALLBACK,), scope=("openid", "email"))
        await there.define_role("platform", "member", default=True)
        told = {"database_url": sqlite_url, "issuer": address, "data_dir": str(tmp_path / "corp"), "master_key": key}
        served = await start(port=port, **told)
        people = [await each.register_person("paula", claims={"email_verified": True}) for each in (there, world)]
        admin = await administering(world)
        terms = {"issuer": address, "client_id": client.client_id, "client_secret": client.secret, "title": "Corp"}
        ok(await admin.put(ONE, json=terms), 201)
        yield Corp(there, served, home, *people)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_servers_sign_a_person_in_together(world: World, corp: Corp) -> None:
    person = corp.here.account_id
    admin = await administering(world)
    async with plain_http.caller(corp.home.base) as connection:
        browser = Browser(connection)
        page = await corp.around(browser)
        assert link_question(page), page.text
        assert SIGNED_IN in (await browser.press(page, LINK, ("decision", "link"))).text
    # The second time nobody is asked.
    async with plain_http.caller(corp.home.base) as connection:
        browser = Browser(connection)
        page = await corp.around(browser)
        assert (page.status, SIGNED_IN in page.text) == (200, True)
        # They end the link by themselves, and are asked anew.
        await browser.press(await browser.open("/account/password"), "/account/password/unlink")
    async with plain_http.caller(corp.home.base) as connection:
        assert link_question(await corp.around(Browser(connection)))
    ok(await admin.put(f"/admin/people/{person}/upstreams/corp", json={"sub": corp.there.account_id}))
    async with plain_http.caller(corp.home.base) as connection:
        assert SIGNED_IN in (await corp.around(Browser(connection))).text
    ok(await admin.delete(f"/admin/people/{person}"), 204)
    async with plain_http.caller(corp.home.base) as connection:
        page = await corp.around(Browser(connection))
        assert (page.status, link_question(page)) == (403, False)
        back = await corp.sent_back(browser := Browser(connection))
        corp.served.kill()
        page = await browser.open(back)
        assert (page.status, "password" in page.form(SIGN_IN).fields) == (403, True)
    assert len(await world.events("account.upstream_linked")) == 2
    assert len(await world.events("account.upstream_unlinked")) == 1
    started = await world.events("session.started")
    assert [(each.actor.id, each.event.amr) for each in started] == [(person, ("fed",))] * 3
