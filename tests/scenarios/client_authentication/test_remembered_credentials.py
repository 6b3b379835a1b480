"""A client that authenticated a moment ago is judged as if it had not: by what it is now and by all that it sends."""

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.world import Client, World


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world, "clients:read", "clients:write")


@pytest.fixture
async def job(world: World) -> Client:
    client = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    # Whatever follows meets a header that was right twice already.
    for _ in range(2):
        ok(await token(world, client))
    return client


async def token(world: World, client: Client, **more: str) -> httpx.Response:
    auth = (client.client_id, client.secret or "")
    return await world.client.post("/oauth/token", data={"grant_type": "client_credentials", **more}, auth=auth)


async def test_what_contradicts_the_header_is_refused(world: World, job: Client) -> None:
    twice = await token(world, job, client_secret=job.secret or "")
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    another = await token(world, job, client_id="another")
    assert (another.status_code, another.json()["error"]) == (400, "invalid_request")
    ok(await token(world, job, client_id=job.client_id))


async def test_two_headers_are_one_too_many(world: World, job: Client) -> None:
    right = httpx.BasicAuth(job.client_id, job.secret or "")._auth_header
    answer = await world.client.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers=[("authorization", right), ("authorization", right)],
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@cases("schemes", [("Basic", "Bearer"), ("Bearer", "Basic"), ("Bearer", "Bearer"), ("Basic", "Basic")])
async def test_two_headers_are_one_too_many_at_introspection_too(
    world: World, job: Client, schemes: tuple[str, str]
) -> None:
    raw = await world.token("introspect")
    right = {"Basic": httpx.BasicAuth(job.client_id, job.secret or "")._auth_header, "Bearer": f"Bearer {raw}"}
    for scheme in schemes:
        ok(await world.client.post("/oauth/introspect", data={"token": raw}, headers={"authorization": right[scheme]}))
    before = await world.head()
    answer = await world.client.post(
        "/oauth/introspect", data={"token": raw}, headers=[("authorization", right[scheme]) for scheme in schemes]
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert await world.types_after(before) == []


async def test_a_disabled_client_is_out_at_once_and_in_again(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    ok(await admin.post(f"/admin/clients/{job.client_id}/disable"))
    assert (await token(world, job)).status_code == 401
    ok(await admin.post(f"/admin/clients/{job.client_id}/enable"))
    ok(await token(world, job))


async def test_a_secret_version_ends_to_the_second(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    ok(await admin.post(f"/admin/clients/{job.client_id}/secrets", json={"others_expire_in": 60}), 201)
    ok(await token(world, job))
    world.clock.advance(59)
    ok(await token(world, job))
    world.clock.advance(1)
    assert (await token(world, job)).status_code == 401


async def test_what_the_client_may_do_is_what_it_may_do_now(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    await world.define_scopes("catalog:read")
    ok(await admin.patch(f"/admin/clients/{job.client_id}", json={"scope": "catalog:read"}))
    assert ok(await token(world, job))["scope"] == "catalog:read"
