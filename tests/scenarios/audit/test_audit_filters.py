"""Filters that the index cannot answer alone, several values of one, and the same on the stream and in exports."""

import io
import json
from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.event_source import EventSource
from tests.scenarios.histories import lived
from tests.scenarios.log.test_transparency import followed, pinned
from tests.scenarios.world import ADDRESS, World
from verifier.proofs import verify_export

pytestmark = pytest.mark.anyio

ELSEWHERE = "198.51.100.9"


async def found(asking: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """The events of one page, none of them a reading of this test's."""
    items = ok(await asking.get("/audit/events", params={"limit": 200, **query}))["items"]
    return [each for each in items if not each["type"].startswith("audit.")]


async def test_types_that_are_left_out_are_all_that_is(scene: Scene) -> None:
    await lived(scene)
    asking = await administering(scene.world)
    everything = await found(asking)
    others = await found(asking, not_type=["grant.*", "client.registered", "no.such"])
    left_out = [each for each in everything if each["type"].startswith("grant.") or each["type"] == "client.registered"]
    assert left_out
    assert others == [each for each in everything if each not in left_out]
    both = await found(asking, type="grant.*", not_type="grant.tokens_issued")
    assert {each["type"] for each in both} == {each["type"] for each in left_out} - {
        "grant.tokens_issued",
        "client.registered",
    }


async def test_several_values_of_a_filter_find_what_either_finds(scene: Scene) -> None:
    await lived(scene)
    other = await scene.world.register_client("Other", grant_types=("client_credentials",), scope=("orders",))
    asking = await administering(scene.world)
    one, two = await found(asking, client_id=scene.shop.client_id), await found(asking, client_id=other.client_id)
    assert one
    assert two
    both = await found(asking, client_id=[scene.shop.client_id, other.client_id])
    assert both == sorted(one + two, key=lambda each: each["position"])


async def test_by_and_about_a_person_tell_who_did_it_and_to_whom(scene: Scene) -> None:
    """A person who is disabled by somebody did nothing; one who consents did it, and it is about them."""
    await lived(scene)
    account_id = scene.person.account_id
    administrator = await administering(scene.world)
    ok(await administrator.post(f"/admin/people/{account_id}/disable"))
    by = await found(administrator, by_account_id=account_id)
    about = await found(administrator, about_account_id=account_id)
    named = await found(administrator, account_id=account_id)
    assert {each["actor"]["id"] for each in by} == {account_id}
    assert "account.disabled" not in {each["type"] for each in by}
    (disabled,) = [each for each in about if each["type"] == "account.disabled"]
    assert disabled["actor"]["kind"] == "client"
    assert "consent.given" in {each["type"] for each in by} & {each["type"] for each in about}
    # The code is the person's, and what the shop makes of it names the person by the grant alone.
    assert "grant.tokens_issued" in {each["type"] for each in about}
    assert "grant.tokens_issued" not in {each["type"] for each in by}
    assert sorted(each["position"] for each in {e["position"]: e for e in by + about}.values()) == [
        each["position"] for each in named
    ]
    assert await found(administrator, by_account_id="nobody") == []


async def test_by_a_client_finds_what_it_did_alone(scene: Scene) -> None:
    await lived(scene)
    asking = await administering(scene.world)
    by = await found(asking, by_client_id=scene.shop.client_id)
    assert {(each["actor"]["kind"], each["actor"]["id"]) for each in by} == {("client", scene.shop.client_id)}
    named = await found(asking, client_id=scene.shop.client_id)
    assert [each for each in named if each["actor"]["id"] == scene.shop.client_id] == by
    assert len(by) < len(named)


async def test_an_incident_finds_all_that_came_of_it(scene: Scene) -> None:
    past = await lived(scene)
    asking = await administering(scene.world)
    contained = ok(await asking.post("/leaks/contain", json={"secret": past.tokens["refresh_token"]}))
    by_incident = await found(asking, incident_id=contained["incident_id"])
    assert {each["stream"] for each in by_incident} == {f"incident:{contained['incident_id']}"}
    assert {"incident.reported", "incident.contained"} <= {each["type"] for each in by_incident}


async def test_few_that_pass_are_found_among_many_that_do_not(world: World) -> None:
    """More than one look at the log, and pages that go on where the one before ended."""
    await world.define_scopes(*(f"scope:{number}" for number in range(600)))
    asking = await administering(world)
    last = await world.head()
    seen: list[int] = []
    after: dict[str, str] = {}
    while True:
        query = {"not_type": ["scope.*", "audit.*"], "limit": "3", **after}
        page = ok(await asking.get("/audit/events", params=query))
        seen += [each["position"] for each in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    expected = [each.position for each in await world.events() if each.position <= last]
    wanted = [
        each.position
        for each in await world.events()
        if each.position <= last and not each.type.startswith(("scope.", "audit."))
    ]
    assert seen == wanted
    assert len(expected) - len(wanted) >= 600


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_an_export_has_what_the_search_finds(scene: Scene, order: str) -> None:
    await lived(scene)
    asking = await administering(scene.world)
    query: dict[str, Any] = {"about_account_id": scene.person.account_id, "not_type": "session.*", "order": order}
    positions = [each["position"] for each in await found(asking, **query)]
    export = await asking.get("/audit/export", params=query)
    assert [json.loads(line)["position"] for line in export.text.splitlines()] == positions


async def test_a_proven_export_has_the_same_and_proves_it(scene: Scene) -> None:
    await lived(scene)
    world = scene.world
    asking = await administering(world)
    await followed(world)
    query = {"by_client_id": scene.shop.client_id}
    positions = [each["position"] for each in await found(asking, **query)]
    export = await asking.get("/audit/export", params={**query, "proof": "1"})
    records = [json.loads(line) for line in export.text.splitlines()]
    assert [each["position"] for each in records if "position" in each] == positions
    assert verify_export(io.BytesIO(export.content), [await pinned(world)]).outcome == "verified"


async def test_a_stream_leaves_out_what_does_not_match(world: World) -> None:
    token = await world.token("audit:read", "audit:personal")
    other = world.caller(ELSEWHERE)
    async with EventSource(world, f"/audit/stream?from=1&not_type=audit.*&ip={ELSEWHERE}", token) as source:
        await world.define_scopes("unseen")
        shop = await world.register_client("Shop", grant_types=("client_credentials",), scope=("orders",))
        data = {"grant_type": "client_credentials"}
        assert (await other.post("/oauth/token", data=data, auth=shop.auth)).status_code == 200
        message = await source.message()
    assert message is not None
    assert (message.event, message.data["ip"]) == ("grant.tokens_issued", ELSEWHERE)
    (opened,) = await world.events("audit.stream_opened")
    assert opened.event.parameters == {"not_type": "audit.*"}
    assert ELSEWHERE not in str(opened)


async def test_a_stream_of_a_grant_has_all_of_it(scene: Scene) -> None:
    past = await lived(scene)
    await past.refresh()
    world = scene.world
    (code,) = await world.events("grant.code_issued")
    grant_id = code.stream.partition(":")[2]
    asking = await administering(world)
    expected = [each["position"] for each in await found(asking, grant_id=grant_id)]
    assert len(expected) >= 3
    token = await world.token("audit:read", "audit:personal")
    async with EventSource(world, f"/audit/stream?from=1&grant_id={grant_id}", token) as source:
        told = [await source.message() for _ in expected]
    assert [None if each is None else each.id for each in told] == expected


async def test_values_stay_sealed_when_they_are_not_wanted(scene: Scene) -> None:
    """The reading says so: nobody is recorded as having seen what they did not open."""
    await lived(scene)
    asking = await administering(scene.world)
    query = {"account_id": scene.person.account_id}
    clear, sealed = await found(asking, **query), await found(asking, **query, personal="0")
    assert any(each["ip"] == ADDRESS for each in clear)
    assert all(each["ip"] is None for each in sealed)
    assert any("ip" in each["sealed"] for each in sealed)
    *_, one, two = await scene.world.events("audit.read")
    assert (one.event.unsealed, two.event.unsealed) == (True, False)
    position = next(each["position"] for each in clear if each["ip"] == ADDRESS)
    assert ok(await asking.get(f"/audit/events/{position}", params={"personal": "0"}))["ip"] is None
    problem(await asking.get("/audit/events", params={"personal": "2"}), 400, field="personal")


async def test_outcome_tells_what_failed_from_all_else(scene: Scene) -> None:
    """As the OCSF record of each event says; with the other filters, in counts, exports and on the stream alike."""
    await lived(scene)
    world, shop = scene.world, scene.shop
    wrong = (shop.client_id, "wrong")
    refused = await world.caller(ELSEWHERE).post("/oauth/token", data={"grant_type": "client_credentials"}, auth=wrong)
    assert refused.status_code == 401
    asking = await administering(world)
    export = await asking.get("/audit/export", params={"format": "ocsf", "not_type": "audit.*"})
    told = {each["metadata"]["sequence"]: each["status"] for each in map(json.loads, export.text.splitlines())}
    for outcome in ("Failure", "Success"):
        same = await found(asking, outcome=outcome.lower())
        assert same
        assert [each["position"] for each in same] == [each for each, status in told.items() if status == outcome]
    failed = await found(asking, outcome="failure")
    of_clients = await found(asking, outcome="failure", type="client.*")
    assert {each["type"] for each in of_clients} == {"client.authentication_failed"}
    assert all(each in failed for each in of_clients)
    assert await found(asking, outcome="failure", type="scope.*") == []
    assert await found(asking, outcome="failure", not_type="client.authentication_failed", type="client.*") == []
    counts = ok(await asking.get("/audit/counts", params={"outcome": "failure"}))
    assert sum(each["count"] for each in counts["items"]) == len(failed)
    (asked,) = [each for each in await world.events("audit.read") if each.event.parameters.get("type") == "scope.*"]
    assert asked.event.parameters["outcome"] == "failure"
    problem(await asking.get("/audit/events", params={"outcome": "nonsense"}), 400, field="outcome")
    token = await world.token("audit:read", "audit:personal")
    async with EventSource(world, "/audit/stream?from=1&outcome=failure", token) as source:
        message = await source.message()
    assert message is not None
    assert message.id == failed[0]["position"]


@cases("name", ["client_id", "by_account_id", "about_account_id", "not_type", "ip", "request_id"])
async def test_too_many_values_are_refused_by_their_name(world: World, name: str) -> None:
    asking = await administering(world)
    values = [f"10.0.0.{number}" if name == "ip" else f"a.b{'c' * number}" for number in range(33)]
    if name == "not_type":
        values = [f"a.{'b' * number}" for number in range(1, 34)]
    problem(await asking.get("/audit/events", params={name: values}), 400, field=name)
