"""Administering secret versions: rotation without an outage, counts that are current, ends that end."""

from typing import Any

import httpx
import pytest

from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import Client, World

MEMBERS = {
    "id",
    "version",
    "state",
    "created_at",
    "not_before",
    "expires_at",
    "last_used_at",
    "use_count",
    "safe_to_retire",
    "safe_to_retire_reason",
    "revoked_at",
}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world, "clients:read", "clients:write")


async def versions(admin: httpx.AsyncClient, client: Client) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ok(await admin.get(f"/admin/clients/{client.client_id}/secrets"))["items"]
    assert all(set(item) == MEMBERS for item in items)
    return items


async def token(world: World, client: Client, secret: str | None = None) -> httpx.Response:
    auth = (client.client_id, secret or client.secret or "")
    return await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)


async def test_rotation_lets_the_others_live_for_as_long_as_it_says(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    before = await world.head()
    path = f"/admin/clients/{job.client_id}/secrets"
    answer = await admin.post(path, json={"others_expire_in": 60})
    new = ok(answer, 201)
    assert set(new) == {"client_secret", "client_secret_expires_at", "secret"}
    assert (new["client_secret_expires_at"], new["secret"]["version"]) == (0, 2)
    assert answer.headers["location"] == f"{path}/{new['secret']['id']}"
    assert ok(await admin.get(answer.headers["location"]))["version"] == 2
    (rotated,) = await world.events(after=before)
    assert (rotated.type, rotated.event.others_expire_in) == ("client.secret_rotated", 60)
    assert new["client_secret"] not in str(rotated)

    first, second = await versions(admin, job)
    assert [first["state"], second["state"]] == ["expiring", "active"]
    assert (first["expires_at"], second["expires_at"]) == ("2026-01-01T00:01:00.000000Z", None)
    assert ok(await token(world, job))
    assert ok(await token(world, job, new["client_secret"]))
    world.clock.advance(60)
    assert (await token(world, job)).status_code == 401
    assert [item["state"] for item in await versions(admin, job)] == ["expired", "active"]


async def test_rotation_without_body_keeps_the_others_and_0_ends_them(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    path = f"/admin/clients/{job.client_id}/secrets"
    ok(await admin.post(path), 201)
    ok(await admin.post(path, json={}), 201)
    assert [item["state"] for item in await versions(admin, job)] == ["active"] * 3
    ok(await admin.post(path, json={"others_expire_in": 0, "secret_lifetime": 86_400}), 201)
    assert [item["state"] for item in await versions(admin, job)] == ["expired"] * 3 + ["expiring"]
    problem(await admin.post(path, json={"others_expire_in": -1}), 400, field="others_expire_in")
    problem(await admin.post(path, json={"secret_lifetime": 0}), 400, field="secret_lifetime")


async def test_the_list_counts_uses_that_were_not_recorded_yet(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    raw = ok(await token(world, job))["access_token"]
    world.clock.advance(5)
    for _ in range(3):
        ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=job.auth))
    (only,) = await versions(admin, job)
    assert only["use_count"] == 4
    assert only["last_used_at"] == "2026-01-01T00:00:05.000000Z"
    assert only["safe_to_retire"] is False
    assert "only live secret" in only["safe_to_retire_reason"]


async def test_ending_a_version_keeps_its_tokens_or_revokes_them(
    world: World, admin: httpx.AsyncClient, job: Client
) -> None:
    raw = ok(await token(world, job))["access_token"]
    path = f"/admin/clients/{job.client_id}/secrets"
    new = ok(await admin.post(path), 201)
    old = next(item["id"] for item in await versions(admin, job) if item["version"] == 1)
    other = (job.client_id, new["client_secret"])

    async def active() -> bool:
        seen = await world.client.post("/oauth/introspect", data={"token": raw}, auth=other)
        alive: bool = ok(seen)["active"]
        return alive

    before = await world.head()
    ok(await admin.delete(f"{path}/{old}"), 204)
    assert (await token(world, job)).status_code == 401
    assert await active()
    ok(await admin.delete(f"{path}/{old}?tokens=revoke"), 204)
    assert not await active()
    ok(await admin.delete(f"{path}/{old}?tokens=revoke"), 204)
    ended = await world.events("client.secret_revoked", after=before)
    assert [event.event.tokens for event in ended] == ["keep", "revoke"]
    problem(await admin.delete(f"{path}/{old}?tokens=perhaps"), 400, field="tokens")


async def test_versions_are_their_clients_alone(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    other = await world.register_client("Other")
    (own,) = await versions(admin, job)
    strange = f"/admin/clients/{other.client_id}/secrets/{own['id']}"
    problem(await admin.get(strange), 404)
    problem(await admin.delete(strange), 404)
    problem(await admin.get("/admin/clients/nobody/secrets"), 404)
    problem(await admin.post("/admin/clients/nobody/secrets"), 404)


async def test_a_public_client_has_no_versions(world: World, admin: httpx.AsyncClient) -> None:
    public = await world.register_client("App", public=True)
    assert await versions(admin, public) == []
    problem(await admin.post(f"/admin/clients/{public.client_id}/secrets"), 409, reason="not_confidential")
