"""The dashboards' own pages: a name and a password are all that a browser ever sends, and no client is ever named."""

import asyncio
import json
import time
from typing import Any

import pytest

from security.second_factors import step_at, totp_code
from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person, spellings
from tests.browser.visitor import Visitor

SCOPE = {
    "client": {"profile", "catalog:read"},
    "administration": {
        *("profile", "clients:read", "clients:write", "people:read", "people:write", "grants:read", "grants:write"),
        *("audit:read", "audit:personal", "leaks:read", "leaks:write", "keys:read", "keys:write", "introspect"),
    },
}
WRONG = "User name or password is wrong."


def owner(demo: Demo, slug: str) -> Person:
    return {"client": demo.paul, "administration": demo.ada}[slug]


async def signed_in(visitor: Visitor, slug: str, person: Person) -> None:
    await visitor.page.goto(f"{visitor.demo.issuer}/dashboards/{slug}")
    await visitor.sign_in(person)
    await visitor.page.wait_for_selector("#signed-in:not([hidden])")


@pytest.mark.parametrize("slug", SCOPE)
async def test_sign_in_refresh_sign_out_without_a_client_on_the_wire(demo: Demo, visit: Visit, slug: str) -> None:
    hidden = spellings(*demo.hidden(slug))
    visitor = await visit(recorded=True)
    await signed_in(visitor, slug, owner(demo, slug))
    assert await visitor.text("#status") == "You are signed in."
    assert await visitor.page.locator("#scope li").count() == len(SCOPE[slug])
    # What one may is told in words, and the way to the console is where there is something to do.
    assert not SCOPE[slug] & set(await visitor.page.locator("#scope li").all_inner_texts())
    assert await visitor.page.locator("a[href='/console/']").count() == (slug == "administration")

    await visitor.page.click("#refresh")
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    await visitor.page.reload()
    # The page has forgotten its token; the cookie, which no script can read, brings another.
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    assert await visitor.page.locator("#scope li").count() == len(SCOPE[slug])

    await visitor.page.click("#sign-out")
    await visitor.page.wait_for_selector("#signed-out:not([hidden])")
    assert await visitor.text("#status") == "You are signed out."
    assert await visitor.context.cookies() == []
    await visitor.page.reload()
    assert await visitor.page.is_visible("#username")

    traffic = await visitor.heard()
    assert {"login", "refresh", "logout"} <= {each.url.rpartition("/")[2] for each in traffic}
    assert any(b'"access_token"' in each.received for each in traffic)
    for each in traffic:
        for secret in hidden:
            assert secret not in each.sent + each.received, each.url


@pytest.mark.parametrize("slug", SCOPE)
async def test_the_other_ones_people_are_refused(demo: Demo, visit: Visit, slug: str) -> None:
    other = owner(demo, "client" if slug == "administration" else "administration")
    visitor = await visit(recorded=True)
    visitor.refused = {401}
    await visitor.page.goto(f"{demo.issuer}/dashboards/{slug}")
    await visitor.sign_in(other)
    await visitor.page.wait_for_selector(f"#error:has-text('{WRONG}')")
    assert not await visitor.page.is_visible("#signed-in")
    assert await visitor.page.input_value("#username") == other.username
    assert await visitor.page.input_value("#password") == ""
    assert await visitor.context.cookies() == []
    traffic = await visitor.heard()
    assert not any(b"access_token" in each.received for each in traffic if each.url.endswith("/login"))

    # The right person signs in on the very same page.
    await visitor.sign_in(owner(demo, slug))
    await visitor.page.wait_for_selector("#signed-in:not([hidden])")
    assert await visitor.page.inner_text("#error") == ""


async def test_what_ada_got_registers_a_client_and_rotates_its_secret(demo: Demo, visit: Visit) -> None:
    visitor = await visit(recorded=True)
    await signed_in(visitor, "administration", demo.ada)
    answer = next(each for each in await visitor.heard() if each.url.endswith("/login")).received
    token = json.loads(answer[answer.index(b"{") :])["access_token"]

    body = {"client_name": "Kites", "redirect_uris": ["https://kites.example/callback"], "scope": "profile"}
    client = demo.call("POST", "/admin/clients", body, token)
    rotated = demo.call("POST", f"/admin/clients/{client['client_id']}/secrets", {}, token)
    assert rotated["client_secret"] != client["client_secret"]
    assert rotated["secret"]["version"] == 2


async def test_token_is_in_no_storage_and_cookie_is_http_only(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await signed_in(visitor, "client", demo.person())
    (cookie,) = await visitor.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("grantlog-client", True, "Strict")
    reach = "[document.cookie, localStorage.length, sessionStorage.length, document.body.innerHTML.includes('glog_')]"
    assert await visitor.page.evaluate(reach) == ["", 0, 0, False]


async def test_two_tabs_that_refresh_at_once_both_stay_signed_in(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await signed_in(visitor, "client", demo.person())
    second = await visitor.context.new_page()
    await second.goto(visitor.page.url)
    await second.wait_for_selector("#signed-in:not([hidden])")
    for _ in range(2):
        await visitor.page.click("#refresh")
        await second.click("#refresh")
        for page in (visitor.page, second):
            await page.wait_for_selector("#status:has-text('Your access was refreshed.')")
            assert await page.is_visible("#signed-in")


REFRESHES = """async ([url, tabs, turns]) => {
    const statuses = [];
    for (let turn = 0; turn < turns; turn += 1) {
        // Not by the page's own script, which would take turns.
        const tab = () => fetch(url, { method: "POST", headers: { "X-Grantlog": "1" } });
        const answers = Array.from({ length: tabs }, tab);
        for (const answer of await Promise.all(answers)) {
            await answer.text();
            statuses.push(answer.status);
        }
    }
    return statuses;
}"""


@pytest.mark.parametrize("tabs", [2, 3, 6])
async def test_whichever_answer_the_browser_keeps_nobody_is_signed_out(demo: Demo, visit: Visit, tabs: int) -> None:
    visitor = await visit()
    await signed_in(visitor, "client", demo.person())
    url = f"{demo.issuer}/dashboards/client/refresh"
    assert await visitor.page.evaluate(REFRESHES, [url, tabs, 40]) == [200] * (tabs * 40)
    await visitor.page.click("#refresh")
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")


async def test_a_page_holds_the_lock_while_its_cookie_is_on_the_way(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await signed_in(visitor, "client", demo.person())
    name = "grantlog /dashboards/client/refresh"
    held = "name => navigator.locks.request(name, () => new Promise(done => { window.letGo = done; }))"
    second = await visitor.context.new_page()
    await second.goto(visitor.page.url)
    await second.wait_for_selector("#signed-in:not([hidden])")
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    holding = asyncio.ensure_future(second.evaluate(held, name))
    # The pages' own policy lets nobody wait by what the browser would have to evaluate.
    while not await second.evaluate("window.letGo !== undefined"):
        await asyncio.sleep(0)
    await visitor.page.click("#refresh")
    while not await visitor.page.evaluate("navigator.locks.query().then(found => found.pending.length)"):
        await asyncio.sleep(0)
    assert asked == []
    await second.evaluate("window.letGo()")
    await holding
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    assert [each for each in asked if "userinfo" not in each] == [f"{demo.issuer}/dashboards/client/refresh"]


ELSEWHERE = """async ([issuer, token, path, method, body]) => {
    const headers = { Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(issuer + path, { method, headers, body: body && JSON.stringify(body) });
    const read = ["X-Request-Id", "WWW-Authenticate", "Location"].map((name) => answer.headers.get(name));
    return [answer.status, await answer.json(), ...read];
}"""
SIGN_IN = """async ([issuer, slug, username, password]) => {
    const answer = await fetch(`${issuer}/dashboards/${slug}/login`, {
        method: "POST", credentials: "include", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ username, password }),
    });
    return (await answer.json()).access_token;
}"""


async def test_page_on_another_port_administers_with_its_token(demo: Demo, visit: Visit) -> None:
    # The page that stands there allows itself to talk to nobody.
    visitor = await visit(bypass_csp=True)
    visitor.refused |= {401, 403, 404}
    slug, ada = "administration", demo.ada
    signing_in = {"username": ada.username, "password": ada.password}
    administrator = demo.http.post(f"{demo.issuer}/dashboards/{slug}/login", json=signing_in).json()["access_token"]
    before = demo.call("GET", f"/admin/dashboards/{slug}", token=administrator)
    origins = [*before["allowed_origins"], demo.application]
    demo.call("PATCH", f"/admin/dashboards/{slug}", {"allowed_origins": origins}, administrator)
    await visitor.page.goto(demo.application)

    token = await visitor.page.evaluate(SIGN_IN, [demo.issuer, slug, ada.username, ada.password])

    async def ask(path: str, method: str = "GET", body: object = None, by: str = token) -> list[Any]:
        answer: list[Any] = await visitor.page.evaluate(ELSEWHERE, [demo.issuer, by, path, method, body])
        return answer

    status, found, request_id, _, _ = await ask("/admin/clients?limit=1")
    assert (status, len(found["items"]), bool(request_id)) == (200, 1, True)
    status, made, _, _, location = await ask(
        "/admin/clients", "POST", {"client_name": "Kites", "redirect_uris": ["https://kites.example/callback"]}
    )
    assert (status, location) == (201, f"/admin/clients/{made['client_id']}")
    status, refused, _, challenge, _ = await ask("/admin/clients", by="glog_at_nonsense")
    assert (status, refused["status"]) == (401, 401)
    assert challenge.startswith('Bearer error="invalid_token", resource_metadata="')
    status, refused, *_ = await ask("/admin/nothing")
    assert (status, refused["detail"]) == (404, "Nothing has this address.")


async def test_the_keyboard_alone_is_enough(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    keyboard = visitor.page.keyboard
    await visitor.page.goto(f"{demo.issuer}/dashboards/client")
    await visitor.tab_to("#username")
    await keyboard.type(person.username)
    await visitor.tab_to("#password")
    await keyboard.type(person.password)
    await keyboard.press("Enter")
    await visitor.page.wait_for_selector("#signed-in:not([hidden])")
    await visitor.tab_to("#refresh")
    await keyboard.press("Space")
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    await visitor.tab_to("#sign-out")
    await keyboard.press("Enter")
    await visitor.page.wait_for_selector("#signed-out:not([hidden])")


async def test_without_javascript_the_page_says_so_and_signs_nobody_in(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(java_script_enabled=False), demo.person()
    await visitor.page.goto(f"{demo.issuer}/dashboards/client")
    assert "This page needs JavaScript" in await visitor.text("noscript")
    await visitor.sign_in(person)
    assert "You are not signed in" in await visitor.text("#error")
    assert await visitor.context.cookies() == []
    assert person.password not in visitor.page.url


async def test_a_second_factor_is_asked_for(demo: Demo, visit: Visit) -> None:
    person, visitor = demo.person(), await visit()
    await visitor.page.goto(f"{demo.issuer}/account/factors?realm=platform")
    await visitor.sign_in(person)
    await visitor.page.click("text=Set up a generator")
    secret = (await visitor.text("code.figures")).replace(" ", "")
    await visitor.page.fill("#code", totp_code(secret, step_at(int(time.time() * 1_000_000))))
    await visitor.page.click("main form button[type=submit]")
    recovery_code = await visitor.text("li code.figures")
    visitor.refused = {403}
    await visitor.page.goto(f"{demo.issuer}/dashboards/client")
    await visitor.sign_in(person)
    await visitor.page.wait_for_selector("#factor:not([hidden])")
    assert not await visitor.page.is_visible("#password")
    await visitor.page.fill("#code", "000000")
    await visitor.page.click("#factor button")
    await visitor.page.wait_for_selector("#error:has-text('That code is wrong')")
    await visitor.page.fill("#code", recovery_code)
    await visitor.page.click("#factor button")
    await visitor.page.wait_for_selector("#signed-in:not([hidden])")
    assert await visitor.text("#status") == "You are signed in."
    assert await visitor.page.inner_text("#error") == ""
