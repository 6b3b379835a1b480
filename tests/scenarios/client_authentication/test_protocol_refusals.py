"""Whoever may not ask at all is told so, in the words that the protocol has for it."""

from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import ok
from tests.scenarios.asking import VERIFIER, Scene
from tests.scenarios.browser import Page
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


def refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


async def test_a_bearer_token_without_the_scope_introspects_nothing(world: World) -> None:
    token = await world.token("orders")
    asking = world.caller(headers={"authorization": f"Bearer {token}"})
    answer = await asking.post("/oauth/introspect", data={"token": token})
    refused(answer, 403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="introspect"'


@cases("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_other_methods_are_told_which_there_are(world: World, path: str) -> None:
    for method, status in (("OPTIONS", 204), ("GET", 405), ("HEAD", 405), ("PUT", 405)):
        answer = await world.client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (status, "OPTIONS, POST")


async def test_a_guessed_secret_slows_the_guesser_alone(world: World, job: Client) -> None:
    other = await world.register_client("Other", grant_types=("client_credentials",), scope=("orders",))
    data, right = {"grant_type": "client_credentials", "token": "any"}, job.auth
    for _ in range(world.settings.client_burst):
        refused(
            await world.client.post("/oauth/token", data=data, auth=(job.client_id, "wrong")), 401, "invalid_client"
        )
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke"):
        slowed = await world.client.post(path, data=data, auth=right)
        assert (slowed.status_code, slowed.headers["retry-after"]) == (429, str(world.settings.client_interval))
    ok(await world.client.post("/oauth/token", data=data, auth=other.auth))
    ok(await world.caller("203.0.113.9").post("/oauth/token", data=data, auth=right))
    world.clock.advance(world.settings.client_interval)
    # What is right costs nothing, however often.
    for _ in range(5):
        ok(await world.client.post("/oauth/token", data=data, auth=right))


async def test_a_public_client_introspects_nothing(world: World) -> None:
    """It has nothing to authenticate with (RFC 7662 §2.1), and the metadata do not say that it could."""
    public = await world.register_client(public=True)
    before = await world.head()
    answer = await world.client.post("/oauth/introspect", data={"token": "any", "client_id": public.client_id})
    refused(answer, 401, "invalid_client")
    assert await world.head() == before
    metadata = ok(await world.client.get("/.well-known/oauth-authorization-server"))
    assert "none" not in metadata["introspection_endpoint_auth_methods_supported"]


@pytest.mark.parametrize("asked", [{"grant_type": "authorization_code", "code": "x"}, {"refresh_token": "x"}])
async def test_client_without_the_grant_type_is_told_so_in_any_case(world: World, asked: dict[str, str]) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",))
    shop = await world.register_client()
    before = await world.head()
    data = {"grant_type": "refresh_token", **asked}
    refused(await world.client.post("/oauth/token", data=data, auth=job.auth), 400, "unauthorized_client")
    refused(await world.client.post("/oauth/token", data=data, auth=shop.auth), 400, "invalid_grant")
    assert await world.head() == before


@cases("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
@cases("basic", [b"\xff\xfe", "é:é".encode(), b"=", b"a", b"", b"//79", b"YTpi YTpi", b"YWI="])
async def test_malformed_basic_header_is_a_failed_client(world: World, path: str, basic: bytes) -> None:
    data = {"grant_type": "client_credentials", "token": "any"}
    headers = [(b"authorization", b"Basic " + basic)]
    answer = await world.client.post(path, data=data, headers=headers)
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_resources_may_be_several_and_anything_else_may_not(world: World) -> None:
    """RFC 8707 §2.2 beside RFC 6749 §3.2: several are no malformed request, and yet a token is for one alone."""
    job = await world.register_client(
        grant_types=("client_credentials",), resources=("https://a.example", "https://b.example")
    )
    body = "grant_type=client_credentials&resource=https://a.example&re%73ource=https://b.example"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    several = await world.client.post("/oauth/token", content=body, headers=headers, auth=job.auth)
    refused(several, 400, "invalid_target")
    body = "grant_type=client_credentials&resource=https://a.example&resource=https%3A%2F%2Fa.example"
    ok(await world.client.post("/oauth/token", content=body, headers=headers, auth=job.auth))
    ok(await world.client.post("/oauth/token", content=body + "&scope=orders", headers=headers, auth=job.auth))
    twice = await world.client.post("/oauth/token", content=body + "&scope=a&scope=b", headers=headers, auth=job.auth)
    refused(twice, 400, "invalid_request")


@cases("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_who_authenticates_in_two_ways_is_refused(world: World, path: str) -> None:
    """RFC 6749 §2.3; a bearer token is one of them where it is accepted at all."""
    shop = await world.register_client(grant_types=("client_credentials",))
    identity, secret = shop.auth
    token = await world.token("introspect")
    data = {"grant_type": "client_credentials", "token": token, "client_id": identity, "client_secret": secret}
    before = await world.head()
    refused(await world.client.post(path, data=data, auth=shop.auth), 400, "invalid_request")
    asking = world.caller(headers={"authorization": f"Bearer {token}"})
    refused(await asking.post(path, data=data), 400, "invalid_request")
    assert await world.head() == before


async def redeemed(scene: Scene, page: Page, client: Client | None = None, **changes: str | None) -> httpx.Response:
    asking = client or scene.shop
    data = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": scene.shop.redirect_uri,
        "code_verifier": VERIFIER,
    } | changes
    return await scene.world.client.post(
        "/oauth/token", data={name: value for name, value in data.items() if value is not None}, auth=asking.auth
    )


async def test_authenticated_client_is_told_which_rule_its_code_failed(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address())
    other = await scene.world.register_client("Other")

    async def said(**changes: Any) -> str | None:
        answer = await redeemed(scene, page, **changes)
        refused(answer, 400, "invalid_grant")
        told: str | None = answer.json().get("error_description")
        return told

    generic = "The grant is not valid, has expired or was ended."
    assert await said(client=other) == generic
    assert await said(code="glog_ac_" + "x" * 36) == generic
    assert await said(code_verifier=None) == "code_verifier is missing."
    assert (await said(code_verifier="x" * 43) or "").startswith("code_verifier does not belong")
    assert (await said(redirect_uri="https://shop.example/other") or "").startswith("redirect_uri is not that")
    given = ok(await redeemed(scene, page))
    assert await said() == "This code was used before; its grant has ended."
    assert await said(client=other) == generic
    page = await browser.open(scene.address())
    scene.world.clock.advance(120)
    assert await said() == "This code has expired."
    refresh = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    answer = await scene.world.client.post("/oauth/token", data=refresh, auth=scene.shop.auth)
    assert answer.json()["error_description"] == "The grant of this refresh token has ended."


async def test_authenticated_client_is_told_which_scope_it_lacks(world: World) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))

    async def said(scope: str) -> str | None:
        data = {"grant_type": "client_credentials", "scope": scope}
        answer = await world.client.post("/oauth/token", data=data, auth=job.auth)
        refused(answer, 400, "invalid_scope")
        told: str | None = answer.json()["error_description"]
        return told

    assert await said("orders catalog:read") == "The scope catalog:read is not this client's."
    # What could be a secret that got into the wrong parameter is not repeated.
    assert "Hunter2" not in (await said("Hunter2!") or "")


async def test_public_client_is_told_no_reason_as_anybody_can_name_it(scene: Scene) -> None:
    app = await scene.world.register_client("App", public=True)
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address(app))
    data = {
        "grant_type": "authorization_code",
        "client_id": app.client_id,
        "code": page.parameters["code"],
        "redirect_uri": app.redirect_uri,
    }
    answer = await scene.world.client.post("/oauth/token", data=data)
    assert answer.json()["error_description"] == "The grant is not valid, has expired or was ended."
