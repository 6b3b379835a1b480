"""What a person is told about themselves, gets of themselves, and how they are erased as they wish."""

import json

import httpx
import pytest

from api.account import active_sign_ins, data
from api.account.activity import TOLD, UNTOLD
from api.account.data import export
from api.services import SYSTEM
from commands import people
from domain import account
from domain.decision import Outcome
from domain.event import SECOND, Actor
from domain.events import EVENTS
from domain.factors.second_factor import RECOVERY_CODES, PasskeyEnrolled, enrol_passkey
from domain.people import notices
from domain.people.email_address import request_change
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.view import View
from projections import grants
from tests.any_command import any_command
from tests.scenarios.administration import ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard

HERE = "192.0.2.77"
SERVER = Origin(SYSTEM)


@pytest.fixture
async def board(scene: Scene) -> Dashboard:
    return await make_dashboard(scene.world, "board", realm="platform", scope=("orders", "account"))


@pytest.fixture
async def caller(scene: Scene, board: Dashboard) -> httpx.AsyncClient:
    """A dashboard's page that acts for the person."""
    opened = scene.world.caller(HERE)
    token, _ = await board.sign_in(scene.person, by=opened)
    opened.headers["authorization"] = f"Bearer {token}"
    return opened


def test_every_event_of_accounts_is_told_or_left_out() -> None:
    about = {each.type for each in EVENTS if each.type.startswith(("account.", "session.", "consent."))}
    assert about - TOLD.keys() == UNTOLD


async def test_activity_tells_what_happened_and_from_where(scene: Scene, caller: httpx.AsyncClient) -> None:
    await scene.approved(await scene.signed_in())
    items = ok(await caller.get("/account/activity"), 200)["items"]
    meanings = [each["meaning"] for each in items]
    assert meanings[-1] == "Your account was made."
    assert "You allowed an application something." in meanings
    (at_board,) = [each for each in items if each["meaning"] == "You signed in at a dashboard."]
    assert (at_board["ip"], at_board["by_me"], at_board["client_name"]) == (HERE, True, "The board dashboard")
    (made,) = [each for each in items if each["type"] == "account.registered"]
    assert (made["by_me"], made["ip"]) == (False, None)
    paged = []
    asked: dict[str, str] | None = {"limit": "2"}
    while asked is not None:
        page = ok(await caller.get("/account/activity", params=asked))
        paged += page["items"]
        asked = None if page["next"] is None else {"limit": "2", "after": page["next"]}
    assert paged == items


async def test_activity_is_of_oneself_alone(scene: Scene, board: Dashboard, caller: httpx.AsyncClient) -> None:
    other = await scene.world.register_person("petra")
    token, _ = await board.sign_in(other)
    theirs = scene.world.caller(headers={"authorization": f"Bearer {token}"})
    mine = {each["id"] for each in ok(await caller.get("/account/activity"), 200)["items"]}
    assert mine.isdisjoint(each["id"] for each in ok(await theirs.get("/account/activity"), 200)["items"])
    problem(await caller.get("/account/activity?after=x"), 400, field="after")


async def test_activity_leaves_out_what_one_did_to_others(scene: Scene, caller: httpx.AsyncClient) -> None:
    other = await scene.world.register_person("petra")
    disable = any_command(account.stream(other.account_id), account.disable, {"leaves_no_administrator": False})
    await scene.world.execute(disable, origin=Origin(Actor("person", scene.person.account_id, {})))
    items = ok(await caller.get("/account/activity"), 200)["items"]
    assert "account.disabled" not in {each["type"] for each in items}
    assert {"account.registered", "grant.tokens_issued"} <= {each["type"] for each in items}


async def test_export_holds_everything_and_no_secret(scene: Scene, caller: httpx.AsyncClient) -> None:
    await scene.approved(await scene.signed_in())
    before = await scene.world.head()
    answer = await caller.get("/account/export")
    told = ok(answer, 200)
    assert await scene.world.types_after(before) == ["account.data_exported"]
    assert answer.headers["content-disposition"] == 'attachment; filename="account.json"'
    assert told["account"]["username"] == scene.person.username
    assert [each["client_id"] for each in told["consents"]] == [scene.shop.client_id]
    assert {each["kind"] for each in told["sessions"]} == {"browser", "dashboard"}
    assert "You had everything given to you that is stored about you." in {each["meaning"] for each in told["activity"]}
    for hidden in ("$argon2", "glog_", scene.person.password):
        assert hidden not in answer.text


async def test_export_holds_all_however_many_they_are(
    scene: Scene, board: Dashboard, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "AT_ONCE", 2)
    monkeypatch.setattr(active_sign_ins, "AT_MOST", 2)
    browser, allowed = await scene.signed_in(), []
    for number in range(3):
        await board.sign_in(scene.person)
        allowed.append(await scene.world.register_client(f"Shop {number}", scope=("orders",)))
        await scene.approved(browser, scene.address(allowed[-1], scope="orders"))
    told = ok(await caller.get("/account/export"), 200)
    assert [each["client_id"] for each in told["consents"]] == sorted(each.client_id for each in allowed)
    assert len(told["sessions"]) == 5
    held = told["grants"]
    found = await scene.world.services.ledger.read(grants.page, 0, account_id=scene.person.account_id)
    assert [each["grant_id"] for each in held] == [each.grant_id for each in found.items]
    assert len(held) == 7


async def test_export_holds_passkeys_and_what_was_chosen(scene: Scene) -> None:
    made = PasskeyEnrolled(factor_id="key", credential="", rp_id="localhost", sign_count=0, name="Telephone")

    def enrol(state: account.State, view: View) -> Outcome:
        return enrol_passkey(state.factors, now=view.now, passkey=made, recovery_codes=["code"] * RECOVERY_CODES)

    def ask(state: account.State, view: View) -> Outcome:
        return request_change(now=view.now, change_id="c", new_email="paul@elsewhere.test", both=True)

    def choose(state: account.State, view: View) -> Outcome:
        return notices.choose(state.notices_off, now=view.now, off=["contained"])

    for decide in (enrol, ask, choose):
        await scene.world.execute(Command(account.stream(scene.person.account_id), decide))
    pieces = await export(scene.world.services, scene.person.account_id, SERVER)
    told = json.loads(b"".join([each async for each in pieces]))
    (passkey,) = told["factors"]["passkeys"]
    assert (passkey["name"], passkey["rp_id"]) == ("Telephone", "localhost")
    assert told["factors"]["enrolled_at"] is None
    assert told["email_change"] == {"new_email": "paul@elsewhere.test"}
    assert told["notices_off"] == ["contained"]


async def test_person_is_erased_after_the_waiting_time(scene: Scene, caller: httpx.AsyncClient) -> None:
    world, stream = scene.world, account.stream(scene.person.account_id)
    ok(await caller.delete("/account"), 204)
    before = await world.head()
    ok(await caller.delete("/account"), 204)
    assert await world.head() == before
    (requested,) = await world.events("account.erasure_requested")
    assert requested.event.due_at == requested.time + world.settings.erasure_delay * SECOND
    assert requested.actor.id == scene.person.account_id
    await people.erase_due(world.services.ledger, SERVER)
    assert await world.head() == before
    world.clock.advance(world.settings.erasure_delay)
    await people.erase_due(world.services.ledger, SERVER)
    assert await world.types_after(before) == ["account.erased"]
    problem(await caller.get("/account/sessions"), 401)
    state: account.State = await world.services.ledger.state(stream)
    assert state.erased
    await people.erase_due(world.services.ledger, SERVER)
    assert await world.types_after(before) == ["account.erased"]


async def test_erasure_that_is_withdrawn_never_comes(scene: Scene) -> None:
    world, browser = scene.world, await scene.signed_in()
    page = await browser.press(await browser.open("/account/data"), "/account/data/erase")
    assert "Your account will be erased on" in page.text
    page = await browser.press(page, "/account/data/keep")
    assert "You keep your account." in page.text
    before = await world.head()
    assert (await world.events("account.erasure_withdrawn"))[0].actor.id == scene.person.account_id
    world.clock.advance(world.settings.erasure_delay + 1)
    await people.erase_due(world.services.ledger, SERVER)
    assert await world.head() == before


async def test_last_administrator_stays(scene: Scene) -> None:
    world = scene.world
    await world.define_role("administration", "administrator", "people:write", "clients:write")
    board = await make_dashboard(world, "staff", realm="administration", scope=("people:write", "account"))
    ada = await world.register_person("ada", realm="administration", roles_of=("administrator",))
    token, _ = await board.sign_in(ada)
    caller = world.caller(headers={"authorization": f"Bearer {token}"})
    problem(await caller.delete("/account"), 409)


async def test_grave_things_want_a_sign_in_of_a_moment_ago(scene: Scene, caller: httpx.AsyncClient) -> None:
    browser = await scene.signed_in()
    page = await browser.open("/account/data")
    scene.world.clock.advance(scene.world.settings.recent_authentication + 1)
    before = await scene.world.head()
    for method, path in (("GET", "/account/export"), ("DELETE", "/account")):
        answer = await caller.request(method, path)
        assert answer.status_code == 401
        assert "insufficient_user_authentication" in answer.headers["www-authenticate"]
    for path in ("/account/data/export", "/account/data/erase"):
        assert (await browser.press(page, path)).form("/account/sign-in").action
    assert await scene.world.head() == before


async def test_pages_of_activity_and_of_the_file(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open("/account/history")
    assert "You signed in with a browser." in page.text
    browser.client.headers["accept-language"] = "de"
    assert "Sie haben sich mit einem Browser angemeldet." in (await browser.open("/account/history")).text
    page = await browser.press(await browser.open("/account/data"), "/account/data/export")
    assert page.answer.json()["account"]["username"] == scene.person.username
    for path, shown in (("activity", "history"), ("export", "data")):
        answer = await scene.world.caller().get(f"/account/{path}", headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/account/{shown}")
