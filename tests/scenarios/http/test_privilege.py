"""Who gets in: read off the routes, so that a route without a guard cannot slip in unseen."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from commands.signals import SCOPE as SSF
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES, IMPLIED
from domain.rules.built_in_scope import ACCOUNT
from security.keyring import Keyring
from tests.scenarios.http.endpoints import Endpoint, endpoints
from tests.scenarios.http.raw import send
from tests.scenarios.world import World, open_world

PUBLIC = (
    "/",
    "/.well-known/",
    "/account",
    "/branding/",
    "/console",
    "/credentials/revoke",
    "/dashboards/",
    "/device",
    "/health/",
    "/leaks/github",
    "/leaks/gitlab",
    "/log/checkpoint",
    "/log/tile/",
    "/log/vkey",
    "/metrics",
    "/oauth/",
    "/schema",
    "/static/",
    "/verify.html",
)
"""Beginnings of what answers without an access token: it asks for something else, or tells what everybody may know."""

SCOPED = [each for each in endpoints() if each.scope is not None]
NAMES = {"position": "1", "realm": "platform", "stream": "server", "name": "orders", "slug": "client"}


def address(endpoint: Endpoint) -> bytes:
    names = {part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")}
    return endpoint.path.format(**{name: NAMES.get(name, "nobody") for name in names}).encode()


@pytest.fixture(scope="module")
async def world(module_sqlite_url: str, tmp_path_factory: Any, keyring: Keyring) -> AsyncIterator[World]:
    async with open_world(module_sqlite_url, tmp_path_factory.mktemp("privilege"), keyring, throttle=False) as opened:
        yield opened


@pytest.fixture(scope="module")
async def lacking(world: World) -> dict[str, str]:
    """Tokens by the one administrative scope that each lacks."""
    scopes = {each.scope for each in SCOPED if each.scope is not None}
    lacking = {scope: {scope, IMPLIED.get(scope)} for scope in scopes}
    return {scope: await world.token(*sorted(ADMINISTRATIVE_SCOPES - lacking[scope])) for scope in sorted(scopes)}


def test_every_route_is_public_on_purpose_or_needs_a_scope() -> None:
    for endpoint in endpoints():
        public = endpoint.path == "/" or endpoint.path.startswith(PUBLIC[1:])
        public = public and endpoint.path != "/oauth/global-token-revocation" and endpoint.scope != ACCOUNT
        assert (endpoint.scope is None) is public or endpoint.path.startswith("/log/tile/"), str(endpoint)
        if endpoint.scope is not None:
            assert endpoint.guarded, str(endpoint)


def test_every_route_scope_is_administrative_and_documented() -> None:
    for endpoint in SCOPED:
        # Of the others only what people are given for themselves opens anything here.
        own = f"{endpoint.path}/".startswith(("/account/", "/me/"))
        receivers = {SSF} if endpoint.path.startswith("/ssf/") else ADMINISTRATIVE_SCOPES
        assert endpoint.scope == ACCOUNT if own else endpoint.scope in receivers
        assert endpoint.operation is not None, str(endpoint)
        assert endpoint.operation["security"] == [{"bearer": [endpoint.scope]}], str(endpoint)


def test_writing_needs_more_than_a_reading_scope() -> None:
    for endpoint in SCOPED:
        if endpoint.method in ("PUT", "PATCH", "DELETE") and endpoint.scope not in (ACCOUNT, SSF):
            assert endpoint.scope is not None
            assert endpoint.scope.endswith(":write"), str(endpoint)


@pytest.mark.parametrize("endpoint", SCOPED, ids=str)
async def test_without_a_token(world: World, endpoint: Endpoint) -> None:
    head = await world.head()
    for value in (None, b"Bearer glog_at_" + b"0" * 36, b"Basic YTpi"):
        headers = [] if value is None else [(b"authorization", value)]
        answer = await send(world.app, endpoint.method, address(endpoint), headers, b"{}")
        assert answer.status == 401, (str(endpoint), answer)
        assert answer.header("www-authenticate").startswith("Bearer"), str(endpoint)
        assert answer.media_type == "application/problem+json"
    assert await world.head() == head


# Any administrative scope opens `/me`, too: see test_me.py.
@pytest.mark.parametrize("endpoint", [each for each in SCOPED if each.path != "/me"], ids=str)
async def test_without_its_scope(world: World, lacking: dict[str, str], endpoint: Endpoint) -> None:
    head = await world.head()
    assert endpoint.scope is not None
    bearer = f"Bearer {lacking[endpoint.scope]}".encode()
    answer = await send(world.app, endpoint.method, address(endpoint), [(b"authorization", bearer)], b"{}")
    assert answer.status == 403, (str(endpoint), answer)
    challenge = answer.header("www-authenticate") or ""
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="{endpoint.scope}"' in challenge
    assert await world.head() == head


@pytest.mark.parametrize("endpoint", SCOPED, ids=str)
async def test_a_token_in_the_query_or_in_the_body_opens_nothing(
    world: World, lacking: dict[str, str], endpoint: Endpoint
) -> None:
    token = next(raw for scope, raw in lacking.items() if scope != endpoint.scope)
    head = await world.head()
    target = address(endpoint) + f"?access_token={token}".encode()
    assert (await send(world.app, endpoint.method, target)).status == 400
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    body = f"access_token={token}".encode()
    assert (await send(world.app, endpoint.method, address(endpoint), form, body)).status == 401
    assert await world.head() == head
