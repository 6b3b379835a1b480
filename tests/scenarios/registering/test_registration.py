"""Clients that register themselves (RFC 7591) and manage what they registered (RFC 7592)."""

from typing import Any

import httpx
import pytest

from api.throttling import limits
from domain import client
from security.clock import format_rfc3339
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import set_scene
from tests.scenarios.assertions import Signer, made_key, public
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

PATH = "/oauth/register"
CALLBACK = "https://prints.example/callback"
ASKED = {"client_name": "Photo Prints", "redirect_uris": [CALLBACK]}


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"registration": "open"}


async def register(world: World, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = ok(await world.client.post(PATH, json=ASKED | more), 201)
    return made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refused(answer: httpx.Response, error: str = "invalid_client_metadata", status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["error"] == error, body
    assert answer.headers["cache-control"] == "no-store"
    return body


async def test_what_is_answered_is_what_was_registered(world: World) -> None:
    before = await world.head()
    answer = await world.client.post(PATH, json=ASKED)
    made = ok(answer, 201)
    assert answer.headers["cache-control"] == "no-store"
    assert made["client_name"] == "Photo Prints"
    assert made["redirect_uris"] == [CALLBACK]
    assert made["grant_types"] == ["authorization_code"]
    assert made["response_types"] == ["code"]
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert set(made["scope"].split()) == {"openid", "profile", "email", "address", "phone", "offline_access"}
    assert made["require_pkce"] is False
    assert made["client_secret_expires_at"] == 0
    assert made["client_secret"].startswith("glog_cs_")
    assert made["registration_access_token"].startswith("glog_ra_")
    assert made["registration_client_uri"] == f"{world.settings.issuer}{PATH}/{made['client_id']}"
    assert answer.headers["location"] == f"{PATH}/{made['client_id']}"
    registered, *others = await world.events(after=before)
    assert [each.type for each in others] == ["client.secret_issued", "client.registration_token_issued"]
    assert (registered.actor.kind, registered.event.self_registered) == ("anonymous", "open")
    assert registered.request_id == answer.headers["x-request-id"]
    told = str(await world.events())
    assert made["client_secret"] not in told
    assert made["registration_access_token"] not in told


async def test_the_metadata_names_the_endpoint(world: World) -> None:
    metadata = ok(await world.client.get("/.well-known/openid-configuration"))
    assert metadata["registration_endpoint"] == f"{world.settings.issuer}{PATH}"


async def test_what_is_not_known_is_passed_over(world: World) -> None:
    """As the certification suite, and real clients, send it; null is as if left out."""
    made = await register(
        world,
        contacts=["it@prints.example"],
        application_type="web",
        logo_uri="https://prints.example/logo.png",
        software_id="x",
        **{"client_name#de": "Fotoabzüge"},
        default_max_age=3_600,
        realm="administration",
        serves=["https://prints.example"],
        access_token_lifetime=86_400,
        token_exchange=[{"subject_client": "x"}],
        first_party=True,
        owner="me",
        jwks=None,
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    admin = await administering(world, "clients:read")
    known = ok(await admin.get(f"/admin/clients/{made['client_id']}"))
    assert (known["realm"], known["serves"], known["owner"]) == ("platform", [], None)
    assert (known["access_token_lifetime"], known["self_registered"]) == (None, "open")
    for name in ("contacts", "realm", "serves", "first_party", "owner", "token_exchange"):
        assert name not in made


async def test_no_scope_that_others_must_give(world: World) -> None:
    await world.define_scopes("orders")
    made = await register(world, scope="openid orders clients:write audit:personal account introspect nonsense")
    assert made["scope"] == "openid orders"


async def test_a_public_client_is_held_to_pkce(world: World) -> None:
    made = await register(world, token_endpoint_auth_method="none")
    assert made["require_pkce"] is True
    assert "client_secret" not in made
    assert "client_secret_expires_at" not in made
    refused(await world.client.post(PATH, json=ASKED | {"token_endpoint_auth_method": "none", "require_pkce": False}))


async def test_a_client_without_a_name_has_its_id(world: World) -> None:
    made = ok(await world.client.post(PATH, json={"redirect_uris": [CALLBACK]}), 201)
    assert made["client_name"] == made["client_id"]


async def test_a_client_with_keys_signs(world: World) -> None:
    made = await register(
        world, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public(made_key("ES256"))]}
    )
    assert made["jwks"] == {"keys": [public(made_key("ES256"))]}
    assert "client_secret" not in made
    signer = Signer(world, made["client_id"])
    answer = await signer.ask(grant_type="authorization_code", code="x")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no redirect URI": ({"redirect_uris": None}, "invalid_redirect_uri"),
    "no list of them": ({"redirect_uris": CALLBACK}, "invalid_redirect_uri"),
    "a redirect URI with fragment": ({"redirect_uris": [f"{CALLBACK}#x"]}, "invalid_redirect_uri"),
    "a script": ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
    "plain http": ({"redirect_uris": ["http://prints.example/"]}, "invalid_redirect_uri"),
    "too many": ({"redirect_uris": [f"{CALLBACK}{n}" for n in range(51)]}, "invalid_redirect_uri"),
    "a grant that there is not": ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
    "passwords": ({"grant_types": ["password"]}, "invalid_client_metadata"),
    "for itself": ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
    "an implicit response": ({"response_types": ["id_token"]}, "invalid_client_metadata"),
    "a method that there is not": ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
    "keys that are none": ({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "invalid_client_metadata"),
    "no keys": ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
    "unsigned": ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
    "a name that is a number": ({"client_name": 5}, "invalid_client_metadata"),
    "a long name": ({"client_name": "x" * 201}, "invalid_client_metadata"),
    "a name with a line break": ({"client_name": "a\nb"}, "invalid_client_metadata"),
    "a scope that is a list": ({"scope": ["openid"]}, "invalid_client_metadata"),
}


@cases("bad", BAD.values(), ids=BAD)
async def test_what_cannot_be_registered(world: World, bad: tuple[dict[str, Any], str]) -> None:
    changes, error = bad
    before = await world.head()
    refused(await world.client.post(PATH, json=ASKED | changes), error)
    assert {each.type for each in await world.events(after=before)} <= {"server.registrations_refused"}


@cases("body", [b"", b"[]", b"null", b"{", b'{"a":1,"a":2}', b'"x"', b"\xff"])
async def test_what_is_no_object(world: World, body: bytes) -> None:
    answer = await world.client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_the_whole_flow_without_pkce(world: World) -> None:
    """A confidential client that registered itself is not held to PKCE; a challenge that is sent counts."""
    scene = await set_scene(world)
    made = await register(world, scope="openid")
    client = Client(made["client_id"], made["client_secret"], CALLBACK)
    browser = await scene.signed_in()
    without = {"code_challenge": None, "code_challenge_method": None, "scope": "openid"}
    page = await scene.approved(browser, scene.address(client, **without))
    data = {"grant_type": "authorization_code", "code": page.parameters["code"], "redirect_uri": CALLBACK}
    answer = ok(await world.client.post("/oauth/token", data=data, auth=client.auth))
    assert answer["scope"] == "openid"
    page = await browser.open(scene.address(client, scope="openid"))
    data["code"] = page.parameters["code"]
    failed = await world.client.post("/oauth/token", data=data, auth=client.auth)
    assert failed.json()["error"] == "invalid_grant"


class TestOff:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {}

    async def test_nobody_registers(self, world: World) -> None:
        answers = [await world.client.post(PATH, json=ASKED), await world.client.get(f"{PATH}/x")]
        answers += [await world.client.put(f"{PATH}/x", json={}), await world.client.delete(f"{PATH}/x")]
        # What is not served is not read either.
        for body in (b"{", b"[]", b"x" * 70_000):
            for method, path in (("POST", PATH), ("PUT", f"{PATH}/x")):
                headers = {"content-type": "application/json"}
                answers.append(await world.client.request(method, path, content=body, headers=headers))
        answers.append(await world.client.post(PATH, data={"client_name": "Photo Prints"}))
        assert [each.status_code for each in answers] == [404] * len(answers)
        assert "registration_endpoint" not in ok(await world.client.get("/.well-known/openid-configuration"))

    async def test_administrators_read_refusals_all_the_same(self, world: World) -> None:
        shop = await world.register_client()
        await world.client.post("/oauth/token", data={"grant_type": "x"}, auth=shop.auth)
        admin = await administering(world, "clients:read")
        assert len(ok(await admin.get(f"{PATH}/{shop.client_id}/log"))["items"]) == 1


class TestThrottled:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"registration": "open", "registrations_per_hour": 20}

    async def test_one_address_registers_a_tenth(self, world: World) -> None:
        for _ in range(2):
            await register(world)
        before = await world.head()
        answer = await world.client.post(PATH, json=ASKED)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 60
        assert await world.head() == before
        ok(await world.caller("192.0.2.99").post(PATH, json=ASKED), 201)

    async def test_all_together_are_bounded(self, world: World) -> None:
        _, together = limits.registration("192.0.2.1", world.settings)
        assert (together.subject, together.own) == ("everybody", limits.Bucket(20, 180_000_000))


# By an initial access token.


class TestByToken:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"registration": "token"}

    async def issue(self, world: World, **asked: Any) -> tuple[dict[str, Any], httpx.AsyncClient]:
        admin = await administering(world)
        made = ok(await admin.post("/admin/initial-access-tokens", json=asked), 201)
        assert made["initial_access_token"].startswith("glog_ia_")
        return made, admin

    async def test_whoever_has_one_registers(self, world: World) -> None:
        made, _ = await self.issue(world)
        assert made["uses"] == 1
        token = made["initial_access_token"]
        before = await world.head()
        registered = ok(await world.client.post(PATH, json=ASKED, headers=bearer(token)), 201)
        types = await world.types_after(before)
        assert types[0] == "client.registered"
        assert types[-1] == "initial_access_token.used"
        (used,) = await world.events("initial_access_token.used")
        assert used.event.client_id == registered["client_id"]
        assert used.actor.credential == {"initial_access_token_id": made["id"]}
        again = await world.client.post(PATH, json=ASKED, headers=bearer(token))
        refused(again, "invalid_token", 401)
        assert again.headers["www-authenticate"].startswith("Bearer")

    async def test_one_for_a_day_and_one_use_is_asked_for_with_nothing(self, world: World) -> None:
        admin = await administering(world, "clients:write")
        made = ok(await admin.post("/admin/initial-access-tokens"), 201)
        assert made["uses"] == 1
        assert made["expires_at"] == format_rfc3339(world.clock.now() + 86_400 * 1_000_000)

    async def test_they_are_listed_without_what_they_are(self, world: World) -> None:
        made, admin = await self.issue(world, uses=2)
        ok(await world.client.post(PATH, json=ASKED, headers=bearer(made["initial_access_token"])), 201)
        others = [(await self.issue(world, expires_in=60, uses=None))[0] for _ in range(2)]
        assert (await admin.delete(f"/admin/initial-access-tokens/{others[0]['id']}")).status_code == 204
        first = ok(await admin.get("/admin/initial-access-tokens?limit=2"))
        rest = ok(await admin.get(f"/admin/initial-access-tokens?limit=2&after={first['next']}"))
        assert rest["next"] is None
        shown = [(each["id"], each["state"], each["uses"]) for each in (*first["items"], *rest["items"])]
        ended = (others[0]["id"], "revoked", None)
        assert shown == [(others[1]["id"], "active", None), ended, (made["id"], "active", 1)]
        world.clock.advance(61)
        assert [each["state"] for each in ok(await admin.get("/admin/initial-access-tokens"))["items"]] == [
            *("expired", "revoked", "active")
        ]
        assert made["initial_access_token"] not in str(first) + str(rest)

    async def test_it_may_register_services(self, world: World) -> None:
        await world.define_scopes("orders")
        made, _ = await self.issue(world)
        body = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders clients:write"}
        job = ok(await world.client.post(PATH, json=body, headers=bearer(made["initial_access_token"])), 201)
        assert (job["scope"], job["response_types"]) == ("orders", [])
        auth = (job["client_id"], job["client_secret"])
        ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth))

    async def test_without_one_nobody_does(self, world: World) -> None:
        shop = await world.register_client()
        for headers in ({}, bearer("glog_ia_" + "0" * 36), bearer("x"), bearer(shop.secret or "")):
            refused(await world.client.post(PATH, json=ASKED, headers=headers), "invalid_token", 401)

    async def test_it_ends(self, world: World) -> None:
        made, admin = await self.issue(world, expires_in=60, uses=None)
        headers = bearer(made["initial_access_token"])
        ok(await world.client.post(PATH, json=ASKED, headers=headers), 201)
        world.clock.advance(61)
        refused(await world.client.post(PATH, json=ASKED, headers=headers), "invalid_token", 401)
        other, _ = await self.issue(world, expires_in=None, uses=3)
        headers = bearer(other["initial_access_token"])
        ok(await world.client.post(PATH, json=ASKED, headers=headers), 201)
        ok(await admin.delete(f"/admin/initial-access-tokens/{other['id']}"), 204)
        refused(await world.client.post(PATH, json=ASKED, headers=headers), "invalid_token", 401)
        problem(await admin.delete("/admin/initial-access-tokens/nobody"), 404)

    async def test_a_refused_registration_uses_nothing_up(self, world: World) -> None:
        made, _ = await self.issue(world)
        headers = bearer(made["initial_access_token"])
        refused(await world.client.post(PATH, json={"redirect_uris": ["x:"]}, headers=headers), "invalid_redirect_uri")
        ok(await world.client.post(PATH, json=ASKED, headers=headers), 201)

    async def test_a_repeat_does_not_show_it_again(self, world: World) -> None:
        admin = await administering(world)
        key = {"idempotency-key": "once"}
        first = ok(await admin.post("/admin/initial-access-tokens", json={}, headers=key), 201)
        again = ok(await admin.post("/admin/initial-access-tokens", json={}, headers=key), 201)
        assert again == first | {"initial_access_token": None}


# Managing it.


async def test_it_reads_changes_and_deletes_itself(world: World) -> None:
    made = await register(world)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    shown = {name: value for name, value in made.items() if not name.startswith("client_secret")}
    assert ok(await world.client.get(uri, headers=headers)) == shown
    before = await world.head()
    body = shown | {"client_name": "Prints", "client_secret": made["client_secret"]}
    changed = ok(await world.client.put(uri, json=body, headers=headers))
    assert changed == shown | {"client_name": "Prints"}
    (updated,) = await world.events(after=before)
    assert (updated.type, updated.actor.kind, updated.actor.id) == ("client.updated", "client", made["client_id"])
    # What is left out is as if it had never been said.
    least = {"client_id": made["client_id"], "redirect_uris": [CALLBACK]}
    assert ok(await world.client.put(uri, json=least, headers=headers))["client_name"] == made["client_id"]
    gone = await world.client.delete(uri, headers=headers)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (await world.client.get(uri, headers=headers), await world.client.delete(uri, headers=headers)):
        refused(answer, "invalid_token", 401)
    auth = (made["client_id"], made["client_secret"])
    data = {"grant_type": "refresh_token", "refresh_token": "x"}
    assert (await world.client.post("/oauth/token", data=data, auth=auth)).status_code == 401


async def test_it_cannot_become_more_than_it_may(world: World) -> None:
    made = await register(world)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    mine = {"client_id": made["client_id"], "redirect_uris": [CALLBACK]}
    changed = ok(await world.client.put(uri, json=mine | {"scope": "openid clients:write account"}, headers=headers))
    assert changed["scope"] == "openid"
    for changes in (
        {"token_endpoint_auth_method": "none"},
        {"client_id": "another"},
        {"client_id": None},
        {"client_secret": "wrong"},
        {"grant_types": ["password"]},
    ):
        refused(await world.client.put(uri, json=mine | changes, headers=headers))
    refused(await world.client.put(uri, json=mine | {"redirect_uris": []}, headers=headers), "invalid_redirect_uri")


@pytest.mark.parametrize("grant", ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"])
async def test_it_gets_nothing_without_asking_that_nobody_vouched_for(world: World, grant: str) -> None:
    refused(await world.client.post(PATH, json=ASKED | {"grant_types": [grant]}))
    made = await register(world)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    both = ["authorization_code", grant]
    body = {"client_id": made["client_id"], "redirect_uris": [CALLBACK], "grant_types": both}
    refused(await world.client.put(uri, json=body, headers=headers))
    # What an administrator gave it stays.
    await world.execute(world.changing(made["client_id"], client.Attributes(grant_types=tuple(both))))
    assert ok(await world.client.put(uri, json=body, headers=headers))["grant_types"] == both


async def test_its_changes_do_not_fill_the_log(world: World) -> None:
    made = await register(world)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    body = {"client_id": made["client_id"], "redirect_uris": [CALLBACK]}
    for number in range(limits.CHANGES_AT_ONCE):
        ok(await world.client.put(uri, json=body | {"client_name": f"Prints {number}"}, headers=headers))
    answer = await world.client.put(uri, json=body, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    ok(await world.client.get(uri, headers=headers))
    world.clock.advance(60)
    ok(await world.client.put(uri, json=body, headers=headers))
    # What is refused counts as well.
    world.clock.advance(60)
    refused(await world.client.put(uri, json=body | {"client_name": 7}, headers=headers))
    assert (await world.client.put(uri, json=body | {"client_name": 7}, headers=headers)).status_code == 429


async def test_a_client_with_keys_gets_no_secret_later(world: World) -> None:
    keys = {"keys": [public(made_key("ES256"))]}
    made = await register(world, token_endpoint_auth_method="private_key_jwt", jwks=keys)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    body = {"client_id": made["client_id"], "redirect_uris": [CALLBACK]}
    refused(await world.client.put(uri, json=body, headers=headers))
    other = {"keys": [public(made_key("EdDSA"))]}
    body |= {"token_endpoint_auth_method": "private_key_jwt", "jwks": other}
    assert ok(await world.client.put(uri, json=body, headers=headers))["jwks"] == other


async def test_nobody_else_manages_it(world: World) -> None:
    made, other = await register(world), await register(world)
    uri = made["registration_client_uri"]
    tokens = (other["registration_access_token"], made["client_secret"], "glog_ra_" + "0" * 36, "x")
    before = await world.head()
    for token in tokens:
        for method in ("GET", "PUT", "DELETE"):
            body = {"json": {"client_id": made["client_id"]}} if method == "PUT" else {}
            answer = await world.client.request(method, uri, headers=bearer(token), **body)  # type: ignore[arg-type]
            assert answer.status_code in (401, 429), answer.text
    assert set(await world.types_after(before)) == {"client.authentication_failed"}
    shop = await world.register_client()
    path = f"{PATH}/{shop.client_id}"
    caller = world.caller("192.0.2.50")
    refused(await caller.get(path, headers=bearer(made["registration_access_token"])), "invalid_token", 401)
    refused(await caller.get(path), "invalid_token", 401)


# What it was refused.


async def test_a_client_sees_what_it_was_refused(world: World) -> None:
    made = await register(world, grant_types=["authorization_code", "refresh_token"])
    auth = (made["client_id"], made["client_secret"])
    token = world.client
    first = await token.post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": "x"}, auth=auth)
    world.clock.advance(1)
    await token.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    world.clock.advance(1)
    last = await token.post("/oauth/token", data={"grant_type": "refresh_token"}, auth=(auth[0], "wrong"))
    log = f"{made['registration_client_uri']}/log"
    items = ok(await world.client.get(log, headers=bearer(made["registration_access_token"])))["items"]
    assert [(each["error"], each["reason"]) for each in items] == [
        ("invalid_client", "wrong_secret"),
        ("unauthorized_client", "grant_type"),
        ("invalid_grant", "unknown"),
    ]
    assert items[0]["request_id"] == last.headers["x-request-id"]
    assert items[2]["request_id"] == first.headers["x-request-id"]
    assert items[2]["at"] == "2026-01-01T00:00:00.000000Z"
    assert {each["endpoint"] for each in items} == {"/oauth/token"}
    assert "wrong" not in str(items).replace("wrong_secret", "")
    admin = await administering(world, "clients:read")
    assert ok(await admin.get(f"{PATH}/{made['client_id']}/log"))["items"] == items
    lacking = await administering(world, "people:read")
    assert (await lacking.get(f"{PATH}/{made['client_id']}/log")).status_code == 403
    refused(await world.client.get(log), "invalid_token", 401)


async def test_it_sees_which_change_of_itself_was_refused(world: World) -> None:
    made = await register(world)
    uri, headers = made["registration_client_uri"], bearer(made["registration_access_token"])
    changed = ASKED | {"client_id": made["client_id"], "redirect_uris": ["http://prints.example/"]}
    answer = await world.client.put(uri, json=changed, headers=headers)
    body = refused(answer, "invalid_redirect_uri")
    (item,) = ok(await world.client.get(f"{uri}/log", headers=headers))["items"]
    assert (item["error"], item["request_id"]) == ("invalid_redirect_uri", answer.headers["x-request-id"])
    assert item["endpoint"] == f"{PATH}/{made['client_id']}"
    assert item["description"] in body["error_description"]


async def test_so_it_does_what_a_browser_was_refused(world: World) -> None:
    scene = await set_scene(world)
    browser = await scene.signed_in()
    refused_page = await browser.open(scene.address(scope="nonsense"))
    assert refused_page.parameters["error"] == "invalid_scope"
    await browser.open(scene.address(prompt="none"))
    (item,) = await world.services.refusals.of(scene.shop.client_id)
    assert (item.endpoint, item.error) == ("/oauth/authorize", "invalid_scope")


async def test_only_the_last_two_hundred_are_kept(world: World) -> None:
    shop = await world.register_client()
    state = world.services.refusals
    for _ in range(3):
        for _ in range(80):
            await world.client.post("/oauth/token", data={"grant_type": "nonsense"}, auth=shop.auth)
        await state.record()
    assert len(await state.of(shop.client_id)) == 200
