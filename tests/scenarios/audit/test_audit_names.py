"""Events in plain words: what each means, what its ids are called, and whose they are by name."""

import json
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from domain import account
from projections import clients
from tests.any_command import any_command
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.event_source import EventSource
from tests.scenarios.histories import Past, lived
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def past(scene: Scene) -> Past:
    return await lived(scene)


async def found(asking: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ok(await asking.get("/audit/events", params={"limit": 200, **asked}))["items"]
    return items


async def test_events_have_plain_words_in_lists_exports_and_the_stream(world: World, past: Past) -> None:
    asking = await administering(world)
    listed = await found(asking)
    assert len(listed) > 10
    assert all(each["meaning"].endswith(".") and each["meaning"][0].isupper() for each in listed)
    lines = (await asking.get("/audit/export", params={"format": "jsonl"})).text.splitlines()
    meanings = {each["position"]: each["meaning"] for each in map(json.loads, lines)}
    assert all(meanings[each["position"]] == each["meaning"] for each in listed)
    head, *rows = (await asking.get("/audit/export", params={"format": "csv"})).text.splitlines()
    assert head.endswith(",meaning")
    assert listed[0]["meaning"] in rows[0]
    raw = asking.headers["authorization"].removeprefix("Bearer ")
    async with EventSource(world, "/audit/stream?from=1&names=1", raw) as stream:
        (first,) = await stream.messages(1)
    data = first.data
    assert data["meaning"] == listed[0]["meaning"]
    assert "names" in data


async def test_clients_of_a_page_are_looked_up_together(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = await administering(world)
    together = Mock(wraps=clients.called)
    monkeypatch.setattr(clients, "called", together)
    listed = await found(asking, names=1)
    named = {name.partition(":")[2] for each in listed for name in each["names"] if name.startswith("client:")}
    assert len(named) > 1
    assert [sorted(call.args[1]) for call in together.call_args_list] == [sorted(named)]


async def test_names_beside_ids_are_what_each_is_called_now(world: World, past: Past) -> None:
    scene = past.scene
    person, shop = f"account:{scene.person.account_id}", f"client:{scene.shop.client_id}"
    asking = await administering(world)
    (consented,) = await found(asking, type="consent.given", names=1)
    assert consented["names"] == {person: scene.person.username, shop: "Shop"}
    assert "names" not in (await found(asking, type="consent.given"))[0]
    position = consented["position"]
    assert ok(await asking.get(f"/audit/events/{position}", params={"names": 1}))["names"] == consented["names"]
    # People are not named to whoever may not see personal values; clients are.
    plain = await administering(world, "audit:read")
    (told,) = await found(plain, type="consent.given", names=1)
    assert told["names"] == {person: None, shop: "Shop"}
    last = (await world.events("audit.read"))[-1]
    assert last.event.unsealed is False
    await found(asking, type="consent.given", names=1)
    assert (await world.events("audit.read"))[-1].event.unsealed is True
    erase = any_command(account.stream(scene.person.account_id), account.erase, {"leaves_no_administrator": False})
    await world.execute(erase)
    assert (await found(asking, type="consent.given", names=1))[0]["names"] == {person: None, shop: "Shop"}


async def test_people_are_found_by_name_and_the_record_holds_their_ids(world: World, past: Past) -> None:
    person = past.scene.person
    asking = await administering(world)
    by_id = await found(asking, account_id=person.account_id)
    assert by_id
    assert await found(asking, username=person.username.upper()) == by_id
    assert await found(asking, email=person.email) == by_id
    assert await found(asking, email=person.email, username=person.username) == by_id
    assert await found(asking, username="nobody") == []
    assert await found(asking, email=person.email, username="nobody") == []
    exported = (await asking.get("/audit/export", params={"username": person.username})).text.splitlines()
    assert [json.loads(each)["position"] for each in exported] == [each["position"] for each in by_id]
    plain = await administering(world, "audit:read")
    for name in ("username", "email"):
        problem(await plain.get("/audit/events", params={name: person.username}), 403, field=name)
    told = str([each.event.parameters for each in await world.events("audit.read")])
    assert person.username not in told
    assert person.email not in told
    assert person.account_id in told


async def test_a_tokens_history_goes_from_its_ground_to_its_last_use(world: World, past: Past) -> None:
    scene, raw = past.scene, past.tokens["access_token"]
    asking = await administering(world)
    ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=scene.shop.auth))
    await world.services.token_uses.record(everything=True)
    told = ok(await asking.post("/audit/token-history", params={"names": 1}, json={"token": raw}))
    types = [each["type"] for each in told["events"]]
    ground = ["client.registered", "client.secret_issued", "session.started", "consent.given", "grant.code_issued"]
    assert [each for each in types if each in ground] == ground
    # What the verdict rests on is part of it: the person who is enabled.
    assert set(types[: types.index("grant.code_issued")]) == {*ground[:-1], "account.registered"}
    assert types[-1] == "usage.token_first_seen"
    positions = [each["position"] for each in told["events"]]
    assert positions == sorted(positions)
    assert all(each["meaning"] for each in told["events"])
    registered = next(each for each in told["events"] if each["type"] == "client.registered")
    assert registered["names"] == {f"client:{scene.shop.client_id}": "Shop"}


async def test_the_stream_can_be_of_a_person_alone(world: World, past: Past) -> None:
    person = past.scene.person
    asking = await administering(world)
    by_id = await found(asking, account_id=person.account_id)
    raw = asking.headers["authorization"].removeprefix("Bearer ")
    async with EventSource(world, f"/audit/stream?from=1&email={person.email}", raw) as stream:
        told = await stream.messages(len(by_id))
    assert [each.id for each in told] == [each["position"] for each in by_id]
    plain = await administering(world, "audit:read")
    problem(await plain.get("/audit/stream", params={"username": "nobody"}), 403, field="username")
