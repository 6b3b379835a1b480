"""Resource indicators (RFC 8707): what tokens are for, who may ask, who is told, and where a token opens nothing."""

from typing import Any

import httpx

from tests.cases import cases
from tests.scenarios.administration import EVERYTHING, administering, ok, problem
from tests.scenarios.asking import STATE, Scene, error_of
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.world import Client, World

CATALOG, PRINTS = "https://catalog.example", "https://prints.example/api"
INACTIVE = {"active": False}


async def job_for(world: World, *resources: str, **attributes: Any) -> Client:
    return await world.register_client("Job", grant_types=("client_credentials",), resources=resources, **attributes)


async def asked(world: World, client: Client, **data: str) -> httpx.Response:
    return await world.client.post("/oauth/token", data=data, auth=client.auth)


async def issued(world: World, client: Client, **data: str) -> str:
    raw: str = ok(await asked(world, client, **{"grant_type": "client_credentials"} | data))["access_token"]
    return raw


async def introspected(world: World, asking: Client, raw: str) -> dict[str, Any]:
    """The answer to a question that was asked twice: the second time the token is remembered."""
    first, again = [
        ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=asking.auth)) for _ in range(2)
    ]
    assert first == again
    found: dict[str, Any] = again
    return found


def target_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


@cases(
    ("resources", "data", "aud", "recorded"),
    [
        ((), {}, None, ()),
        ((CATALOG,), {}, CATALOG, (CATALOG,)),
        ((CATALOG, PRINTS), {}, None, ()),
        ((CATALOG, PRINTS), {"resource": PRINTS}, PRINTS, (PRINTS,)),
        ((CATALOG,), {"resource": "(issuer)"}, None, ()),
    ],
)
async def test_token_is_for_one_resource_and_introspection_names_it(
    world: World, resources: tuple[str, ...], data: dict[str, str], aud: str | None, recorded: tuple[str, ...]
) -> None:
    job, issuer = await job_for(world, *resources), world.settings.issuer
    before = await world.head()
    raw = await issued(world, job, **{name: value.replace("(issuer)", issuer) for name, value in data.items()})
    [event] = await world.events(after=before)
    assert (event.type, event.event.audience) == ("grant.tokens_issued", recorded)
    assert (await introspected(world, job, raw))["aud"] == (aud or issuer)


@cases("resource", [PRINTS, "catalog", CATALOG + "/", CATALOG + " " + CATALOG, "x" * 20_000])
async def test_unregistered_resource_is_invalid_target_and_no_event(world: World, resource: str) -> None:
    job = await job_for(world, CATALOG)
    before = await world.head()
    answer = await asked(world, job, grant_type="client_credentials", resource=resource)
    target_refused(answer)
    assert resource not in answer.text
    json = {"grant_type": "client_credentials", "resource": resource}
    target_refused(await world.client.post("/oauth/token", json=json, auth=job.auth))
    assert await world.head() == before


async def test_cached_tokens_of_different_resources_are_told_apart(world: World) -> None:
    job = await job_for(world, CATALOG, PRINTS)
    raws = {resource: await issued(world, job, resource=resource) for resource in (CATALOG, PRINTS)}
    for _ in range(2):
        for resource, raw in raws.items():
            assert (await introspected(world, job, raw))["aud"] == resource


async def test_the_code_is_redeemed_for_one_and_refreshed_for_another(scene: Scene) -> None:
    world = scene.world
    shop = await world.register_client(resources=(CATALOG, PRINTS))
    before = await world.head()
    address = scene.address(shop) + f"&resource={CATALOG}&resource={PRINTS}"
    page = await scene.approved(await scene.signed_in(), address)
    code = (await world.events("grant.code_issued", after=before))[0]
    assert code.event.resource == (CATALOG, PRINTS)
    assert (await scene.redeem(page, shop))["error"] == "invalid_target"
    redemption = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": shop.redirect_uri,
        "code_verifier": "a-verifier-of-at-least-forty-three-characters",
    }
    target_refused(await asked(world, shop, **redemption, resource=world.settings.issuer))
    first = ok(await asked(world, shop, **redemption, resource=CATALOG))
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    target_refused(await asked(world, shop, **refresh, resource="https://else.example"))
    second = ok(await asked(world, shop, **refresh, resource=PRINTS))
    third = ok(await asked(world, shop, grant_type="refresh_token", refresh_token=second["refresh_token"]))
    auds = [(await introspected(world, shop, each["access_token"]))["aud"] for each in (first, second, third)]
    assert auds == [CATALOG, PRINTS, CATALOG]
    told = [each.event for each in await world.events("grant.*", stream=code.stream)]
    assert [each.audience for each in told if each.type.startswith("grant.tokens")] == [(each,) for each in auds]
    auditor = await administering(world, "audit:read")
    state = ok(await auditor.get(f"/audit/state/{code.stream}"))["state"]
    assert (state["resource"], state["audience"]) == ([CATALOG, PRINTS], [CATALOG])
    # A refresh token is for this server, which alone takes it.
    assert (await introspected(world, shop, third["refresh_token"]))["aud"] == world.settings.issuer


async def test_at_the_authorization_endpoint_the_application_is_told(scene: Scene) -> None:
    shop = await scene.world.register_client(resources=(CATALOG,))
    browser = await scene.signed_in()
    before = await scene.world.head()
    page = await browser.open(scene.address(shop) + f"&resource={CATALOG}&resource={PRINTS}")
    assert page.location.startswith(shop.redirect_uri + "?")
    assert error_of(page) == ("invalid_target", STATE)
    assert page.parameters["iss"] == scene.world.settings.issuer
    assert PRINTS not in page.location
    assert await scene.world.head() == before


async def test_the_servers_own_api_takes_tokens_for_itself_alone(world: World) -> None:
    """A token that is for others was handed to them (RFC 9700 §2.3)."""
    job = await job_for(world, CATALOG, scope=EVERYTHING)
    foreign = await issued(world, job)
    own = await issued(world, job, resource=world.settings.issuer)
    for path in ("/admin/clients", "/audit/events", "/leaks/incidents"):
        answer = await world.client.get(path, headers={"authorization": f"Bearer {foreign}"})
        problem(answer, 401)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        ok(await world.client.get(path, headers={"authorization": f"Bearer {own}"}))
    answers = [
        await world.client.post(
            "/oauth/introspect", data={"token": own}, headers={"authorization": f"Bearer {presented}"}
        )
        for presented in (foreign, own)
    ]
    assert (answers[0].status_code, answers[0].json()["error"]) == (401, "invalid_token")
    assert ok(answers[1])["active"] is True


async def test_dashboard_tokens_are_for_the_server_and_its_resources(world: World) -> None:
    await world.define_role("administration", "administrator", "clients:read", default=True)
    ada = await world.register_person("ada", realm="administration")
    board = await make_dashboard(
        world, "administration", realm="administration", scope=("clients:read",), resources=(CATALOG, PRINTS)
    )
    access, cookie = await board.sign_in(ada)
    refreshed = ok(await board.refresh(cookie))["access_token"]
    server = await world.register_client("Catalog", grant_types=("client_credentials",), serves=(PRINTS,))
    for raw in (access, refreshed):
        assert (await introspected(world, server, raw))["aud"] == [world.settings.issuer, CATALOG, PRINTS]
        ok(await world.client.get("/admin/clients", headers={"authorization": f"Bearer {raw}"}))


async def test_resource_server_sees_the_access_tokens_for_it_only(scene: Scene) -> None:
    world = scene.world
    shop = await world.register_client(resources=(CATALOG, PRINTS))
    server = await world.register_client("Catalog", grant_types=("client_credentials",), serves=(CATALOG,))
    page = await scene.approved(await scene.signed_in(), scene.address(shop, resource=CATALOG))
    given = await scene.redeem(page, shop)
    found = await introspected(world, server, given["access_token"])
    assert (found["active"], found["aud"], found["client_id"]) == (True, CATALOG, shop.client_id)
    assert found["username"] == scene.person.username
    assert await introspected(world, server, given["refresh_token"]) == INACTIVE
    job = await job_for(world, CATALOG, PRINTS)
    assert await introspected(world, server, await issued(world, job, resource=PRINTS)) == INACTIVE
    assert await introspected(world, server, await issued(world, job)) == INACTIVE


async def test_who_serves_it_no_more_sees_nothing_from_then_on(world: World) -> None:
    admin = await administering(world, "clients:read", "clients:write")
    job = await job_for(world, CATALOG)
    server = await world.register_client("Catalog", grant_types=("client_credentials",), serves=(CATALOG,))
    raw = await issued(world, job)
    assert (await introspected(world, server, raw))["active"] is True
    before = await world.head()
    assert ok(await admin.patch(f"/admin/clients/{server.client_id}", json={"serves": []}))["serves"] == []
    [changed] = [each for each in await world.events(after=before) if each.type == "client.updated"]
    assert (changed.event.old.serves, changed.event.new.serves) == ((CATALOG,), ())
    assert await introspected(world, server, raw) == INACTIVE


async def test_nobody_serves_the_server_itself(world: World) -> None:
    admin = await administering(world, "clients:read", "clients:write")
    service = {"client_name": "Catalog", "grant_types": ["client_credentials"]}
    for uri in (world.settings.issuer, world.settings.issuer + "/", world.settings.issuer.upper()):
        problem(await admin.post("/admin/clients", json=service | {"serves": [uri]}), 400, field="serves")
    problem(await admin.post("/admin/clients", json=service | {"resources": ["catalog"]}), 400, field="resources")


async def test_a_dashboards_resources_are_put_and_patched(world: World) -> None:
    admin = await administering(world, "clients:read", "clients:write")
    path = "/admin/dashboards/stock"
    made = ok(await admin.put(path, json={"client_name": "Stock", "realm": "platform", "resources": [CATALOG]}), 201)
    assert made["resources"] == [CATALOG]
    assert ok(await admin.put(path, json=made)) == made
    before = await world.head()
    assert ok(await admin.patch(path, json={"resources": [PRINTS]}))["resources"] == [PRINTS]
    [changed] = [each for each in await world.events(after=before) if each.type == "client.updated"]
    assert changed.event.new.resources == (PRINTS,)
    problem(await admin.patch(path, json={"resources": [PRINTS + "#x"]}), 400, field="resources")
