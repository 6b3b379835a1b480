"""Pages of other origins at the JSON API: who may read an answer, whatever it says and wherever it comes from."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from api.http import errors
from commands import clients
from domain import client
from eventstore.unavailable import DatabaseAway
from tests.cases import cases
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard
from tests.scenarios.event_source import EventSource
from tests.scenarios.http.endpoints import Endpoint, endpoints
from tests.scenarios.world import World

PAGE = "http://127.0.0.1:3000"
"""Where the administration's pages stand."""
ELSEWHERE = "http://127.0.0.1:3001"
"""Where those of another dashboard do."""
FOREIGN = "https://evil.example"
"""Listed by nobody."""

READABLE = {
    "access-control-allow-origin": PAGE,
    "access-control-expose-headers": "X-Request-Id, WWW-Authenticate, Retry-After, DPoP-Nonce, Location",
}
BEARER = [each for each in endpoints() if re.match(r"/(admin|audit|leaks)(/|$)", each.path) and each.guarded]


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    """What an answer says of pages; every answer says that it depends on the origin, whatever the origin is."""
    assert headers["vary"] == "Origin"
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


@pytest.fixture
async def administration(world: World) -> Dashboard:
    await make_dashboard(world, "other", origin=ELSEWHERE)
    return await make_dashboard(
        world, "administration", realm="administration", scope=("clients:read", "audit:read"), origin=PAGE
    )


@pytest.fixture
async def token(world: World, administration: Dashboard) -> str:
    """What the administration's page got for somebody who signed in there."""
    await world.define_role("administration", "administrator", "clients:read", "audit:read", default=True)
    access, _ = await administration.sign_in(await world.register_person("ada", realm="administration"))
    return access


@pytest.fixture
async def page(world: World, token: str) -> httpx.AsyncClient:
    """The administration's page, whose every request bears its token."""
    return world.caller(headers={"origin": PAGE, "authorization": f"Bearer {token}"})


def path_of(each: Endpoint) -> str:
    """A path of it, of something that is not there."""
    return re.sub(r"\{[^}]*\}", "x", each.path.replace("{position}", "1"))


async def test_listed_page_reads_errors_everywhere_without_a_token(world: World, administration: Dashboard) -> None:
    assert len(BEARER) > 40
    before = await world.head()
    for each in BEARER:
        for origin, expected in (
            (PAGE, READABLE),
            (ELSEWHERE, READABLE | {"access-control-allow-origin": ELSEWHERE}),
            (FOREIGN, {}),
            ("null", {}),
            ("*", {}),
            (PAGE + "/", {}),
            ("http://" + "a" * 400, {}),
            (None, {}),
        ):
            for bearer in ({}, {"authorization": "Bearer glog_at_nonsense"}):
                headers = bearer if origin is None else {"origin": origin, **bearer}
                answer = await world.client.request(each.method, path_of(each), headers=headers)
                assert answer.status_code == 401, each
                assert cors(answer.headers) == expected, (each, origin)
    assert await world.head() == before


async def test_a_preflight_at_every_endpoint_and_where_there_is_none(world: World, administration: Dashboard) -> None:
    before = await world.head()
    asked = {"access-control-request-method": "PUT", "access-control-request-headers": "authorization"}
    for path in (*{path_of(each) for each in BEARER}, "/admin/nothing", "/audit", "/leaks/x/y/z"):
        answer = await world.client.options(path, headers={"origin": PAGE, **asked})
        assert (answer.status_code, answer.content) == (204, b"")
        assert cors(answer.headers) == {
            "access-control-allow-origin": PAGE,
            "access-control-allow-methods": "DELETE, GET, HEAD, PATCH, POST, PUT",
            "access-control-allow-headers": "Authorization, DPoP, Content-Type, Idempotency-Key",
            "access-control-max-age": "600",
        }
        foreign = await world.client.options(path, headers={"origin": FOREIGN, **asked})
        assert (foreign.status_code, cors(foreign.headers)) == (204, {})
    assert await world.head() == before


async def test_page_reads_every_answer_to_its_dashboards_token_only(
    world: World, page: httpx.AsyncClient, token: str
) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    for each in BEARER:
        if str(each) == "GET /audit/stream":
            # It never ends, and has a test of its own.
            continue
        own = await page.request(each.method, path_of(each))
        assert own.status_code in (200, 400, 403, 404), each
        assert cors(own.headers) == READABLE, each
        for origin in (ELSEWHERE, FOREIGN):
            answer = await world.client.request(each.method, path_of(each), headers={"origin": origin, **bearer})
            assert answer.status_code == own.status_code, each
            assert cors(answer.headers) == {}, each


async def test_a_clients_token_is_for_the_pages_that_the_client_lists(world: World, page: httpx.AsyncClient) -> None:
    service = await world.register_client(
        "Reports", grant_types=("client_credentials",), scope=("clients:read",), allowed_origins=(ELSEWHERE,)
    )
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
    bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
    for origin, expected in ((ELSEWHERE, READABLE | {"access-control-allow-origin": ELSEWHERE}), (PAGE, {})):
        answer = await world.client.get("/admin/clients", headers={"origin": origin, **bearer})
        assert (answer.status_code, cors(answer.headers)) == (200, expected)
    # A client that may do nothing any more has no token; of its pages nothing is known but what others list.
    await world.execute(clients.disable(service.client_id))
    answer = await world.client.get("/admin/clients", headers={"origin": PAGE, **bearer})
    assert (answer.status_code, cors(answer.headers)) == (401, READABLE)


@cases(
    ("method", "path", "given", "status"),
    [
        ("GET", "/admin/nothing", {}, 404),
        ("DELETE", "/admin/clients", {}, 405),
        ("POST", "/audit/token-state", {"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/audit/token-state", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/audit/token-state", {"content": b"x" * 3_000_000}, 413),
        ("GET", "/admin/clients?colour=blue", {}, 400),
        ("GET", "/admin/clients?access_token=x", {}, 400),
        ("POST", "/admin/clients", {"json": {}}, 403),
        ("HEAD", "/audit/stream", {}, 200),
        ("GET", "/audit/export", {}, 200),
    ],
)
async def test_what_is_answered_makes_no_difference(
    page: httpx.AsyncClient, method: str, path: str, given: dict[str, Any], status: int
) -> None:
    answer = await page.request(method, path, **given)
    assert answer.status_code == status, answer.text
    assert cors(answer.headers) == READABLE


async def test_a_stream_says_it_before_it_begins(world: World, token: str) -> None:
    async with EventSource(world, "/audit/stream?from=1", token, origin=PAGE) as source:
        assert cors(source.header) == READABLE
        assert await source.message() is not None


@cases(
    ("error", "status"),
    [(LookupError("a bug"), 500), (DatabaseAway("gone"), 503), (errors.Throttled(3), 429)],
)
async def test_a_fault_can_be_read(
    world: World, page: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(world.services.ledger.validation, "find", broken)
    answer = await page.get("/admin/clients")
    assert answer.status_code == status
    assert cors(answer.headers) == READABLE


async def test_origins_known_before_hold_while_the_log_is_away(
    world: World, page: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise DatabaseAway("gone")

    assert (await world.client.get("/admin/clients", headers={"origin": PAGE})).status_code == 401
    monkeypatch.setattr(world.services.ledger, "look", away)
    monkeypatch.setattr(world.services.ledger.validation, "find", away)
    answer = await page.get("/admin/clients")
    assert (answer.status_code, cors(answer.headers)) == (503, READABLE)
    assert answer.headers["retry-after"]
    answer = await page.get("/admin/clients", headers={"origin": ELSEWHERE})
    assert (answer.status_code, cors(answer.headers)) == (503, {})


@pytest.mark.parametrize("path", ["/admin/clients", "/oauth/token"])
async def test_a_request_that_finds_no_place_is_told_so(
    world: World, administration: Dashboard, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(world.app.load, "bound", 0)
    for origin, expected in ((PAGE, READABLE), (FOREIGN, {})):
        answer = await world.client.post(path, headers={"origin": origin})
        assert (answer.status_code, cors(answer.headers)) == (503, expected)


async def test_an_origin_that_is_listed_no_more_reads_nothing(
    world: World, administration: Dashboard, page: httpx.AsyncClient
) -> None:
    assert cors((await page.get("/admin/clients")).headers) == READABLE
    changes = client.Attributes(allowed_origins=(ELSEWHERE,))
    await administration.do(world.changing(administration.client_id, changes))
    assert cors((await page.get("/admin/clients")).headers) == {}
    assert cors((await world.client.get("/admin/clients", headers={"origin": PAGE})).headers) == {}


async def test_introspection_is_for_client_origins_metadata_for_all(world: World, token: str) -> None:
    reader = await world.register_client("Reader", allowed_origins=(ELSEWHERE,))
    asked: dict[str, Any] = {"data": {"token": token}, "headers": {"origin": ELSEWHERE}}
    answer = await world.client.post("/oauth/introspect", auth=reader.auth, **asked)
    assert cors(answer.headers) == READABLE | {"access-control-allow-origin": ELSEWHERE}
    answer = await world.client.post("/oauth/introspect", auth=reader.auth, data={}, headers={"origin": PAGE})
    assert (answer.status_code, cors(answer.headers)) == (400, {})
    for method in ("GET", "OPTIONS"):
        answer = await world.client.request(
            method, "/.well-known/oauth-authorization-server", headers={"origin": FOREIGN}
        )
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_what_is_no_bearer_endpoint_says_nothing_of_pages(world: World, administration: Dashboard) -> None:
    for path in ("/adminx", "/health/live", "/device", "/"):
        answer = await world.client.get(path, headers={"origin": PAGE})
        assert "access-control-allow-origin" not in answer.headers
