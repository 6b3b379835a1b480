"""A dashboard goes on with its cookie: rotation, second tabs, replays, and ends that come from elsewhere."""

import asyncio
from typing import Any

import pytest

from domain import account
from domain.event import SECOND
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.dashboards.platform import Platform, make_platform
from tests.scenarios.world import World


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def active(world: World, platform: Platform, token: str) -> bool:
    at = platform.client
    answer = await world.client.post(
        "/oauth/introspect", data={"token": token}, auth=(at.client_id, at.secrets[-1].reveal())
    )
    found: dict[str, Any] = answer.json()
    return bool(found["active"])


async def test_the_cookie_gives_the_same_answer_again(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    world.clock.advance(3600)
    before = await world.head()
    answer = await at.refresh(cookie)
    assert answer.status_code == 200
    assert set(answer.json()) == {"token_type", "expires_in", "access_token", "scope"}
    assert answer.json()["access_token"] != access
    value, attributes = at.set_cookie(answer)
    assert value.startswith("glog_rt_")
    assert value != cookie
    assert attributes == {"path": "/", "max-age": str(30 * 86_400), "httponly": "", "samesite": "Strict"}

    (refreshed,) = await world.events(after=before)
    assert refreshed.type == "grant.tokens_refreshed"
    assert refreshed.actor.kind == "client"
    assert refreshed.actor.id == at.client_id
    assert refreshed.actor.credential == {"secret_id": at.secret_ids[0]}
    assert refreshed.event.account_id == platform.paul.account_id
    assert refreshed.event.grace_ends_at == refreshed.time + 10 * SECOND


async def test_the_cookie_ends_with_the_grant(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    for _ in range(3):
        world.clock.advance(29 * 86_400)
        answer = await at.refresh(cookie)
        cookie = at.cookie(answer)
    # 87 days are over; after 90 the person has to sign in again, whatever they did in between.
    assert at.set_cookie(answer)[1]["max-age"] == str(3 * 86_400)
    world.clock.advance(3 * 86_400)
    assert (await at.refresh(cookie)).status_code == 401


async def test_ten_tabs_with_one_cookie_all_get_tokens(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    answers = await asyncio.gather(*(at.refresh(cookie) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["access_token"] for answer in answers}) == 10

    events = await world.events(after=before)
    assert sorted(each.type for each in events) == ["grant.successor_replaced"] * 9 + ["grant.tokens_refreshed"] * 10
    assert len({each.stream for each in events}) == 1
    # The window began with the first of them and was prolonged by none.
    assert len({each.event.grace_ends_at for each in events if each.type == "grant.tokens_refreshed"}) == 1
    for answer in answers:
        assert await active(world, platform, answer.json()["access_token"])
    # Each of their cookies is as good as any other, until one of them is used.
    for answer in answers:
        assert await active(world, platform, at.cookie(answer))
    used, *others = (at.cookie(answer) for answer in answers)
    assert (await at.refresh(used)).status_code == 200
    world.clock.advance(10)
    for left in others:
        assert not await active(world, platform, left)
    assert not await active(world, platform, cookie)


@pytest.mark.parametrize("tabs", [2, 3, 6])
async def test_any_of_parallel_refresh_answers_keeps_one_signed_in(world, platform, tabs):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    for turn in range(40):
        # Now and then a page is left alone for longer than any window.
        world.clock.advance(3600 if turn % 8 == 7 else 1)
        answers = await asyncio.gather(*(at.refresh(cookie) for _ in range(tabs)))
        assert [answer.status_code for answer in answers] == [200] * tabs
        cookie = at.cookie(answers[turn % tabs])
    types = await world.types_after(before)
    assert types.count("grant.tokens_refreshed") == 40 * tabs
    assert set(types) == {"grant.tokens_refreshed", "grant.successor_replaced"}


async def test_unused_refresh_answer_is_a_replay_after_its_window(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    left, kept = [at.cookie(await at.refresh(cookie)) for _ in range(2)]
    went_on = at.cookie(await at.refresh(kept))
    world.clock.advance(9)
    assert (await at.refresh(left)).status_code == 200
    world.clock.advance(1)
    before = await world.head()
    # The branch that was used last goes on; the other one is told apart from it now.
    assert (await at.refresh(went_on)).status_code == 401
    assert await world.types_after(before) == ["grant.refresh_replayed", "grant.ended"]


async def test_a_second_tab_has_ten_seconds(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    first = await at.refresh(cookie)
    world.clock.advance(9)
    second = await at.refresh(cookie)
    assert (first.status_code, second.status_code) == (200, 200)
    assert at.cookie(first) != at.cookie(second)


async def test_a_replay_after_the_grace_ends_the_grant(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    fresh = await at.refresh(cookie)
    world.clock.advance(10)
    before = await world.head()
    answer = await at.refresh(cookie)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"
    assert answer.headers["access-control-allow-origin"] == at.origin
    at.assert_cleared(answer)
    assert await world.types_after(before) == ["grant.refresh_replayed", "grant.ended"]
    (ended,) = await world.events("grant.ended", after=before)
    assert ended.event.reason == "refresh_replay"
    assert not await active(world, platform, fresh.json()["access_token"])
    assert (await at.refresh(at.cookie(fresh))).status_code == 401


async def test_in_the_grace_a_used_successor_gives_the_thief_away(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    fresh = await at.refresh(cookie)
    assert (await at.refresh(at.cookie(fresh))).status_code == 200
    assert (await at.refresh(cookie)).status_code == 401
    assert (await world.events("grant.ended"))[-1].event.reason == "refresh_replay"


@cases("cookie", [None, "", "rubbish", "glog_rt_" + "0" * 36, "glog_rt_" + "é" * 36, '"'])
async def test_without_a_refresh_token_there_is_nothing_to_refresh(world, platform, cookie):
    before = await world.head()
    headers = {} if cookie is None else {"cookie": f"{platform.client.cookie_name}=".encode() + cookie.encode()}
    answer = await platform.client.call("POST", "/refresh", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"
    assert await world.head() == before
    if cookie is None:
        assert "set-cookie" not in answer.headers
    else:
        platform.client.assert_cleared(answer)


async def test_an_access_token_is_no_refresh_token(world, platform):
    access, _ = await platform.client.sign_in(platform.paul)
    before = await world.head()
    assert (await platform.client.refresh(access)).status_code == 401
    assert await world.head() == before


async def test_ends_from_elsewhere_end_the_sign_in(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    await world.execute(
        any_command(account.stream(platform.paul.account_id), account.disable, {"leaves_no_administrator": False})
    )
    answer = await at.refresh(cookie)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"


async def test_what_a_refresh_gives_is_narrowed_by_lost_roles(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    await world.define_role("platform", "member", "orders", default=True)
    answer = await at.refresh(cookie)
    assert answer.json()["scope"] == "orders"
    await world.define_role("platform", "member", "reports:read", default=True)
    answer = await at.refresh(at.cookie(answer))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_scope"
