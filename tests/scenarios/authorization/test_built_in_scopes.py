"""The scopes that are there without anybody having defined them, over HTTP (OpenID Connect Core §5.4, §11)."""

import pytest

from domain.rules.built_in_scope import BUILT_IN, DESCRIPTIONS
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.world import World

SHOP = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"], "grant_types": ["authorization_code"]}


async def test_they_are_listed_and_nobody_changes_them(world: World) -> None:
    admin = await administering(world)
    before = await world.head()
    listed = {each["name"]: each["description"] for each in ok(await admin.get("/admin/scopes"))["items"]}
    assert {name: listed[name] for name in BUILT_IN} == DESCRIPTIONS
    assert ok(await admin.get("/admin/scopes/openid"))["description"] == DESCRIPTIONS["openid"]
    for name in BUILT_IN:
        path = f"/admin/scopes/{name}"
        problem(await admin.put(path, json={"description": "Ours"}), 403, field="name", reason="built_in_scope")
        problem(await admin.delete(path), 403, field="name", reason="built_in_scope")
    assert await world.head() == before
    supported = (await world.client.get("/.well-known/oauth-authorization-server")).json()["scopes_supported"]
    assert set(supported) >= BUILT_IN
    assert supported == sorted(supported)


async def test_clients_and_roles_may_name_them(world: World) -> None:
    admin = await administering(world)
    body = SHOP | {"scope": "openid profile email address phone offline_access"}
    assert ok(await admin.post("/admin/clients", json=body), 201)["scope"] == body["scope"]
    role = {"realm": "platform", "name": "guest", "scopes": sorted(BUILT_IN), "default": False}
    assert ok(await admin.put("/admin/roles/platform/guest", json=role), 201) == role


async def test_account_is_never_a_third_partys(world: World) -> None:
    admin = await administering(world)
    problem(await admin.post("/admin/clients", json=SHOP | {"scope": "account"}), 403, field="scope")
    made = ok(await admin.post("/admin/clients", json=SHOP | {"scope": "openid"}), 201)
    problem(await admin.patch(f"/admin/clients/{made['client_id']}", json={"scope": "openid account"}), 403)
    service = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "account"}
    problem(await admin.post("/admin/clients", json=service), 403, field="scope")


async def test_a_dashboards_tokens_hold_openid_and_account(world: World) -> None:
    await world.define_role("platform", "member", "catalog:read", default=True)
    person = await world.register_person()
    dashboard = await make_dashboard(world, "stock", scope=("openid", "account", "catalog:read", "offline_access"))
    answer = await dashboard.login(person)
    assert answer.json()["scope"] == "openid account catalog:read"


@pytest.mark.parametrize(
    ("scope", "refreshed"), [("openid profile", False), ("openid offline_access", True), ("profile", True)]
)
async def test_a_request_with_openid_refreshes_only_offline(scene: Scene, scope: str, refreshed: bool) -> None:
    asking = await scene.world.register_client(scope=("openid", "profile", "offline_access"))
    page = await scene.approved(await scene.signed_in(), scene.address(asking, scope=scope))
    answer = await scene.redeem(page, asking)
    assert (answer["scope"], "refresh_token" in answer) == (scope, refreshed)
    (issued,) = await scene.world.events("grant.tokens_issued")
    assert (issued.event.refresh_token is not None) is refreshed


@pytest.mark.parametrize(
    ("asked", "left"), [("openid profile offline_access", "openid profile"), ("openid profile", "profile")]
)
async def test_what_was_lost_meanwhile_does_not_refresh(scene: Scene, asked: str, left: str) -> None:
    """Neither without `offline_access`, which the client may no longer have, nor because it gave `openid` up."""
    asking = await scene.world.register_client(scope=("openid", "profile", "offline_access"))
    page = await scene.approved(await scene.signed_in(), scene.address(asking, scope=asked))
    admin = await administering(scene.world)
    ok(await admin.patch(f"/admin/clients/{asking.client_id}", json={"scope": left}))
    answer = await scene.redeem(page, asking)
    assert (answer["scope"], "refresh_token" in answer) == (left, False)


async def test_offline_access_is_asked_about_each_time(scene: Scene) -> None:
    asking = await scene.world.register_client(scope=("openid", "offline_access"))
    browser, address = await scene.signed_in(), scene.address(asking, scope="openid offline_access")
    for _ in range(2):
        page = await browser.open(address)
        assert DESCRIPTIONS["offline_access"] in page.text
        assert "code" in (await browser.press(page, CONSENT, APPROVE)).parameters
    assert "code" in (await browser.open(scene.address(asking, scope="openid"))).parameters


async def test_neither_is_supplied_by_omission(scene: Scene) -> None:
    asking = await scene.world.register_client(scope=("openid", "email", "orders", "offline_access"))
    page = await scene.approved(await scene.signed_in(), scene.address(asking))
    answer = await scene.redeem(page, asking)
    assert answer["scope"] == "email orders"
    assert "refresh_token" in answer


async def test_a_client_for_itself_has_none_of_them(world: World) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("profile", "orders"))
    data = {"grant_type": "client_credentials"}
    for asked in ({}, {"scope": "orders profile"}):
        assert ok(await world.client.post("/oauth/token", data=data | asked, auth=job.auth))["scope"] == "orders"
    refused = await world.client.post("/oauth/token", data=data | {"scope": "profile"}, auth=job.auth)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


async def test_a_scope_of_blanks_is_not_all_there_is(world: World) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    data = {"grant_type": "client_credentials"}
    for asked, status in (({}, 200), ({"scope": ""}, 200), ({"scope": " "}, 400), ({"scope": " orders  "}, 200)):
        answer = await world.client.post("/oauth/token", data=data | asked, auth=job.auth)
        assert (answer.status_code, answer.json().get("scope", answer.json().get("error"))) == (
            status,
            "orders" if status == 200 else "invalid_scope",
        )
