"""Whatever the console can do, the API decides who may: an auditor changes nothing by any of its forms."""

import asyncio
import re

from api.console.session import COOKIE, SignedIn
from api.routes import CONSOLE
from commands.console.console_sessions import find_session
from commands.servers import AUDITING, READING
from security.tokens import digest
from tests.scenarios.browser import Browser
from tests.scenarios.console.way_in import at_console, enable_console
from tests.scenarios.world import World

OWN = {"sec-fetch-site": "same-origin"}
ASKING = {"find", "audit/line", "people/find", "theme", "sign-out"}
"""Forms that change nothing of anybody's but how one looks at it."""

OPEN = {"/console/sign-in", "/console/callback", "/console/signed-out"}

NAMES = {"sha256": "0" * 64, "what": "tokens"}

FORMS = sorted(
    path
    for handler in CONSOLE
    if "POST" in handler.http_methods
    for path in handler.paths
    if path.removeprefix("/console/") not in ASKING
)


async def whose(world: World, browser: Browser) -> SignedIn:
    """The session behind a browser's cookie, from which its forms' tokens come."""
    sha256 = digest(browser.cookies[COOKIE])
    kept = await find_session(world.services.ledger, sha256)
    assert kept is not None
    return SignedIn(sha256, kept.session)


async def test_auditor_changes_nothing_by_any_form(world: World) -> None:
    browser, _ = await at_console(world, *AUDITING, *READING)
    who = await whose(world, browser)
    shop = await world.register_client("Photo Prints")
    paul = await world.register_person("paul", roles_of=())
    about = {
        **dict.fromkeys(("client_id", "id", "name"), shop.client_id),
        **dict.fromkeys(("account_id", "person_id", "assignee", "username"), paul.account_id),
        **dict.fromkeys(("secret_id", "grant_id", "session_id", "incident_id", "version"), shop.client_id),
        **dict.fromkeys(("state", "to", "act", "action", "do"), "disable"),
        **{
            "realm": "platform",
            "role": "member",
            "scope": "orders",
            "scopes": "orders",
            "text": "x",
            "client": "x",
            "password": "x" * 20,
        },
    }
    before = await world.head()
    assert len(FORMS) > 15
    for path in FORMS:
        answer = await browser.client.post(path, data={**about, "csrf": who.form_token(path)}, headers=OWN)
        # A form that first says what it would do may say so.
        assert answer.status_code in (200, 400, 403, 404), (path, answer.status_code)
    assert [each for each in await world.types_after(before) if not each.startswith("audit.")] == []


async def test_every_page_wants_the_console_s_cookie(world: World) -> None:
    await enable_console(world)
    before = await world.head()
    paths = {path for handler in CONSOLE if "GET" in handler.http_methods for path in handler.paths}
    for path in sorted(paths - OPEN):
        answer = await world.client.get(re.sub(r"\{(\w+)[^}]*\}", lambda name: NAMES.get(name[1], "1"), path))
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/sign-in?"), path
    assert await world.types_after(before) == []


async def test_forms_without_their_own_token_are_refused(world: World) -> None:
    browser, _ = await at_console(world, *AUDITING)
    who = await whose(world, browser)
    before = await world.head()
    for path in FORMS:
        own, other = {"csrf": who.form_token(path)}, {"csrf": who.form_token("/console/theme")}
        await browser.client.post(path, data=other, headers=OWN)
        answer = await browser.client.post(path, data=own, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code in (400, 403), path
    # Nothing was even asked.
    assert await world.head() == before


async def test_two_tabs_share_one_refresh(world: World) -> None:
    browser, _ = await at_console(world, *AUDITING)
    world.clock.advance(590)
    answers = await asyncio.gather(*(browser.client.get("/console/audit") for _ in range(5)))
    assert [each.status_code for each in answers] == [200] * 5
    assert len(await world.events("grant.tokens_refreshed")) == 1
    assert not await world.events("grant.refresh_replayed")
