"""Every page, in light and dark and on a phone: what it says to those who cannot see it, and whom it talks to."""

from collections.abc import AsyncIterator

import pytest

from tests.browser.accessibility import PHONE, barriers
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person
from tests.browser.visitor import Visitor


async def way(visitor: Visitor) -> AsyncIterator[str]:
    """Every page that a person can come to, one after the other."""
    demo, page = visitor.demo, visitor.page
    person = demo.person()
    await page.goto(demo.issuer)
    yield "home"
    await page.goto(f"{demo.issuer}/schema")
    yield "schema"
    await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    yield "schema, every operation"
    await page.goto(demo.application)
    yield "the application"
    await page.click("#connect")
    await page.wait_for_selector("#username")
    yield "sign-in"
    visitor.refused = {401}
    await visitor.sign_in(Person(person.username, "wrong"))
    await page.wait_for_selector("#error")
    yield "sign-in, refused"
    await visitor.sign_in(person)
    await page.wait_for_selector("button[name=decision]")
    yield "consent"
    await visitor.decide("deny")
    yield "the application, denied"
    await page.click("#connect")
    await visitor.decide("approve")
    await visitor.introspected()
    yield "the application, connected"
    await page.goto(f"{demo.issuer}/account")
    yield "account"
    for name in ("password", "email", "notices", "places", "history", "data"):
        await page.goto(f"{demo.issuer}/account/{name}")
        yield f"account, {name}"
    await page.goto(f"{demo.issuer}/account/factors")
    yield "second factor, none"
    await page.click("text=Set up a generator")
    yield "a new generator"
    await page.goto(f"{demo.issuer}/account/grants")
    yield "grants"
    await page.click("button.takes")
    await page.wait_for_selector("[role=status]")
    yield "grants, withdrawn"
    visitor.refused = {400}
    await page.goto(f"{demo.issuer}/device")
    yield "device"
    await page.fill("#user_code", "BBBB-BBBB")
    await page.press("#user_code", "Enter")
    await page.wait_for_selector("#error")
    yield "device, no such code"
    await page.goto(demo.device())
    await page.press("#user_code", "Enter")
    await page.wait_for_selector("button[name=decision]")
    yield "device, the question"
    await page.click("button[value=approve]")
    await page.wait_for_selector("h1:has-text('Your device is connected')")
    yield "device, connected"
    await page.goto(f"{demo.issuer}/account")
    await page.click("text=Sign out")
    await page.wait_for_selector("h1:has-text('You are signed out')")
    yield "signed out"
    await page.goto(f"{demo.issuer}/account/recover")
    yield "forgotten password"
    await page.goto(f"{demo.issuer}/account")
    await visitor.sign_in(demo.petra)
    await page.wait_for_selector("[name=code]")
    yield "sign-in, the second factor"
    visitor.refused = {400, 404}
    await page.goto(f"{demo.issuer}/oauth/authorize?client_id=nobody")
    yield "error"
    await page.goto(f"{demo.issuer}/nowhere")
    yield "not found"
    for slug, owner in (("client", demo.paul), ("administration", demo.ada)):
        await page.goto(f"{demo.issuer}/dashboards/{slug}")
        yield f"dashboard {slug}"
        await visitor.sign_in(owner)
        await page.wait_for_selector("#signed-in:not([hidden])")
        yield f"dashboard {slug}, signed in"


async def test_every_page_is_for_everybody_and_asks_no_stranger(demo: Demo, visit: Visit) -> None:
    visitor = await visit(viewport=PHONE)
    faults, seen = {}, []
    async for name in way(visitor):
        seen.append(name)
        if found := await barriers(visitor.page):
            faults[name] = found
    assert faults == {}
    assert len(seen) == len(set(seen)) >= 23
    assert visitor.hosts == demo.hosts


async def test_the_watch_notices_what_a_page_must_not_do(demo: Demo, visit: Visit) -> None:
    """The other tests prove nothing unless this one passes."""
    visitor = await visit()
    with pytest.raises(AssertionError, match="not recorded"):
        await visitor.heard()
    await visitor.page.goto(demo.issuer)
    for attempt in (
        "document.body.setAttribute('style', 'color: red')",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://elsewhere.example/a.png'}))",
        "console.warn('a warning')",
        "void Promise.reject(new Error('an error'))",
    ):
        before = len(visitor.complaints)
        async with visitor.context.expect_event("console" if "reject" not in attempt else "weberror"):
            await visitor.page.evaluate(attempt)
        assert len(visitor.complaints) > before, attempt
    assert visitor.hosts - demo.hosts == {"elsewhere.example"}
    visitor.complaints.clear()
    visitor.hosts.clear()

    await visitor.page.evaluate("""() => {
        const main = document.querySelector("main");
        main.innerHTML = "<input><button></button><img><p>words</p>";
        main.style.minWidth = "200vw";
        main.lastChild.style.cssText = "background: white; color: #888";
        document.documentElement.lang = "";
    }""")
    faults = " ".join(await barriers(visitor.page))
    for words in ("image-alt: <img>", "label: <input>", "button-name: <button>", "color-contrast: <p style="):
        assert words in faults
    for words in ("no language", "no label", "no name", "no alt", "not one heading", "wider", "contrast 3.5"):
        assert words in faults
