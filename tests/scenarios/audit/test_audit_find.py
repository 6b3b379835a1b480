"""What a pasted text names, and what changed of something between two moments."""

from time import process_time
from typing import Any

import httpx
import pytest

from api.audit.queries import pasted_text
from security.clock import format_rfc3339
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

SHOP = "Shop"


async def names(asking: httpx.AsyncClient, text: str) -> list[tuple[str, str, str | None]]:
    found: list[dict[str, Any]] = ok(await asking.post("/audit/find", json={"text": text}))["items"]
    assert all(set(each) == {"kind", "id", "label"} for each in found)
    return [(each["kind"], each["id"], each["label"]) for each in found]


async def test_client_is_named_by_an_id_of_any_form(world: World) -> None:
    asking = await administering(world)
    for imported in ("web", "https://prints.example/client.json"):
        await world.register_client("Imported", client_id=imported)
        decoy = await world.register_client(imported)
        found = await names(asking, f" {imported}\n")
        assert sorted(found) == sorted([("client", decoy.client_id, imported), ("client", imported, "Imported")])


async def test_any_paste_is_resolved_to_what_it_names(scene: Scene) -> None:
    past = await lived(scene)
    asking = await administering(scene.world)
    token = past.tokens["access_token"]
    (code,) = await scene.world.events("grant.code_issued")
    grant_id = code.stream.partition(":")[2]
    contained = ok(await asking.post("/leaks/contain", json={"secret": past.tokens["refresh_token"]}))
    text = f"""
        Authorization: Bearer {token}
        "client_id": "{scene.shop.client_id}", person={scene.person.account_id};
        see /admin/grants/{grant_id}?x=1 and <{scene.person.email}>
        digest {code.event.code}, request {code.request_id}
        incident {contained["incident_id"]}, nothing 0123456789abcdef
    """
    found = await names(asking, text)
    kinds = {kind: id for kind, id, _ in found}
    labels = {kind: label for kind, _, label in found}
    assert kinds == {
        "secret": kinds["secret"],
        "client": scene.shop.client_id,
        "person": scene.person.account_id,
        "grant": grant_id,
        "digest": code.event.code,
        "request": code.request_id,
        "incident": contained["incident_id"],
    }
    history = ok(await asking.post("/audit/token-history", json={"token": token}))
    assert kinds["secret"] == history["sha256"]
    assert labels["secret"] == f"access, {SHOP}"
    assert labels["client"] == labels["grant"] == SHOP
    assert labels["person"] == scene.person.username or labels["person"]


async def test_names_are_found_whole_and_clients_by_a_part(scene: Scene) -> None:
    asking = await administering(scene.world)
    assert ("person", scene.person.account_id) in [each[:2] for each in await names(asking, scene.person.username)]
    assert [each for each in await names(asking, scene.person.username[:-1]) if each[0] == "person"] == []
    part = f"  {SHOP[1:].upper()}\n"
    assert ("client", scene.shop.client_id, SHOP) in await names(asking, part)


async def test_whoever_may_not_see_people_finds_none_by_name(scene: Scene) -> None:
    blind = await administering(scene.world, "audit:read")
    for text in (scene.person.username, scene.person.email, f"a mail to {scene.person.email}"):
        assert [each for each in await names(blind, text) if each[0] == "person"] == []
    assert await names(blind, scene.person.account_id) == [("person", scene.person.account_id, None)]
    *_, read = await scene.world.events("audit.read")
    assert (read.event.question, read.event.count, read.event.unsealed) == ("find", 1, False)


async def test_a_number_is_a_position_where_it_is_all_there_is(world: World) -> None:
    asking = await administering(world)
    head = await world.head()
    assert [each[:2] for each in await names(asking, " #1 ")] == [("position", "1")]
    assert [each[:2] for each in await names(asking, "position 2")] == [("position", "2")]
    assert await names(asking, str(head + 1_000)) == []
    assert await names(asking, "1 error, 2 warnings") == []


async def test_nothing_of_the_text_is_recorded(world: World) -> None:
    asking = await administering(world)
    assert await names(asking, "hunter2hunter2 is my password") == []
    assert "hunter2" not in str(await world.events("audit.*"))
    (read,) = [each for each in await world.events("audit.read") if each.event.question == "find"]
    assert read.event.parameters == {"characters": "29"}


async def test_more_words_than_are_looked_up_are_no_failure(scene: Scene) -> None:
    asking = await administering(scene.world)
    words = " ".join(f"word{number:06}" for number in range(1_500))
    assert await names(asking, words) == []
    found = await names(asking, f"{scene.shop.client_id} {words}")
    assert [each[:2] for each in found] == [("client", scene.shop.client_id)]
    problem(await asking.post("/audit/find", json={"text": ""}), 400, field="text")
    problem(await asking.post("/audit/find", json={}), 400, field="text")


# What changed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["@", "a", "a.b-", "a@"])
def test_addresses_in_a_long_text_take_no_longer_than_it_is(text: str) -> None:
    pasted = f"<ada@example.test> {text * (pasted_text.LONGEST // len(text))} mailto:eve@example.test"
    begin = process_time()
    found = pasted_text._EMAIL.findall(pasted)
    # Before, each character was where an address could begin: a second for so many.
    assert process_time() - begin < 0.2
    assert (found[0], found[-1]) == ("ada@example.test", "eve@example.test")


async def test_a_diff_tells_what_changed_between_two_moments(scene: Scene) -> None:
    world, shop = scene.world, scene.shop
    asking = await administering(world)
    path = f"/admin/clients/{shop.client_id}"
    before = format_rfc3339(world.clock.now())
    world.clock.advance(60)
    ok(await asking.patch(path, json={"client_name": "Other"}))
    between = await world.head()
    world.clock.advance(60)
    ok(await asking.post(f"{path}/secrets"), 201)
    stream = f"/audit/diff/client:{shop.client_id}"
    first = ok(await asking.get(stream, params={"from": before, "to": str(between)}))
    assert (first["from"], first["to"], first["stream"]) == (before, between, f"client:{shop.client_id}")
    named = {each["path"]: (each["before"], each["after"]) for each in first["changes"]}
    assert named["state.client_name" if "state.client_name" in named else "state.attributes.client_name"] == (
        SHOP,
        "Other",
    )
    assert len(named) <= 2
    rest = ok(await asking.get(stream, params={"from": str(between)}))
    made = [each for each in rest["changes"] if each["path"].startswith("state.secrets.")]
    assert len({each["path"].split(".")[2] for each in made}) == 1
    assert {each["before"] for each in made} == {None}
    whole = ok(await asking.get(stream))
    assert whole["from"] == 0
    assert len(whole["changes"]) > len(named)
    assert ok(await asking.get(stream, params={"from": str(between), "to": str(between)}))["changes"] == []


async def test_a_changed_name_is_told_to_whoever_may_see_it(scene: Scene) -> None:
    asking, blind = await administering(scene.world), await administering(scene.world, "audit:read")
    begin = await scene.world.head()
    ok(await asking.patch(f"/admin/people/{scene.person.account_id}", json={"name": "Paula"}))
    address, query = f"/audit/diff/account:{scene.person.account_id}", {"from": str(begin)}
    (seen,) = [e for e in ok(await asking.get(address, params=query))["changes"] if e["path"] == "state.name"]
    assert seen["after"] == "Paula"
    hidden = ok(await blind.get(address, params=query))
    (sealed,) = [each for each in hidden["changes"] if each["path"] == "state.name"]
    assert (sealed["before"], sealed["after"]) == (None, None)
    assert "state.name" in hidden["sealed"]
    assert ok(await asking.get(address, params=query | {"personal": "0"})) == hidden


@cases(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "999999999"}, "to"),
        ({"from": "0"}, "from"),
        ({"from": "2", "to": "1"}, "from"),
        ({"from": "9" * 16}, "from"),
    ],
)
async def test_what_is_no_point_is_told_by_its_name(scene: Scene, query: dict[str, str], field: str) -> None:
    asking = await administering(scene.world)
    problem(await asking.get(f"/audit/diff/client:{scene.shop.client_id}", params=query), 400, field=field)


async def test_a_diff_of_nothing_is_a_404_and_a_reading(world: World) -> None:
    asking = await administering(world)
    for stream in ("client:nobody", "nothing:at:all", "secret-that-was-pasted"):
        problem(await asking.get(f"/audit/diff/{stream}"), 404)
    *_, read = await world.events("audit.read")
    assert (read.event.question, read.event.parameters) == ("diff", {"stream": "unknown"})
