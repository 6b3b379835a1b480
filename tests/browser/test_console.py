"""The console in Chromium, on both databases: nobody's token in its traffic, nothing that a reader could not read."""

import re

import pytest

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.parametrize("demo", ["sqlite", "postgresql"], indirect=True)

PATHS = ["/console/", "/console/audit", "/console/events/1"]
SECRETS = re.compile(rb"glog_(at|rt|ac|cs)_[0-9A-Za-z]{36}")


async def enter(visitor: Visitor, path: str = "/console/") -> None:
    """Signs the administrator in, who allows the console what it asks for the first time."""
    page = visitor.page
    await page.goto(visitor.demo.issuer + path)
    await visitor.sign_in(visitor.demo.ada)
    await page.wait_for_selector("button[name=decision], .console")
    if await page.locator("button[name=decision]").count():
        await page.click("button[name=decision][value=approve]")
    await page.wait_for_selector(".console")
    # A key that is pressed before the page's script listens does nothing.
    await page.wait_for_load_state("load")


async def test_no_token_is_in_the_traffic_of_a_visit(visit: Visit, demo: Demo) -> None:
    visitor = await visit(recorded=True)
    await enter(visitor)
    for path in PATHS:
        await visitor.page.goto(demo.issuer + path)
    (cookie,) = [each for each in await visitor.context.cookies() if each["name"] == "grantlog-console"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    for each in await visitor.heard():
        found = {kind[1] for kind in SECRETS.finditer(each.sent + each.received)}
        # The code is in the address of the callback, and good for nothing without the verifier and the client's secret.
        assert found <= ({b"ac"} if "/console/callback" in each.url or "/oauth/authorize" in each.url else set()), (
            each.url
        )


async def test_a_person_finds_without_script_what_they_look_for(visit: Visit, demo: Demo) -> None:
    visitor = await visit(java_script_enabled=False)
    await enter(visitor, "/console/audit")
    page = visitor.page
    await page.fill("#line", "type:client.registered")
    await page.click(".query button")
    await page.locator(".row .at").first.click()
    assert "Event " in await visitor.text("h1")
    await page.fill("#find", "Paperboat")
    await page.press("#find", "Enter")
    await page.wait_for_url("**/console/**")
    assert "client_id=" in page.url or "/console/clients/" in page.url


async def test_sign_out_in_one_tab_locks_the_other(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    await enter(visitor)
    other = await visitor.context.new_page()
    await other.goto(f"{demo.issuer}/console/audit")
    await visitor.page.click(".me summary")
    await visitor.page.click(".me form[action='/console/sign-out'] button")
    await visitor.page.wait_for_selector("text=You are signed out")
    await other.wait_for_selector("#username")


async def test_slash_leads_to_the_box_that_finds_everything(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    await enter(visitor)
    await visitor.page.keyboard.press("/")
    assert await visitor.page.evaluate("document.activeElement.id") == "find"
    await visitor.page.keyboard.type("glog_at_")
    assert await visitor.page.input_value("#find") == "glog_at_"


ELSEWHERE = "elsewhere.example"


async def test_link_of_another_site_works_and_its_form_does_not(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    await enter(visitor)
    page, own = visitor.page, f"{demo.issuer}/console/audit?type=scope.*"
    sent = '<input name="csrf" value="x"><button>Win</button>'
    form = f'<form method="post" action="{demo.issuer}/console/sign-out">{sent}</form>'
    body = f'<!doctype html><title>Elsewhere</title><link rel="icon" href="data:,"><a href="{own}">See</a>{form}'
    await page.route(f"http://{ELSEWHERE}/", lambda route: route.fulfill(body=body, content_type="text/html"))
    await page.goto(f"http://{ELSEWHERE}/")
    await page.click("a")
    await page.wait_for_selector(".row")
    assert page.url == own
    await page.goto(f"http://{ELSEWHERE}/")
    visitor.refused = {403}
    await page.click("button")
    await page.wait_for_selector("text=from another site")
    await page.goto(own)
    await page.wait_for_selector(".row")
    visitor.hosts.discard(ELSEWHERE)


async def test_live_page_goes_on_when_the_database_is_back(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    await enter(visitor, "/console/live")
    page, stream = visitor.page, f"{demo.issuer}/console/live/stream"
    await page.wait_for_selector("text=Following.")
    visitor.refused = {503}
    await page.route(stream, lambda route: route.fulfill(status=503, headers={"retry-after": "2"}, body="away"))
    await page.reload()
    await page.wait_for_selector("text=Connecting again.")
    await page.unroute(stream)
    await page.wait_for_selector("text=Following.")
    await page.goto(f"{demo.issuer}/console/")


async def test_events_are_seen_as_they_happen_and_pausing_holds_them(visit: Visit, demo: Demo) -> None:
    visitor = await visit()
    await enter(visitor, "/console/live")
    page = visitor.page
    await page.wait_for_selector("text=Following.")
    demo.person()
    await page.wait_for_selector("#rows .row")
    await page.keyboard.press("Space")
    await page.wait_for_selector("text=Paused")
    before = await page.locator("#rows > li").count()
    demo.person()
    await page.wait_for_selector("#standing:not(:text(', 0 new'))")
    assert await page.locator("#rows > li").count() == before
    await page.keyboard.press("Space")
    await page.wait_for_selector(f"#rows > li:nth-child({before + 1})")
    # Nobody waits for the end of a stream.
    await page.goto(f"{demo.issuer}/console/")
