"""Every page, in light and dark and on a phone: what it says to those who cannot see it, and whom it talks to."""

from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person
from tests.browser.visitor import Visitor

PHONE = {"width": 320, "height": 568}
"""The narrowest that WCAG 2.2 §1.4.10 asks for."""

LEAST_CONTRAST = 4.5
"""WCAG 2.2 §1.4.3."""

FAULTS = """least => {
    const faults = [], all = selector => [...document.querySelectorAll(selector)];
    const told = element => element.outerHTML.slice(0, 90);
    if (document.documentElement.lang !== "en") faults.push("no language");
    if (!document.title) faults.push("no title");
    if (all("h1").length !== 1 || all("main").length !== 1) faults.push("not one heading and one main part");
    for (const input of all("input:not([type=hidden])"))
        if (![...input.labels].some(label => label.textContent.trim())) faults.push("no label: " + told(input));
    for (const image of all("img")) if (!image.hasAttribute("alt")) faults.push("no alt: " + told(image));
    for (const named of all("a, button, summary"))
        if (!named.textContent.trim()) faults.push("no name: " + told(named));
    for (const name of ["aria-labelledby", "aria-describedby"])
        for (const element of all(`[${name}]`))
            if (element.getAttribute(name).split(" ").some(id => !document.getElementById(id)))
                faults.push("leads nowhere: " + told(element));
    const ids = all("[id]").map(element => element.id);
    if (new Set(ids).size !== ids.length) faults.push("an id twice");
    if (document.documentElement.scrollWidth > innerWidth)
        faults.push("wider than the screen by " + (document.documentElement.scrollWidth - innerWidth));

    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    for (const element of all("body *")) {
        const speaks = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!speaks || !element.checkVisibility()) continue;
        const [one, other] = [light(parts(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < least) faults.push(`contrast ${contrast.toFixed(1)}: ` + told(element));
    }
    return faults;
}"""


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
    for name in ("password", "places", "history", "data"):
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_for_everybody_and_fits_a_phone(visit: Visit, scheme: str) -> None:
    visitor = await visit(color_scheme=scheme, viewport=PHONE)
    faults = {}
    async for name in way(visitor):
        found = await visitor.page.evaluate(FAULTS, LEAST_CONTRAST)
        # All of axe-core's rules; it would load style sheets itself, which the policy forbids it and tells of.
        report = (await Axe().run(visitor.page, options={"preload": False})).response
        found += [f"{each['id']}: {each['nodes'][0]['html'][:90]}" for each in report["violations"]]
        if found:
            faults[name] = found
    assert faults == {}


async def test_no_page_asks_another_host_for_anything(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    seen = [name async for name in way(visitor)]
    assert len(seen) == len(set(seen)) >= 19
    assert visitor.hosts == demo.hosts


async def test_the_watch_notices_what_a_page_must_not_do(demo: Demo, visit: Visit) -> None:
    """The other tests prove nothing unless this one passes."""
    visitor = await visit()
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
    faults = " ".join(await visitor.page.evaluate(FAULTS, LEAST_CONTRAST))
    for words in ("no language", "no label", "no name", "no alt", "not one heading", "wider", "contrast 3.5"):
        assert words in faults
