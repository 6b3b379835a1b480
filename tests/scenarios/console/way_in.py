"""Somebody at the console: its client, their roles, and the way in."""

from commands.console import console_client
from commands.servers import ADMINISTRATION_SCOPES
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import SYSTEM, Person, World

AUTHORIZE = "/oauth/authorize"


async def enable_console(world: World) -> None:
    """What an installation makes: the scopes, and the client."""
    await world.define_scopes(*ADMINISTRATION_SCOPES)
    await console_client.enable(world.services.ledger, world.services.format, world.settings.issuer, SYSTEM)


async def person_with(world: World, *scopes: str, username: str = "ada") -> Person:
    """An administrator whose one role has these scopes."""
    await world.define_role("administration", f"of-{username}", *scopes)
    return await world.register_person(username, realm="administration", roles_of=(f"of-{username}",))


async def sign_in(browser: Browser, person: Person, address: str = "/console/") -> Page:
    """Opens a page of the console, signs in and allows it what it asks for; the page that comes of it."""
    page = await browser.open(address)
    page = await browser.press(page, f"{AUTHORIZE}/sign-in", **person.typed)
    if any(form.action.startswith(f"{AUTHORIZE}/consent") for form in page.forms):
        page = await browser.press(page, f"{AUTHORIZE}/consent", ("decision", "approve"))
    return page


async def at_console(world: World, *scopes: str, username: str = "ada") -> tuple[Browser, Page]:
    """A browser of somebody with these scopes, and the console's first page in it."""
    await enable_console(world)
    browser = world.browser()
    return browser, await sign_in(browser, await person_with(world, *scopes, username=username))
