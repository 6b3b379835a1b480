"""The recipe of `docs/own-backend.md`, as it stands there: a dashboard's backend signs people in by the code flow."""

from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.httpx_client import oauth2_client

from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, Scene
from tests.scenarios.world import ADDRESS, World

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "docs/own-backend.md"
BACK = "https://shop.example/callback"


def recipe(world: World, client_id: str, secret: str) -> Any:
    code = PAGE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    written: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), written)  # noqa: S102 - our own documentation
    # Which of the two packages of this name it is made on is its own matter.
    transport = oauth2_client.httpx2.ASGITransport(app=world.app, client=(ADDRESS, 50_000))
    return written["Backend"](world.settings.issuer, client_id, secret, BACK, transport=transport)


async def test_a_dashboards_backend_signs_people_in(scene: Scene) -> None:
    world, issuer = scene.world, scene.world.settings.issuer
    client = await world.register_client("Dashboard", redirect_uris=(BACK,), scope=("profile", "catalog:read"))
    assert client.secret is not None
    backend = recipe(world, client.client_id, client.secret)
    url, state = backend.login()
    browser = world.browser()
    page = await browser.press(await browser.open(url), SIGN_IN, **scene.person.typed)
    back = (await browser.press(page, CONSENT, APPROVE)).location
    with pytest.raises(PermissionError):
        await backend.callback(back, "another state")
    session = await backend.callback(back, state)
    assert (await backend.call(session, "GET", f"{issuer}/oauth/userinfo")).json()["sub"] == scene.person.account_id
    first = backend.sessions[session]["access_token"]
    backend.sessions[session]["expires_at"] = 1
    assert (await backend.call(session, "GET", f"{issuer}/oauth/userinfo")).status_code == 200
    assert backend.sessions[session]["access_token"] != first
    token = backend.sessions[session]["access_token"]
    await backend.logout(session)
    assert (await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {token}"})).status_code == 401
