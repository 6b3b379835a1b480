"""Lists as files: every item, however many portions they are, as the list tells it; by the API and at the console."""

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest

from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.consoles import at_console
from tests.scenarios.histories import lived
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

LISTS = {
    "/admin/clients": "client_id",
    "/admin/people": "id",
    "/admin/grants": "grant_id",
    "/admin/roles": "name",
    "/leaks/incidents": "incident_id",
}
"""Each list, and what its items are known by."""

WITH_PERSONAL = ("/admin/clients", "/admin/people", "/leaks/incidents")
FORMULA = "=1+1"


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has lists be read two items at a time."""
    for module in ("admin.clients", "admin.people", "admin.grants", "admin.permissions", "leaks.incidents"):
        monkeypatch.setattr(f"api.{module}.LARGEST", 2)


@pytest.mark.usefixtures("small_portions")
async def test_whole_list_has_what_its_pages_have(scene: Scene) -> None:
    world = scene.world
    past = await lived(scene)
    odd = await world.register_client(FORMULA, grant_types=("client_credentials",))
    for name in ("bea", "cleo"):
        await world.register_person(name)
    for name in ("one", "two"):
        await world.define_role("platform", name, "orders")
    asking = await administering(world)
    ok(await asking.patch(f"/admin/clients/{odd.client_id}", json={"owner": "ops@example.test"}))
    account_id = scene.person.account_id
    for leaked in ({"secret": past.tokens["refresh_token"]}, {"client_id": odd.client_id}, {"account_id": account_id}):
        ok(await asking.post("/leaks/contain", json=leaked))
    for path, key in LISTS.items():
        page: dict[str, Any] = ok(await asking.get(path, params={"limit": 200}))
        assert page["next"] is None
        lines = (await asking.get(f"{path}/export")).text.splitlines()
        assert [json.loads(line) for line in lines] == page["items"]
        table = await asking.get(f"{path}/export", params={"format": "csv"})
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert [row[key] for row in rows] == [item[key] for item in page["items"]]
        assert set(rows[0]) >= set(page["items"][0])
        problem(await asking.get(f"{path}/export", params={"format": "xml"}), 400, field="format")
        assert (await asking.head(f"{path}/export")).text == ""
    named = ok(await asking.get("/admin/clients", params={"q": FORMULA}))["items"]
    some = (await asking.get("/admin/clients/export", params={"q": FORMULA, "format": "csv"})).text
    assert [each["owner"] for each in named] == ["ops@example.test"]
    assert "'=1+1" in some
    problem(await asking.get("/admin/people/export", params={"realm": "nowhere"}), 400, field="realm")


@pytest.mark.usefixtures("small_portions")
async def test_each_portion_of_incidents_is_an_event(world: World) -> None:
    asking = await administering(world)
    for _ in range(3):
        shop = await world.register_client()
        ok(await asking.post("/leaks/contain", json={"client_id": shop.client_id, "evidence": "told by Sam"}))
    for _ in range(2):
        assert len((await asking.get("/leaks/incidents/export", params={"watch": "1"})).text.splitlines()) == 3
    told = [each.event for each in await world.events("audit.*")]
    assert [(each.type, each.count, each.unsealed) for each in told] == 2 * [
        ("audit.read", 2, True),
        ("audit.read", 1, True),
    ]


async def test_whole_list_without_personal_values_has_none(scene: Scene) -> None:
    world = scene.world
    asking = await administering(world)
    ok(await asking.patch(f"/admin/clients/{scene.shop.client_id}", json={"owner": "ops@example.test"}))
    ok(await asking.post("/leaks/contain", json={"client_id": scene.shop.client_id, "evidence": "told by Sam"}))
    for path in WITH_PERSONAL:
        everything = (await asking.get(f"{path}/export")).text
        rest = (await asking.get(f"{path}/export", params={"personal": "0"})).text
        assert len(everything.splitlines()) == len(rest.splitlines())
        told = ("ops@example.test", scene.person.username, "told by Sam")
        assert any(each in everything for each in told)
        assert not any(each in rest for each in told)


async def test_console_hands_its_lists_out(world: World) -> None:
    """Those who look at a list get it whole, masked as the page is; names want a recent sign-in."""
    scopes = ("clients:read", "people:read", "grants:read", "leaks:read", "audit:read", "audit:personal")
    browser, _ = await at_console(world, *scopes, username="zebedee")
    shop = await world.register_client()
    asking = await administering(world)
    ok(await asking.patch(f"/admin/clients/{shop.client_id}", json={"owner": "ops@example.test"}))
    ok(await asking.post("/leaks/contain", json={"client_id": shop.client_id, "evidence": "told by Sam"}))
    for name in ("clients", "people", "incidents", "roles"):
        page = await browser.open(f"/console/{name}")
        links = [unescape(each) for each in re.findall(r'href="(/console/(?:lists|audit/export)[^"]*)"', page.text)]
        assert any("format=proof" in each for each in links)
        for link in links:
            file = await browser.client.get(link)
            assert file.status_code == 200, link
            assert file.headers["content-disposition"].startswith("attachment")
            assert len(file.text.splitlines()) >= 1
            if "show=1" not in link:
                assert "ops@example.test" not in file.text
                assert "told by Sam" not in file.text
                assert "zebedee@example.test" not in file.text
    world.clock.advance(world.settings.recent_authentication + 1)
    named = await browser.client.get("/console/lists/people?format=csv&show=1")
    assert named.headers["location"].startswith("/console/sign-in?to=%2Fconsole%2Fpeople")
    assert (await browser.client.get("/console/lists/people?format=csv")).status_code == 200
    assert (await browser.open("/console/lists/nothing")).status == 404
