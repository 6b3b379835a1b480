"""The dashboards' own pages: a name and a password are all that a browser ever sends, and no client is ever named."""

import json

import pytest

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person, spellings
from tests.browser.visitor import Visitor

SCOPE = {
    "client": {"profile", "catalog:read"},
    "administration": {
        *("profile", "clients:read", "clients:write", "people:read", "people:write", "grants:read", "grants:write"),
        *("audit:read", "audit:personal", "leaks:read", "leaks:write", "keys:write", "introspect"),
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
async def test_sign_in_refresh_and_sign_out_without_a_client_on_the_wire(demo: Demo, visit: Visit, slug: str) -> None:
    hidden = spellings(*demo.hidden(slug))
    visitor = await visit()
    await signed_in(visitor, slug, owner(demo, slug))
    assert await visitor.text("#status") == "You are signed in."
    assert set((await visitor.text("#scope")).split()) == SCOPE[slug]

    await visitor.page.click("#refresh")
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    await visitor.page.reload()
    # The page has forgotten its token; the cookie, which no script can read, brings another.
    await visitor.page.wait_for_selector("#status:has-text('Your access was refreshed.')")
    assert set((await visitor.text("#scope")).split()) == SCOPE[slug]

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
    visitor = await visit()
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
    visitor = await visit()
    await signed_in(visitor, "administration", demo.ada)
    answer = next(each for each in await visitor.heard() if each.url.endswith("/login")).received
    token = json.loads(answer[answer.index(b"{") :])["access_token"]

    body = {"client_name": "Kites", "redirect_uris": ["https://kites.example/callback"], "scope": "profile"}
    client = demo.call("POST", "/admin/clients", body, token)
    rotated = demo.call("POST", f"/admin/clients/{client['client_id']}/secrets", {}, token)
    assert rotated["client_secret"] != client["client_secret"]
    assert rotated["secret"]["version"] == 2


async def test_the_token_is_in_no_storage_and_the_cookie_out_of_reach_of_scripts(demo: Demo, visit: Visit) -> None:
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
