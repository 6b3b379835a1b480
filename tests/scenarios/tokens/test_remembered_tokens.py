"""A token that is remembered is judged as if it were looked up, whatever it has in common with others."""

import asyncio

import httpx
import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.world import Client, World

INACTIVE = {"active": False}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world, "clients:write", "people:write", "roles:write", "orders", "catalog:read")


@pytest.fixture
async def resource(world: World) -> Client:
    """A resource server, which sees the access tokens of all clients."""
    return await world.register_client("Resource", grant_types=("client_credentials",), scope=("introspect",))


async def issued(world: World, client: Client, **more: str) -> str:
    answer = await world.client.post(
        "/oauth/token", data={"grant_type": "client_credentials", **more}, auth=client.auth
    )
    raw: str = ok(answer)["access_token"]
    return raw


async def introspect(world: World, asking: Client, raw: str) -> dict[str, object]:
    """The answer to a question that was asked twice: the second time the token is remembered."""
    first, again = [
        ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=asking.auth)) for _ in range(2)
    ]
    assert first == again
    found: dict[str, object] = again
    return found


async def test_tokens_that_were_issued_alike_are_told_apart(world: World, job: Client) -> None:
    raws = [await issued(world, job) for _ in range(2)]
    one, two = [await introspect(world, job, raw) for raw in raws]
    apart = {name for name in one if one[name] != two[name]}
    assert apart == {"jti", "grant_id"}
    assert one.keys() == two.keys()
    world.clock.advance(5)
    later = await introspect(world, job, await issued(world, job))
    assert (later["iat"], later["exp"]) == (int(str(one["iat"])) + 5, int(str(one["exp"])) + 5)


async def test_tokens_that_were_decided_together_are_each_their_own(world: World) -> None:
    client = await world.register_client("Two", grant_types=("client_credentials",), scope=("orders", "catalog:read"))
    scopes = ({}, {}, {"scope": "orders"}, {"scope": "orders"})
    raws = await asyncio.gather(*(issued(world, client, **each) for each in scopes))
    told = [await introspect(world, client, raw) for raw in raws]
    assert len({each["jti"] for each in told}) == len({each["grant_id"] for each in told}) == 4
    assert [each["scope"] for each in told] == ["orders catalog:read"] * 2 + ["orders"] * 2
    ok(await world.client.post("/oauth/revoke", data={"token": raws[0]}, auth=client.auth))
    active = [(await introspect(world, client, raw))["active"] for raw in raws]
    assert active == [False, True, True, True]


async def test_unauthorized_caller_learns_nothing_from_the_cache(world: World, job: Client, resource: Client) -> None:
    raw = await issued(world, job)
    stranger = await world.register_client("Stranger", grant_types=("client_credentials",), scope=("orders",))
    own = await introspect(world, job, raw)
    assert own["client_id"] == job.client_id
    assert await introspect(world, stranger, raw) == INACTIVE
    assert await introspect(world, resource, raw) == own


async def test_cached_token_expires_and_exists_from_its_issue_on(world: World, job: Client) -> None:
    raw = await issued(world, job)
    lifetime = world.settings.access_token_lifetime
    assert (await introspect(world, job, raw))["active"] is True
    world.clock.advance(lifetime - 1)
    assert (await introspect(world, job, raw))["active"] is True
    world.clock.advance(1)
    assert await introspect(world, job, raw) == INACTIVE
    await world.services.token_uses.record(everything=True)
    ended = [each.event.ended for each in await world.events("usage.token_first_seen")]
    assert ended == [None, "expired"]
    # As on a node whose clock lags a little behind that of the one which issued it.
    world.clock.advance(-lifetime - 1)
    assert (await introspect(world, job, raw))["active"] is True


async def test_a_revoked_one_is_dead_and_its_neighbours_live(world: World, job: Client) -> None:
    raws = [await issued(world, job) for _ in range(2)]
    for raw in raws:
        assert (await introspect(world, job, raw))["active"] is True
    ok(await world.client.post("/oauth/revoke", data={"token": raws[0]}, auth=job.auth))
    assert await introspect(world, job, raws[0]) == INACTIVE
    assert (await introspect(world, job, raws[1]))["active"] is True


async def test_a_disabled_client_s_tokens_stay_dead_when_it_is_enabled(
    world: World, admin: httpx.AsyncClient, job: Client, resource: Client
) -> None:
    raw = await issued(world, job)
    assert (await introspect(world, resource, raw))["active"] is True
    ok(await admin.post(f"/admin/clients/{job.client_id}/disable"))
    assert await introspect(world, resource, raw) == INACTIVE
    ok(await admin.post(f"/admin/clients/{job.client_id}/enable"))
    assert await introspect(world, resource, raw) == INACTIVE
    assert (await introspect(world, resource, await issued(world, job)))["active"] is True


async def test_what_a_role_loses_a_remembered_token_loses(world: World, scene: Scene) -> None:
    browser = await scene.signed_in()
    tokens = await scene.redeem(await scene.approved(browser))
    access, refresh = [await introspect(world, scene.shop, tokens[f"{kind}_token"]) for kind in ("access", "refresh")]
    assert (access["scope"], access["username"]) == ("orders catalog:read", scene.person.username)
    assert (access["token_type"], refresh["token_use"]) == ("Bearer", "refresh")
    assert "token_use" not in access
    assert "token_type" not in refresh
    await world.define_role("platform", "member", "orders", default=True)
    narrowed = await introspect(world, scene.shop, tokens["access_token"])
    assert narrowed == access | {"scope": "orders"}
    await world.define_role("platform", "member", "orders", "catalog:read", default=True)
    assert await introspect(world, scene.shop, tokens["access_token"]) == access
