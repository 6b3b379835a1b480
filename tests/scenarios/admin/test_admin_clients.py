"""Administering clients over HTTP: what is answered, and what the log says about it."""

from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World

MEMBERS = {
    "client_id",
    "client_name",
    "redirect_uris",
    "grant_types",
    "scope",
    "token_endpoint_auth_method",
    "require_pkce",
    "access_token_lifetime",
    "refresh_token_lifetime",
    "realm",
    "allowed_origins",
    "tokens_per_minute",
    "resources",
    "serves",
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "token_endpoint_auth_signing_alg",
    "token_exchange",
    "first_party",
    "jwks",
    "jwks_uri",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "require_pushed_authorization_requests",
    "post_logout_redirect_uris",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "subject_type",
    "sector_identifier_uri",
    "access_token_format",
    "authorization_details_types",
    "dpop_bound_access_tokens",
    "tls_client_certificate_bound_access_tokens",
    "profile",
    "require_signed_request_object",
    "request_object_signing_alg",
    "authorization_signed_response_alg",
    "owner",
    "slug",
    "self_registered",
    "metadata_uri",
    "type",
    "state",
    "created_at",
    "updated_at",
}
SHOP = {
    "client_name": "Shop",
    "redirect_uris": ["https://shop.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "orders",
    "token_endpoint_auth_method": "client_secret_basic",
    "require_pkce": True,
    "access_token_lifetime": 300,
    "realm": "platform",
    "allowed_origins": ["https://shop.example"],
    "resources": ["https://catalog.example", "urn:example:prints"],
    "serves": ["https://shop.example/api"],
    "id_token_signed_response_alg": "ES256",
    "userinfo_signed_response_alg": "EdDSA",
    "require_pushed_authorization_requests": True,
    "post_logout_redirect_uris": ["https://shop.example/signed-out", "com.example.shop:/signed-out"],
    "backchannel_logout_uri": "https://shop.example/logout",
    "backchannel_logout_session_required": True,
    "subject_type": "pairwise",
    "dpop_bound_access_tokens": True,
    "owner": "owner@shop.example",
}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    await world.define_scopes("orders", "catalog:read")
    return await administering(world, "clients:read", "clients:write")


async def test_registration_shows_the_secret_once_and_records_neither(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    answer = await admin.post("/admin/clients", json=SHOP)
    made = ok(answer, 201)
    assert set(made) == MEMBERS | {"client_secret", "client_secret_expires_at", "secret"}
    assert {name: made[name] for name in SHOP} == SHOP
    assert (made["type"], made["state"], made["slug"]) == ("confidential", "enabled", None)
    assert made["client_secret"].startswith("glog_cs_")
    assert made["client_secret_expires_at"] == 0
    assert made["secret"]["version"] == 1
    assert made["created_at"] == "2026-01-01T00:00:00.000000Z"
    assert answer.headers["location"] == f"/admin/clients/{made['client_id']}"
    assert answer.headers["cache-control"] == "no-store"

    registered, issued = await world.events(after=before)
    assert [registered.type, issued.type] == ["client.registered", "client.secret_issued"]
    assert registered.request_id == answer.headers["x-request-id"]
    assert registered.actor.kind == "client"
    assert list(registered.actor.credential or ()) == ["grant_id"]
    assert "owner@shop.example" not in str(registered)
    assert made["client_secret"] not in str(issued)

    read = ok(await admin.get(answer.headers["location"]))
    assert read == {name: made[name] for name in MEMBERS}


async def test_the_secret_authenticates(world: World, admin: httpx.AsyncClient) -> None:
    body = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders"}
    made = ok(await admin.post("/admin/clients", json=body), 201)
    auth = (made["client_id"], made["client_secret"])
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
    assert ok(answer)["scope"] == "orders"


async def test_a_public_client_has_no_secret(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=SHOP | {"token_endpoint_auth_method": "none", "serves": []}), 201)
    assert made["type"] == "public"
    assert (made["client_secret"], made["client_secret_expires_at"], made["secret"]) == (None, None, None)


async def test_a_secret_may_have_an_end(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=SHOP | {"secret_lifetime": 3600}), 201)
    assert made["client_secret_expires_at"] == world.clock.now() // 1_000_000 + 3600


@cases(
    ("change", "field"),
    [
        ({"client_name": ""}, "client_name"),
        ({"client_name": "x" * 201}, "client_name"),
        ({"client_name": 5}, "client_name"),
        ({"redirect_uris": ["http://shop.example/cb"]}, "redirect_uris"),
        ({"redirect_uris": ["https://shop.example/cb#here"]}, "redirect_uris"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"grant_types": ["password"]}, "grant_types"),
        ({"grant_types": ["no_such"]}, "grant_types"),
        ({"scope": "no:such"}, "scope"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "jwks"),
        ({"token_endpoint_auth_method": "none", "require_pkce": False}, "require_pkce"),
        ({"access_token_lifetime": 0}, "access_token_lifetime"),
        ({"tokens_per_minute": 0}, "tokens_per_minute"),
        ({"access_token_lifetime": 31 * 86_400}, "access_token_lifetime"),
        ({"access_token_lifetime": True}, "access_token_lifetime"),
        ({"realm": "elsewhere"}, "realm"),
        ({"allowed_origins": ["https://shop.example/"]}, "allowed_origins"),
        ({"owner": "x" * 201}, "owner"),
        ({"post_logout_redirect_uris": ["http://shop.example/out"]}, "post_logout_redirect_uris"),
        ({"post_logout_redirect_uris": ["https://shop.example/out"] * 2}, "post_logout_redirect_uris"),
        ({"backchannel_logout_uri": "http://shop.example/logout"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "com.example.shop:/logout"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "https://shop.example/logout#here"}, "backchannel_logout_uri"),
        ({"subject_type": "private"}, "subject_type"),
        ({"subject_type": "pairwise", "redirect_uris": ["com.example.shop:/callback"]}, "subject_type"),
        ({"sector_identifier_uri": "http://shop.example/sector"}, "sector_identifier_uri"),
        ({"no_such_member": 1}, "no_such_member"),
    ],
)
async def test_what_cannot_stand_is_400_with_its_name_and_no_event(
    world: World, admin: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    before = await world.head()
    problem(await admin.post("/admin/clients", json=SHOP | change), 400, field=field)
    assert await world.head() == before


async def test_lists_go_on_from_a_cursor_and_leave_deleted_clients_out(world: World, admin: httpx.AsyncClient) -> None:
    made = [ok(await admin.post("/admin/clients", json=SHOP), 201)["client_id"] for _ in range(3)]
    ok(await admin.delete(f"/admin/clients/{made[1]}"), 204)
    seen: list[str] = []
    after = None
    while True:
        page = ok(await admin.get("/admin/clients", params={"limit": 1} | ({"after": after} if after else {})))
        assert len(page["items"]) == 1
        seen += [item["client_id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen[-2:] == [made[0], made[2]]
    assert made[1] not in seen
    problem(await admin.get("/admin/clients", params={"after": "nonsense"}), 400, field="after")
    problem(await admin.get("/admin/clients", params={"limit": 201}), 400, field="limit")


async def test_a_merge_patch_changes_what_it_names_and_null_takes_away(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=SHOP), 201)
    path = f"/admin/clients/{made['client_id']}"
    before = await world.head()
    world.clock.advance(1)
    changed = ok(
        await admin.patch(
            path,
            content=b'{"client_name": "Store", "access_token_lifetime": null, "owner": null}',
            headers={"content-type": "application/merge-patch+json"},
        )
    )
    same = {"client_name", "access_token_lifetime", "owner", "updated_at"}
    assert (changed["client_name"], changed["access_token_lifetime"], changed["owner"]) == ("Store", None, None)
    assert changed["updated_at"] == "2026-01-01T00:00:01.000000Z"
    assert {n: changed[n] for n in MEMBERS - same} == {n: made[n] for n in MEMBERS - same}
    (updated,) = await world.events(after=before)
    assert updated.type == "client.updated"
    assert (updated.event.old.client_name, updated.event.new.client_name) == ("Shop", "Store")
    assert updated.event.owner_removed


async def test_a_patch_that_changes_nothing_is_no_event(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=SHOP), 201)
    before = await world.head()
    path = f"/admin/clients/{made['client_id']}"
    again = ok(await admin.patch(path, json={"owner": SHOP["owner"], "client_name": "Shop", "scope": "orders"}))
    assert again == {name: made[name] for name in MEMBERS}
    assert ok(await admin.patch(path, json={})) == again
    assert await world.head() == before
    assert ok(await admin.patch(path, json={"owner": "else@shop.example"}))["owner"] == "else@shop.example"
    assert await world.types_after(before) == ["client.updated"]


async def test_disabling_ends_tokens_at_once_and_a_repeat_is_no_event(world: World, admin: httpx.AsyncClient) -> None:
    shop = await world.register_client(grant_types=("client_credentials",))
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=shop.auth)
    token = ok(answer)["access_token"]
    before = await world.head()
    for verb, state in (("disable", "disabled"), ("disable", "disabled"), ("enable", "enabled"), ("enable", "enabled")):
        assert ok(await admin.post(f"/admin/clients/{shop.client_id}/{verb}"))["state"] == state
    assert await world.types_after(before) == ["client.disabled", "client.enabled"]
    seen = await world.client.post("/oauth/introspect", data={"token": token}, auth=shop.auth)
    assert ok(seen) == {"active": False}


async def test_a_deleted_client_is_unknown_and_its_facts_remain(world: World, admin: httpx.AsyncClient) -> None:
    shop = await world.register_client()
    path = f"/admin/clients/{shop.client_id}"
    before = await world.head()
    ok(await admin.delete(path), 204)
    assert await world.types_after(before) == ["client.deleted"]
    problem(await admin.get(path), 404)
    problem(await admin.patch(path, json={"client_name": "x"}), 404)
    problem(await admin.delete(path), 404)
    for more in ("/disable", "/enable", "/secrets"):
        problem(await admin.post(path + more), 404)
    problem(await admin.get(path + "/secrets"), 404)
    assert await world.types_after(before) == ["client.deleted"]
    assert await world.events("client.registered", stream=f"client:{shop.client_id}")


async def test_a_change_of_realm_is_told_as_such(world: World, admin: httpx.AsyncClient) -> None:
    made = ok(await admin.post("/admin/clients", json=SHOP), 201)
    answer = await admin.patch(f"/admin/clients/{made['client_id']}", json={"realm": "administration"})
    assert ok(answer)["realm"] == "administration"
    problem(
        await admin.patch(f"/admin/clients/{made['client_id']}", json={"token_endpoint_auth_method": "none"}),
        400,
        field="token_endpoint_auth_method",
    )
    problem(await admin.patch(f"/admin/clients/{made['client_id']}", json={"client_name": None}), 400)
    problem(await admin.patch(f"/admin/clients/{made['client_id']}", json=[]), 400)


async def test_bodies_methods_and_media_types(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    text = {"content-type": "text/plain"}
    problem(await admin.post("/admin/clients", content=b"x", headers=text), 415)
    problem(await admin.post("/admin/clients", json=SHOP | {"client_name": "x" * 70_000}), 413)
    answer = await admin.put("/admin/clients", json={})
    problem(answer, 405)
    assert "GET" in answer.headers["allow"]
    problem(
        await admin.post(
            "/admin/clients",
            content=b'{"client_name": "a", "client_name": "b"}',
            headers={"content-type": "application/json"},
        ),
        400,
    )
    problem(await admin.get("/admin/clients/no-such-id"), 404)
    assert await world.head() == before


async def test_clients_are_found_by_a_part_of_their_name_and_sorted(world: World, admin: httpx.AsyncClient) -> None:
    for name in ("Zebra Prints", "photo PRINTS", "Äpfel", "Photo Café", "100% _x\\"):
        made = {"client_name": name, "grant_types": ["client_credentials"]}
        ok(await admin.post("/admin/clients", json=made), 201)

    async def found(**asked: Any) -> list[str]:
        names: list[str] = []
        after = None
        while True:
            page = ok(
                await admin.get("/admin/clients", params={"limit": 2, **asked, **({"after": after} if after else {})})
            )
            names += [each["client_name"] for each in page["items"]]
            after = page["next"]
            if after is None:
                return names

    assert await found(q="prints") == ["Zebra Prints", "photo PRINTS"]
    assert await found(q="ｐｈｏｔｏ") == ["photo PRINTS", "Photo Café"]
    assert await found(q="% _x\\") == ["100% _x\\"]
    assert await found(q="%") == ["100% _x\\"]
    assert await found(q="CAFÉ") == ["Photo Café"]
    assert await found(q="nobody") == []
    by_name = await found(sort="client_name")
    assert by_name.index("Photo Café") < by_name.index("photo PRINTS") < by_name.index("Zebra Prints")
    assert await found(sort="-client_name") == by_name[::-1]
    assert await found(sort="-created_at") == (await found())[::-1]
    first = ok(await admin.get("/admin/clients", params={"limit": 1, "sort": "client_name"}))
    problem(await admin.get("/admin/clients", params={"after": first["next"]}), 400, field="after")
    problem(await admin.get("/admin/clients", params={"sort": "secret"}), 400, field="sort")
    # A client that is renamed is found by its new name alone.
    (client,) = ok(await admin.get("/admin/clients", params={"q": "zebra"}))["items"]
    ok(await admin.patch(f"/admin/clients/{client['client_id']}", json={"client_name": "Horse Prints"}))
    assert await found(q="zebra") == []
    assert await found(q="horse") == ["Horse Prints"]


async def test_clients_come_by_what_should_be_looked_after(world: World, admin: httpx.AsyncClient) -> None:
    made = {}
    for name, more in (
        ("kept", {"secret_lifetime": 90 * 86_400}),
        ("unrotated", {}),
        ("ending", {"secret_lifetime": 86_400}),
        ("ended", {"secret_lifetime": 60}),
        ("public", {"token_endpoint_auth_method": "none", "redirect_uris": ["https://a.example/"]}),
    ):
        grants = ["authorization_code"] if name == "public" else ["client_credentials"]
        body = {"client_name": name, "grant_types": grants, **more}
        made[name] = ok(await admin.post("/admin/clients", json=body), 201)
    for name in ("kept", "unrotated"):
        auth = (made[name]["client_id"], made[name]["client_secret"])
        ok(await world.client.post("/oauth/introspect", data={"token": "nothing"}, auth=auth))
    world.clock.advance(61)
    ids = [each["client_id"] for each in made.values()]
    asked: dict[str, Any] = {"sort": "-risk", "risks": "1", "client_id": ids, "limit": 2}
    found: list[Any] = []
    while asked.get("after", "first") is not None:
        page = ok(await admin.get("/admin/clients", params=asked))
        found += page["items"]
        asked["after"] = page["next"]
    assert [(each["client_name"], each["risks"]) for each in found] == [
        ("ended", ["no_live_secret"]),
        ("ending", ["ends_soon", "never_used"]),
        ("unrotated", ["no_rotation"]),
        ("public", []),
        ("kept", []),
    ]
    # As many as may be named are, beside every other parameter.
    many = {"sort": "-risk", "risks": "1", "client_id": [*ids, *(str(each) for each in range(50 - len(ids)))]}
    assert len(ok(await admin.get("/admin/clients", params={**many, "limit": 50}))["items"]) == len(ids)
    refused = await admin.get("/admin/clients", params={**many, "client_id": ["0", *many["client_id"]]})
    problem(refused, 400, field="client_id")
    # After a year nobody has used it any more, and nothing else works.
    world.clock.advance(366 * 86_400)
    (old,) = ok(await (await administering(world)).get("/admin/clients", params={"q": "unrot", "risks": "1"}))["items"]
    assert old["risks"] == ["unused", "old", "no_rotation"]
    named = ok(await (await administering(world)).get("/admin/clients", params={"client_id": ids[0]}))["items"]
    assert [(each["client_name"], "risks" in each) for each in named] == [("kept", False)]
