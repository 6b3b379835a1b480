"""RP-initiated logout: an application sends a person to sign out, and gets them back if it may."""

from typing import Any
from urllib.parse import urlencode

import pytest

from api.pages.logout import CONFIRM, PATH
from domain import client
from domain.decision import accept
from domain.keys import signing_key
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.browser import Browser, Page
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.world import World

BACK = "https://shop.example/signed-out"
STATE = "s t+a%te"


@pytest.fixture
async def openid(world: World) -> OpenId:
    return await set_openid(world, post_logout_redirect_uris=(BACK, f"{BACK}?kept=1"))


async def signed_in(openid: OpenId) -> tuple[Browser, str]:
    """A browser signed in to the shop, and the id_token that the shop got."""
    browser = await openid.signed_in()
    answer = await openid.redeem(await openid.approved(browser, openid.openid()))
    return browser, answer["id_token"]


@pytest.fixture
async def somebody(openid: OpenId) -> tuple[Browser, str]:
    return await signed_in(openid)


def address(**parameters: str | None) -> str:
    return f"{PATH}?{urlencode({name: value for name, value in parameters.items() if value is not None})}"


async def is_signed_in(openid: OpenId, browser: Browser) -> bool:
    page = await browser.open(openid.openid(prompt="none"))
    return page.parameters.get("error") != "login_required"


async def test_a_hint_signs_out_and_leads_back(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    page = await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK, state=STATE))
    assert page.location == f"{BACK}?{urlencode({'state': STATE})}"
    assert not await is_signed_in(openid, browser)
    (ended,) = await openid.world.events("session.ended")
    assert (ended.event.reason, ended.actor.kind) == ("signed_out", "person")
    # Who is signed out already is led back as well.
    page = await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK))
    assert page.location == BACK
    assert len(await openid.world.events("session.ended")) == 1


async def test_a_query_of_the_address_is_kept(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    page = await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=f"{BACK}?kept=1", state="x"))
    assert page.location == f"{BACK}?kept=1&state=x"


async def test_a_form_of_another_site_does_the_same(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    data = {"id_token_hint": hint, "post_logout_redirect_uri": BACK, "state": "x"}
    answer = await browser.client.post(PATH, data=data, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 303
    assert (await browser.open(answer.headers["location"])).location == f"{BACK}?state=x"
    assert not await is_signed_in(openid, browser)


async def test_an_expired_hint_of_a_retired_key_holds(openid: OpenId) -> None:
    world = openid.world
    browser, hint = await signed_in(openid)
    keys: signing_key.State = await world.services.ledger.state(signing_key.STREAM)
    key_id = keys.active["RS256"]
    retired = any_command(signing_key.STREAM, _record, {"event": signing_key.SigningKeyRetired(key_id=key_id)})
    await world.execute(retired)
    world.clock.advance(6 * 3600)
    page = await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK))
    assert page.location == BACK


async def test_a_hint_of_a_revoked_key_is_refused(openid: OpenId) -> None:
    world = openid.world
    browser, hint = await signed_in(openid)
    keys: signing_key.State = await world.services.ledger.state(signing_key.STREAM)
    event = signing_key.SigningKeyRevoked(key_id=keys.active["RS256"], reason="compromised")
    await world.execute(any_command(signing_key.STREAM, _record, {"event": event}))
    refused(await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK)))
    assert not await world.events("session.ended")


def _record(state: Any, *, now: int, event: Any) -> Any:
    return accept(event)


def refused(page: Page) -> None:
    """An error page, and no redirect."""
    assert page.status == 400, page.text
    assert "location" not in page.answer.headers
    assert "cannot be answered" in page.text


@cases(
    "changes",
    [
        {"post_logout_redirect_uri": "https://evil.example/"},
        {"post_logout_redirect_uri": f"{BACK}?foo=bar"},
        {"post_logout_redirect_uri": f"{BACK}/"},
        {"id_token_hint": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."},
        {"id_token_hint": "x"},
        {"id_token_hint": "x" * 8_000},
        {"client_id": "another"},
        {"client_id": "ü"},
    ],
)
async def test_what_leads_astray_is_an_error_page(
    openid: OpenId, somebody: tuple[Browser, str], changes: dict[str, str]
) -> None:
    browser, hint = somebody
    given = {"id_token_hint": hint, "post_logout_redirect_uri": BACK, "state": "x"} | changes
    refused(await browser.open(address(**given)))
    assert await is_signed_in(openid, browser)


async def test_a_doubled_parameter_is_an_error_page(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    refused(await browser.open(address(id_token_hint=hint) + "&state=x&state=y"))


@pytest.mark.parametrize("given", [{}, {"state": "x"}, {"post_logout_redirect_uri": BACK}, {"named": "1"}])
async def test_without_a_hint_the_person_is_asked(openid: OpenId, given: dict[str, str]) -> None:
    browser, _ = await signed_in(openid)
    if "named" in given:
        given = {"client_id": openid.shop.client_id, "post_logout_redirect_uri": BACK}
    page = await browser.open(address(**given))
    assert page.status == 200
    assert "Sign out?" in page.text
    assert await is_signed_in(openid, browser)
    page = await browser.press(page, CONFIRM)
    assert page.status == 200
    assert "You are signed out" in page.text
    assert not await is_signed_in(openid, browser)
    page = await browser.open(address(**given))
    assert "You are signed out" in page.text


async def test_a_hint_about_somebody_else_is_asked_about(openid: OpenId) -> None:
    _, hint = await signed_in(openid)
    mia = await openid.world.register_person("mia")
    browser = await openid.signed_in(mia)
    page = await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK, state="x"))
    assert "Sign out?" in page.text
    assert await is_signed_in(openid, browser)
    page = await browser.press(page, CONFIRM)
    assert page.location == f"{BACK}?state=x"
    assert not await is_signed_in(openid, browser)


async def test_the_button_of_another_page_does_nothing(openid: OpenId) -> None:
    browser, _ = await signed_in(openid)
    page = await browser.open(address(state="x"))
    form = page.form(CONFIRM)
    answer = await browser.client.post(f"{CONFIRM}?state=y", data=form.fields)
    assert answer.status_code == 403
    assert "Sign out?" in answer.text
    answer = await browser.client.post(form.action, data=form.fields, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert await is_signed_in(openid, browser)


async def test_head_signs_nobody_out(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    answer = await browser.client.head(address(id_token_hint=hint, post_logout_redirect_uri=BACK))
    assert answer.status_code == 200
    assert await is_signed_in(openid, browser)


async def test_one_address_can_ask_only_so_often(openid: OpenId) -> None:
    answers = [await openid.world.client.get(PATH) for _ in range(openid.world.settings.public_burst + 1)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"]


async def test_a_disabled_client_sends_nobody(openid: OpenId) -> None:
    browser, hint = await signed_in(openid)
    await openid.world.execute(any_command(client.stream(openid.shop.client_id), client.disable))
    refused(await browser.open(address(id_token_hint=hint, post_logout_redirect_uri=BACK)))


async def test_the_metadata_names_it(openid: OpenId) -> None:
    told = (await openid.world.client.get("/.well-known/openid-configuration")).json()
    assert told["end_session_endpoint"] == openid.world.settings.issuer + PATH
    assert told["backchannel_logout_supported"] is True
    assert told["backchannel_logout_session_supported"] is True
