"""Rotation on schedule, versions that begin later, and dead versions that open an incident."""

import asyncio
from typing import Any

import httpx
import pytest

from api.services import SYSTEM
from commands.clients import rotate_due
from eventstore.execution import Origin
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.histories import rotate
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

DAY = 86_400
POLICY = {"maximum_age": 90 * DAY, "overlap": 7 * DAY, "warning": 14 * DAY}


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"dead_secret_incidents": True}


async def admin_of(world: World) -> httpx.AsyncClient:
    """With a token that has not expired."""
    return await administering(world)


async def token(world: World, client: Client, secret: str | None = None) -> int:
    auth = (client.client_id, secret or client.secret or "")
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    return answer.status_code


async def test_a_policy_is_set_read_and_removed(world: World, job: Client) -> None:
    admin = await admin_of(world)
    where = f"/admin/clients/{job.client_id}/rotation"
    problem(await admin.get(where), 404)
    made = ok(await admin.put(where, json=POLICY))
    assert made == POLICY | {"due_at": "2026-04-01T00:00:00.000000Z"} == ok(await admin.get(where))
    ok(await admin.put(where, json=POLICY))
    assert len(await world.events("client.rotation_scheduled")) == 1
    problem(await admin.put(where, json={"maximum_age": DAY, "overlap": 2 * DAY}), 400, field="overlap")
    problem(await admin.put(where, json={"maximum_age": 5}), 400, field="maximum_age")
    ok(await admin.delete(where), 204)
    ok(await admin.delete(where), 204)
    problem(await admin.get(where), 404)
    public = await world.register_client("App", public=True)
    refused = await admin.put(f"/admin/clients/{public.client_id}/rotation", json=POLICY)
    problem(refused, 409, reason="not_confidential")


async def test_version_expiry_is_announced_once_and_the_next_overlaps(world: World, job: Client) -> None:
    admin = await admin_of(world)
    ok(await admin.put(f"/admin/clients/{job.client_id}/rotation", json=POLICY))
    world.clock.advance(75 * DAY)
    await rotate_due(world.services.ledger, world.services.format, Origin(SYSTEM))
    assert await world.events("client.rotation_announced") == ()
    world.clock.advance(2 * DAY)
    for _ in range(2):
        await rotate_due(world.services.ledger, world.services.format, Origin(SYSTEM))
    (announced,) = await world.events("client.rotation_announced")
    assert announced.event.version == 1
    admin = await admin_of(world)
    made = ok(await admin.post(f"/admin/clients/{job.client_id}/secrets"), 201)
    old, new = ok(await admin.get(f"/admin/clients/{job.client_id}/secrets"))["items"]
    assert (old["state"], new["state"]) == ("expiring", "expiring")
    assert (old["expires_at"], new["expires_at"]) == ("2026-03-26T00:00:00.000000Z", "2026-06-24T00:00:00.000000Z")
    assert await token(world, job) == 200
    world.clock.advance(7 * DAY)
    assert (await token(world, job), await token(world, job, made["client_secret"])) == (401, 200)


async def test_dashboard_secret_rotates_by_itself_unnoticed(world: World) -> None:
    platform = await make_platform(world)
    admin = await admin_of(world)
    listed = ok(await admin.get("/admin/dashboards"))["items"]
    client_id = next(each["client_id"] for each in listed if each["slug"] == "client")
    ok(await admin.put(f"/admin/clients/{client_id}/rotation", json=POLICY))
    for turn in range(3):
        world.clock.advance(90 * DAY)
        await rotate_due(world.services.ledger, world.services.format, Origin(SYSTEM))
        await rotate_due(world.services.ledger, world.services.format, Origin(SYSTEM))
        assert len(await world.events("client.secret_rotated", stream=f"client:{client_id}")) == turn + 1
        login = await world.client.post("/dashboards/client/login", json=platform.paul.typed)
        assert login.status_code == 200, login.text


async def test_a_version_begins_when_it_was_said_to(world: World, job: Client) -> None:
    admin = await admin_of(world)
    path = f"/admin/clients/{job.client_id}/secrets"
    problem(await admin.post(path, json={"not_before_in": 60, "others_expire_in": 30}), 400, field="not_before_in")
    problem(await admin.post(path, json={"not_before_in": 60, "secret_lifetime": 60}), 400, field="not_before_in")
    made = ok(await admin.post(path, json={"not_before_in": 60, "others_expire_in": 120}), 201)["client_secret"]
    assert (await token(world, job), await token(world, job, made)) == (200, 401)
    (failed,) = await world.events("client.authentication_failed")
    assert failed.event.reason == "secret_not_yet_valid"
    assert ok(await admin.get(path))["items"][1]["not_before"] == "2026-01-01T00:01:00.000000Z"
    world.clock.advance(60)
    assert (await token(world, job), await token(world, job, made)) == (200, 200)
    world.clock.advance(60)
    assert (await token(world, job), await token(world, job, made)) == (401, 200)


async def test_a_version_does_not_begin_after_all_others_have_ended(world: World) -> None:
    admin = await admin_of(world)
    await world.define_scopes("orders")
    job = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders", "secret_lifetime": 60}
    made = ok(await admin.post("/admin/clients", json=job), 201)
    path = f"/admin/clients/{made['client_id']}/secrets"
    before = await world.head()
    problem(await admin.post(path, json={"not_before_in": 3_600}), 400, field="not_before_in")
    assert await world.types_after(before) == []
    new = ok(await admin.post(path, json={"not_before_in": 60}), 201)["client_secret"]
    answers = []
    for secret in (made["client_secret"], new):
        auth = (made["client_id"], secret)
        answers.append(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth))
    world.clock.advance(60)
    answers.append(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth))
    assert [answer.status_code for answer in answers] == [200, 401, 200]


async def test_a_dead_version_that_is_presented_opens_one_incident(world: World, job: Client) -> None:
    await rotate(world, job, others_expire_in=0)
    assert await asyncio.gather(*(token(world, job) for _ in range(3))) == [401] * 3
    world.clock.advance(3_600)
    assert await token(world, job) == 401
    admin = await admin_of(world)
    (opened,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (opened["source"], opened["state"], opened["client_id"]) == ("policy", "identified", job.client_id)


async def test_the_advice_says_from_how_many_addresses(world: World, job: Client) -> None:
    admin = await admin_of(world)
    assert await token(world, job) == 200
    elsewhere = world.caller("203.0.113.8")
    auth = job.auth
    ok(await elsewhere.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth))
    (only,) = ok(await admin.get(f"/admin/clients/{job.client_id}/secrets"))["items"]
    assert only["safe_to_retire_reason"].endswith("last used 2026-01-01 from 2 addresses")
