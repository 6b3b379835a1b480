"""A second factor at a dashboard: the password grant leads nobody around it."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.dashboards.platform import Dashboard, Platform, introspect, make_platform
from tests.scenarios.factors import Generator, enrol
from tests.scenarios.world import World

TWO_FACTORS = "urn:grantlog:acr:2"


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def begin(platform: Platform) -> tuple[str, str, httpx.Response]:
    """`auth_session`, the cookie that belongs to it, and the answer."""
    answer = await platform.client.login(platform.paul)
    assert answer.status_code == 403, answer.text
    (field,) = answer.headers.get_list("set-cookie")
    return answer.json()["auth_session"], field, answer


async def show(at: Dashboard, auth_session: str, cookie: str, **factor: Any) -> httpx.Response:
    """The second request."""
    name, _, rest = cookie.partition("=")
    headers = {"cookie": f"{name}={rest.partition(';')[0]}"}
    body = {"auth_session": auth_session} | factor
    return await at.world.caller().post(
        f"/dashboards/{at.slug}/login", json=body, headers=headers | {"origin": at.origin}
    )


async def test_a_right_password_asks_for_the_factor(world: World, platform: Platform) -> None:
    await enrol(world, platform.paul)
    auth_session, cookie, answer = await begin(platform)
    body = answer.json()
    assert body["error"] == "insufficient_authorization"
    assert body["factors"] == ["totp", "recovery_code"]
    assert body["webauthn"] is None
    assert answer.headers["content-type"] == "application/problem+json"
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Max-Age=300" in cookie
    assert auth_session
    assert not await world.events("grant.tokens_issued")


async def test_the_factor_completes_the_sign_in(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    auth_session, cookie, _ = await begin(platform)
    answer = await show(platform.client, auth_session, cookie, totp=generator.code())
    assert answer.status_code == 200, answer.text
    held, taken_back = answer.headers.get_list("set-cookie")
    assert held.startswith(platform.client.cookie_name + "=glog_rt_")
    assert "Max-Age=-1" in taken_back
    verified, issued = (await world.events())[-2:]
    assert (verified.type, issued.type) == ("account.factor_verified", "grant.tokens_issued")
    assert issued.event.amr == ("pwd", "otp", "mfa")
    assert (await introspect(world, platform.client, answer.json()["access_token"]))["acr"] == TWO_FACTORS


async def test_a_recovery_code_completes_it_once(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    statuses = []
    for _ in range(2):
        auth_session, cookie, _ = await begin(platform)
        answer = await show(platform.client, auth_session, cookie, recovery_code=generator.recovery_codes[0])
        statuses.append(answer.status_code)
    assert statuses == [200, 403]


async def test_a_code_is_used_once_at_once(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    begun = [await begin(platform) for _ in range(3)]
    shown = [show(platform.client, *each[:2], totp=generator.code()) for each in begun]
    assert sorted(answer.status_code for answer in await asyncio.gather(*shown)) == [200, 403, 403]
    assert len(await world.events("grant.tokens_issued")) == 1


async def test_wrong_codes_end_the_sign_in(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    auth_session, cookie, _ = await begin(platform)
    for _ in range(5):
        answer = await show(platform.client, auth_session, cookie, totp="000000")
        assert (answer.status_code, answer.json()["auth_session"]) == (403, auth_session)
    answer = await show(platform.client, auth_session, cookie, totp=generator.code())
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")
    failed = await world.events("account.factor_failed")
    assert [each.actor.kind for each in failed] == ["anonymous"] * 5


async def test_auth_session_belongs_to_dashboard_and_cookie(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    auth_session, cookie, _ = await begin(platform)
    _, another, _ = await begin(platform)
    at, code = platform.client, generator.code()
    for place, told, kept in (
        (at, auth_session, another),
        (at, auth_session[:-4] + "AAAA", cookie),
        (at, "é", cookie),
        (platform.administration, auth_session, cookie.replace("client", "administration")),
    ):
        assert (await show(place, told, kept, totp=code)).status_code == 401
    world.clock.advance(301)
    assert (await show(at, auth_session, cookie, totp=generator.code())).status_code == 401
    assert not await world.events("grant.tokens_issued")


async def test_a_disabled_person_does_not_complete_it(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    auth_session, cookie, _ = await begin(platform)
    token = await world.token("people:write")
    address = f"/admin/people/{platform.paul.account_id}/disable"
    await world.client.post(address, headers={"authorization": f"Bearer {token}"})
    answer = await show(platform.client, auth_session, cookie, totp=generator.code())
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")


@cases(
    ("body", "field"),
    [
        ({}, "totp"),
        ({"totp": "123456", "recovery_code": "aaaa"}, "totp"),
        ({"totp": "123456", "password": "x"}, "password"),
        ({"totp": ""}, "totp"),
        ({"webauthn": {}}, "webauthn"),
    ],
)
async def test_what_is_no_second_step_is_told(
    world: World, platform: Platform, body: dict[str, Any], field: str
) -> None:
    answer = await show(platform.client, "AAAA", "x=y", **body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


async def test_cookie_alone_is_guarded(world: World, platform: Platform) -> None:
    generator = await enrol(world, platform.paul)
    auth_session, cookie, _ = await begin(platform)
    name, _, rest = cookie.partition("=")
    body = {"auth_session": auth_session, "totp": generator.code()}
    headers = {"cookie": f"{name}={rest.partition(';')[0]}"}
    answer = await world.caller().post("/dashboards/client/login", json=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["reason"] == "unguarded_cookie"


async def test_password_grant_leads_nobody_around_it(world: World, platform: Platform) -> None:
    await enrol(world, platform.paul)
    at = platform.client
    data = {"grant_type": "password", "username": platform.paul.username, "password": platform.paul.password}
    answer = await world.client.post("/oauth/token", data=data, auth=(at.client_id, at.secrets[-1].reveal()))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_authorization")
    assert not await world.events("grant.tokens_issued")


async def test_dangerous_commands_want_both_factors(world: World) -> None:
    platform = await make_platform(world)
    await world.define_role("administration", "chief", "people:write", "people:read", "clients:write", "clients:read")
    chief = await world.register_person("carla", realm="administration", roles_of=("chief",))
    at = Dashboard(
        world, "administration", platform.administration.client_id, platform.administration.origin,
        platform.administration.secrets[0], platform.administration.secret_ids[0],
    )  # fmt: skip
    client_id = (await world.register_client()).client_id
    token, _ = await at.sign_in(chief)
    generator: Generator = await enrol(world, chief)
    address, headers = f"/admin/clients/{client_id}/disable", {"authorization": f"Bearer {token}"}
    answer = await world.client.post(address, headers=headers)
    assert answer.status_code == 401
    assert f'acr_values="{TWO_FACTORS}"' in answer.headers["www-authenticate"]
    asked = await at.login(chief)
    (cookie,) = asked.headers.get_list("set-cookie")
    answer = await show(at, asked.json()["auth_session"], cookie, totp=generator.code())
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await world.client.post(address, headers=headers)).status_code == 200
