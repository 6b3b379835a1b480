"""A dashboard's small sign-in page, with and without JavaScript."""

import pytest

from tests.scenarios.dashboards.platform import Platform, make_dashboard, make_platform
from tests.scenarios.world import World


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world)


async def test_the_page_signs_in_at_its_own_dashboard(world, platform):
    before = await world.head()
    answer = await platform.client.call("GET", "", origin=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "The client dashboard" in answer.text
    for path in ("login", "refresh", "logout"):
        assert f"/dashboards/client/{path}" in answer.text
    assert 'data-resume="no"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "set-cookie" not in answer.headers
    assert await world.head() == before


async def test_the_page_goes_on_where_the_cookie_is_there(platform):
    at = platform.client
    _, cookie = await at.sign_in(platform.paul)
    assert 'data-resume="yes"' in (await at.call("GET", "", origin=None, cookie=cookie)).text
    elsewhere = await platform.administration.call(
        "GET", "", origin=None, headers={"cookie": f"{at.cookie_name}={cookie}"}
    )
    assert 'data-resume="no"' in elsewhere.text


async def test_form_without_javascript_is_answered_and_not_evaluated(world, platform):
    before = await world.head()
    for body in (
        {"username": "paul", "password": platform.paul.password},
        {"username": "paul", "password": "not his password"},
    ):
        answer = await platform.client.call("POST", "", data=body)
        assert answer.status_code == 200
        assert "needs JavaScript" in answer.text
        assert body["password"] not in answer.text
        assert "set-cookie" not in answer.headers
    assert await world.head() == before


async def test_a_name_cannot_become_markup(world, platform):
    at = await make_dashboard(world, "odd", client_name="<script>alert(1)</script>")
    assert "<script>alert(1)" not in (await at.call("GET", "")).text


async def test_what_is_wrong_is_told_as_a_page(world, platform):
    missing = await world.client.get("/dashboards/nowhere")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "text/html; charset=utf-8"
    foreign = await platform.client.call("POST", "", origin="https://elsewhere.example", data={"username": "paul"})
    assert foreign.status_code == 403
    assert foreign.headers["content-type"] == "text/html; charset=utf-8"
    assert (await platform.client.call("PUT", "")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_the_document_describes_the_endpoints(world):
    paths = (await world.client.get("/schema/openapi.json")).json()["paths"]
    login = paths["/dashboards/{slug}/login"]["post"]
    assert set(login["requestBody"]["content"]) == {"application/json", "application/x-www-form-urlencoded"}
    assert login["parameters"][0]["name"] == "slug"
    assert set(paths["/dashboards/{slug}/logout"]) == {"delete"}
    assert "200" in paths["/dashboards/{slug}/refresh"]["post"]["responses"]
    assert "get" in paths["/dashboards/{slug}"]
