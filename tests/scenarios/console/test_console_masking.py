"""While personal values are masked no page has a person's name or address, nor their id but for its ends."""

import re
from hashlib import sha256
from html import unescape

import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.browser import Page
from tests.scenarios.console.way_in import at_console, enable_console, person_with, sign_in
from tests.scenarios.histories import lived
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

SCOPES = ("clients:read", "grants:read", "audit:read", "audit:personal", "leaks:read", "leaks:write")
DESK, CONTAIN = "/console/leaks", "/console/leaks/contain"


def seen(page: Page) -> str:
    """What a page shows: not where its links lead, what its forms hold, or whose page it is."""
    main = re.search(r"<main.*?</main>", page.text, re.DOTALL)
    assert main is not None
    return unescape(re.sub(r"<code data-receipt>.*?</code>|<[^>]*>", " ", main[0], flags=re.DOTALL))


async def test_masked_pages_show_nobody(scene: Scene) -> None:
    world = scene.world
    browser, _ = await at_console(world, *SCOPES)
    past = await lived(scene)
    secret = scene.shop.secret or ""
    token, own = (sha256(raw.encode()).hexdigest() for raw in (past.tokens["access_token"], secret))
    found = await browser.press(await browser.open(DESK), DESK, text=f"{past.tokens['access_token']} {secret}")
    done = await browser.press(found, CONTAIN, ("do", "contain"), evidence=f"told by {scene.person.email}")
    (incident,) = {each.stream.partition(":")[2] for each in await world.events("incident.*")}
    issued, (registered, *_) = await world.events("grant.code_issued"), await world.events("account.registered")
    addresses = [
        *("/console/", "/console/audit?range=all", f"/console/audit?account_id={scene.person.account_id}"),
        *(f"/console/events/{each.position}" for each in (*issued, registered)),
        *(f"/console/tokens/{token}", f"/console/clients/{scene.shop.client_id}", "/console/clients"),
        *("/console/grants", "/console/incidents", f"/console/incidents/{incident}", "/console/log"),
        *(f"{DESK}/{own}/{each}" for each in ("tokens", "people", "addresses", "events")),
    ]
    (ada,) = {each.event.account_id for each in await world.events("session.started")} - {scene.person.account_id}
    personal = (scene.person.username, scene.person.email, "192.0.2.7", "ada@", scene.person.account_id, ada)
    before, told = await world.head(), [seen(found), seen(done)]
    for address in addresses:
        page = await browser.open(address)
        assert page.status == 200, address
        told.append(seen(page).replace("person:paul", "an example"))
        assert [each for each in personal if each in told[-1]] == [], address
    assert [each for each in personal if each in told[0] + told[1]] == []
    assert not any(getattr(each.event, "unsealed", False) for each in await world.events("audit.read", after=before))
    assert any(f"person {ada[:4]}…{ada[-4:]}" in each for each in told)
    # Of what kind somebody is stands there once.
    assert [each for each in told if re.search(r"…\w+\s+\(person\)|\(system\)|\(anonymous\)", each)] == []
    kept = await browser.press(await browser.press(found, CONTAIN, ("show", "1")), CONTAIN, ("do", "try"))
    assert "nobody is named" in kept.text
    shown = seen(await browser.open(f"/console/incidents/{incident}?show=1"))
    assert scene.person.email in shown
    assert any(each.event.unsealed for each in await world.events("audit.read", after=before))


async def test_owners_are_shown_to_who_may_see_them(world: World, job: Client) -> None:
    await enable_console(world)
    admin, owner = await administering(world), "owner@partner.example"
    ok(await admin.patch(f"/admin/clients/{job.client_id}", json={"owner": owner}))
    for username, scopes in (("ada", ("clients:read",)), ("eve", ("clients:read", "audit:personal"))):
        browser = world.browser()
        await sign_in(browser, await person_with(world, *scopes, username=username))
        for address in ("/console/clients", f"/console/clients/{job.client_id}"):
            masked = (await browser.open(address)).text
            assert owner not in masked
            # Nobody is told of an event that nothing records.
            assert "That you did so is an event" not in masked
            assert (owner in (await browser.open(f"{address}?show=1")).text) == ("audit:personal" in scopes), address
