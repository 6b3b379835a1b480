"""Who may administer: every route asks for its scope first, and nobody hands out what they lack."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from api.audit.queries import auditor
from commands.clients import vault_name
from domain import client
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES, IMPLIED
from eventstore.command import Command
from tests.any_command import any_command
from tests.scenarios.administration import EVERYTHING, administering, ok, problem
from tests.scenarios.world import PASSWORD, SYSTEM, World


def administrative_routes(world: World) -> Iterator[tuple[str, str, Any]]:
    """Method, a path with made-up ids, and handler of every route under /admin, from the running app."""
    for route in world.app.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, HTTPRoute) and route.path.startswith("/admin"):
            for method, (handler, _) in route.route_handler_map.items():
                if method != "OPTIONS":
                    path = "".join(part if isinstance(part, str) else "/x" for part in _parts(route.path_components))
                    yield method, path, handler


def _parts(components: Any) -> Iterator[Any]:
    for part in components:
        yield f"/{part}" if isinstance(part, str) else part


async def test_every_route_checks_its_scope_before_anything_else(world: World) -> None:
    routes = list(administrative_routes(world))
    assert len(routes) > 25
    callers = {
        missing: await administering(world, *(scope for scope in EVERYTHING if scope not in missing))
        for missing in (frozenset((each, IMPLIED.get(each, each))) for each in EVERYTHING)
    }
    before = await world.head()
    for method, path, handler in routes:
        needed = handler.opt["scope"]
        assert needed in ADMINISTRATIVE_SCOPES
        answer = await world.client.request(method, path)
        problem(answer, 401)
        metadata = f"{world.settings.issuer}/.well-known/oauth-protected-resource"
        assert answer.headers["www-authenticate"] == f'Bearer error="invalid_token", resource_metadata="{metadata}"'
        for missing, caller in callers.items():
            # Neither a body that cannot be read nor an unknown id is told to somebody who may not ask.
            answer = await caller.request(method, path, content=b"\xff", headers={"content-type": "text/plain"})
            challenge = answer.headers.get("www-authenticate")
            if needed in missing:
                problem(answer, 403)
                assert challenge == f'Bearer error="insufficient_scope", scope="{needed}"'
            else:
                assert answer.status_code in (200, 400, 404, 415), (method, path, answer.text)
                assert challenge is None
    # Whoever may take a list away whole leaves that behind, and nothing else.
    await auditor.closed(world.services.ledger)
    assert set(await world.types_after(before)) == {"audit.list_export_opened", "audit.export_closed"}


async def test_reading_and_writing_are_apart(world: World) -> None:
    for _, _, handler in administrative_routes(world):
        (method,) = handler.http_methods - {"OPTIONS"}
        if any(path.startswith("/admin/notifications") for path in handler.paths):
            # The contract names one scope: who is told is nothing for whoever only looks into leaks.
            continue
        assert handler.opt["scope"].endswith(":read" if method == "GET" else ":write")


async def test_what_a_token_loses_before_the_lock_it_may_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:write",))
    issued = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
    admin = world.caller(headers={"authorization": f"Bearer {ok(issued)['access_token']}"})
    ledger = world.services.ledger
    execute = ledger.execute

    async def overtaken(*commands: Command[Any], **given: Any) -> Any:
        await execute(any_command(client.stream(service.client_id), client.disable), origin=SYSTEM)
        return await execute(*commands, **given)

    monkeypatch.setattr(ledger, "execute", overtaken)
    before = await world.head()
    body = {"client_name": "Shop", "grant_types": ["client_credentials"]}
    problem(await admin.post("/admin/clients", json=body), 401)
    assert await world.types_after(before) == ["client.disabled"]


SERVICE = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "people:write"}


async def test_no_client_route_grants_a_scope_that_the_caller_lacks(world: World) -> None:
    all_of_it = await administering(world)
    lesser = await administering(world, "clients:read", "clients:write")
    powerful = ok(await all_of_it.post("/admin/clients", json=SERVICE), 201)
    plain = ok(await lesser.post("/admin/clients", json=SERVICE | {"scope": ""}), 201)
    board = {
        "client_name": "Board",
        "realm": "administration",
        "allowed_origins": [world.settings.issuer],
        "scope": "people:write",
    }
    ok(await all_of_it.put("/admin/dashboards/board", json=board | {"scope": "people:write clients:read"}), 201)
    before = await world.head()
    for answer in (
        await lesser.post("/admin/clients", json=SERVICE),
        await lesser.patch(f"/admin/clients/{plain['client_id']}", json={"scope": "people:write"}),
        await lesser.post(f"/admin/clients/{powerful['client_id']}/secrets"),
        await lesser.put("/admin/dashboards/other", json=board),
        await lesser.put("/admin/dashboards/board", json=board | {"scope": "people:write keys:write"}),
        await lesser.put("/admin/scopes/people:write", json={"description": "Mine"}),
    ):
        body = problem(answer, 403, reason="administrative_scope")
        assert "client_secret" not in body
    assert await world.head() == before
    for change in (
        {"access_token_lifetime": 30 * 86_400},
        {"tokens_per_minute": 1},
        {"realm": "administration"},
        {"allowed_origins": ["https://mine.example"]},
        {"scope": ""},
        {"client_name": "Mine", "token_endpoint_auth_method": "client_secret_post"},
    ):
        answer = await lesser.patch(f"/admin/clients/{powerful['client_id']}", json=change)
        problem(answer, 403, reason="administrative_scope")
    assert await world.head() == before
    # What was there already may stay, and what the caller holds may be given.
    ok(await lesser.patch(f"/admin/clients/{powerful['client_id']}", json={"client_name": "Renamed"}))
    ok(await lesser.post("/admin/clients", json=SERVICE | {"scope": "clients:read"}), 201)


async def test_nobody_enables_what_may_do_more_than_they_may_give(world: World) -> None:
    """Otherwise who kept a service's secret has its power back, whoever disabled it in a hurry."""
    await world.define_role("administration", "keeper", "keys:write")
    keeper = await world.register_person("eva", realm="administration", roles_of=("keeper",))
    everybody = await administering(world)
    lesser = await administering(world, "clients:write", "people:write")
    service = ok(await everybody.post("/admin/clients", json=SERVICE | {"scope": "keys:write"}), 201)
    paths = (f"/admin/clients/{service['client_id']}", f"/admin/people/{keeper.account_id}")
    for path in paths:
        # To end something is never a way to more.
        ok(await lesser.post(f"{path}/disable"))
    before = await world.head()
    for path in paths:
        problem(await lesser.post(f"{path}/enable"), 403, reason="administrative_scope")
        problem(await lesser.post(f"{path[:-1]}/enable"), 404)
    assert await world.head() == before
    for path in paths:
        assert ok(await everybody.post(f"{path}/enable"))["state"] == "enabled"
        ok(await lesser.post(f"{path}/enable"))
    assert await world.types_after(before) == ["client.enabled", "account.enabled"]


async def test_third_party_never_gets_an_admin_scope_from_anybody(world: World) -> None:
    admin = await administering(world)
    third = {
        "client_name": "Shop",
        "redirect_uris": ["https://shop.example/cb"],
        "grant_types": ["authorization_code"],
        "scope": "clients:read",
    }
    before = await world.head()
    problem(await admin.post("/admin/clients", json=third), 403, field="scope", reason="third_party")
    both = third | {"grant_types": ["authorization_code", "client_credentials"]}
    problem(await admin.post("/admin/clients", json=both), 403, reason="third_party")
    platform = {"client_name": "B", "realm": "platform", "allowed_origins": [], "scope": "clients:read"}
    problem(await admin.put("/admin/dashboards/b", json=platform), 403, reason="third_party")
    assert await world.head() == before
    job = ok(await admin.post("/admin/clients", json=SERVICE), 201)
    change = {"grant_types": ["authorization_code"], "redirect_uris": ["https://shop.example/cb"]}
    problem(await admin.patch(f"/admin/clients/{job['client_id']}", json=change), 403, reason="third_party")


async def test_no_person_or_role_route_grants_a_scope_the_caller_lacks(world: World) -> None:
    await world.define_role("administration", "keeper", "keys:write")
    await world.define_role("administration", "reader", "people:read")
    keeper = await world.register_person("eva", realm="administration", roles_of=("keeper",))
    lesser = await administering(world, "people:read", "people:write")
    person = {"realm": "administration", "username": "ada"}
    ada = ok(await lesser.post("/admin/people", json=person | {"roles": ["reader"]}), 201)
    roles = "/admin/roles/administration"

    async def refused(answer: httpx.Response) -> None:
        problem(answer, 403, reason="administrative_scope")

    before = await world.head()
    await refused(await lesser.post("/admin/people", json=person | {"username": "x", "roles": ["keeper"]}))
    await refused(await lesser.patch(f"/admin/people/{ada['id']}", json={"roles": ["keeper", "reader"]}))
    await refused(await lesser.post(f"/admin/people/{keeper.account_id}/password", json={"password": PASSWORD}))
    await refused(await lesser.put(f"{roles}/reader", json={"scopes": ["people:read", "keys:write"]}))
    await refused(await lesser.put(f"{roles}/own", json={"scopes": ["keys:write"]}))
    await refused(await lesser.put(f"{roles}/keeper", json={"scopes": ["keys:write"], "default": True}))
    assert await world.head() == before
    await world.define_role("administration", "keeper", "keys:write", default=True)
    await refused(await lesser.post("/admin/people", json=person | {"username": "x"}))
    before = await world.head()
    for change in ({"name": "Eva"}, {"email": "mine@example.test"}, {"username": None, "email": "a@example.test"}):
        await refused(await lesser.patch(f"/admin/people/{keeper.account_id}", json=change))
    await refused(await lesser.patch(f"/admin/people/{keeper.account_id}", json={"roles": []}))
    await refused(await lesser.put(f"{roles}/keeper", json={"scopes": []}))
    await refused(await lesser.put(f"{roles}/keeper", json={"scopes": ["keys:write"], "default": False}))
    await world.define_role("administration", "unused", "keys:write")
    await refused(await lesser.delete(f"{roles}/unused"))
    assert await world.types_after(before) == ["role.defined"]
    ok(await lesser.patch(f"/admin/people/{ada['id']}", json={"name": "Ada", "roles": []}))


async def test_people_change_their_own_password_and_keep_that_grant(world: World) -> None:
    await world.define_role("administration", "administrator", "people:write", "keys:write")
    ada = await world.register_person("ada", realm="administration", roles_of=("administrator",))
    admin = await administering(world)
    board = {
        "client_name": "Board",
        "realm": "administration",
        "allowed_origins": [world.settings.issuer],
        "scope": "people:write",
    }
    made = ok(await admin.put("/admin/dashboards/board", json=board), 201)
    vault = world.services.ledger.vault
    kept = await world.services.ledger.read(vault.get_secret, vault_name(made["client_id"]))
    assert kept is not None
    secret = kept.value.decode()

    async def sign_in() -> httpx.AsyncClient:
        given = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        answer = await world.client.post("/oauth/token", data=given, auth=(made["client_id"], secret))
        return world.caller(headers={"authorization": f"Bearer {ok(answer)['access_token']}"})

    one, other = await sign_in(), await sign_in()
    path = f"/admin/people/{ada.account_id}"
    # They lack keys:write in this token, and may set their own password all the same.
    change = {"current_password": PASSWORD, "password": "quite another password"}
    ok(await one.post(f"{path}/password", json=change), 204)
    (changed,) = await world.events("account.password_changed")
    assert changed.actor.credential == {"grant_id": changed.event.except_grant}
    problem(await other.patch(path, json={"name": "Ada"}), 401)
    ok(await one.patch(path, json={"name": "Ada"}))
