"""`grantlog.js` in Chromium: one refresh for all tabs, a sign-out that every tab hears of, and a timer that renews."""

from typing import Any

from playwright.async_api import Page

from tests.browser.conftest import Visit
from tests.browser.demonstration import PASSWORD, Demo
from tests.browser.visitor import Visitor

OPEN = """url => {
    window.session = grantlog.dashboard(url);
    window.heard = [];
    for (const name of ["tokens", "signed-out"]) session.addEventListener(name, () => heard.push(name));
}"""
HEARD = """name => new Promise(done => {
    if (heard.includes(name)) done();
    else session.addEventListener(name, () => done(), { once: true });
})"""


async def tab(visitor: Visitor, page: Page | None = None) -> Page:
    """A page of the dashboard's origin that has loaded the library."""
    page = page or await visitor.context.new_page()
    await page.goto(f"{visitor.demo.issuer}/dashboards/client")
    await page.add_script_tag(url=f"{visitor.demo.issuer}/static/grantlog.js")
    await page.evaluate(OPEN, f"{visitor.demo.issuer}/dashboards/client")
    return page


async def tabs(demo: Demo, visitor: Visitor) -> tuple[Page, Page, list[str]]:
    """Two, in the first of which somebody has signed in; and the requests for new tokens, begun and ended."""
    first, second = await tab(visitor, visitor.page), await tab(visitor)
    person = demo.person()
    body = {"username": person.username, "password": PASSWORD}
    answer: dict[str, Any] = await first.evaluate("body => session.signIn(body)", body)
    assert answer["token_type"] == "Bearer"
    await second.evaluate(HEARD, "tokens")
    asked: list[str] = []

    def note(what: str, url: str) -> None:
        if url.endswith("/refresh"):
            asked.append(what)

    visitor.context.on("request", lambda request: note("begun", request.url))
    visitor.context.on("requestfinished", lambda request: note("ended", request.url))
    return first, second, asked


async def test_a_sign_in_is_every_tabs(demo: Demo, visit: Visit) -> None:
    first, second, asked = await tabs(demo, await visit())
    tokens = [await page.evaluate("session.token()") for page in (first, second)]
    assert tokens[0] == tokens[1] is not None
    assert asked == []
    url = f"{demo.issuer}/oauth/userinfo"
    assert "sub" in await second.evaluate("async url => (await session.fetch(url)).json()", url)
    storage = "[localStorage.length, sessionStorage.length, document.cookie]"
    assert await first.evaluate(storage) == [0, 0, ""]


ASKED = """async ([url, elsewhere]) => {
    const session = grantlog.dashboard(url, { origins: [elsewhere[0]] });
    const token = await session.token();
    const found = [];
    window.fetch = async (resource, options = {}) => {
        const request = new Request(resource, options);
        found.push(request.headers.get("authorization") === `Bearer ${token}` ? "token" : [...request.headers].join());
        return new Response("{}");
    };
    await session.fetch("/oauth/userinfo");
    for (const each of elsewhere) await session.fetch(each);
    await session.fetch(new Request(elsewhere[0], { headers: { accept: "text/plain" } }));
    await session.fetch(new Request(elsewhere[1], { headers: { accept: "text/plain" } }));
    return found;
}"""


async def test_the_token_goes_to_no_other_origin(demo: Demo, visit: Visit) -> None:
    first, _, _ = await tabs(demo, await visit())
    elsewhere = ["https://listed.example/a", "https://listed.example.evil.example/b"]
    given = [f"{demo.issuer}/dashboards/client", elsewhere]
    assert await first.evaluate(ASKED, given) == ["token", "token", "", "token", "accept,text/plain"]


async def test_two_tabs_do_not_refresh_at_once(demo: Demo, visit: Visit) -> None:
    first, second, asked = await tabs(demo, await visit())
    before = await first.evaluate("session.token()")
    begun = [await page.evaluate_handle("({ done: session.refresh() })") for page in (first, second)]
    assert [await each.evaluate("each => each.done") for each in begun] == [True, True]
    tokens = [await page.evaluate("session.token()") for page in (first, second)]
    assert before not in tokens
    assert asked in (["begun", "ended"], ["begun", "ended"] * 2)


async def test_a_sign_out_is_every_tabs(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    first, second, _ = await tabs(demo, visitor)
    assert await first.evaluate("session.signOut()") is True
    await second.evaluate(HEARD, "signed-out")
    assert await second.evaluate("session.scope") is None
    assert await visitor.context.cookies() == []


async def test_the_timer_renews_before_the_end(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.clock.install()
    page = await tab(visitor, visitor.page)
    person = demo.person()
    body = {"username": person.username, "password": PASSWORD}
    answer: dict[str, Any] = await page.evaluate("body => session.signIn(body)", body)
    async with page.expect_response(lambda response: response.url.endswith("/refresh")) as renewed:
        await page.clock.fast_forward(answer["expires_in"] * 900)
    assert (await renewed.value).status == 200
