"""The leak desk in Chromium: from a paste to an incident, with and without script, by keyboard, on both databases."""

from hashlib import sha256
from typing import Any

import pytest

from tests.browser.accessibility import DESK as WIDE
from tests.browser.accessibility import PHONE, barriers
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.visitor import Visitor
from tests.databases import BACKENDS

pytestmark = pytest.mark.parametrize("demo", BACKENDS, indirect=True, scope="module")

DESK = "/console/leaks"


async def at_desk(visit: Visit, demo: Demo, **options: Any) -> Visitor:
    visitor = await visit(**options)
    await visitor.page.goto(demo.issuer + DESK)
    await visitor.sign_in(demo.ada)
    await visitor.page.wait_for_selector("button[name=decision], #paste")
    if await visitor.page.locator("button[name=decision]").count():
        await visitor.page.click("button[name=decision][value=approve]")
    await visitor.page.wait_for_selector("#paste")
    return visitor


def leaking(demo: Demo, name: str = "Leaky") -> tuple[str, str, str]:
    """A service, its secret, and a token of it."""
    body = {"client_name": name, "grant_types": ["client_credentials"], "scope": "catalog:read"}
    made = demo.call("POST", "/admin/clients", body)
    auth = (made["client_id"], made["client_secret"])
    answer = demo.http.post(f"{demo.issuer}/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    return made["client_id"], made["client_secret"], answer.json()["access_token"]


def active(demo: Demo, token: str) -> bool:
    service = demo.made["service"]
    auth = (service["client_id"], service["client_secret"])
    answer = demo.http.post(f"{demo.issuer}/oauth/introspect", data={"token": token}, auth=auth)
    found: bool = answer.json()["active"]
    return found


async def read_by_everybody(visitor: Visitor) -> None:
    """Nothing that a reader could not read, on a desk and on a phone, where it has not been asked already: the pages
    are alike on both databases."""
    if visitor.demo.database_url.startswith("sqlite"):
        assert await barriers(visitor.page, WIDE, PHONE) == [], visitor.page.url


async def test_three_secrets_are_contained_in_two_clicks(demo: Demo, visit: Visit) -> None:
    _, secret, token = leaking(demo)
    _, other, _ = leaking(demo, "Leaky too")
    visitor = await at_desk(visit, demo, recorded=True)
    page = visitor.page
    await page.fill("#paste", f"+ \"secret\": '{secret}',\r\n\r\n-   Bearer {token}  \r\n> {other}\r\n")
    await page.click("form.desk button")
    await page.wait_for_selector("#would")
    assert await page.locator("tbody tr").count() == 3
    promised = await visitor.text("#would")
    assert promised == "A containment would end 2 secrets, 2 grants, 2 tokens; 0 people affected"
    assert active(demo, token)
    await page.fill("#evidence", "a public log")
    await page.click("button[value=contain]")
    await page.wait_for_selector("h1:has-text('Contained'), ol.clock")
    assert not active(demo, token)
    assert "2 secrets, 2 grants, 2 tokens; 0 people affected" in await page.inner_text("main")
    incidents = len(demo.call("GET", "/leaks/incidents")["items"])
    await page.reload()
    assert len(demo.call("GET", "/leaks/incidents")["items"]) == incidents
    kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href, document.cookie])")
    told = await page.content() + kept
    exported = demo.http.get(
        f"{demo.issuer}/audit/export", headers={"Authorization": f"Bearer {demo.service_token()}"}
    ).text
    for raw in (secret, token, other):
        assert raw not in told
        assert raw not in exported
        received = [each for each in await visitor.heard() if raw.encode() in each.received]
        assert [each.url for each in received] == []
        assert [each.url for each in visitor.traffic if raw in each.url] == []
    # The way back leads to an empty desk: no browser keeps what was typed there, or asks to send it once more.
    await page.go_back()
    await page.wait_for_selector("#paste")
    assert await page.input_value("#paste") == ""
    assert len(demo.call("GET", "/leaks/incidents")["items"]) == incidents


async def test_desk_by_keyboard_and_without_script(demo: Demo, visit: Visit) -> None:
    client_id, secret, token = leaking(demo, "<img src=x onerror=alert(1)>")
    visitor = await at_desk(visit, demo, java_script_enabled=False)
    page = visitor.page
    await page.locator("#paste").focus()
    await page.keyboard.insert_text(f"{secret[:-1]}{'0' if secret[-1] != '0' else '1'}")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#damaged")
    words = await page.inner_text("main")
    assert "checksum that differs" in words
    assert "no all-clear" in words
    assert await page.locator("button[value=contain]").count() == 0
    await page.goto(demo.issuer + DESK)
    await page.locator("#paste").focus()
    await page.keyboard.insert_text(secret)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#would")
    assert "<img src=x onerror=alert(1)>" in await page.inner_text("main")
    await page.locator("#evidence").focus()
    await page.keyboard.insert_text("<script>alert(1)</script>")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("ol.clock")
    assert not active(demo, token)
    words = await page.inner_text("main")
    assert "after it was pasted: 1 secret, 1 grant, 1 token; 0 people affected" in words
    await page.click("text=Show personal values")
    assert "<script>alert(1)</script>" in await page.inner_text("main")
    await page.click("button:has-text('I look after it')")
    await page.fill("#note", "done")
    await page.click("form[action$=close] button")
    await page.goto(f"{demo.issuer}/console/incidents?state=closed")
    assert "<img src=x onerror=alert(1)>" in await page.inner_text("main table")
    assert demo.call("GET", f"/admin/clients/{client_id}")["state"] == "enabled"


async def test_typed_evidence_outlives_the_sign_in(demo: Demo, visit: Visit) -> None:
    _, secret, token = leaking(demo)
    visitor = await at_desk(visit, demo)
    visitor.refused.add(401)
    page = visitor.page
    await read_by_everybody(visitor)
    await page.fill("#paste", f"{secret} ghp_{secret[-36:]}")
    await page.click("form.desk button")
    await page.wait_for_selector("#would")
    await read_by_everybody(visitor)
    await page.fill("#evidence", "typed before")
    # As when a session has ended meanwhile.
    await visitor.context.clear_cookies()
    await page.click("button[value=contain]")
    async with visitor.context.expect_page() as opened:
        await page.click("a.button")
    beside = await opened.value
    await beside.fill("#username", demo.ada.username)
    await beside.fill("#password", demo.ada.password)
    await beside.click("main form button[type=submit]")
    await beside.wait_for_selector("#paste")
    assert active(demo, token)
    await page.click("button:has-text('Go on')")
    assert await page.input_value("#evidence") == "typed before"
    assert active(demo, token)
    await page.click("button[value=contain]")
    await page.wait_for_selector("ol.clock")
    assert not active(demo, token)
    (found,) = [each for each in demo.call("GET", "/leaks/incidents")["items"] if each["evidence"] == "typed before"]
    assert found["state"] == "contained"
    await read_by_everybody(visitor)
    incidents = len(demo.call("GET", "/leaks/incidents")["items"])
    await page.reload()
    await page.wait_for_selector("ol.clock")
    await page.go_back()
    await page.wait_for_selector("#paste")
    assert await page.input_value("#paste") == ""
    assert len(demo.call("GET", "/leaks/incidents")["items"]) == incidents
    for path in ("/console/incidents", f"{DESK}/{sha256(secret.encode()).hexdigest()}/tokens"):
        await page.goto(demo.issuer + path)
        await read_by_everybody(visitor)
