"""The dashboard's own secret: rotated like any client's, picked up at once by every worker, and never shown."""

from datetime import timedelta
from pathlib import Path

import pytest

from api.http.credential_cache import DashboardSecrets
from commands import clients
from commands.permissions import operator
from domain.client_secret import NewSecret
from tests.scenarios.dashboards.platform import Dashboard, Platform, make_platform
from tests.scenarios.world import World, open_world

DAY = int(timedelta(days=1).total_seconds())


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def used(world: World) -> tuple[str, int]:
    """Which secret version the newest tokens name."""
    newest = [each for each in await world.events("grant.tokens_*")][-1].event
    return newest.secret_id, newest.secret_version


async def test_a_rotation_is_picked_up_at_once(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    assert await used(world) == (at.secret_ids[0], 1)
    await at.rotate(others_expire_in=0)
    assert (await at.login(platform.paul)).status_code == 200
    assert await used(world) == (at.secret_ids[1], 2)
    answer = await at.refresh(cookie)
    assert answer.status_code == 200
    assert await used(world) == (at.secret_ids[1], 2)
    await at.rotate()
    assert (await at.refresh(at.cookie(answer))).status_code == 200
    assert await used(world) == (at.secret_ids[2], 3)


async def test_an_administrator_rotates_it_like_any_clients(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    token = await world.token("clients:write")
    for number in (2, 3):
        answer = await world.client.post(
            f"/admin/clients/{at.client_id}/secrets",
            json={"others_expire_in": 0},
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 201
        version = answer.json()["secret"]
        answer = await at.refresh(cookie)
        assert answer.status_code == 200
        cookie = at.cookie(answer)
        assert await used(world) == (version["id"], number)
        assert (await at.login(platform.paul)).status_code == 200


async def test_a_rotation_by_another_process_is_picked_up_at_once(world, platform, database_url, tmp_path, keyring):
    at = platform.client
    folder = Path(tmp_path) / "second"
    folder.mkdir()
    async with open_world(database_url, folder, keyring, world.clock) as second:
        there = Dashboard(second, "client", at.client_id, at.origin, at.secrets[0], at.secret_ids[0])
        _, cookie = await there.sign_in(platform.paul)
        assert (await at.login(platform.paul)).status_code == 200
        await at.rotate(others_expire_in=0)
        answer = await there.refresh(cookie)
        assert answer.status_code == 200
        assert await used(second) == (at.secret_ids[1], 2)
        assert (await there.login(platform.paul)).status_code == 200
        # What one process gave, the other one takes.
        assert (await at.refresh(there.cookie(answer))).status_code == 200


async def test_what_the_former_version_had_authenticated_lives_on(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    await at.rotate(others_expire_in=0)
    answer = await world.client.post(
        "/oauth/introspect", data={"token": access}, auth=(at.client_id, at.secrets[-1].reveal())
    )
    assert answer.json()["active"] is True
    assert (await at.refresh(cookie)).status_code == 200


async def test_ending_a_version_with_its_tokens_ends_the_sign_ins(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    await at.rotate()
    await at.do(clients.revoke_secret(at.client_id, at.secret_ids[0], "revoke"))
    assert (await at.refresh(cookie)).status_code == 401
    assert (await at.login(platform.paul)).status_code == 200


async def assert_says_what_to_do(world, at, person, cookie) -> None:
    before = await world.head()
    answers = [
        await at.login(person),
        await at.login(person, password="not the password"),
        await at.refresh(cookie),
    ]
    bodies = [answer.json() | {"request_id": None} for answer in answers]
    assert {answer.status_code for answer in answers} == {503}
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["error"] == "temporarily_unavailable"
    assert "administrator has to rotate" in bodies[0]["detail"]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert answers[0].headers["access-control-allow-origin"] == at.origin
    assert await world.head() == before


async def test_without_a_live_secret_an_administrator_is_called_for(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    await at.do(clients.revoke_secret(at.client_id, at.secret_ids[0]))
    await assert_says_what_to_do(world, at, platform.paul, cookie)
    # Signing out needs no secret.
    assert (await at.logout(bearer=access)).status_code == 204
    await at.rotate()
    assert (await at.login(platform.paul)).status_code == 200


async def test_a_version_that_expires_ends_while_it_is_kept(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    new = NewSecret("elsewhere", "ab" * 32)
    await at.do(clients.rotate_secret(at.client_id, new, others_expire_in=DAY, by=operator))
    # Somebody rotated without telling the vault: its version serves until its end, and not longer.
    assert (await at.login(platform.paul)).status_code == 200
    world.clock.advance(DAY)
    await assert_says_what_to_do(world, at, platform.paul, cookie)


async def test_rotation_between_authentication_and_lock_fails_nobody(world, platform, monkeypatch):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    genuine = DashboardSecrets.version
    rotated = []

    async def overtaken(self, client_id):
        version = await genuine(self, client_id)
        if not rotated:
            rotated.append(await at.rotate(others_expire_in=0))
        return version

    monkeypatch.setattr(DashboardSecrets, "version", overtaken)
    assert (await at.login(platform.paul)).status_code == 200
    assert await used(world) == (at.secret_ids[1], 2)
    rotated.clear()
    assert (await at.refresh(cookie)).status_code == 200
    assert await used(world) == (at.secret_ids[2], 3)


async def test_the_raw_secret_works_at_the_token_endpoint_alone(world, platform):
    """The dashboard is an ordinary confidential client; its own server simply asks itself."""
    at = platform.client
    answer = await world.client.post(
        "/oauth/token",
        data={"grant_type": "password", "username": "paul", "password": platform.paul.password},
        auth=(at.client_id, at.secrets[0].reveal()),
    )
    assert answer.status_code == 200
    assert "refresh_token" in answer.json()
