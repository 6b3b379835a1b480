"""The console's proofs in Chromium, on both databases: what this browser keeps of the log, and what it makes of it."""

import hashlib
import json
from functools import partial
from operator import ne
from pathlib import Path

import pytest
from playwright.async_api import Page, Route

from tests.browser.accessibility import barriers
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.visitor import Visitor
from verifier.note import Cosigner

pytestmark = pytest.mark.parametrize("demo", ["sqlite", "postgresql"], indirect=True)

WITNESS = Cosigner("witness.example", bytes(32))
KEPT = "localStorage.getItem('grantlog-log-checkpoint')"


async def enter(visitor: Visitor, path: str) -> None:
    """Signs the administrator in at a page of the console."""
    page = visitor.page
    await page.goto(visitor.demo.issuer + path)
    await visitor.sign_in(visitor.demo.ada)
    await page.wait_for_selector("button[name=decision], .console")
    if await page.locator("button[name=decision]").count():
        await page.click("button[name=decision][value=approve]")
    await page.wait_for_selector(".console")


async def state(page: Page) -> str:
    """What the badge says in the end."""
    await page.wait_for_selector("[data-verify][data-state]")
    return str(await page.get_attribute("[data-verify]", "data-state"))


async def test_every_visit_holds_the_log_against_the_one_before(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    page, event = visitor.page, f"{demo.issuer}/console/events/1"
    await enter(visitor, "/console/events/1")
    assert await state(page) == "unpinned"
    await page.fill("#verifier-key", "elsewhere+00000000+AAAA")
    await page.click(".pinning button")
    assert "not" in await visitor.text(".pinning .note")
    vkey = demo.http.get(f"{demo.issuer}/log/vkey").text.strip()
    await page.fill("#verifier-key", f"{vkey} {WITNESS.key}")
    await page.click(".pinning button")
    await page.wait_for_selector("[data-state=verified]")
    assert await page.locator(".chain li").count() == 6
    assert "0 of 1 witnesses that you pinned" in await visitor.text(".chain")
    await page.emulate_media(media="print")
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    receipt = await visitor.text("[data-receipt]")
    assert receipt.startswith("c2sp.org/tlog-proof@v1")
    assert "events signed" in await visitor.text("div.printed")
    assert not await page.locator(".pinning").is_visible()
    await page.emulate_media(media="screen")
    older = str(await page.evaluate(KEPT))

    await page.goto(f"{demo.issuer}/console/audit")
    size = int(older.split("\n")[1])
    while int(demo.http.get(f"{demo.issuer}/log/checkpoint").text.split("\n")[1]) < size + 3:
        demo.service_token()
    await page.goto(event)
    assert await state(page) == "verified"
    newer = str(await page.evaluate(KEPT))
    assert int(newer.split("\n")[1]) > size

    async def roll_back(route: Route) -> None:
        await route.fulfill(body=older, content_type="text/plain")

    await page.route("**/log/checkpoint", roll_back)
    await page.goto(event)
    assert await state(page) == "differs"
    assert "the log has shrunk" in await visitor.text(".misfit")
    async with page.expect_download() as saved:
        await page.click(".misfit a")
    evidence = json.loads(Path(await (await saved.value).path()).read_text())
    assert (evidence["kept"], evidence["newest"]) == (newer, older)
    await page.unroute("**/log/checkpoint")

    await page.evaluate(f"localStorage.setItem('grantlog-log-checkpoint', {json.dumps(older)})")
    await page.goto(event)
    assert await state(page) == "verified"


async def test_a_changed_event_fills_the_page_with_an_alarm(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    page, event = visitor.page, f"{demo.issuer}/console/events/2"
    await enter(visitor, "/console/events/2")

    async def spoil(route: Route) -> None:
        answer = await route.fetch()
        before, _, after = (await answer.text()).partition("<code data-receipt>c2sp.org/tlog-proof@v1\nextra ey")
        await route.fulfill(response=answer, body=f"{before}<code data-receipt>c2sp.org/tlog-proof@v1\nextra ez{after}")

    await page.route(event, spoil)
    await page.goto(event)
    assert await state(page) == "differs"
    assert "the event is not the one" in await visitor.text(".misfit")


async def test_the_slider_walks_along_a_tokens_life(visit: Visit, demo: Demo) -> None:
    sha256 = hashlib.sha256(demo.service_token().encode()).hexdigest()
    visitor = await visit(viewport={"width": 320, "height": 800})
    page, address = visitor.page, f"{demo.issuer}/console/tokens/{sha256}"
    await enter(visitor, f"/console/tokens/{sha256}")
    assert "◆ Valid" in await visitor.text(".verdict")
    assert await barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.keyboard.press("[")
    await page.wait_for_url(f"{address}?at=*#slider")
    assert await page.evaluate("document.activeElement.id") == "slider"
    issued = await page.input_value("#at")
    await page.keyboard.press("ArrowRight")
    assert await page.get_attribute("#slider", "aria-valuetext") == await page.input_value("#at") > issued
    looked = page.url
    await page.wait_for_url(partial(ne, looked))
    await page.wait_for_selector(".verdict")
    for key in ("Home", "End"):
        looked = page.url
        await page.keyboard.press(key)
        await page.wait_for_url(partial(ne, looked))
        await page.wait_for_selector(".verdict")
    assert "NO: expired" in await visitor.text(".verdict")
    assert "client enabled from" in str(await page.get_attribute(".lanes", "aria-label"))


async def test_without_script_a_form_asks_for_the_moment(visit: Visit, demo: Demo) -> None:
    sha256 = hashlib.sha256(demo.service_token().encode()).hexdigest()
    visitor = await visit(java_script_enabled=False)
    await enter(visitor, f"/console/tokens/{sha256}")
    await visitor.page.fill("#at", "2020-01-01T00:00:00Z")
    await visitor.page.click(".moment button")
    assert "NO: not yet issued" in await visitor.text(".verdict")
    await visitor.page.goto(f"{demo.issuer}/console/events/1")
    assert "not checked here" in await visitor.text(".badge")


async def test_the_log_is_checked_on_its_page(visit: Visit, demo: Demo) -> None:
    visitor = await visit(viewport={"width": 320, "height": 800})
    page = visitor.page
    await enter(visitor, "/console/log")
    assert await state(page) == "unpinned"
    await page.fill("#verifier-key", demo.http.get(f"{demo.issuer}/log/vkey").text.strip())
    await page.click(".pinning button")
    await page.wait_for_selector("[data-state=verified]")
    assert await barriers(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.fill("#first", "5")
    await page.click("[data-check] button")
    await page.wait_for_selector("[data-checked].verified")
    assert "positions 5 to" in await visitor.text("[data-checked]")
    assert "without a gap" in await visitor.text("[data-checked]")
    pdf = await page.pdf()
    assert pdf.startswith(b"%PDF")
    await page.emulate_media(media="print")
    assert "events signed" in await visitor.text("div.printed")
