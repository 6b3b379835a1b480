"""The device grant (RFC 8628): codes, the person's decision, what the device is told, and what ends it again."""

from typing import Any

import pytest
from sqlalchemy import select

from api.pages import device as pages
from domain import grant
from domain.grant import DEVICE_CODE
from domain.grants import device_code
from eventstore import stored
from eventstore.pending import device_requests
from security import user_codes
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, DENY, Scene
from tests.scenarios.devices import DECISION, DEVICE, SIGN_IN, SIGN_OUT, begin, decided, posted, typed
from tests.scenarios.factors import enrol
from tests.scenarios.world import ADDRESS, Client, World

pytestmark = pytest.mark.anyio

GRANTS = (DEVICE_CODE, "refresh_token")


@pytest.fixture
async def television(world: World, scene: Scene) -> Client:
    return await world.register_client("Television", grant_types=GRANTS, public=True)


async def test_a_device_gets_tokens_once_its_person_approved(world: World, scene: Scene, television: Client) -> None:
    before = await world.head()
    device = await begin(world, television, scope="orders")
    assert await world.types_after(before) == [], "what anybody can ask for is no fact"
    told = device.told
    assert told["verification_uri"] == f"{world.settings.issuer}/device"
    assert told["verification_uri_complete"] == f"{told['verification_uri']}?user_code={device.user_code}"
    assert (told["expires_in"], told["interval"]) == (600, 5)
    assert user_codes.typed(device.user_code.lower().replace("-", " ")) == device.user_code.replace("-", "")
    assert await device.asked() == (400, "authorization_pending")
    page = await decided(world.browser(), device, scene.person)
    assert "Your device is connected" in page.text
    assert await world.types_after(before) == ["session.started", "consent.given", "grant.device_approved"]
    world.clock.advance(5)
    answer = await device.poll()
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    issued = (await world.events("grant.tokens_issued"))[-1]
    assert (issued.event.grant_type, issued.event.scope) == (DEVICE_CODE, "orders")
    assert issued.event.account_id == scene.person.account_id
    again = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    refreshed = await posted(world, television, "/oauth/token", again)
    assert refreshed.status_code == 200, refreshed.text


async def test_what_a_device_is_not_given_is_not_passed_over(world: World, television: Client) -> None:
    asked = {"scope": "orders", "authorization_details": '[{"type": "payment"}]'}
    answer = await posted(world, television, "/oauth/device_authorization", asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details")


async def test_the_page_shows_who_asks_and_from_where(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television, scope="orders"), await scene.signed_in()
    page = await typed(browser, device.user_code)
    for shown in ("Television", device.user_code, "May orders", ADDRESS, "python-httpx"):
        assert shown in page.text, shown
    assert "catalog:read" not in page.text


async def test_a_link_with_the_code_approves_nothing(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television), await scene.signed_in()
    page = await browser.open(f"/device?user_code={device.user_code}")
    assert page.form(DEVICE).fields["user_code"] == device.user_code
    assert await device.asked() == (400, "authorization_pending")
    page = await browser.press(page, DEVICE)
    assert [form.action.partition("?")[0] for form in page.forms] == [SIGN_OUT, DECISION]
    # What follows the typing is no guess: without its proof nothing is looked up.
    assert (await browser.open(f"/device/confirm?user_code={device.user_code}&proof=x")).status == 404


async def test_consent_is_asked_each_time(world: World, scene: Scene, television: Client) -> None:
    browser = world.browser()
    for _ in range(2):
        page = await decided(browser, await begin(world, television), scene.person)
        assert "Your device is connected" in page.text
    assert len(await world.events("consent.given")) == 1
    assert len(await world.events("grant.device_approved")) == 2


async def test_a_denied_device_is_told_so(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television), world.browser()
    page = await decided(browser, device, scene.person, DENY)
    assert "The device gets nothing" in page.text
    assert await device.asked() == (400, "access_denied")
    assert (await typed(browser, device.user_code)).status == 400
    (denied,) = await world.events("grant.device_denied")
    assert denied.event.account_id == scene.person.account_id


async def test_a_device_that_asks_too_often_is_slowed(world: World, television: Client) -> None:
    device = await begin(world, television)
    assert (await device.poll()).json()["error"] == "authorization_pending"
    assert (await device.poll()).json()["error"] == "slow_down"
    # The interval is longer from now on: five seconds are too few, ten suffice.
    assert await device.asked() == (400, "slow_down")
    world.clock.advance(15)
    assert (await device.poll()).json()["error"] == "authorization_pending"


async def test_nobody_approves_in_time(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television), world.browser()
    page = await typed(browser, device.user_code)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    world.clock.advance(device_code.LIFETIME)
    assert await device.asked() == (400, "expired_token")
    assert (await browser.press(page, DECISION, APPROVE)).status == 404
    assert await world.events("grant.device_approved") == ()
    world.clock.advance(device_requests.REMEMBERED // 1_000_000)
    assert await world.services.ledger.maintain(device_requests.prune, world.clock.now(), 10) == 1
    assert await device.asked() == (400, "invalid_grant")


async def test_a_device_code_is_redeemed_once(world: World, scene: Scene, television: Client) -> None:
    device = await begin(world, television)
    await decided(world.browser(), device, scene.person)
    tokens = (await device.poll()).json()
    again = await device.poll()
    assert again.json()["error"] == "invalid_grant"
    assert (await world.events("grant.ended"))[-1].event.reason == "code_replay"
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await posted(world, television, "/oauth/token", refresh)).json()["error"] == "invalid_grant"


async def test_device_code_of_another_client_is_invalid_grant(world: World, scene: Scene, television: Client) -> None:
    other = await world.register_client("Other", grant_types=GRANTS, public=True)
    device = await begin(world, television)
    assert (await device.poll(other)).json()["error"] == "invalid_grant"
    await decided(world.browser(), device, scene.person)
    assert (await device.poll(other)).json()["error"] == "invalid_grant"
    assert (await device.poll()).status_code == 200


async def test_codes_are_good_for_their_own_grant_alone(world: World, scene: Scene) -> None:
    both = await world.register_client(grant_types=("authorization_code", *GRANTS))
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address(both))
    code = page.parameters["code"]
    for wrong in (code, "x", "glog_dc_" + "0" * 36, both.secret or ""):
        answer = await posted(world, both, "/oauth/token", {"grant_type": DEVICE_CODE, "device_code": wrong})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    device = await begin(world, both)
    await decided(browser, device, scene.person)
    data = {"grant_type": "authorization_code", "code": device.told["device_code"], "redirect_uri": both.redirect_uri}
    answer = await posted(world, both, "/oauth/token", data)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await device.poll()).status_code == 200


async def test_a_confidential_clients_request_is_a_fact(world: World, scene: Scene) -> None:
    kiosk = await world.register_client("Kiosk", grant_types=GRANTS)
    device = await begin(world, kiosk, scope="orders")
    (requested,) = await world.events("grant.device_requested")
    assert (requested.actor.id, requested.event.asked) == (kiosk.client_id, "orders")
    assert requested.event.secret_version == 1
    assert await world.services.ledger.state(requested.stream) != grant.INITIAL
    await decided(world.browser(), device, scene.person)
    assert (await device.poll()).status_code == 200
    (approved,) = await world.events("grant.device_approved")
    assert approved.stream == requested.stream


async def test_withdrawing_consent_ends_the_device(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television), world.browser()
    await decided(browser, device, scene.person)
    tokens = (await device.poll()).json()
    page = await browser.open("/account/grants")
    assert "Television" in page.text
    await browser.press(page, "/account/grants/withdraw")
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await posted(world, television, "/oauth/token", refresh)).json()["error"] == "invalid_grant"
    opened = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert opened.status_code == 401


async def test_openid_on_a_device_needs_offline_access_to_refresh(world: World, scene: Scene) -> None:
    scope = ("openid", "offline_access", "orders")
    client = await world.register_client("Box", grant_types=GRANTS, public=True, scope=scope)
    browser = world.browser()
    for asked, refreshable in (("openid", False), ("openid offline_access", True), ("orders", True)):
        device = await begin(world, client, scope=asked)
        await decided(browser, device, scene.person)
        answer = (await device.poll()).json()
        assert ("refresh_token" in answer, "id_token" in answer) == (refreshable, "openid" in asked), asked


@cases(
    ("given", "error"),
    [
        ({"scope": "nothing"}, "invalid_scope"),
        ({"scope": " "}, "invalid_scope"),
        ({"scope": "orders account"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
    ],
)
async def test_what_a_device_may_not_have(world: World, television: Client, given: Any, error: str) -> None:
    answer = await posted(world, television, "/oauth/device_authorization", given)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_other_clients_have_no_devices(world: World, scene: Scene) -> None:
    answer = await posted(world, scene.shop, "/oauth/device_authorization", {})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    nobody = Client("nobody", None, "")
    assert (await posted(world, nobody, "/oauth/device_authorization", {})).json()["error"] == "invalid_client"


async def test_wrong_codes_slow_everybodys_typing_but_no_page(world: World, scene: Scene, television: Client) -> None:
    device, known = await begin(world, television), await begin(world, television)
    ready = await scene.signed_in()
    page = await typed(ready, known.user_code)
    for number in range(10):
        assert (await typed(world.browser(f"198.51.100.{number}"), "BBBB-BBBB")).status == 400
    slowed = await typed(world.browser("203.0.113.9"), device.user_code)
    assert slowed.status == 429
    assert int(slowed.answer.headers["retry-after"]) > 0
    assert "Your device is connected" in (await ready.press(page, DECISION, APPROVE)).text
    world.clock.advance(120)
    assert (await typed(ready, device.user_code)).status == 200


async def test_wrong_codes_of_one_address_slow_nobody_else(world: World, scene: Scene, television: Client) -> None:
    device, guesser = await begin(world, television), world.browser("198.51.100.1")
    answers = [(await typed(guesser, "BBBB-BBBB")).status for _ in range(12)]
    assert answers == [400] * 5 + [429] * 7
    assert (await typed(world.browser("203.0.113.9"), device.user_code)).status == 200


async def test_room_for_devices_ends_for_the_anonymous_alone(
    world: World, television: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_requests, "ROOM", 2)
    kiosk = await world.register_client("Kiosk", grant_types=GRANTS)
    for _ in range(2):
        await begin(world, television)
    full = await posted(world, television, "/oauth/device_authorization", {})
    assert (full.status_code, full.json()["error"]) == (503, "temporarily_unavailable")
    await begin(world, kiosk)
    world.clock.advance(device_code.LIFETIME)
    await begin(world, television)


async def test_a_row_of_another_device_is_none(world: World, scene: Scene, television: Client) -> None:
    first, second = await begin(world, television, scope="orders"), await begin(world, television)

    def exchange(connection: Any) -> None:
        table = stored.device_requests
        rows = connection.execute(select(table)).all()
        for row, other in zip(rows, reversed(rows), strict=True):
            connection.execute(table.update().where(table.c.grant_id == row.grant_id).values(sealed=other.sealed))

    await world.services.ledger.maintain(exchange)
    for device in (first, second):
        assert await device.asked() == (400, "invalid_grant")
        assert (await typed(world.browser(), device.user_code)).status == 400


async def test_not_you_leads_back_to_the_same_device(world: World, scene: Scene, television: Client) -> None:
    device, browser = await begin(world, television), await scene.signed_in()
    page = await browser.press(await typed(browser, device.user_code), SIGN_OUT)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert "Your device is connected" in (await browser.press(page, DECISION, APPROVE)).text


async def test_the_codes_of_devices_are_nowhere_in_clear(world: World, scene: Scene, television: Client) -> None:
    device = await begin(world, television)
    await decided(world.browser(), device, scene.person)
    await device.poll()
    log = str(await world.events())
    code = device.user_code.replace("-", "")
    assert device.told["device_code"] not in log
    assert device.user_code not in log
    assert code not in log


async def test_a_leaked_device_code_is_found_and_contained(world: World, scene: Scene, television: Client) -> None:
    device = await begin(world, television)
    await decided(world.browser(), device, scene.person)
    tokens = (await device.poll()).json()
    admin = await administering(world)
    found = ok(await admin.post("/leaks/investigate", json={"secret": f"look: {device.told['device_code']} there"}))
    assert (found["kind"], found["client_id"]) == ("code", television.client_id)
    ok(await admin.post("/leaks/contain", json={"secret": device.told["device_code"]}))
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await posted(world, television, "/oauth/token", refresh)).json()["error"] == "invalid_grant"
    history = ok(await admin.post("/audit/token-history", json={"token": tokens["access_token"]}))
    told = [each["type"] for each in history["events"]]
    assert {"session.started", "consent.given", "grant.device_approved", "grant.tokens_issued"} <= set(told)


async def test_a_reported_code_that_waits_is_approved_by_nobody(world: World, scene: Scene, television: Client) -> None:
    device, other = await begin(world, television), await begin(world, television)
    reported = await world.client.post("/credentials/revoke", json={"credentials": [device.told["device_code"]]})
    assert (reported.status_code, reported.json()["accepted"]) == (202, 1)
    assert await device.asked() == (400, "invalid_grant")
    assert (await typed(world.browser(), device.user_code)).status == 400
    assert await other.asked() == (400, "authorization_pending")


async def test_a_code_reported_meanwhile_is_approved_by_nobody(
    world: World, scene: Scene, television: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, browser = await begin(world, television), await scene.signed_in()
    page = await typed(browser, device.user_code)
    decide = pages._decide

    async def after_a_report(services: Any, scope: Any, code: Any, *given: Any) -> Any:
        await world.services.ledger.maintain(device_requests.forget, [bytes.fromhex(code.request.code)])
        return await decide(services, scope, code, *given)

    monkeypatch.setattr(pages, "_decide", after_a_report)
    answer = await browser.press(page, DECISION, APPROVE)
    assert (answer.status, await world.events("grant.device_approved")) == (404, ())
    assert await device.asked() == (400, "invalid_grant")


async def test_who_has_a_second_factor_shows_it_for_a_device(world: World, scene: Scene, television: Client) -> None:
    generator = await enrol(world, scene.person)
    device, browser = await begin(world, television), world.browser()
    page = await browser.press(await typed(browser, device.user_code), SIGN_IN, **scene.person.typed)
    assert [form.action.partition("?")[0] for form in page.forms] == [SIGN_IN]
    page = await browser.press(page, SIGN_IN, code=generator.next())
    assert "Your device is connected" in (await browser.press(page, DECISION, APPROVE)).text
    (approved,) = await world.events("grant.device_approved")
    assert "mfa" in approved.event.authentication.amr


async def test_the_device_endpoint_is_announced(world: World) -> None:
    metadata = (await world.client.get("/.well-known/openid-configuration")).json()
    assert metadata["device_authorization_endpoint"] == f"{world.settings.issuer}/oauth/device_authorization"
    assert DEVICE_CODE in metadata["grant_types_supported"]
