"""Pushed authorization requests (RFC 9126): said by the client, opened by the browser, used up by the person."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import select

from domain import client
from eventstore.pending import pushed_requests
from eventstore.stored import pushed_requests as table
from tests.cases import cases
from tests.scenarios.asking import (
    APPROVE,
    AUTHORIZE,
    CHALLENGE,
    CONSENT,
    DENY,
    SIGN_IN,
    STATE,
    Scene,
    error_of,
    set_scene,
)
from tests.scenarios.browser import Browser
from tests.scenarios.world import Client, World

PAR = "/oauth/par"


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def push(scene: Scene, shop: Client | None = None, /, **changes: str | None) -> httpx.Response:
    """The answer to the request of the shop, or of another client, that is pushed."""
    asking = shop or scene.shop
    asked = {name: value for name, (value,) in parse_qs(urlsplit(scene.address(asking, **changes)).query).items()}
    given: dict[str, Any] = {} if asking.secret is None else {"auth": asking.auth}
    return await scene.world.client.post(PAR, data=asked, **given)


async def pushed(scene: Scene, shop: Client | None = None, /, **changes: str | None) -> str:
    """The address to which the client sends the browser."""
    answer = await push(scene, shop, **changes)
    assert answer.status_code == 201, answer.text
    client_id = (shop or scene.shop).client_id
    return f"{AUTHORIZE}?{urlencode({'client_id': client_id, 'request_uri': answer.json()['request_uri']})}"


async def is_over(browser: Browser, address: str) -> bool:
    page = await browser.open(address)
    return page.status == 400 and "This request is over" in page.text


async def test_pushed_request_is_opened_and_used_up(scene: Scene) -> None:
    answer = await push(scene, scope="orders")
    said = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert said.keys() == {"request_uri", "expires_in"}
    assert said["expires_in"] == 60
    (received,) = await scene.world.events("pushed_request.received")
    assert (received.event.client_id, received.event.asked) == (scene.shop.client_id, "orders")
    assert received.event.secret_id is not None
    assert received.actor.id == scene.shop.client_id

    address = await pushed(scene, scope="orders")
    browser = scene.world.browser()
    page = await browser.open(address)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.parameters["state"] == STATE
    assert (await scene.redeem(page))["scope"] == "orders"
    (decided,) = await scene.world.events("pushed_request.decided")
    (issued,) = await scene.world.events("grant.code_issued")
    assert (decided.event.answer, decided.event.account_id) == ("approved", scene.person.account_id)
    assert f"grant:{decided.event.grant_id}" == issued.stream
    assert await is_over(browser, address)


async def test_opening_a_page_uses_nothing_up(scene: Scene) -> None:
    address = await pushed(scene)
    for _ in range(3):
        assert (await scene.world.browser().open(address)).status == 200


async def test_remembered_consent_uses_it_up(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser)
    address = await pushed(scene)
    assert "code" in (await browser.open(address)).parameters
    assert (await scene.world.events("pushed_request.decided"))[-1].event.answer == "remembered"
    assert await is_over(browser, address)


async def test_denied_request_is_used_up(scene: Scene) -> None:
    browser, address = await scene.signed_in(), await pushed(scene)
    page = await browser.open(address)
    form = page.form(CONSENT)
    assert error_of(await browser.press(page, CONSENT, DENY)) == ("access_denied", STATE)
    decided = (await scene.world.events("pushed_request.decided"))[-1].event
    assert (decided.answer, decided.grant_id) == ("denied", None)
    assert (await browser.submit(form, APPROVE)).status == 400
    assert not await scene.world.events("grant.code_issued")
    assert await is_over(browser, address)


async def test_whoever_opened_it_in_time_may_finish(scene: Scene) -> None:
    address = await pushed(scene)
    browser = scene.world.browser()
    page = await browser.open(address)
    scene.world.clock.advance(61)
    assert await is_over(scene.world.browser(), address)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    scene.world.clock.advance(300)
    assert "code" in (await browser.press(page, CONSENT, APPROVE)).parameters


async def test_opened_request_is_over_some_time(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open(await pushed(scene))
    scene.world.clock.advance(661)
    assert (await browser.press(page, CONSENT, APPROVE)).status == 400
    assert await scene.world.services.ledger.maintain(pushed_requests.prune, scene.world.clock.now(), 10) == 1


async def test_proof_of_opening_cannot_be_made_up(scene: Scene) -> None:
    address = await pushed(scene)
    other = urlsplit((await scene.world.browser().open(await pushed(scene))).form(SIGN_IN).action).query
    scene.world.clock.advance(61)
    for proof in ("", "AAAA", parse_qs(other)["opened"][0]):
        assert await is_over(scene.world.browser(), f"{address}&opened={proof}")


@pytest.mark.parametrize("more", [{"xrequest": "x" * 20_000}, {"login_hint": '"' * 3_000}])
async def test_request_that_could_not_be_opened_is_not_kept(scene: Scene, more: dict[str, str]) -> None:
    before = await scene.world.head()
    asked = scene.address(scene.shop).partition("?")[2] + "".join(f"&{name}={text}" for name, text in more.items())
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await scene.world.client.post(PAR, content=asked.encode(), headers=headers, auth=scene.shop.auth)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "longer than 8192 bytes" in answer.json()["error_description"]
    assert await scene.world.types_after(before) == []


async def test_reference_belongs_to_its_client(scene: Scene) -> None:
    other = await scene.world.register_client("Other")
    address = await pushed(scene)
    assert await is_over(scene.world.browser(), address.replace(scene.shop.client_id, other.client_id))
    unknown = urlencode({"client_id": scene.shop.client_id, "request_uri": "urn:ietf:params:oauth:request_uri:none"})
    assert await is_over(scene.world.browser(), f"{AUTHORIZE}?{unknown}")


async def test_what_stands_beside_the_reference_counts_for_nothing(scene: Scene) -> None:
    address = await pushed(scene, scope="orders")
    beside = urlencode({"scope": "catalog:read", "state": "another", "redirect_uri": "https://evil.example/"})
    page = await scene.approved(await scene.signed_in(), f"{address}&{beside}")
    assert page.location.startswith(scene.shop.redirect_uri)
    assert page.parameters["state"] == STATE
    assert (await scene.redeem(page))["scope"] == "orders"


@cases(
    ("changes", "error"),
    [
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"resource": "https://other.example/"}, "invalid_target"),
        ({"prompt": "whatever"}, "invalid_request"),
    ],
)
async def test_fault_is_told_at_once(scene: Scene, changes: dict[str, str | None], error: str) -> None:
    before = await scene.world.head()
    answer = await push(scene, **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert await scene.world.types_after(before) == []


async def test_only_the_client_itself_pushes(scene: Scene) -> None:
    stranger = Client(scene.shop.client_id, "wrong", scene.shop.redirect_uri)
    answer = await push(scene, stranger)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert (await scene.world.client.get(PAR)).status_code == 405
    assert (await scene.world.client.post(PAR, json={}, auth=scene.shop.auth)).status_code == 415


async def test_client_that_must_push_is_held_to_it(scene: Scene) -> None:
    changes = client.Attributes(require_pushed_authorization_requests=True)
    await scene.world.execute(scene.world.changing(scene.shop.client_id, changes))
    browser = await scene.signed_in()
    assert error_of(await browser.open(scene.address())) == ("invalid_request", STATE)
    assert "code" in (await scene.approved(browser, await pushed(scene))).parameters


async def test_public_clients_push_without_a_fact(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await scene.world.register_client("App", public=True)
    before = await scene.world.head()
    address = await pushed(scene, app)
    assert await scene.world.types_after(before) == []
    page = await scene.approved(await scene.signed_in(), address)
    assert "access_token" in await scene.redeem(page, app)
    (decided,) = await scene.world.events("pushed_request.decided")
    assert (decided.event.client_id, decided.version) == (app.client_id, 1)
    monkeypatch.setattr(pushed_requests, "ANONYMOUS_AT_MOST", 1)
    full = await push(scene, app)
    assert (full.status_code, full.json()["error"]) == (503, "temporarily_unavailable")
    assert full.headers["retry-after"] == "60"
    await pushed(scene)


async def test_secret_and_request_are_not_readable(scene: Scene) -> None:
    asked = {"client_id": scene.shop.client_id, "client_secret": scene.shop.secret or "", "response_type": "code"}
    proof = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    answer = await scene.world.client.post(PAR, data=asked | proof | {"login_hint": "paul@example.test"})
    assert answer.status_code == 201
    vault = scene.world.services.ledger.vault
    ((digest, sealed),) = await scene.world.services.ledger.read(
        lambda connection: connection.execute(select(table.c.request_uri, table.c.sealed)).all()
    )
    assert b"paul" not in sealed
    opened = vault.open_row(table.name, digest.hex(), sealed)
    assert b"login_hint" in opened
    assert asked["client_secret"].encode() not in opened


async def test_clients_are_told_to_slow_down(scene: Scene) -> None:
    await scene.world.execute(scene.world.changing(scene.shop.client_id, client.Attributes(tokens_per_minute=2)))
    answers = [(await push(scene)).status_code for _ in range(3)]
    assert answers == [201, 201, 429]


async def test_metadata_names_the_endpoint(world: World) -> None:
    said = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert said["pushed_authorization_request_endpoint"] == f"{world.settings.issuer}{PAR}"
    assert said["require_pushed_authorization_requests"] is False
