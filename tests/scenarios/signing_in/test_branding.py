"""Pages of a realm or a dashboard with a look of their own: name, accent colour, support link and language."""

import re
from base64 import b64encode
from typing import Any

import httpx
import pytest

from tests.scenarios.administration import ok
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.factors import FACTORS, TOTP, sign_in
from tests.scenarios.letters import delivered
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

PLUM = {
    "name": "Paperboat <& friends>",
    "accent_color": "#7A1F5C",
    "support_url": "https://paperboat.example/help?a=1&b=2",
    "language": "de",
}
SIGN_IN = "/account/sign-in?realm=platform"
STYLE = re.compile(r'<link rel="stylesheet" href="(/branding/[^"]+)">')


async def put(world: World, target: str, *scopes: str, **terms: Any) -> httpx.Response:
    token = await world.token(*(scopes or ("clients:read", "clients:write", "people:write")))
    return await world.client.put(f"/admin/branding/{target}", json=terms, headers={"authorization": f"Bearer {token}"})


async def test_a_realms_pages_look_as_it_says(world: World) -> None:
    plain = await world.client.get(SIGN_IN)
    told = PLUM | {"accent_color": "#7a1f5c", "logo": None}
    assert ok(await put(world, "platform", **PLUM)) == told
    assert ok(await put(world, "platform", **PLUM)) == told
    (event,) = await world.events("branding.changed")
    assert (event.stream, event.event.target) == ("branding:all", "platform")
    reader = {"authorization": f"Bearer {await world.token('clients:read')}"}
    assert ok(await world.client.get("/admin/branding/platform", headers=reader)) == told
    assert (await world.client.get("/admin/branding/nowhere", headers=reader)).status_code == 404

    page = await world.client.get(SIGN_IN)
    assert "<bdi>Paperboat &lt;&amp; friends&gt;</bdi>" in page.text
    assert "· Paperboat &lt;&amp; friends&gt;</title>" in page.text
    assert 'href="https://paperboat.example/help?a=1&amp;b=2"' in page.text
    assert page.headers["content-security-policy"] == plain.headers["content-security-policy"]
    assert page.headers["content-language"] == "de"
    assert "Hilfe" in page.text
    other = await world.client.get("/account/sign-in?realm=administration")
    assert "Paperboat" not in other.text
    assert not STYLE.search(other.text)

    assert ok(await put(world, "platform")) == dict.fromkeys(told)
    assert (await world.client.get(SIGN_IN)).text.count("Paperboat") == 0


async def test_what_is_asked_for_comes_before_the_realms_language(world: World) -> None:
    ok(await put(world, "platform", language="de"))
    for language, wanted in (("en", {"accept-language": "en"}), ("de", {"accept-language": "fr"}), ("de", {})):
        assert (await world.client.get(SIGN_IN, headers=wanted)).headers["content-language"] == language
    assert (await world.client.get(SIGN_IN + "&ui_locales=en")).headers["content-language"] == "en"


async def test_the_accent_colour_is_a_style_sheet_of_this_server(world: World) -> None:
    ok(await put(world, "platform", **PLUM))
    (address,) = STYLE.findall((await world.client.get(SIGN_IN)).text)
    style = await world.client.get(address)
    assert style.status_code == 200
    assert style.headers["content-type"].startswith("text/css")
    assert style.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in style.headers["cache-control"]
    assert "--key: #7a1f5c;" in style.text
    assert "prefers-color-scheme: dark" in style.text
    assert (await world.client.get("/branding/platform.css?v=older")).headers["cache-control"] == "no-cache"
    for name in ("platform", "nowhere.css", "administration.css", ".css", "%22.css"):
        assert (await world.client.get(f"/branding/{name}")).status_code == 404
    ok(await put(world, "platform", accent_color="#005a9c"))
    (newer,) = STYLE.findall((await world.client.get(SIGN_IN)).text)
    assert newer != address


async def test_a_dashboard_looks_as_it_says_or_as_its_realm(world: World) -> None:
    at = await make_dashboard(world, "shop")
    ok(await put(world, "platform", name="The realm"))
    assert "<bdi>The realm</bdi>" in (await at.call("GET", "", origin=None)).text
    ok(await put(world, "shop", name="The shop", accent_color="#005a9c"))
    page = await at.call("GET", "", origin=None)
    assert "<bdi>The shop</bdi>" in page.text
    assert STYLE.findall(page.text)[0].startswith("/branding/shop.css?v=")
    assert "<bdi>The realm</bdi>" in (await world.client.get(SIGN_IN)).text


async def test_a_persons_own_pages_look_as_their_realm(world: World) -> None:
    paul = await world.register_person("paul")
    ok(await put(world, "platform", name="Paperboat", accent_color="#005a9c"))
    browser = world.browser()
    page = await sign_in(world, paul, browser)
    assert "<bdi>Paperboat</bdi>" in page.text
    for address in (
        "/account",
        "/account/places",
        "/account/grants",
        "/account/password",
        "/account/history",
        "/account/data",
        "/account/notices",
        "/account/email",
        "/account/sign-out",
        FACTORS,
        TOTP,
    ):
        page = await browser.open(f"{address}?realm={paul.realm}")
        assert page.status == 200, address
        assert "<bdi>Paperboat</bdi>" in page.text, address
        assert STYLE.search(page.text), address


async def test_a_look_is_refused_with_the_member_at_fault(world: World) -> None:
    for field, terms in (
        ("accent_color", {"accent_color": "#ffffff"}),
        ("accent_color", {"accent_color": "red"}),
        ("support_url", {"support_url": "javascript:alert(1)"}),
        ("language", {"language": "xx"}),
        ("name", {"name": " "}),
        ("logo", {"logo": "https://elsewhere.example/logo.svg"}),
    ):
        answer = await put(world, "platform", **terms)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field), answer.text
    assert (await put(world, "nowhere", name="x")).status_code == 404
    assert (await put(world, "platform", "clients:read", name="x")).status_code == 403
    assert (await put(world, "administration", "clients:write", name="x")).status_code == 403
    assert not await world.events("branding.changed")


LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script><path d="M0 0h8v8z"/></svg>'


def data_url(octets: bytes, media_type: str = "image/svg+xml") -> str:
    return f"data:{media_type};base64,{b64encode(octets).decode()}"


async def test_a_logo_is_cleaned_and_served_as_what_it_is(world: World) -> None:
    told = ok(await put(world, "platform", logo=data_url(LOGO)))
    page = await world.client.get(SIGN_IN)
    assert f'src="{told["logo"]}"' in page.text
    served = await world.client.get(told["logo"])
    assert served.content == b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h8v8z"></path></svg>'
    assert served.headers["content-type"] == "image/svg+xml"
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"] == "default-src 'none'; sandbox"
    # What is answered may be sent again, and means the same.
    again = ok(await put(world, "platform", logo=told["logo"], name="Paperboat"))
    assert (again["logo"], again["name"]) == (told["logo"], "Paperboat")
    for refused in (data_url(b"GIF89a", "image/png"), data_url(LOGO, "image/gif"), "/branding/platform/logo?v=0", "x"):
        answer = await put(world, "platform", logo=refused)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "logo"
    (event, _) = await world.events("branding.changed")
    assert (event.event.branding.logo.media_type, len(event.event.branding.logo.sha256)) == ("image/svg+xml", 64)
    ok(await put(world, "platform"))
    assert (await world.client.get(told["logo"])).status_code == 404


async def test_error_pages_and_letters_look_as_the_realm_does(world: World) -> None:
    ok(await put(world, "platform", **PLUM))
    shown = {"accept": "text/html"}
    page = await world.client.get("/account/sign-in?realm=platform&to=nowhere", headers=shown)
    assert page.status_code == 400
    assert "<bdi>Paperboat" in page.text
    await world.register_person("paul")
    browser = world.browser()
    sent = await browser.open("/account/recover?realm=platform")
    assert "<bdi>Paperboat" in (await browser.press(sent, "/account/recover", username="paul")).text
    (letter,) = await delivered(world)
    assert letter.text.startswith("Paperboat <& friends>")
    assert PLUM["support_url"] in letter.text
    assert "#7a1f5c" in letter.html
    assert "<bdi>Paperboat" in (await browser.open(letter.link)).text
