"""Applications of our own ask for passwords themselves (OAuth for First-Party Applications), and nobody else does."""

from typing import Any

import httpx
import pytest

from domain import client
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import CHALLENGE, VERIFIER, Scene
from tests.scenarios.devices import posted
from tests.scenarios.factors import enrol
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

PATH = "/oauth/authorize-challenge"
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@pytest.fixture
async def own(world: World, scene: Scene) -> Client:
    """An application of our own on a telephone."""
    scope = ("orders", "catalog:read", "openid", "offline_access")
    return await world.register_client("Pocket", public=True, first_party=True, scope=scope)


async def challenged(world: World, by: Client, scene: Scene, **given: str) -> httpx.Response:
    return await posted(world, by, PATH, {**scene.person.typed, **PKCE, "scope": "orders", **given})


async def redeemed(world: World, by: Client, answer: httpx.Response, **given: str) -> httpx.Response:
    code = ok(answer)["authorization_code"]
    data = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER} | given
    return await posted(world, by, "/oauth/token", data)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def test_a_password_becomes_a_code_and_tokens(world: World, scene: Scene, own: Client) -> None:
    before = await world.head()
    answer = await challenged(world, own, scene, scope="orders openid", nonce="n-1")
    assert ok(answer).keys() == {"authorization_code"}
    assert answer.headers["cache-control"] == "no-store"
    assert await world.types_after(before) == ["grant.code_issued"]
    tokens = ok(await redeemed(world, own, answer))
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "id_token"}
    (issued,) = await world.events("grant.code_issued")
    assert (issued.event.account_id, issued.event.session_id) == (scene.person.account_id, None)
    assert issued.event.authentication.amr == ("pwd",)
    told = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert told.json()["sub"] == scene.person.account_id


async def test_what_is_missing_is_told(world: World, scene: Scene, own: Client) -> None:
    before = await world.head()
    assert refused(await posted(world, own, PATH, PKCE)) == (403, "insufficient_authorization")
    assert refused(await posted(world, own, PATH, PKCE | {"username": "paul"})) == (403, "insufficient_authorization")
    assert refused(await challenged(world, own, scene, scope="orders offline_access")) == (403, "redirect_to_web")
    assert await world.types_after(before) == []


@cases(
    ("given", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "nobody"}, "invalid_grant"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"authorization_details": '[{"type": "payment"}]'}, "invalid_authorization_details"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "no:such"}, "invalid_scope"),
        ({"scope": "account"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"nonce": "n" * 513}, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_refused(world: World, scene: Scene, own: Client, given: Any, error: str) -> None:
    assert refused(await challenged(world, own, scene, **given)) == (400, error)
    assert await world.events("grant.code_issued") == ()


async def test_nobody_else_asks_for_passwords(world: World, scene: Scene, own: Client) -> None:
    assert refused(await challenged(world, scene.shop, scene)) == (400, "unauthorized_client")
    assert refused(await challenged(world, Client("nobody", None, ""), scene)) == (401, "invalid_client")
    await world.execute(world.changing(own.client_id, client.Attributes(first_party=False)))
    assert refused(await challenged(world, own, scene)) == (400, "unauthorized_client")


async def test_people_of_another_realm_are_nobody(world: World, scene: Scene) -> None:
    other = await world.register_client("Desk", public=True, first_party=True, realm="administration")
    assert refused(await challenged(world, other, scene)) == (400, "invalid_grant")


async def test_the_code_is_bound_to_its_verifier(world: World, scene: Scene, own: Client) -> None:
    answer = await challenged(world, own, scene)
    assert refused(await redeemed(world, own, answer, code_verifier="x" * 43)) == (400, "invalid_grant")
    assert ok(await redeemed(world, own, answer))["scope"] == "orders"
    assert refused(await redeemed(world, own, answer)) == (400, "invalid_grant")


async def test_guessing_is_slowed(world: World, scene: Scene, own: Client) -> None:
    answers = [refused(await challenged(world, own, scene, password=f"wrong {number}")) for number in range(12)]
    assert answers[0] == (400, "invalid_grant")
    assert answers[-1] == (429, "temporarily_unavailable")


async def test_a_password_that_changed_ends_it(world: World, scene: Scene, own: Client) -> None:
    tokens = ok(await redeemed(world, own, await challenged(world, own, scene)))
    admin = await administering(world)
    path = f"/admin/people/{scene.person.account_id}/password"
    assert (await admin.post(path, json={"password": "another and unguessable one"})).status_code == 204
    told = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert told.status_code == 401
    assert refused(await challenged(world, own, scene)) == (400, "invalid_grant")


async def test_client_that_sends_nobody_anywhere_needs_no_address(world: World, scene: Scene) -> None:
    own = await world.register_client("Pocket", public=True, first_party=True, redirect_uris=(), scope=("orders",))
    assert ok(await redeemed(world, own, await challenged(world, own, scene)))["scope"] == "orders"
    asked = {"response_type": "code", "client_id": own.client_id, **PKCE}
    for uri in ({}, {"redirect_uri": "http://localhost"}, {"redirect_uri": ""}):
        answer = await world.client.get("/oauth/authorize", params=asked | uri)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
    admin = await administering(world)
    changed = await admin.patch(f"/admin/clients/{own.client_id}", json={"first_party": False})
    problem(changed, 400, field="redirect_uris")


async def test_only_code_clients_are_first_party(world: World) -> None:
    admin = await administering(world)
    body = {"client_name": "A", "grant_types": ["client_credentials"], "first_party": True}
    problem(await admin.post("/admin/clients", json=body), 400, field="first_party")


async def test_it_is_announced(world: World) -> None:
    metadata = ok(await world.client.get("/.well-known/oauth-authorization-server"))
    assert metadata["authorization_challenge_endpoint"] == f"{world.settings.issuer}{PATH}"


async def test_who_has_a_second_factor_shows_it_too(world: World, scene: Scene, own: Client) -> None:
    generator = await enrol(world, scene.person)
    asked = await challenged(world, own, scene)
    assert refused(asked) == (403, "insufficient_authorization")
    body = asked.json()
    assert (body["factors"], body["webauthn"]) == (["totp", "recovery_code"], None)
    assert not await world.events("grant.code_issued")
    session = {**PKCE, "scope": "orders", "auth_session": body["auth_session"]}
    wrong = await posted(world, own, PATH, session | {"totp": "000000"})
    assert refused(wrong) == (403, "insufficient_authorization")
    assert wrong.json()["auth_session"] == body["auth_session"]
    answer = await posted(world, own, PATH, session | {"totp": generator.code()})
    assert ok(await redeemed(world, own, answer))["scope"] == "orders"
    (issued,) = await world.events("grant.code_issued")
    assert (issued.event.authentication.amr, issued.event.authentication.acr[-1]) == (("pwd", "otp", "mfa"), "2")
    # The same code once more.
    assert refused(await posted(world, own, PATH, session | {"totp": generator.code()}))[0] == 403
    answer = await posted(world, own, PATH, session | {"recovery_code": generator.recovery_codes[0]})
    assert ok(answer).keys() == {"authorization_code"}


async def test_a_session_of_another_client_or_time_is_none(world: World, scene: Scene, own: Client) -> None:
    generator = await enrol(world, scene.person)
    session = {**PKCE, "auth_session": (await challenged(world, own, scene)).json()["auth_session"]}
    other = await world.register_client("Purse", public=True, first_party=True, scope=("orders",))
    assert refused(await posted(world, other, PATH, session | {"totp": generator.code()})) == (400, "invalid_session")
    for forged in ("AAAA", "é", "A" * 3000):
        answer = await posted(world, own, PATH, session | {"auth_session": forged, "totp": generator.code()})
        assert refused(answer) == (400, "invalid_session")
    for factors in ({}, {"totp": "1", "recovery_code": "2"}):
        assert refused(await posted(world, own, PATH, session | factors)) == (400, "invalid_request")
    assert refused(await posted(world, own, PATH, session | {"webauthn": "{"}))[0] == 403
    world.clock.advance(301)
    assert refused(await posted(world, own, PATH, session | {"totp": generator.code()})) == (400, "invalid_session")
    assert not await world.events("grant.code_issued")
