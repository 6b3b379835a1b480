"""Lists as files: every item, however many portions they are, as the list tells it; by the API and at the console."""

import csv
import io
import json
import re
from contextlib import nullcontext
from html import unescape
from typing import Any

import pytest

from api.audit.queries import auditor
from api.http.errors import InsufficientScope, InvalidToken
from api.oauth.bearer import Bearer, go_on
from commands import people
from commands.permissions import operator
from domain import client
from eventstore.execution import Origin
from projections import tokens
from security.tokens import digest
from tests.any_command import any_command
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.console.way_in import at_console
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.event_source import EventSource
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
async def test_whole_list_that_is_taken_is_an_event(scene: Scene) -> None:
    """Of who takes it, before they have any of it: with what they asked, and then how much they got."""
    world = scene.world
    asking = await administering(world)
    for _ in range(3):
        shop = await world.register_client(grant_types=("client_credentials",))
        ok(await asking.post("/leaks/contain", json={"client_id": shop.client_id, "evidence": "told by Sam"}))
    given = {
        "/admin/clients": {"q": "glog_", "sort": "-risk"},
        "/admin/people": {"realm": "platform"},
        "/admin/grants": {"client_id": shop.client_id},
        "/leaks/incidents": {"state": "contained", "watch": "1"},
    }
    for path in LISTS:
        for personal in ("0", "1"):
            begin = await world.head()
            query = {"format": "csv", **given.get(path, {})}
            query |= {"personal": personal} if path in WITH_PERSONAL else {}
            lines = (await asking.get(f"{path}/export", params=query)).text.splitlines()
            await auditor.closed(world.services.ledger)
            opened, closed = await world.events("audit.*", after=begin)
            assert (opened.type, closed.type) == ("audit.list_export_opened", "audit.export_closed")
            assert opened.event.list_name == path.rpartition("/")[2]
            asked = {name: value for name, value in query.items() if name not in ("personal", "watch")}
            assert opened.event.parameters == asked
            assert opened.event.unsealed is (path in WITH_PERSONAL and personal == "1")
            assert opened.actor == closed.actor
            assert (closed.event.reading_id, closed.event.completion) == (opened.event.reading_id, "complete")
            assert closed.event.count == len(lines) - 1


@pytest.mark.usefixtures("small_portions")
async def test_list_breaks_off_where_the_right_to_it_ends(world: World) -> None:
    """Not for the token's time, which was there when it began."""
    for number in range(9):
        await world.register_person(f"person{number}")
    begin = await world.head()
    async with EventSource(world, "/admin/people/export", await world.token("people:read")) as source:
        assert (await source._next())["body"].count(b"\n") == 2
        world.clock.advance(world.settings.access_token_lifetime + 1)
        assert (await source.rest()).count(b"\n") == 7
    token = await world.token("people:read")
    (*_, issued) = await world.events("grant.tokens_issued")
    source = await EventSource(world, "/admin/people/export", token).__aenter__()
    got = (await source._next())["body"].count(b"\n")
    await world.execute(any_command(client.stream(issued.event.client_id), client.disable))
    got += (await source.rest()).count(b"\n")
    with pytest.raises(ConnectionAbortedError):
        await source.__aexit__()
    await auditor.closed(world.services.ledger)
    closed = [each.event for each in await world.events("audit.export_closed", after=begin)]
    assert [(each.completion, each.count) for each in closed] == [("complete", 9), ("broken_off", got)]
    assert got < 9


@pytest.mark.parametrize(
    ("loses", "refused"), [("nothing", None), ("role", InsufficientScope), ("client", InvalidToken)]
)
async def test_an_answer_outlasts_the_row_of_its_token(world: World, loses: str, refused: Any) -> None:
    """Rows of tokens go soon after their time, and any change of the person has what is remembered of one forgotten."""
    services = world.services
    for name in ("reader", "other"):
        await world.define_role("administration", name, "people:read")
    person = await world.register_person("reader", realm="administration", roles_of=("reader",))
    board = await make_dashboard(world, "board", realm="administration", scope=("people:read",))
    token, _ = await board.sign_in(person, by=world.caller())
    known = await services.ledger.validation.find(digest(token))
    assert known is not None
    who = Bearer(known, frozenset(known.terms.scope), Origin())
    world.clock.advance(world.settings.access_token_lifetime + 1)
    assert await services.ledger.tidy(tokens.prune, world.clock.now(), 500) == 1
    lost = {
        "nothing": people.change_roles(person.account_id, ("other",), by=operator),
        "role": people.change_roles(person.account_id, (), by=operator),
        "client": any_command(client.stream(board.client_id), client.disable),
    }
    await world.execute(lost[loses])
    assert await services.ledger.validation.find(known.digest) is None
    with nullcontext() if refused is None else pytest.raises(refused):
        await go_on(services, who, "people:read")


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
    for wrong in ("/console/lists/people?format=xml", "/console/lists/people?realm=nowhere"):
        page = await browser.open(wrong)
        assert (page.status, page.answer.headers["content-type"]) == (400, "text/html; charset=utf-8"), wrong
        assert "must be one of" in page.text
