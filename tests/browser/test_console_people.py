"""Clients, people, roles and grants in the console: without script, and nothing unasked."""

import pytest
from playwright.async_api import Page

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person
from tests.browser.visitor import Visitor

BACKENDS = ["sqlite", "postgresql"]
pytestmark = pytest.mark.parametrize("demo", BACKENDS, indirect=True, scope="module")


async def at_console(visitor: Visitor, person: Person, path: str) -> Page:
    """A page of the console, after the sign-in."""
    page = visitor.page
    await page.goto(visitor.demo.issuer + path)
    await visitor.sign_in(person)
    if await page.locator("button[name=decision]").count():
        await page.click("button[name=decision][value=approve]")
    await page.wait_for_selector("nav.places")
    return page


async def test_person_is_found_signed_out_and_erased_without_script(demo: Demo, visit: Visit) -> None:
    visitor = await visit(recorded=True, java_script_enabled=False)
    person = demo.person()
    page = await at_console(visitor, demo.ada, "/console/people")
    await page.fill("#text", person.username)
    await page.click("button:has-text('Find') >> nth=1")
    await page.wait_for_selector("#did")
    address = page.url
    assert person.username not in address
    await page.click("button:has-text('Erase')")
    await page.fill("#typed", person.username)
    await page.click("button.takes:has-text('Erase')")
    await page.wait_for_selector("h1:has-text('Somebody who was erased')")
    assert page.url == address
    # What was typed went to the server alone, as a form.
    assert not [each for each in await visitor.heard() if person.username in each.url]


async def test_secret_is_shown_once_and_no_token_reaches_the_browser(demo: Demo, visit: Visit) -> None:
    visitor = await visit(recorded=True)
    made = demo.call(
        "POST",
        "/admin/clients",
        {"client_name": f"Night job {id(visitor)}", "grant_types": ["client_credentials"], "scope": "catalog:read"},
    )
    page = await at_console(visitor, demo.ada, f"/console/clients/{made['client_id']}")
    await page.select_option("#others", "now")
    await page.click("button:has-text('Make a new secret')")
    secret = await visitor.text("pre code")
    assert secret.startswith("glog_cs_")
    assert secret != made["client_secret"]
    await page.click("text=I have stored it")
    await page.wait_for_selector("svg.bars")
    holding = [each.url for each in await visitor.heard() if secret.encode() in each.received + each.sent]
    assert holding == [f"{demo.issuer}/console/clients/rotate"]
    for each in await visitor.heard():
        assert b"glog_at_" not in each.sent + each.received
        assert b"glog_rt_" not in each.sent + each.received
    assert await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"


async def test_role_that_is_taken_away_is_felt_at_the_next_click(demo: Demo, visit: Visit) -> None:
    name = f"reader{id(visit)}"
    made = {"realm": "administration", "username": name, "password": "correct horse battery staple"}
    demo.call("PUT", f"/admin/roles/administration/{name}", {"scopes": ["clients:read", "audit:read"]})
    person = demo.call("POST", "/admin/people", made | {"roles": [name]})
    visitor = await visit()
    page = await at_console(visitor, Person(name, made["password"]), "/console/clients")
    assert await page.locator("tbody tr").count()
    live = await visitor.context.new_page()
    await live.goto(f"{demo.issuer}/console/live")
    await live.wait_for_selector("text=Following.")
    demo.call("PATCH", f"/admin/people/{person['id']}", {"roles": []})
    visitor.refused = {401, 403}
    await live.wait_for_selector("text=Not following", timeout=60_000)
    await live.close()
    await page.goto(f"{demo.issuer}/console/clients")
    assert not await page.locator("tbody tr").count()
