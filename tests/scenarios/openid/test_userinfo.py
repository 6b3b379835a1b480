"""Who the person of an access token is, as far as they let its client know (OpenID Connect Core §5.3, RFC 6750)."""

import json
from typing import Any

import httpx
import pytest

from commands import people
from commands.permissions import operator
from domain import client
from domain.keys import signing_key
from security import jose
from tests.cases import cases
from tests.scenarios.account.test_person_claims import CLAIMS
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.world import Client, World

PATH = "/oauth/userinfo"
PAGE = "https://shop.example"
SCOPES = ("openid", "profile", "email", "address", "phone", "orders")
TWICE = {"data": {"access_token": "TOKEN"}, "headers": {"authorization": "Bearer TOKEN"}}
OF_PROFILE = {
    *("name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture"),
    *("website", "gender", "birthdate", "zoneinfo", "locale", "updated_at"),
}


@pytest.fixture
async def shop(scene: Scene) -> Client:
    """A client that may ask for everything, of a person of whom everything is known."""
    known: Any = CLAIMS
    names = people.PersonNames(name="Paul Åberg", claims=known)
    privacy = scene.world.services.ledger.privacy
    await scene.world.execute(people.change_names(scene.person.account_id, names, privacy=privacy, by=operator))
    return await scene.world.register_client(scope=SCOPES, allowed_origins=(PAGE,))


async def token_of(scene: Scene, shop: Client, scope: str) -> str:
    page = await scene.approved(await scene.signed_in(), scene.address(shop, scope=scope))
    access: str = (await scene.redeem(page, shop))["access_token"]
    return access


@pytest.fixture
async def token(scene: Scene, shop: Client) -> str:
    """One that would do."""
    return await token_of(scene, shop, "openid")


def bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def told(world: World, token: str) -> dict[str, Any]:
    answer = await world.client.get(PATH, headers=bearing(token))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid", set()),
        ("orders", set()),
        ("openid profile", OF_PROFILE),
        ("openid email", {"email", "email_verified"}),
        ("openid address", {"address"}),
        ("openid phone", {"phone_number", "phone_number_verified"}),
        ("profile", OF_PROFILE),
    ],
)
async def test_claims_are_told_by_scope(scene: Scene, shop: Client, scope: str, names: set[str]) -> None:
    found = await told(scene.world, await token_of(scene, shop, scope))
    assert found.keys() == {"sub", *names}
    assert found["sub"] == scene.person.account_id
    for name in names - {"name", "email", "updated_at"}:
        assert found[name] == CLAIMS[name]


CLAIMS_ASKED = {"userinfo": {"name": {"essential": True}, "email": None, "phone_number": {"value": "+1"}, "shoe": None}}


async def test_claims_are_told_that_were_asked_for_one_by_one(scene: Scene, shop: Client) -> None:
    browser = await scene.signed_in()
    address = scene.address(shop, scope="openid phone", claims=json.dumps(CLAIMS_ASKED))
    page = await browser.open(address)
    assert "name, email" in page.text
    given = await scene.redeem(await browser.press(page, CONSENT, APPROVE), shop)
    found = await told(scene.world, given["access_token"])
    assert found.keys() == {"sub", "name", "email", "phone_number", "phone_number_verified"}
    assert (found["name"], found["phone_number"]) == ("Paul Åberg", CLAIMS["phone_number"])
    (issued,) = await scene.world.events("grant.code_issued")
    assert "essential" not in str(issued)


async def test_nobody_is_told_more_one_by_one_than_was_registered(scene: Scene) -> None:
    asking = await scene.world.register_client(scope=("openid", "orders", "email"))
    for scope, expected in (("openid", {"sub", "email"}), ("orders", {"sub"})):
        address = scene.address(asking, scope=scope, claims=json.dumps(CLAIMS_ASKED))
        given = await scene.redeem(await scene.approved(await scene.signed_in(), address), asking)
        assert (await told(scene.world, given["access_token"])).keys() == expected
    # What the client loses, its tokens lose.
    address = scene.address(asking, scope="openid", claims=json.dumps(CLAIMS_ASKED))
    given = await scene.redeem(await scene.approved(await scene.signed_in(), address), asking)
    changes = client.Attributes(scope=("openid", "orders"))
    await scene.world.execute(scene.world.changing(asking.client_id, changes))
    assert (await told(scene.world, given["access_token"])).keys() == {"sub"}


async def test_a_client_that_may_have_more_later_is_not_told_it(scene: Scene, shop: Client) -> None:
    asking = await scene.world.register_client(scope=("openid", "email"))
    address = scene.address(asking, scope="openid", claims=json.dumps(CLAIMS_ASKED))
    page = await (browser := await scene.signed_in()).open(address)
    assert "<strong>email</strong>" in page.text
    given = await scene.redeem(await browser.press(page, CONSENT, APPROVE), asking)
    await scene.world.execute(scene.world.changing(asking.client_id, client.Attributes(scope=SCOPES)))
    assert (await told(scene.world, given["access_token"])).keys() == {"sub", "email"}


async def test_what_is_not_known_is_left_out(scene: Scene) -> None:
    shop = await scene.world.register_client(scope=SCOPES)
    found = await told(scene.world, await token_of(scene, shop, "openid profile email address phone"))
    assert found.keys() == {"sub", "preferred_username", "updated_at", "email", "email_verified"}
    assert (found["preferred_username"], found["email_verified"]) == (scene.person.username, False)
    assert found["updated_at"] == scene.world.clock.now() // 1_000_000


async def test_a_post_brings_the_token_in_the_header_or_in_the_form(scene: Scene, shop: Client) -> None:
    token = await token_of(scene, shop, "openid")
    expected = {"sub": scene.person.account_id}
    asking = scene.world.client
    assert ok(await asking.post(PATH, headers=bearing(token))) == expected
    assert ok(await asking.post(PATH, headers=bearing(token), data={"other": "x"})) == expected
    assert ok(await asking.post(PATH, headers=bearing(token), json={"access_token": "x"})) == expected
    assert ok(await asking.post(PATH, data={"access_token": token})) == expected
    head = await asking.head(PATH, headers=bearing(token))
    assert (head.status_code, head.content) == (200, b"")


@cases(
    ("method", "given", "status", "error"),
    [
        ("GET", {}, 401, "invalid_token"),
        ("POST", {}, 401, "invalid_token"),
        ("GET", {"headers": {"authorization": "Bearer nonsense"}}, 401, "invalid_token"),
        ("GET", {"headers": {"authorization": "Basic eDp5"}}, 401, "invalid_token"),
        ("POST", {"data": {"access_token": "nonsense"}}, 401, "invalid_token"),
        ("POST", {"json": {"access_token": "TOKEN"}}, 401, "invalid_token"),
        ("POST", {"content": "x", "headers": {"content-type": "text/plain"}}, 401, "invalid_token"),
        ("POST", TWICE, 400, "invalid_request"),
        ("POST", {"data": {"access_token": ["TOKEN", "TOKEN"]}}, 400, "invalid_request"),
        ("GET", {"params": {"access_token": "TOKEN"}}, 400, "invalid_request"),
        ("POST", {"params": {"access_token": "TOKEN"}}, 400, "invalid_request"),
        ("PUT", {"headers": {"authorization": "Bearer TOKEN"}}, 405, "invalid_request"),
    ],
)
async def test_what_brings_no_token_is_refused_as_rfc_6750_says(
    scene: Scene, token: str, method: str, given: dict[str, Any], status: int, error: str
) -> None:
    answer = await scene.world.client.request(method, PATH, **_with(given, token))
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    if status == 401 or (status == 400 and "params" not in given):
        assert answer.headers["www-authenticate"].startswith(f'Bearer error="{error}"')
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


def _with(given: Any, token: str) -> Any:
    if isinstance(given, dict):
        return {name: _with(value, token) for name, value in given.items()}
    if isinstance(given, list):
        return [_with(value, token) for value in given]
    return given.replace("TOKEN", token)


async def test_a_token_of_no_person_opens_nothing(world: World) -> None:
    answer = await world.client.get(PATH, headers=bearing(await world.token("orders")))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="openid"'


async def test_only_a_live_access_token_for_this_server_is_good(scene: Scene) -> None:
    world = scene.world
    shop = await world.register_client(scope=("openid", "offline_access"), resources=("https://api.example",))
    address = scene.address(shop, scope="openid offline_access")
    given = await scene.redeem(await scene.approved(await scene.signed_in(), address), shop)
    # With one resource of its own, what it does not ask for by name is for that.
    for raw in (given["access_token"], given["refresh_token"]):
        assert (await world.client.get(PATH, headers=bearing(raw))).status_code == 401
    data = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "resource": world.settings.issuer}
    ours = ok(await world.client.post("/oauth/token", data=data, auth=shop.auth))["access_token"]
    assert (await told(world, ours))["sub"] == scene.person.account_id
    ok(await world.client.post("/oauth/revoke", data={"token": ours}, auth=shop.auth))
    assert (await world.client.get(PATH, headers=bearing(ours))).status_code == 401


async def test_a_change_is_told_at_once_and_the_erased_are_nobody(scene: Scene, shop: Client) -> None:
    token = await token_of(scene, shop, "openid profile email")
    admin = await administering(scene.world)
    path = f"/admin/people/{scene.person.account_id}"
    before = await told(scene.world, token)
    assert await told(scene.world, token) == before
    ok(await admin.patch(path, json={"nickname": None, "email": "p@example.test", "name": "Paul"}))
    after = await told(scene.world, token)
    del before["nickname"]
    assert after == before | {"email": "p@example.test", "email_verified": False, "name": "Paul"}
    ok(await admin.delete(path), 204)
    assert (await scene.world.client.get(PATH, headers=bearing(token))).status_code == 401


async def test_dashboards_learn_who_signed_in(world: World) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    person = await world.register_person()
    dashboard = await make_dashboard(world, "stock", scope=("openid", "profile", "orders"))
    access, _ = await dashboard.sign_in(person)
    found = await told(world, access)
    assert (found["sub"], found["preferred_username"]) == (person.account_id, person.username)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_the_answer_is_signed_for_who_wants_it_so(scene: Scene, algorithm: str) -> None:
    world = scene.world
    shop = await world.register_client(scope=("openid", "profile"), userinfo_signed_response_alg=algorithm)
    token = await token_of(scene, shop, "openid profile")
    answer = await world.client.get(PATH, headers=bearing(token))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jwt")
    assert answer.headers["cache-control"] == "no-store"
    keys: signing_key.State = await world.services.ledger.state(signing_key.STREAM)
    verified = jose.verify(answer.text, lambda key_id: keys.keys[key_id].jwk)
    assert keys.keys[verified.key_id].algorithm == algorithm
    ours = {"iss": world.settings.issuer, "aud": shop.client_id, "sub": scene.person.account_id}
    assert verified.claims.items() >= ours.items()
    assert verified.claims["preferred_username"] == scene.person.username
    # From then on as JSON.
    changes = client.Attributes(userinfo_signed_response_alg=None)
    await world.execute(world.changing(shop.client_id, changes))
    assert (await told(world, token))["sub"] == scene.person.account_id


async def test_pages_of_the_client_may_read_the_answer(scene: Scene, shop: Client) -> None:
    token, asking = await token_of(scene, shop, "openid"), scene.world.client
    asked = {"origin": PAGE, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    preflight = await asking.options(PATH, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = await asking.get(PATH, headers=bearing(token) | {"origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    refused = await asking.get(PATH, headers={"origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    foreign = await asking.get(PATH, headers=bearing(token) | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_use_is_recorded_as_one_of_our_own_api(scene: Scene, shop: Client) -> None:
    token = await token_of(scene, shop, "openid")
    before = await scene.world.head()
    for _ in range(3):
        await told(scene.world, token)
    await scene.world.services.token_uses.record(everything=True)
    seen = [each for each in await scene.world.events(after=before) if each.type.startswith("usage.token")]
    assert [each.type for each in seen] == ["usage.token_first_seen", "usage.token_seen"]
    assert (seen[0].event.via, seen[0].event.account_id, seen[1].event.count) == ("api", scene.person.account_id, 2)


async def test_the_metadata_names_the_endpoint(world: World) -> None:
    found = ok(await world.client.get("/.well-known/oauth-authorization-server"))
    assert found["userinfo_endpoint"] == f"{world.settings.issuer}{PATH}"
    answer: httpx.Response = await world.client.options(PATH)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
