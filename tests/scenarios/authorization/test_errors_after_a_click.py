"""Errors of clients that registered themselves: nobody is sent to one without a click, unless they allowed it something
(RFC 9700 §4.11.2).
"""

import re
from html import unescape
from typing import Any, get_args
from urllib.parse import parse_qsl, urlencode

import pytest

from domain.rules import client_metadata
from tests.scenarios.asking import APPROVE, CONSENT, Scene, set_scene
from tests.scenarios.browser import Page
from tests.scenarios.openid.relying_party import set_openid
from tests.scenarios.world import Client, World

URI = "https://shop.example/callback?kept=a%20b"


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"registration": "open"}


async def registered(world: World, uri: str = URI) -> Client:
    """A client that registered itself."""
    body = {"redirect_uris": [uri], "token_endpoint_auth_method": "client_secret_basic"}
    made = (await world.client.post("/oauth/register", json=body)).json()
    return Client(made["client_id"], made["client_secret"], uri)


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


def offered(page: Page) -> dict[str, str]:
    """What goes to the application when the person clicks, and no sooner."""
    assert page.status == 400
    assert "location" not in page.answer.headers
    assert "<script" not in page.text
    assert "never allowed" in page.text
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in found}


async def test_prompt_none_of_nobody_is_a_page(scene: Scene) -> None:
    client = await registered(scene.world)
    answer = await scene.world.client.get(scene.address(client, scope="openid", prompt="none", state="s t"))
    page = Page.__new__(Page)
    page.answer, page.status, page.text = answer, answer.status_code, answer.text
    told = offered(page)
    assert (told["error"], told["state"], told["iss"], told["kept"]) == (
        "login_required",
        "s t",
        scene.world.settings.issuer,
        "a b",
    )
    assert 'action="https://shop.example/callback"' in page.text
    assert "form-action 'self' https://shop.example;" in answer.headers["content-security-policy"]


async def test_a_fault_is_a_page_also_after_the_sign_in(scene: Scene) -> None:
    client = await registered(scene.world)
    text = urlencode({"response_type": "token", "client_id": client.client_id, "redirect_uri": URI})
    browser = await scene.signed_in()
    answer = await browser.client.get(f"/oauth/authorize?{text}")
    assert answer.status_code == 400
    assert "unsupported_response_type" in answer.text


async def test_who_allowed_it_something_is_sent_back(scene: Scene) -> None:
    client = await registered(scene.world)
    browser = await scene.signed_in()
    await browser.press(await browser.open(scene.address(client, scope="openid")), CONSENT, APPROVE)
    page = await browser.open(scene.address(client, scope="openid", prompt="none", max_age="0"))
    scene.world.clock.advance(1)
    page = await browser.open(scene.address(client, scope="openid", prompt="none", max_age="0"))
    assert dict(parse_qsl(page.location.partition("?")[2]))["error"] == "login_required"


async def test_a_denial_is_a_click(scene: Scene) -> None:
    client = await registered(scene.world)
    browser = await scene.signed_in()
    page = await browser.press(await browser.open(scene.address(client, scope="openid")), CONSENT, ("decision", "deny"))
    assert page.parameters["error"] == "access_denied"


async def test_form_post_waits_for_the_click_too(scene: Scene) -> None:
    client = await registered(scene.world)
    address = scene.address(client, scope="openid", prompt="none", response_mode="form_post")
    answer = await scene.world.client.get(address)
    assert answer.status_code == 400
    assert 'method="post" action="https://shop.example/callback?kept=a%20b"' in answer.text
    assert "<script" not in answer.text
    assert 'value="login_required"' in answer.text


async def test_an_application_on_the_device_has_a_link(scene: Scene) -> None:
    client = await registered(scene.world, "com.example.shop:/callback")
    answer = await scene.world.client.get(scene.address(client, scope="openid", prompt="none"))
    assert answer.status_code == 400
    assert 'href="com.example.shop:/callback?error=login_required' in answer.text


async def test_clients_of_administrators_are_told_at_once(scene: Scene) -> None:
    shop = await scene.world.register_client("Known", scope=("openid",))
    page = await scene.world.browser().open(scene.address(shop, scope="openid", prompt="none"))
    assert page.parameters["error"] == "login_required"


async def test_a_sign_out_of_nobody_leads_nowhere(world: World) -> None:
    scene = await set_openid(world, post_logout_redirect_uris=("https://shop.example/out",))
    body = {"redirect_uris": [URI], "post_logout_redirect_uris": ["https://new.example/out"], "scope": "openid"}
    made = (await world.client.post("/oauth/register", json=body)).json()
    new = Client(made["client_id"], made["client_secret"], URI)
    browser = await scene.signed_in()
    for client, led in ((scene.shop, True), (new, False)):
        answer = await scene.redeem(await scene.approved(browser, scene.openid(client)), client)
        back = "https://new.example/out" if client is new else "https://shop.example/out"
        leading = urlencode({"id_token_hint": answer["id_token"], "post_logout_redirect_uri": back})
        page = await world.browser().open(f"/oauth/logout?{leading}")
        assert (page.answer.headers.get("location") == back) is led
        assert (page.status, back in page.text) == (303 if led else 200, False)
    # Whom the id_token is about is led back: they allowed it something, and it signs them out.
    leading = urlencode({"id_token_hint": answer["id_token"], "post_logout_redirect_uri": back})
    assert (await browser.open(f"/oauth/logout?{leading}")).location == back


def test_every_other_way_to_register_has_its_rule() -> None:
    # Whoever has a document of their own somewhere is as little known as who registers openly.
    assert get_args(client_metadata.SelfRegistered) == ("open", "token", "document")
