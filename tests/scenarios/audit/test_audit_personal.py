"""What is personal in the log: who sees it, under whose key it is, and what is left of it after an erasure."""

import pytest

from domain import account
from domain.decision import Outcome
from domain.event import Actor
from domain.factors.second_factor import RECOVERY_CODES, PasskeyEnrolled, enrol_passkey
from domain.people.email_address import request_change
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.view import View
from projections.sightings import newest
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import VERIFIER, Scene
from tests.scenarios.audit.test_audit_events import everything
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.histories import erase, lived
from tests.scenarios.world import ADDRESS, World

pytestmark = pytest.mark.anyio


async def test_personal_values_are_shown_to_those_who_may_see_them(scene: Scene) -> None:
    world, person = scene.world, scene.person
    seeing = await administering(world, "audit:read", "audit:personal")
    blind = await administering(world, "audit:read")
    query = {"account_id": person.account_id, "type": "account.registered"}
    (shown,) = await everything(seeing, **query)
    assert shown["data"]["username"] == person.username
    assert shown["data"]["email"] == person.email
    assert shown["data"]["password_hash"] is None
    assert shown["sealed"] == ["data.password_hash"]
    (hidden,) = await everything(blind, **query)
    assert hidden["data"] | {"realm": "", "roles": []} == {
        "username": None,
        "email": None,
        "password_hash": None,
        "realm": "",
        "roles": [],
    }
    assert set(hidden["sealed"]) == {"data.username", "data.email", "data.password_hash"}
    mine = (await everything(blind, type="grant.tokens_issued"))[-1]
    assert mine["ip"] is None
    assert mine["user_agent"] is None
    assert {"ip", "user_agent"} <= set(mine["sealed"])


@cases("ip", [ADDRESS, "203.0.113.1", "nonsense"])
@cases("path", ["/audit/events", "/audit/export"])
async def test_who_may_not_see_addresses_cannot_find_one_by_guessing(world: World, path: str, ip: str) -> None:
    blind = await administering(world, "audit:read")
    before = await world.head()
    answer = await blind.get(path, params={"ip": ip})
    problem(answer, 403, field="ip")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="audit:personal"'
    assert await world.events("audit.*", after=before) == ()


async def test_erased_values_are_gone_and_cannot_be_searched_for(scene: Scene) -> None:
    world, person = scene.world, scene.person
    home = Origin(Actor("person", person.account_id, {}), ip="203.0.113.77")
    disable = any_command(account.stream(person.account_id), account.disable, {"leaves_no_administrator": False})
    await world.execute(disable, origin=home)
    seeing = await administering(world, "audit:read", "audit:personal")
    assert await everything(seeing, ip="203.0.113.77", account_id=person.account_id)
    await erase(world, person.account_id)
    assert await everything(seeing, ip="203.0.113.77", account_id=person.account_id) == []
    registered, disabled, _ = await everything(seeing, account_id=person.account_id, type="account.*")
    assert registered["data"]["username"] is None
    assert {"data.username", "data.email", "data.password_hash"} == set(registered["erased"])
    assert registered["sealed"] == []
    assert disabled["ip"] is None
    assert disabled["erased"] == ["ip"]


async def test_address_from_a_resource_server_is_found_until_erasure(scene: Scene) -> None:
    world, past = scene.world, await lived(scene)
    told = {"token": past.tokens["access_token"], "client_ip": "203.0.113.78"}
    ok(await world.client.post("/oauth/introspect", data=told, auth=scene.shop.auth))
    await world.services.token_uses.record(everything=True)
    seeing = await administering(world, "audit:read", "audit:personal")
    (seen,) = await everything(seeing, ip="203.0.113.78")
    assert (seen["type"], seen["data"]["told_ip"]) == ("usage.token_first_seen", "203.0.113.78")
    await erase(world, scene.person.account_id)
    assert await everything(seeing, ip="203.0.113.78") == []


async def test_device_address_is_its_persons_whatever_program_asked(scene: Scene) -> None:
    world, person, home = scene.world, scene.person, "203.0.113.200"
    phone = world.caller(home)
    app = await world.register_client("Phone", public=True)
    page = await scene.approved(await scene.signed_in(), scene.address(app))
    mine = {"client_id": app.client_id}
    redeemed = {"code": page.parameters["code"], "redirect_uri": app.redirect_uri, "code_verifier": VERIFIER}
    got = ok(await phone.post("/oauth/token", data={"grant_type": "authorization_code", **redeemed, **mine}))
    again = {"grant_type": "refresh_token", "refresh_token": got["refresh_token"], **mine}
    got = ok(await phone.post("/oauth/token", data=again))
    ok(await phone.post("/oauth/revoke", data={"token": got["access_token"], **mine}))
    dashboard = await make_dashboard(world, "stock", scope=("orders",))
    _, cookie = await dashboard.sign_in(person, by=phone)
    assert (await dashboard.refresh(cookie, by=phone)).status_code == 200

    seeing = await administering(world, "audit:read", "audit:personal")
    types = {each["type"] for each in await everything(seeing, ip=home)}
    assert {"grant.tokens_issued", "grant.tokens_refreshed", "grant.token_revoked"} <= types
    sightings = await world.services.ledger.read(newest, dashboard.secret_ids[0], 10)
    assert {each.account_id for each in sightings} == {person.account_id}
    await erase(world, person.account_id)
    assert await everything(seeing, ip=home) == []
    for each in await everything(seeing, account_id=person.account_id):
        assert (each["type"], each["ip"]) == (each["type"], None)
    # When and how often the dashboard's secret was used is a fact about the secret.
    (left,) = await world.services.ledger.read(newest, dashboard.secret_ids[0], 10)
    assert (left.account_id, left.address, left.ip, left.user_agent, left.uses) == ("", b"", None, None, 2)


async def test_presenter_of_a_stolen_token_is_not_taken_for_its_owner(scene: Scene) -> None:
    world, past = scene.world, await lived(scene)
    foreign = await world.register_client("Foreign", public=True)
    stolen = {"grant_type": "refresh_token", "refresh_token": past.tokens["refresh_token"]}
    thief = world.caller("203.0.113.66")
    answer = await thief.post("/oauth/token", data={**stolen, "client_id": foreign.client_id})
    assert answer.status_code == 400
    await erase(world, scene.person.account_id)
    seeing = await administering(world, "audit:read", "audit:personal")
    assert [each["type"] for each in await everything(seeing, ip="203.0.113.66")] == ["grant.refresh_refused"]


async def test_address_of_an_asking_resource_server_is_its_own(scene: Scene) -> None:
    await lived(scene)
    await erase(scene.world, scene.person.account_id)
    seeing = await administering(scene.world, "audit:read", "audit:personal")
    issued = await everything(seeing, client_id=scene.shop.client_id, type="grant.tokens_issued")
    assert {each["ip"] for each in issued} == {ADDRESS}


async def test_values_deep_in_a_state_are_shown_to_who_may_see_them(scene: Scene) -> None:
    world, stream = scene.world, account.stream(scene.person.account_id)
    begin = await world.head()
    claims = {"claims": {"nickname": "Pauli"}, "role_scopes": {}, "caller_scope": None}
    await world.execute(any_command(stream, account.change_profile, claims))
    made = PasskeyEnrolled(
        factor_id="key", credential="", rp_id="", sign_count=0, name="Laptop", credential_id="id", public_key="key"
    )

    def enrol(state: account.State, view: View) -> Outcome:
        return enrol_passkey(state.factors, now=view.now, passkey=made, recovery_codes=["code"] * RECOVERY_CODES)

    def ask(state: account.State, view: View) -> Outcome:
        return request_change(now=view.now, change_id="c", new_email="paul@elsewhere.test", both=True)

    await world.execute(Command(stream, enrol))
    await world.execute(Command(stream, ask))
    seeing = await administering(world, "audit:read", "audit:personal")
    shown = ok(await seeing.get(f"/audit/state/{stream}"))
    assert shown["state"]["claims"] == {"nickname": "Pauli"}
    assert shown["state"]["factors"]["passkeys"][0]["name"] == "Laptop"
    assert shown["state"]["email_change"]["new_email"] == "paul@elsewhere.test"
    keys = {"state.factors.passkeys.key.credential_id", "state.factors.passkeys.key.public_key"}
    assert set(shown["sealed"]) == {"state.password_hash", *keys}
    blind = await administering(world, "audit:read")
    answer = await blind.get(f"/audit/state/{stream}")
    hidden = ok(answer)
    personal = {"state.claims.nickname", "state.factors.passkeys.key.name", "state.email_change.new_email"}
    assert {*keys, *personal} < set(hidden["sealed"])
    assert hidden["state"]["claims"] == {"nickname": None}
    assert "event_id" not in answer.text
    changes = ok(await blind.get(f"/audit/diff/{stream}", params={"from": str(begin)}))["changes"]
    assert personal - {"state.factors.passkeys.key.name"} <= {each["path"] for each in changes}
    assert "event_id" not in str(changes)
