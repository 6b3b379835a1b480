"""How many tokens are issued: a client's own loop ends in 429, and nobody's loop locks others out."""

import asyncio
from typing import Any

import httpx
import pytest

from api.throttling.throttle import Throttle
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"client_tokens_per_minute": 5, "person_tokens_per_minute": 3}


async def own_token(world: World, job: Client, caller: httpx.AsyncClient | None = None) -> httpx.Response:
    given = {"grant_type": "client_credentials"}
    return await (caller or world.client).post("/oauth/token", data=given, auth=job.auth)


async def refreshed(world: World, shop: Client, token: str) -> httpx.Response:
    given = {"grant_type": "refresh_token", "refresh_token": token}
    return await world.client.post("/oauth/token", data=given, auth=shop.auth)


async def test_client_beyond_its_token_limit_gets_429_and_an_event(world: World, job: Client) -> None:
    answers = await asyncio.gather(*[own_token(world, job) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
    assert len(await world.events("grant.tokens_issued")) == 5
    refused = await own_token(world, job)
    assert (refused.status_code, refused.json()["error"]) == (429, "temporarily_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    (first,) = await world.events("client.token_limit_reached")
    assert (first.stream, first.event.limit, first.event.count) == (f"client:{job.client_id}", 5, 1)
    assert (first.actor.kind, first.actor.id) == ("client", job.client_id)
    await world.services.repeated_facts.close_elapsed(everything=True)
    more = (await world.events("client.token_limit_reached"))[1:]
    assert [each.event.count for each in more] == [3]
    world.clock.advance(int(refused.headers["retry-after"]))
    assert (await own_token(world, job)).status_code == 200


async def test_one_client_is_no_other(world: World, job: Client) -> None:
    other = await world.register_client("Other", grant_types=("client_credentials",), scope=("orders",))
    for _ in range(6):
        await own_token(world, job)
    assert (await own_token(world, job)).status_code == 429
    assert (await own_token(world, other)).status_code == 200


async def test_a_client_may_have_a_number_of_its_own(world: World) -> None:
    await world.define_scopes("orders")
    admin = await administering(world, "clients:read", "clients:write")
    asked = {"client_name": "Many", "grant_types": ["client_credentials"], "scope": "orders", "tokens_per_minute": 2}
    made = ok(await admin.post("/admin/clients", json=asked), 201)
    assert made["tokens_per_minute"] == 2
    many = Client(made["client_id"], made["client_secret"], "")
    path = f"/admin/clients/{many.client_id}"
    assert [(await own_token(world, many)).status_code for _ in range(3)] == [200, 200, 429]
    assert ok(await admin.patch(path, json={"tokens_per_minute": 7}))["tokens_per_minute"] == 7
    assert [(await own_token(world, many)).status_code for _ in range(6)] == [200] * 5 + [429]
    assert ok(await admin.patch(path, json={"tokens_per_minute": None}))["tokens_per_minute"] is None
    assert ok(await admin.get(path))["tokens_per_minute"] is None
    for wrong in (0, 1_000_001, "7"):
        problem(await admin.patch(path, json={"tokens_per_minute": wrong}), 400, field="tokens_per_minute")


async def test_a_refused_request_costs_nothing(world: World, job: Client) -> None:
    given = {"grant_type": "client_credentials", "scope": "clients:write"}
    for _ in range(8):
        refused = await world.client.post("/oauth/token", data=given, auth=job.auth)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    assert [(await own_token(world, job)).status_code for _ in range(6)] == [200] * 5 + [429]


async def test_what_people_are_given_counts_by_person_and_client(world: World) -> None:
    scene: Scene = await set_scene(world)
    browser = await scene.signed_in()
    tokens = await scene.redeem(await scene.approved(browser))
    for _ in range(2):
        tokens = (await refreshed(world, scene.shop, tokens["refresh_token"])).json()
    head = await world.head()
    refused = await refreshed(world, scene.shop, tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (429, "temporarily_unavailable")
    assert await world.head() == head
    # Another person at the same client, and the same person at another one, are let in.
    ada = await world.register_person("ada")
    assert (await scene.redeem(await scene.approved(await scene.signed_in(ada))))["token_type"] == "Bearer"
    other = await world.register_client("Other shop")
    page = await scene.approved(browser, scene.address(other))
    assert (await scene.redeem(page, other))["token_type"] == "Bearer"
    # What was refused is no replay: it is as good as before.
    world.clock.advance(int(refused.headers["retry-after"]))
    again = await refreshed(world, scene.shop, tokens["refresh_token"])
    assert again.status_code == 200
    assert await world.events("grant.refresh_replayed") == ()


async def test_a_token_that_is_worth_nothing_costs_nobody_anything(world: World) -> None:
    scene = await set_scene(world)
    tokens = await scene.redeem(await scene.approved(await scene.signed_in()))
    for _ in range(5):
        assert (await refreshed(world, scene.shop, "glog_rt_nothing")).status_code == 400
    assert (await refreshed(world, scene.shop, tokens["refresh_token"])).status_code == 200


async def test_all_workers_of_a_machine_count_together(world: World, job: Client) -> None:
    for _ in range(5):
        assert (await own_token(world, job)).status_code == 200
    services = world.services
    other = Throttle(services.throttle._file, services.throttle._rules, world.clock)
    from api.throttling.limits import Limit, PerMinute

    assert other.begin(Limit("tokens", job.client_id, PerMinute(5))).retry_after is not None
