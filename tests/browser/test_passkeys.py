"""Passkeys in Chromium, by its virtual authenticator. Browsers allow none on an IP address: the demo is localhost."""

from collections.abc import Iterator

import pytest
from playwright.async_api import CDPSession

from tests.browser.conftest import Visit
from tests.browser.demonstration import Demo, Person, demonstration
from tests.browser.visitor import Visitor


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demonstration(tmp_path_factory.mktemp("demo"), host="localhost") as made:
        yield made


async def authenticator(visitor: Visitor) -> CDPSession:
    """Gives the visitor's page a device with a PIN, which answers by itself."""
    session = await visitor.context.new_cdp_session(visitor.page)
    await session.send("WebAuthn.enable")
    device = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": device})
    return session


async def enrolled(visitor: Visitor, person: Person) -> None:
    page, issuer = visitor.page, visitor.demo.issuer
    await page.goto(f"{issuer}/account/factors")
    await visitor.sign_in(person)
    await page.click("text=Set up a passkey")
    await page.fill("#name", "Telephone")
    await page.click("#passkey button")
    await page.wait_for_selector("code:has-text('-')")
    await page.goto(f"{issuer}/account/factors")
    assert "Telephone" in await visitor.text("ul.entries")


async def test_a_passkey_signs_in_alone_and_beside_a_password(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    await authenticator(visitor)
    await enrolled(visitor, person)

    await visitor.context.clear_cookies()
    await visitor.page.goto(f"{demo.issuer}/account")
    await visitor.page.click("#passkey button")
    await visitor.page.wait_for_url(f"{demo.issuer}/account?**")
    assert person.username in await visitor.text("main")

    await visitor.context.clear_cookies()
    await visitor.page.goto(f"{demo.issuer}/account")
    await visitor.sign_in(person)
    await visitor.page.wait_for_selector("#code")
    await visitor.page.click("#passkey button")
    await visitor.page.wait_for_url(f"{demo.issuer}/account?**")

    await visitor.context.clear_cookies()
    await visitor.page.goto(demo.application)
    await visitor.page.click("#connect")
    await visitor.page.click("#passkey button")
    await visitor.page.wait_for_selector("button[name=decision]")


async def test_a_passkey_at_a_dashboards_page(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    await authenticator(visitor)
    await enrolled(visitor, person)
    visitor.refused.add(403)
    await visitor.page.goto(f"{demo.issuer}/dashboards/client")
    await visitor.sign_in(person)
    await visitor.page.click("#use-passkey")
    await visitor.page.wait_for_selector("#signed-in:not([hidden])")
    assert await visitor.text("#status") == "You are signed in."


async def test_who_shows_none_goes_on_with_the_password(demo: Demo, visit: Visit) -> None:
    visitor, person = await visit(), demo.person()
    # A device on which there is no passkey of anybody's.
    await authenticator(visitor)
    await visitor.page.goto(f"{demo.issuer}/account")
    await visitor.page.click("#passkey button")
    assert await visitor.text("#passkey-error:not(:empty)") == "No passkey was shown. Try again, or go on without."
    await visitor.sign_in(person)
    await visitor.page.wait_for_url(f"{demo.issuer}/account?**")
