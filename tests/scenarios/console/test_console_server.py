"""The console's pages about the server itself, and the log as it grows."""

import re

from commands.servers import ADMINISTRATION_SCOPES
from eventstore.transparency.published import Diverged
from tests.scenarios.console.way_in import at_console
from tests.scenarios.world import World

HOOK = {"kind": "webhook", "url": "https://pager.example/hook", "types": ["client.*"]}


async def test_health_and_settings_are_those_of_the_api(world: World) -> None:
    browser, page = await at_console(world, "keys:read")
    assert 'href="/console/health"' in page.text
    assert 'href="/console/audit"' not in page.text
    health = await browser.open("/console/health")
    assert "Everything is in order" in health.text
    assert "event index" in health.text
    settings = await browser.open("/console/settings")
    assert "GRANTLOG_ACCESS_TOKEN_LIFETIME" in settings.text


async def test_who_lacks_the_scope_is_told_which(world: World) -> None:
    browser, _ = await at_console(world, "clients:read")
    for path, scope in (("/console/health", "keys:read"), ("/console/audit", "audit:read")):
        page = await browser.open(path)
        assert page.status == 403
        assert f"<code>{scope}</code>" in page.text


async def test_destination_is_sent_a_test_and_shows_what_came_of_it(world: World) -> None:
    browser, _ = await at_console(world, "leaks:write", "audit:read", "audit:personal")
    page = await browser.open("/console/notifications")
    assert "Nobody is told of anything" in page.text
    bearer = {"authorization": f"Bearer {await world.token('leaks:write')}"}
    made = await world.client.put("/admin/notifications/destinations/pager", json=HOOK, headers=bearer)
    assert made.status_code == 201, made.text
    page = await browser.open("/console/notifications?of=pager")
    assert "Everything has been delivered" in page.text
    tested = await browser.press(page, "/console/notifications/test")
    assert "The test message to pager was not delivered" in tested.text


async def test_stream_is_the_persons_own_and_ends_with_the_server(world: World) -> None:
    browser, _ = await at_console(world, "audit:read")
    page = await browser.open("/console/live?type=client.*")
    assert 'data-stream="/console/live/stream?type=client.%2A"' in page.text
    assert not await world.events("audit.stream_opened")
    head = await browser.client.head("/console/live/stream?type=client.*")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert 'role="alert"' in (await browser.open("/console/live?tpye=x")).text


async def test_every_page_is_the_persons_own_and_alarms(world: World) -> None:
    browser, page = await at_console(world, *ADMINISTRATION_SCOPES)
    await world.register_client("Photo Prints")
    (ada,) = {each.event.account_id for each in await world.events("session.started")}
    navigation = page.text.partition('<nav class="places"')[2].partition("</nav>")[0]
    places = [*re.findall(r'href="([^"]+)"', navigation), "/console/clients?sort=risk", "/console/events/1"]
    assert len(places) > 12
    before = await world.head()
    for place in places:
        page = await browser.open(place)
        assert page.status == 200, place
        assert "not the one that was signed" not in page.text, place
    read = await world.events(after=before)
    assert {(each.actor.kind, each.actor.id) for each in read if each.actor.kind != "system"} == {("person", ada)}
    # What a page asked is told in its foot, and nothing else was asked.
    assert [each.type for each in read if not each.type.startswith(("audit.", "usage.", "log."))] == []
    await world.services.transparency.diverge(Diverged.at(2))
    for place in places:
        alarm = (await browser.open(place)).text
        assert re.search(r'role="alert">✕ The log is not the one that was signed: .* position 2', alarm), place
