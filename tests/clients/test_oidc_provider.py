"""node-oidc-provider, at which people of a realm sign in: linked by their answer, refused by what is wrong of it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests import plain_http
from tests.clients.conftest import Stage
from tests.clients.program import serving
from tests.scenarios.administration import administering, ok
from tests.scenarios.browser import Browser, Page
from tests.scenarios.factors import SIGN_IN
from tests.scenarios.world import World
from tests.started import free_port

SECRET = "known to two programs of this test alone"  # noqa: S105
CALLBACK = "/account/upstream/platform/corp"
LINK = "/account/upstream/link"


@pytest.fixture
def settings() -> dict[str, str]:
    """The provider is on this very machine."""
    return {"allow_private_urls": "1"}


@pytest.fixture
async def provider(stage: Stage, world: World, openid_client: Path, tmp_path: Path) -> AsyncIterator[str]:  # noqa: F811
    """Its address, once the server knows it."""
    port = free_port()
    address, node = f"http://127.0.0.1:{port}", shutil.which("node") or "node"
    told = {"PORT": str(port), "CLIENT_SECRET": SECRET, "REDIRECT_URI": stage.issuer + CALLBACK}
    told["EMAIL"] = stage.person.email
    command = ["/usr/bin/env", *(f"{name}={value}" for name, value in told.items())]
    command += [node, str(openid_client / "provider.mjs")]
    async with serving(command, f"{address}/.well-known/openid-configuration", tmp_path):
        admin = await administering(world)
        terms = {"issuer": address, "client_id": "grantlog", "client_secret": SECRET, "title": "Corp"}
        ok(await admin.put("/admin/realms/platform/upstreams/corp", json=terms), 201)
        yield address


async def around(browser: Browser, provider: str, login: str) -> Page:
    """From the sign-in page there, and back as somebody of this name."""
    page = await browser.open(f"{SIGN_IN}?realm=platform")
    (form,) = [each for each in page.forms if ("upstream", "corp") in each.buttons]
    left = await browser.submit(form, ("upstream", "corp"))
    assert "refresh" in left.answer.headers, left.text
    url = left.answer.headers["refresh"].partition("url=")[2]
    async with plain_http.caller() as theirs:
        answer = await theirs.get(url)
        for _ in range(10):
            url = urljoin(url, answer.headers["location"])
            if not url.startswith(provider):
                return await browser.open(url)
            answer = await asked(theirs, url, login)
    raise AssertionError(f"{provider} does not lead back")


async def asked(theirs: httpx.AsyncClient, url: str, login: str) -> httpx.Response:
    """Goes where the provider leads, and answers what it asks there."""
    answer = await theirs.get(url)
    if answer.is_redirect:
        return answer
    prompt = "login" if 'name="login"' in answer.text else "consent"
    return await theirs.post(url, data={"prompt": prompt, "login": login, "password": "any"})


async def test_people_sign_in_there(stage: Stage, world: World, provider: str) -> None:  # noqa: F811
    async with plain_http.caller(stage.issuer) as connection:
        page = await around(Browser(connection), provider, "nonce")
        assert page.status == 403, page.text
        for wrong in ("aud", "iss"):
            assert (await around(Browser(connection), provider, wrong)).status == 403
        assert await world.events("session.started") == ()
        browser = Browser(connection)
        page = await around(browser, provider, "paula-there")
        page = await browser.press(page, LINK, ("decision", "link"))
        assert (page.status, "Signed in as" in page.text) == (200, True)
    (linked,) = await world.events("account.upstream_linked")
    (started,) = await world.events("session.started")
    assert (linked.event.issuer, started.event.amr) == (provider, ("fed",))
    assert started.actor.id == stage.person.account_id
