"""Which pages may call a dashboard: the matrix of origins, its preflights, and what a refused page finds out."""

from collections.abc import Mapping

import pytest

from tests.cases import cases
from tests.scenarios.dashboards.platform import PAGE, Dashboard, Platform, make_dashboard, make_platform
from tests.scenarios.world import World

FOREIGN = [
    "https://elsewhere.example",
    "null",
    "",
    "http://127.0.0.1:3001",
    "https://127.0.0.1:3000",
    "http://127.0.0.1:3000/",
    "HTTP://127.0.0.1:3000",
    "http://127.0.0.1:3000, http://127.0.0.1:3000",
    "*",
]
ENDPOINTS = [("POST", "/login"), ("POST", "/refresh"), ("DELETE", "/logout")]


@pytest.fixture
async def platform(world: World) -> Platform:
    return await make_platform(world, origin=PAGE)


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


def assert_allowed(answer, origin: str) -> None:
    assert cors(answer.headers) == {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-Request-Id, WWW-Authenticate, Retry-After",
    }
    assert answer.headers["vary"] == "Origin"


async def test_an_allowed_page_may_read_every_answer(world, platform):
    at = platform.client
    answer = await at.login(platform.paul)
    assert_allowed(answer, PAGE)
    cookie = at.cookie(answer)
    refreshed = await at.refresh(cookie)
    assert_allowed(refreshed, PAGE)
    assert_allowed(await at.logout(cookie=at.cookie(refreshed)), PAGE)
    # Refusals too, wherever they come from.
    assert_allowed(await at.login(platform.paul, password="not his password"), PAGE)
    assert_allowed(await at.refresh(None), PAGE)
    assert_allowed(await at.logout(), PAGE)
    assert_allowed(await at.call("POST", "/login", json={}), PAGE)
    assert_allowed(await at.call("POST", "/login", content=b"x", headers={"content-type": "text/plain"}), PAGE)
    assert_allowed(await at.call("PUT", "/login"), PAGE)
    assert_allowed(await at.call("GET", "/logout"), PAGE)
    assert_allowed(await at.call("POST", "/login?x=1&x=2", json={}), PAGE)


async def test_a_fault_of_the_server_can_be_read_too(world, platform, monkeypatch):
    async def broken(_):
        raise LookupError("a bug")

    monkeypatch.setattr(world.services.dashboard_secrets, "version", broken)
    answer = await platform.client.login(platform.paul)
    assert answer.status_code == 500
    assert_allowed(answer, PAGE)
    assert answer.json()["error"] == "server_error"


@cases("origin", FOREIGN)
async def test_nothing_is_evaluated_for_a_foreign_page(world, platform, origin):
    at = platform.client
    access, cookie = await at.sign_in(platform.paul)
    before = await world.head()
    fields = {"origin": origin, "x-grantlog": "1"}
    right = {"username": "paul", "password": platform.paul.password}
    answers = [
        await at.call("POST", "/login", origin=None, headers=fields, json=right),
        await at.call("POST", "/login", origin=None, headers=fields, json={"username": "paul", "password": "wrong"}),
        await at.call("POST", "/login", origin=None, headers=fields, content=b"{"),
        await at.call("POST", "/refresh", origin=None, headers=fields, cookie=cookie),
        await at.call("DELETE", "/logout", origin=None, headers=fields, cookie=cookie, bearer=access),
        await at.call("POST", "", origin=None, headers=fields, data=right),
    ]
    for answer in answers:
        assert answer.status_code == 403
        assert not cors(answer.headers)
        assert "set-cookie" not in answer.headers
    assert all(answer.json()["error"] == "access_denied" for answer in answers[:-1])
    assert await world.head() == before
    assert (await at.refresh(cookie)).status_code == 200


async def test_a_foreign_page_cannot_use_up_anybodys_attempts(world, platform):
    at = platform.client
    for _ in range(50):
        await at.login(platform.paul, password="not his password", origin="https://elsewhere.example")
    assert (await at.login(platform.paul)).status_code == 200


async def test_programs_without_an_origin(world, platform):
    at = platform.client
    answer = await at.login(platform.paul, origin=None)
    assert answer.status_code == 200
    assert not cors(answer.headers)
    cookie = at.cookie(answer)
    before = await world.head()
    for value in (None, "0", "true", ""):
        headers = {} if value is None else {"x-grantlog": value}
        answer = await at.refresh(cookie, origin=None, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["reason"] == "unguarded_cookie"
    # The rule comes first: whether there is a cookie makes no difference.
    assert (await at.refresh(None, origin=None)).status_code == 403
    assert await world.head() == before
    answer = await at.refresh(cookie, origin=None, headers={"x-grantlog": "1"})
    assert answer.status_code == 200
    answer = await at.logout(cookie=at.cookie(answer), origin=None, headers={"x-grantlog": "1"})
    assert answer.status_code == 204


async def test_each_dashboard_has_its_own_origins(world, platform):
    other = await make_dashboard(world, "other", origin="http://127.0.0.1:3009")
    assert (await other.login(platform.paul, origin=PAGE)).status_code == 403
    assert (await other.login(platform.paul)).status_code == 200
    assert (await platform.client.login(platform.paul, origin=other.origin)).status_code == 403


async def test_the_servers_own_page_may_call_every_dashboard(world, platform):
    at = platform.client
    issuer = world.settings.issuer
    answer = await at.login(platform.paul, origin=issuer)
    assert answer.status_code == 200
    assert_allowed(answer, issuer)
    assert (await at.refresh(at.cookie(answer), origin=issuer)).status_code == 200
    unlisted = await make_dashboard(world, "bare", origins=())
    assert (await unlisted.login(platform.paul, origin=issuer)).status_code == 200
    assert (await unlisted.login(platform.paul, origin=PAGE)).status_code == 403


# -- preflights -------------------------------------------------------------------------------------------------------


async def preflight(at: Dashboard, path: str, method: str, origin: str | None):
    fields = {"access-control-request-method": method, "access-control-request-headers": "content-type,x-grantlog"}
    return await at.call("OPTIONS", path, origin=origin, headers=fields)


@cases(("method", "path"), ENDPOINTS)
async def test_a_preflight_says_what_an_allowed_page_may_do(world, platform, method, path):
    answer = await preflight(platform.client, path, method, PAGE)
    assert answer.status_code == 204
    assert answer.content == b""
    assert cors(answer.headers) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": method,
        "access-control-allow-headers": "Authorization, Content-Type, X-Grantlog",
        "access-control-max-age": "600",
    }


@cases(("method", "path"), ENDPOINTS)
@cases("origin", ["https://elsewhere.example", "null"])
async def test_a_preflight_of_a_foreign_page_is_refused(world, platform, method, path, origin):
    answer = await preflight(platform.client, path, method, origin)
    assert answer.status_code == 403
    assert not cors(answer.headers)


@cases(("method", "path"), ENDPOINTS)
async def test_a_plain_options_tells_the_methods(world, platform, method, path):
    answer = await platform.client.call("OPTIONS", path, origin=None)
    assert answer.status_code == 204
    assert answer.headers["allow"] == ", ".join(sorted({method, "OPTIONS"}))
    assert not cors(answer.headers)


@cases(("method", "path"), ENDPOINTS)
async def test_other_methods_are_405(world, platform, method, path):
    for wrong in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - {method}:
        answer = await platform.client.call(wrong, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == ", ".join(sorted({method, "OPTIONS"}))


async def test_loopback_page_by_another_name_is_told_the_right_one(world, platform):
    answer = await platform.client.login(platform.paul, origin="http://localhost:3000")
    assert answer.status_code == 403
    assert "open it as http://127.0.0.1:3000" in answer.json()["detail"]
    assert (
        "open it as" not in (await platform.client.login(platform.paul, origin="https://evil.example")).json()["detail"]
    )
