"""The console's pages about the server itself, and the log as it grows."""

from tests.scenarios.consoles import at_console
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
