"""Signing out ends the grant and takes the cookie back, whichever of the two credentials names it."""

import pytest

from domain.event import SECOND
from projections import tokens
from tests.scenarios.dashboards.platform import Platform, make_platform
from tests.scenarios.world import World


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


@pytest.mark.parametrize("credentials", ["bearer", "cookie", "both"])
async def test_either_credential_ends_the_sign_in(world, platform, credentials):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    answer = await at.logout(
        bearer=access if credentials != "cookie" else None, cookie=cookie if credentials != "bearer" else None
    )
    assert answer.status_code == 204
    assert answer.content == b""
    at.assert_cleared(answer)

    (ended,) = await world.events(after=before)
    assert ended.type == "grant.ended"
    assert ended.event.reason == "logout"
    assert ended.actor.kind == "person"
    assert ended.actor.id == platform.paul.account_id
    assert ended.actor.credential == {"grant_id": ended.stream.removeprefix("grant:")}
    assert ended.request_id == answer.headers["x-request-id"]
    assert (await at.refresh(cookie)).status_code == 401

    again = await at.logout(bearer=access, cookie=cookie)
    assert again.status_code == 204
    at.assert_cleared(again)
    assert "grant.ended" not in await world.types_after(ended.position)


async def test_an_expired_token_will_do(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    world.clock.advance(601)
    assert (await at.logout(bearer=access)).status_code == 204
    assert (await world.events("grant.ended"))[-1].event.reason == "logout"
    assert (await at.refresh(cookie)).status_code == 401


async def test_so_will_one_whose_row_has_been_removed(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    world.clock.advance(3600)
    assert await world.services.ledger.maintain(tokens.prune, world.clock.now() - 60 * SECOND) == 1
    before = await world.head()
    answer = await at.logout(bearer=access)
    assert answer.status_code == 204
    at.assert_cleared(answer)
    (ended,) = await world.events(after=before)
    assert (ended.type, ended.actor.id) == ("grant.ended", platform.paul.account_id)
    assert (await at.refresh(cookie)).status_code == 401


async def test_cookie_refreshed_by_another_tab_names_the_same_grant(world, platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    answer = await at.refresh(cookie)
    world.clock.advance(60)
    before = await world.head()
    assert (await at.logout(cookie=cookie)).status_code == 204
    assert await world.types_after(before) == ["grant.ended"]
    assert (await at.refresh(at.cookie(answer))).status_code == 401


async def test_both_sign_ins_end_when_the_credentials_name_two(world, platform):
    at = platform.client
    former, _ = await at.sign_in(platform.paul)
    _, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    assert (await at.logout(bearer=former, cookie=cookie)).status_code == 204
    assert len({each.stream for each in await world.events("grant.ended", after=before)}) == 2


async def test_with_neither_there_is_nothing_to_end(world, platform):
    before = await world.head()
    answer = await platform.client.logout()
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["error"] == "invalid_token"
    assert "set-cookie" not in answer.headers
    assert await world.head() == before


async def test_what_belongs_to_others_or_to_nobody_is_not_accepted(world, platform):
    at, other = platform.client, platform.administration
    access, cookie = await other.sign_in(platform.ada)
    mine, kept = await at.sign_in(platform.paul)
    service = await world.token("orders")
    before = await world.head()
    refused = [
        await at.logout(bearer=access),
        await at.logout(cookie=cookie),
        await at.logout(bearer=access, cookie=cookie),
        await at.logout(bearer=service),
        await at.logout(bearer="glog_at_" + "0" * 36),
        await at.logout(bearer="rubbish"),
        # Each secret only where it belongs.
        await at.logout(bearer=kept),
        await at.logout(cookie=mine),
        await at.call("DELETE", "/logout", headers={"authorization": "Basic cGF1bDpwYXVs"}),
    ]
    assert {answer.status_code for answer in refused} == {401}
    assert await world.head() == before
    assert (await other.refresh(cookie)).status_code == 200


async def test_a_foreign_token_beside_the_own_cookie_is_passed_over(world, platform):
    at, other = platform.client, platform.administration
    access, cookie = await other.sign_in(platform.ada)
    _, own = await at.sign_in(platform.paul)
    assert (await at.logout(bearer=access, cookie=own)).status_code == 204
    assert (await other.refresh(cookie)).status_code == 200


async def test_a_cookie_without_guard_is_not_looked_at(world, platform):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    _, another = await at.sign_in(platform.paul)
    before = await world.head()
    answer = await at.logout(cookie=cookie, origin=None)
    assert answer.status_code == 403
    assert answer.json()["error"] == "access_denied"
    assert await world.head() == before
    # The bearer token, which no browser sends by itself, needs no guard; the cookie beside it is left alone.
    assert (await at.logout(bearer=access, cookie=another, origin=None)).status_code == 204
    assert (await at.refresh(another)).status_code == 200
    assert (await at.logout(cookie=cookie, origin=None, headers={"x-grantlog": "1"})).status_code == 204
