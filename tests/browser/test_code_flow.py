"""A third party gets authorized: sign-in, consent, tokens, and what becomes of them, on both databases."""

import pytest

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person
from tests.databases import BACKENDS

pytestmark = pytest.mark.parametrize("demo", BACKENDS, indirect=True, scope="module")


async def test_client_shows_the_token_answer_refreshes_and_revokes(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await visitor.connect(demo.person())
    assert await visitor.text("h1") == "Allow Paperboat to act for you?"
    profile = "See your name, your picture and the rest of your profile"
    expected = f"{profile}\nprofile\nLook through the catalog for you\ncatalog:read"
    assert await visitor.text("ul.entries") == expected
    await visitor.decide("approve")

    assert await visitor.text("#done") == "Connected."
    assert await visitor.text("#token-scope") == "profile catalog:read"
    assert await visitor.text("#token-token_type") == "Bearer"
    access, refresh = await visitor.text("#token-access_token"), await visitor.text("#token-refresh_token")
    assert await visitor.introspected() == "true"

    await visitor.page.click("#refresh-refresh_token")
    assert await visitor.text("#done") == "Refreshed."
    assert await visitor.text("#token-access_token") != access
    assert await visitor.text("#token-refresh_token") != refresh

    await visitor.page.click("#revoke-access_token")
    assert await visitor.text("#done") == "Revoked."
    assert await visitor.introspected() == "false"
    assert await visitor.introspected("refresh_token") == "true"

    await visitor.page.click("#revoke-refresh_token")
    assert await visitor.text("#done") == "Revoked."
    assert await visitor.introspected("refresh_token") == "false"
    await visitor.page.click("#refresh-refresh_token")
    assert "invalid_grant" in await visitor.text("#trouble")


async def test_the_application_says_who_signed_in(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await visitor.page.goto(demo.application)
    await visitor.page.click("#sign-in")
    await visitor.sign_in(demo.paul)
    await visitor.decide("approve")
    assert await visitor.text("#done") == "Signed in."
    assert await visitor.text("h1") == "Hello, Paul Baker"
    assert await visitor.text("#person-preferred_username") == "paul"
    assert await visitor.text("#token-scope") == "openid profile"


async def test_who_denies_gives_nothing_and_is_asked_again(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await visitor.connect(demo.person())
    await visitor.decide("deny")
    assert "access_denied" in await visitor.text("#trouble")
    assert await visitor.page.locator("#token").count() == 0

    await visitor.page.click("#connect")
    await visitor.page.wait_for_selector("button[name=decision]")


async def test_a_wrong_password_costs_neither_the_name_nor_the_request(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    visitor.refused = {401}
    await visitor.page.goto(demo.application)
    await visitor.page.click("#connect")
    await visitor.sign_in(Person(person.username, "wrong"))
    assert await visitor.text("#error") == "User name or password is wrong."
    assert await visitor.page.input_value("#username") == person.username
    assert await visitor.page.input_value("#password") == ""

    await visitor.sign_in(person)
    await visitor.decide("approve")
    assert await visitor.text("#done") == "Connected."


async def test_a_given_consent_is_remembered_until_it_is_withdrawn(demo: Demo, visit: Visit) -> None:
    visitor = await visit()
    await visitor.connect(demo.person())
    await visitor.decide("approve")
    first = await visitor.text("#token-access_token")

    await visitor.page.click("#connect")
    await visitor.page.wait_for_url(f"{demo.application}/")
    assert await visitor.text("#done") == "Connected."
    assert await visitor.text("#token-access_token") != first
    assert await visitor.introspected() == "true"

    await visitor.page.goto(f"{demo.issuer}/account/grants")
    assert "Paperboat" in await visitor.text("ul.entries")
    await visitor.page.click("button.takes")
    assert await visitor.text("[role=status]") == "Withdrawn. That application may not act for you any more."
    assert await visitor.page.locator("button.takes").count() == 0

    await visitor.page.goto(demo.application)
    assert await visitor.introspected() == "false"
    await visitor.page.click("#refresh-refresh_token")
    assert "invalid_grant" in await visitor.text("#trouble")

    await visitor.page.click("#connect")
    await visitor.decide("approve")
    assert await visitor.introspected() == "true"


async def test_everything_works_without_javascript(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(java_script_enabled=False), demo.person()
    await visitor.connect(person)
    await visitor.decide("deny")
    assert "access_denied" in await visitor.text("#trouble")
    await visitor.page.click("#connect")
    await visitor.decide("approve")
    assert await visitor.introspected() == "true"

    await visitor.page.goto(f"{demo.issuer}/account/grants")
    await visitor.page.click("button.takes")
    assert "Withdrawn" in await visitor.text("[role=status]")
    await visitor.page.goto(f"{demo.issuer}/account")
    assert person.username in await visitor.text("main")
    await visitor.page.click("text=Sign out")
    assert await visitor.text("h1") == "You are signed out"


async def test_who_is_somebody_else_signs_out_on_the_way_and_in_again(demo: Demo, visit: Visit) -> None:
    visitor, other = await visit(), demo.person()
    await visitor.connect(demo.person())
    await visitor.page.click("text=Not you?")
    # The request is still there: whoever signs in now is asked at once.
    await visitor.page.wait_for_selector("#username")
    await visitor.sign_in(other)
    await visitor.page.wait_for_selector("button[name=decision]")
    assert other.username in await visitor.text("dl.facts")
    await visitor.decide("approve")
    assert await visitor.text("#done") == "Connected."


async def test_the_keyboard_alone_is_enough_and_one_sees_where_one_is(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    keyboard = visitor.page.keyboard
    await visitor.page.goto(demo.application)
    await visitor.tab_to("#connect")
    await keyboard.press("Enter")
    await visitor.page.wait_for_selector("#username")
    await visitor.tab_to("#username")
    await keyboard.type(person.username)
    await visitor.tab_to("#password")
    await keyboard.type(person.password)
    await visitor.tab_to("button[type=submit]")
    await keyboard.press("Enter")
    await visitor.page.wait_for_selector("button[name=decision]")
    await visitor.tab_to("button[value=approve]")
    await keyboard.press("Enter")
    await visitor.page.wait_for_url(f"{demo.application}/")
    assert await visitor.text("#done") == "Connected."
