"""Whose dashboard is whose: realms are separate, and what is not there or switched off is so for everybody."""

import pytest

from commands import clients
from commands.permissions import operator
from tests.scenarios.dashboards.platform import ADMINISTRATION, Platform, introspect, make_dashboard, make_platform
from tests.scenarios.world import World


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def test_the_realms_are_separate(world, platform):
    before = await world.head()
    assert (await platform.client.login(platform.ada)).status_code == 401
    assert (await platform.administration.login(platform.paul)).status_code == 401
    assert not [each for each in await world.events("grant.*", after=before)]
    assert (await platform.administration.login(platform.ada)).json()["scope"] == " ".join(ADMINISTRATION)


async def test_one_name_is_two_people_in_two_realms(world, platform):
    other = await world.register_person("paul", realm="administration", password="another long password")
    assert (await platform.administration.login(other)).status_code == 200
    assert (await platform.administration.login(platform.paul)).status_code == 401
    assert (await platform.client.login(platform.paul)).status_code == 200


async def test_pauls_cookie_opens_nothing_of_the_administration(world, platform):
    access, cookie = await platform.client.sign_in(platform.paul)
    there = platform.administration
    before = await world.head()
    answer = await there.refresh(cookie)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"
    assert await world.types_after(before) == ["grant.refresh_refused"]
    # Under its own name it is no cookie of that dashboard at all.
    answer = await there.call("POST", "/refresh", headers={"cookie": f"{platform.client.cookie_name}={cookie}"})
    assert answer.status_code == 401
    assert (await there.logout(cookie=cookie)).status_code == 401
    assert (await there.logout(bearer=access)).status_code == 401
    assert (await introspect(world, platform.client, access))["active"] is True
    assert (await platform.client.refresh(cookie)).status_code == 200


async def test_platform_credentials_are_refused_by_administration(world, platform):
    access, cookie = await platform.client.sign_in(platform.paul)
    before = await world.head()
    for name in (platform.client.cookie_name, platform.administration.cookie_name):
        answer = await world.caller().get("/admin/clients", headers={"cookie": f"{name}={cookie}"})
        assert answer.status_code == 401
    answer = await world.client.get("/admin/clients", headers={"authorization": f"Bearer {cookie}"})
    assert answer.status_code == 401
    answer = await world.client.get("/admin/clients", headers={"authorization": f"Bearer {access}"})
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert await world.head() == before

    hers, _ = await platform.administration.sign_in(platform.ada)
    assert (await world.client.get("/admin/clients", headers={"authorization": f"Bearer {hers}"})).status_code == 200


# -- dashboards that are not there ------------------------------------------------------------------------------------


async def test_an_unknown_dashboard_is_404_everywhere(world, platform):
    before = await world.head()
    for method, path in (("POST", "/login"), ("POST", "/refresh"), ("DELETE", "/logout"), ("GET", ""), ("POST", "")):
        answer = await world.client.request(method, f"/dashboards/nowhere{path}", headers={"x-grantlog": "1"})
        assert answer.status_code == 404
        assert answer.headers["vary"] == "Origin"
    assert await world.head() == before


async def test_a_disabled_dashboard_refuses_everybody_alike(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    await at.do(clients.disable(at.client_id))
    before = await world.head()
    answers = [
        await at.login(platform.paul),
        await at.login(platform.paul, password="not his password"),
        await at.refresh(cookie),
        await at.logout(bearer=access),
    ]
    bodies = [answer.json() | {"request_id": None} for answer in answers]
    assert all(answer.status_code == 403 for answer in answers)
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["error"] == "unauthorized_client"
    assert answers[0].headers["access-control-allow-origin"] == at.origin
    assert (await at.call("GET", "")).status_code == 403
    assert await world.head() == before

    await at.do(clients.enable(at.client_id, by=operator))
    assert (await at.login(platform.paul)).status_code == 200
    # What was cut off stays dead.
    assert (await at.refresh(cookie)).status_code == 401


async def test_a_deleted_dashboard_is_gone_and_its_slug_is_free(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    await at.do(clients.delete(at.client_id))
    assert (await at.login(platform.paul)).status_code == 404
    assert (await at.refresh(cookie)).status_code == 404
    successor = await make_dashboard(world, "client")
    assert (await successor.login(platform.paul)).status_code == 200
    assert (await successor.refresh(cookie)).status_code == 401
