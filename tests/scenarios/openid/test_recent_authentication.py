"""What is dangerous wants a recent sign-in of a person (RFC 9470): a token that was refreshed for hours will not do."""

from typing import Any

import httpx
import pytest

from domain import session
from tests.cases import cases
from tests.scenarios.administration import ok
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard
from tests.scenarios.world import Person, World

SCOPES = ("clients:read", "clients:write", "people:read", "people:write", "leaks:read", "leaks:write", "keys:write")
SCOPES_TOO = ("audit:read", "audit:personal")
DANGEROUS = [
    ("POST", "/admin/clients/{client}/disable"),
    ("DELETE", "/admin/clients/{client}"),
    ("POST", "/admin/clients/{client}/secrets"),
    ("DELETE", "/admin/clients/{client}/secrets/x"),
    ("POST", "/admin/people/{person}/disable"),
    ("DELETE", "/admin/people/{person}"),
    ("POST", "/admin/people/{person}/factors/reset"),
    ("PUT", "/admin/trusted-issuers/workforce"),
    ("DELETE", "/admin/trusted-issuers/workforce"),
    ("POST", "/admin/keys/rotate"),
    ("POST", "/leaks/contain"),
    ("POST", "/leaks/freeze"),
    ("POST", "/leaks/unfreeze"),
    ("GET", "/audit/export"),
    ("GET", "/admin/clients/export"),
    ("GET", "/admin/people/export"),
    ("GET", "/leaks/incidents/export"),
]


@pytest.fixture
async def dashboard(world: World) -> Dashboard:
    await world.define_role("administration", "everything", *SCOPES, *SCOPES_TOO, default=True)
    return await make_dashboard(world, realm="administration", scope=(*SCOPES, *SCOPES_TOO))


@pytest.fixture
async def ada(world: World, dashboard: Dashboard) -> Person:
    await world.register_person("bea", realm="administration")
    return await world.register_person("ada", realm="administration")


def is_refused(answer: httpx.Response, world: World) -> None:
    assert answer.status_code == 401, answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert f'acr_values="{session.ACR}"' in challenge
    assert f'max_age="{world.settings.recent_authentication}"' in challenge
    assert f'resource_metadata="{world.settings.issuer}/.well-known/oauth-protected-resource"' in challenge


@cases(("method", "path"), DANGEROUS)
async def test_an_old_sign_in_will_not_do(
    world: World, dashboard: Dashboard, ada: Person, method: str, path: str
) -> None:
    shop = await world.register_client()
    address = path.format(client=shop.client_id, person=ada.account_id)
    _, cookie = await dashboard.sign_in(ada)
    world.clock.advance(world.settings.recent_authentication + 1)
    refreshed = ok(await dashboard.refresh(cookie))
    head = await world.head()
    bearer = {"authorization": f"Bearer {refreshed['access_token']}"}
    is_refused(await world.client.request(method, address, headers=bearer), world)
    assert await world.head() == head


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks_uri": "https://else.example/keys"},
        {"tls_client_auth_san_dns": "a.example"},
        {"redirect_uris": ["https://else.example/callback"]},
    ],
)
async def test_what_a_client_authenticates_with_wants_a_recent_one(
    world: World, dashboard: Dashboard, ada: Person, changes: dict[str, Any]
) -> None:
    shop = await world.register_client()
    token = ok(await dashboard.login(ada))["access_token"]
    world.clock.advance(world.settings.recent_authentication + 1)
    bearer, path = {"authorization": f"Bearer {token}"}, f"/admin/clients/{shop.client_id}"
    is_refused(await world.client.patch(path, json=changes, headers=bearer), world)
    ok(await world.client.patch(path, json={"client_name": "Renamed"}, headers=bearer))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/people/{person}/password", {"password": "another long sentence"}),
        ("PATCH", "/admin/people/{person}", {"roles": ["everything"]}),
        ("POST", "/admin/people", {"realm": "administration", "username": "dora"}),
        ("PATCH", "/admin/people/{ada}", {"email": "else@example.test"}),
        ("POST", "/admin/people/{ada}/invite", None),
        ("POST", "/admin/clients", {"client_name": "C", "grant_types": ["client_credentials"], "scope": "people:read"}),
    ],
)
async def test_acting_as_another_wants_a_recent_one(
    world: World, dashboard: Dashboard, ada: Person, method: str, path: str, body: dict[str, Any] | None
) -> None:
    await world.define_role("administration", "nothing", "profile")
    cleo = await world.register_person("cleo", realm="administration", roles_of=("nothing",))
    token = ok(await dashboard.login(ada))["access_token"]
    world.clock.advance(world.settings.recent_authentication + 1)
    bearer, address = {"authorization": f"Bearer {token}"}, path.format(person=cleo.account_id, ada=ada.account_id)
    is_refused(await world.client.request(method, address, json=body, headers=bearer), world)
    # What gives nobody anything is asked of nobody.
    ok(await world.client.patch(f"/admin/people/{cleo.account_id}", json={"name": "Cleo"}, headers=bearer))
    made = await world.client.post("/admin/people", json={"realm": "platform", "username": "dora"}, headers=bearer)
    assert made.status_code == 201
    for odd in ("\0", "nowhere"):
        sent = await world.client.post("/admin/people", json={"realm": odd, "username": "eve"}, headers=bearer)
        assert sent.status_code == 400
    for odd in ("\0", "a:b", "x" * 4_000):
        sent = await world.client.patch(f"/admin/people/{cleo.account_id}", json={"roles": [odd]}, headers=bearer)
        assert sent.status_code == 400


async def test_opening_a_dashboard_up_wants_a_recent_one(world: World, dashboard: Dashboard, ada: Person) -> None:
    await world.define_scopes("orders:read", "orders:write")
    first, more = "http://127.0.0.1:3000", "http://127.0.0.1:3001"
    token = ok(await dashboard.login(ada))["access_token"]
    bearer, path = {"authorization": f"Bearer {token}"}, "/admin/dashboards/shop"
    made = {"client_name": "Shop", "realm": "platform", "scope": "orders:read", "allowed_origins": [first]}
    shop = ok(await world.client.put(path, json=made, headers=bearer), 201)
    world.clock.advance(world.settings.recent_authentication + 1)
    for changes in (
        {"allowed_origins": [first, more]},
        {"allowed_origins": [more]},
        {"scope": "people:read clients:read"},
    ):
        is_refused(await world.client.patch(path, json=changes, headers=bearer), world)
        is_refused(await world.client.put(path, json=made | changes, headers=bearer), world)
        client = f"/admin/clients/{shop['client_id']}"
        is_refused(await world.client.patch(client, json=changes, headers=bearer), world)
    ok(await world.client.put(path, json=made, headers=bearer))
    ok(await world.client.patch(path, json={"allowed_origins": [], "scope": "", "client_name": "S"}, headers=bearer))


async def test_another_sign_in_steps_up(world: World, dashboard: Dashboard, ada: Person) -> None:
    shop = await world.register_client()
    path = f"/admin/clients/{shop.client_id}/disable"
    token = ok(await dashboard.login(ada))["access_token"]
    world.clock.advance(world.settings.recent_authentication + 1)
    is_refused(await world.client.post(path, headers={"authorization": f"Bearer {token}"}), world)
    token = ok(await dashboard.login(ada))["access_token"]
    ok(await world.client.post(path, headers={"authorization": f"Bearer {token}"}))


async def test_what_is_not_dangerous_needs_none(world: World, dashboard: Dashboard, ada: Person) -> None:
    token = ok(await dashboard.login(ada))["access_token"]
    world.clock.advance(world.settings.recent_authentication + 1)
    bearer = {"authorization": f"Bearer {token}"}
    ok(await world.client.get("/admin/clients", headers=bearer))
    plain = {"realm": "platform", "name": "reader", "scopes": [], "default": False}
    ok(await world.client.put("/admin/roles/platform/reader", json=plain, headers=bearer), 201)
    administrative = {"scopes": ["clients:read"], "default": False}
    is_refused(await world.client.put("/admin/roles/administration/other", json=administrative, headers=bearer), world)


async def test_a_service_is_not_asked(world: World) -> None:
    token = await world.token("clients:write")
    shop = await world.register_client()
    world.clock.advance(world.settings.recent_authentication + 1)
    bearer = {"authorization": f"Bearer {token}"}
    ok(await world.client.post(f"/admin/clients/{shop.client_id}/disable", headers=bearer))
