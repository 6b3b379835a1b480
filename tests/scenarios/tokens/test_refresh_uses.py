"""Where a refresh token was presented, when a used one comes again in its grace and its successor is replaced."""

from typing import Any

import httpx
import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"refresh_grace": 30}


async def presented(scene: Scene, raw: str, address: str) -> httpx.Response:
    scene.world.clock.advance(5)
    data = {"grant_type": "refresh_token", "refresh_token": raw}
    return await scene.world.caller(address).post("/oauth/token", data=data, auth=scene.shop.auth)


async def addresses(admin: httpx.AsyncClient, raw: str) -> dict[str, tuple[int, int]]:
    """By address how often it came from there, and how often of that after its end."""
    found = ok(await admin.post("/leaks/investigate", json={"secret": raw}))
    return {each["ip"]: (each["count"], each["after_end"]) for each in found["addresses"]}


async def test_each_use_is_told_of_the_token_that_was_presented(world: World, scene: Scene) -> None:
    past = await lived(scene)
    raw, before = past.tokens["refresh_token"], await world.head()
    replaced = ok(await presented(scene, raw, FIRST))["refresh_token"]
    again = ok(await presented(scene, raw, SECOND))["refresh_token"]
    third = ok(await presented(scene, raw, FIRST))["refresh_token"]
    newest = ok(await presented(scene, third, THIRD))["refresh_token"]
    types = ["grant.tokens_refreshed", *["grant.successor_replaced", "grant.tokens_refreshed"] * 2]
    assert await world.types_after(before) == [*types, "grant.tokens_refreshed"]
    admin = await administering(world)
    assert await addresses(admin, raw) == {FIRST: (2, 0), SECOND: (1, 0)}
    for never in (replaced, again, newest):
        assert await addresses(admin, never) == {}
    assert await addresses(admin, third) == {THIRD: (1, 0)}


async def test_what_comes_after_the_end_is_told_of_the_newest(world: World, scene: Scene) -> None:
    past = await lived(scene)
    raw, admin = past.tokens["refresh_token"], await administering(world)
    replaced = ok(await presented(scene, raw, FIRST))["refresh_token"]
    newest = ok(await presented(scene, raw, SECOND))["refresh_token"]
    ok(await admin.post("/leaks/contain", json={"secret": newest}))
    assert (await presented(scene, newest, THIRD)).status_code == 400
    assert await addresses(admin, newest) == {THIRD: (1, 1)}
    assert await addresses(admin, replaced) == {}
    assert await addresses(admin, raw) == {FIRST: (1, 0), SECOND: (1, 0)}


async def test_what_a_stranger_brought_in_vain_was_no_use(world: World, scene: Scene) -> None:
    past = await lived(scene)
    raw, admin, other = past.tokens["refresh_token"], await administering(world), await world.register_client()
    data = {"grant_type": "refresh_token", "refresh_token": raw}
    answer = await world.caller(FIRST).post("/oauth/token", data=data, auth=other.auth)
    assert answer.json()["error"] == "invalid_grant"
    found = ok(await admin.post("/leaks/investigate", json={"secret": raw}))
    assert (found["first_used_at"], found["uses_refused"], found["uses_after_end"]) == (None, 1, 0)
    assert [(each["ip"], each["count"], each["refused"]) for each in found["addresses"]] == [(FIRST, 1, 1)]
    ok(await presented(scene, raw, SECOND))
    found = ok(await admin.post("/leaks/investigate", json={"secret": raw}))
    assert [(each["ip"], each["refused"]) for each in found["addresses"]] == [(FIRST, 1), (SECOND, 0)]
    assert found["first_used_at"] == found["last_used_at"] == found["addresses"][1]["first_at"]


async def test_a_used_token_in_other_hands_is_told_of_that_one(world: World, scene: Scene) -> None:
    past = await lived(scene)
    raw, admin, other = past.tokens["refresh_token"], await administering(world), await world.register_client()
    newest = ok(await presented(scene, raw, FIRST))["refresh_token"]
    data = {"grant_type": "refresh_token", "refresh_token": raw}
    await world.caller(SECOND).post("/oauth/token", data=data, auth=other.auth)
    assert await addresses(admin, raw) == {FIRST: (1, 0), SECOND: (1, 0)}
    assert await addresses(admin, newest) == {}


async def test_a_code_refused_for_its_verifier_was_not_used(world: World, scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await scene.approved(browser)
    code = page.parameters["code"]
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": scene.shop.redirect_uri}
    answer = await world.caller(FIRST).post("/oauth/token", data=data, auth=scene.shop.auth)
    assert answer.json()["error"] == "invalid_grant"
    found = ok(await (await administering(world)).post("/leaks/investigate", json={"secret": code}))
    assert (found["first_used_at"], found["uses_refused"], found["uses_after_end"]) == (None, 1, 0)
