"""Where a person is signed in: told to dashboards by a token with the scope `account`, to administrators, and ended."""

from typing import Any

import httpx
import pytest

from api.account import active_sign_ins
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard
from tests.scenarios.factors import enrol
from tests.scenarios.world import World

SESSIONS = "/account/sessions"
HERE = "192.0.2.77"


@pytest.fixture
async def board(scene: Scene) -> Dashboard:
    return await make_dashboard(scene.world, "board", realm="platform", scope=("orders", "account"))


async def signed_in(scene: Scene, board: Dashboard) -> httpx.AsyncClient:
    """A dashboard's page that acts for the person."""
    caller = scene.world.caller(HERE)
    token, _ = await board.sign_in(scene.person, by=caller)
    caller.headers["authorization"] = f"Bearer {token}"
    return caller


async def test_person_sees_browsers_and_dashboards(scene: Scene, board: Dashboard) -> None:
    await scene.signed_in()
    caller = await signed_in(scene, board)
    dashboard, browser = ok(await caller.get(SESSIONS), 200)["items"]
    assert (dashboard["kind"], dashboard["ip"], dashboard["current"]) == ("dashboard", HERE, True)
    assert dashboard["client_id"] == board.client_id
    assert dashboard["user_agent"].startswith("python-httpx/")
    assert (browser["kind"], browser["client_id"], browser["current"]) == ("browser", None, False)
    assert dashboard["started_at"] == dashboard["last_used_at"] >= browser["started_at"]


async def test_person_sees_their_factors(scene: Scene, board: Dashboard) -> None:
    generator = await enrol(scene.world, scene.person)
    caller = scene.world.caller(HERE, headers={"x-grantlog": "1"})
    login = "/dashboards/board/login"
    asked = (await caller.post(login, json=scene.person.typed)).json()
    tokens = ok(await caller.post(login, json={"auth_session": asked["auth_session"], "totp": generator.code()}))
    told = ok(
        await caller.get("/account/second-factors", headers={"authorization": f"Bearer {tokens['access_token']}"})
    )
    assert (told["recovery_codes_left"], told["passkeys"], told["asked"]) == (10, [], True)
    assert told["totp"]["enrolled_at"]
    page = await scene.world.client.get("/account/second-factors", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/account/factors")


async def test_ended_sign_ins_are_dead_and_gone(scene: Scene, board: Dashboard) -> None:
    browser, other, caller = await scene.signed_in(), await signed_in(scene, board), await signed_in(scene, board)
    for each in ok(await caller.get(SESSIONS), 200)["items"]:
        if not each["current"]:
            ok(await caller.delete(f"{SESSIONS}/{each['id']}"), 204)
            before = await scene.world.head()
            ok(await caller.delete(f"{SESSIONS}/{each['id']}"), 204)
            assert await scene.world.head() == before
    assert [each["current"] for each in ok(await caller.get(SESSIONS), 200)["items"]] == [True]
    problem(await other.get(SESSIONS), 401)
    assert (await browser.open("/account")).form("/account/sign-in").action
    types = [each.type for each in await scene.world.events()]
    assert types.count("session.ended") == types.count("grant.ended") == 1


async def test_what_ended_since_hides_no_sign_in(
    scene: Scene, board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signs in and out again and again could otherwise keep an older sign-in of theirs out of sight."""
    monkeypatch.setattr(active_sign_ins, "AT_MOST", 3)
    await signed_in(scene, board)
    browser = await scene.signed_in()
    for _ in range(4):
        tokens, _ = await board.sign_in(scene.person)
        ok(await board.logout(bearer=tokens), 204)
    caller = await signed_in(scene, board)
    here, *others = ok(await caller.get(SESSIONS), 200)["items"]
    assert here["current"]
    assert sorted(each["kind"] for each in others) == ["browser", "dashboard"]
    page = await browser.press(await browser.open("/account/places"), "/account/places/end-others")
    assert page.status == 200
    problem(await caller.get(SESSIONS), 401)
    (left,) = await active_sign_ins.running(scene.world.services, scene.person.account_id)
    assert left.client_id is None


async def test_what_idles_hides_no_sign_in_that_is_used(
    scene: Scene, board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the password could sign in so often that an older sign-in of theirs is not shown any more."""
    monkeypatch.setattr(active_sign_ins, "AT_MOST", 2)
    services, who = scene.world.services, scene.person.account_id
    used = await scene.signed_in()
    _, cookie = await board.sign_in(scene.person)
    before = {each.id for each in await active_sign_ins.running(services, who)}
    for _ in range(3):
        scene.world.clock.advance(1)
        await scene.signed_in()
        await board.sign_in(scene.person)
    scene.world.clock.advance(1)
    await scene.approved(used)
    ok(await board.refresh(cookie), 200)
    assert {each.id for each in (await active_sign_ins.running(services, who))[:2]} == before
    caller = await signed_in(scene, board)
    assert len(ok(await caller.get(SESSIONS), 200)["items"]) == 4
    exported = ok(await caller.get("/account/export"), 200)
    assert len(exported["sessions"]) == 9, "there all are told"


async def test_what_was_cut_off_is_passed_over_by_its_row(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a person who signs in again and again there may be any number of them, which would be read for each look."""
    services, who = scene.world.services, scene.person.account_id
    for _ in range(3):
        await scene.signed_in()
    administrator = await administering(scene.world)
    for verb in ("disable", "enable"):
        ok(await administrator.post(f"/admin/people/{who}/{verb}"), 200)
    await scene.signed_in()
    asked: list[str] = []
    state = services.ledger.state

    async def told(stream: str) -> Any:
        asked.append(stream.partition(":")[0])
        return await state(stream)

    monkeypatch.setattr(services.ledger, "state", told)
    assert len(await active_sign_ins.running(services, who)) == 1
    assert asked.count("session") == 1


async def test_sign_ins_come_in_pages(scene: Scene, board: Dashboard) -> None:
    caller = await signed_in(scene, board)
    await scene.signed_in()
    whole = ok(await caller.get(SESSIONS), 200)["items"]
    admin = await administering(scene.world, "grants:read", "audit:personal")
    for by, path in ((caller, SESSIONS), (admin, f"/admin/people/{scene.person.account_id}/sessions")):
        first = ok(await by.get(path, params={"limit": 1}), 200)
        second = ok(await by.get(path, params={"limit": 1, "after": first["next"]}), 200)
        assert [each["id"] for each in first["items"] + second["items"]] == [each["id"] for each in whole]
        assert second["next"] is None
        problem(await by.get(path, params={"after": "x"}), 400, field="after")
        problem(await by.get(path, params={"limit": 201}), 400, field="limit")


async def test_nobody_ends_what_is_not_theirs(scene: Scene, board: Dashboard) -> None:
    other = await scene.world.register_person("petra")
    token, _ = await board.sign_in(other)
    theirs = scene.world.caller(headers={"authorization": f"Bearer {token}"})
    (foreign,) = ok(await theirs.get(SESSIONS), 200)["items"]
    caller = await signed_in(scene, board)
    for session_id in (foreign["id"], "nothing", "x" * 128):
        problem(await caller.delete(f"{SESSIONS}/{session_id}"), 404)
    ok(await theirs.get(SESSIONS), 200)


async def test_administrators_see_and_end_sign_ins(scene: Scene, board: Dashboard) -> None:
    caller = await signed_in(scene, board)
    of_person = f"/admin/people/{scene.person.account_id}/sessions"
    admin = scene.world.caller()
    for scopes, address in ((("grants:read", "audit:personal"), HERE), (("grants:read",), None)):
        admin.headers["authorization"] = f"Bearer {await scene.world.token(*scopes)}"
        (found,) = ok(await admin.get(of_person), 200)["items"]
        assert (found["ip"], found["current"]) == (address, False)
    problem(await admin.delete(f"{of_person}/{found['id']}"), 403)
    admin.headers["authorization"] = f"Bearer {await scene.world.token('grants:read', 'grants:write')}"
    problem(await admin.delete(f"{of_person}/nothing"), 404)
    ok(await admin.delete(f"{of_person}/{found['id']}"), 204)
    problem(await caller.get(SESSIONS), 401)
    problem(await admin.get("/admin/people/nobody/sessions"), 404)
    (ended,) = await scene.world.events("grant.ended")
    assert ended.event.reason == "administrator"


async def test_scope_account_opens_it_and_nothing_else_does(scene: Scene, board: Dashboard) -> None:
    plain = await make_dashboard(scene.world, "plain", realm="platform", scope=("orders",))
    token, _ = await plain.sign_in(scene.person)
    caller = scene.world.caller(headers={"authorization": f"Bearer {token}"})
    problem(await caller.get(SESSIONS), 403)
    problem(await scene.world.caller().get(SESSIONS), 401)
    answer = await scene.world.caller().get(SESSIONS, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/places")
    problem(await (await signed_in(scene, board)).get(f"{SESSIONS}?wrong=1"), 400)


async def test_own_password_by_the_scope_account(scene: Scene, board: Dashboard) -> None:
    one, other, browser = await signed_in(scene, board), await signed_in(scene, board), await scene.signed_in()
    new = "quite another password"
    refused = problem(await one.post("/account/password", json={"current_password": "wrong", "password": new}), 400)
    assert refused["errors"][0]["field"] == "current_password"
    body = {"current_password": scene.person.password, "password": new}
    ok(await one.post("/account/password", json=body), 204)
    ok(await one.get(SESSIONS), 200)
    problem(await other.get(SESSIONS), 401)
    assert (await browser.open("/account")).form("/account/sign-in").action
    assert (await board.login(scene.person, password=new)).status_code == 200


# The same as pages -----------------------------------------------------------------------------------------------


async def test_page_of_sign_ins_ends_one_and_all_others(scene: Scene, board: Dashboard) -> None:
    caller, other = await signed_in(scene, board), await scene.signed_in()
    browser = await scene.signed_in()
    page = await browser.open("/account/places")
    assert "this browser" in page.text
    assert HERE in page.text
    (end, *_) = [form for form in page.forms if form.action.startswith("/account/places/end?")]
    page = await browser.submit(end)
    assert "Ended." in page.text
    page = await browser.press(page, "/account/places/end-others")
    assert [form for form in page.forms if "places" in form.action] == []
    problem(await caller.get(SESSIONS), 401)
    assert (await other.open("/account")).form("/account/sign-in").action
    assert (
        await browser.client.post("/account/places/end-others?realm=platform", data={"csrf": "x"})
    ).status_code == 403


async def test_page_of_the_password_keeps_this_browser_signed_in(scene: Scene, world: World) -> None:
    browser, other = await scene.signed_in(), await scene.signed_in()
    page = await browser.open("/account/password")
    new = "quite another password"
    for typed, words in (
        ({"current_password": "wrong", "password": new}, "not your present password"),
        ({"current_password": scene.person.password, "password": "short"}, "at least"),
        ({"current_password": scene.person.password, "password": "password123456"}, "too easy to guess"),
    ):
        page = await browser.press(page, "/account/password/change", **typed)
        assert page.status == 400
        assert words in page.text
    page = await browser.press(page, "/account/password/change", current_password=scene.person.password, password=new)
    assert page.status == 200
    assert "Your password is changed" in page.text
    assert (await other.open("/account")).form("/account/sign-in").action
    assert all(new not in str(each) for each in await world.events())
