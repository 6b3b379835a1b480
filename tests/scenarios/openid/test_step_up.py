"""Classes of sign-in (`acr`): what a client may ask for, and who steps up for it (RFC 9470)."""

import json

import pytest

from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, error_of
from tests.scenarios.browser import Browser, Page
from tests.scenarios.factors import Generator, enrol
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.world import World

ONE, TWO = "urn:grantlog:acr:1", "urn:grantlog:acr:2"
VOLUNTARY = json.dumps({"id_token": {"acr": {"values": [TWO]}}})
ESSENTIAL = json.dumps({"id_token": {"acr": {"essential": True, "values": [TWO]}}})


@pytest.fixture
async def scene(world: World) -> OpenId:
    return await set_openid(world)


async def show(scene: OpenId, browser: Browser, page: Page, generator: Generator) -> Page:
    """The page after password and code."""
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    return await browser.press(page, SIGN_IN, code=generator.code())


async def test_two_factors_are_told(scene: OpenId) -> None:
    generator = await enrol(scene.world, scene.person)
    browser = scene.world.browser()
    page = await show(scene, browser, await browser.open(scene.openid()), generator)
    claims = await scene.id_token(await browser.press(page, CONSENT, APPROVE))
    assert (claims["acr"], claims["amr"]) == (TWO, ["pwd", "otp", "mfa"])


@pytest.mark.parametrize("wanted", [{"acr_values": TWO}, {"claims": VOLUNTARY}, {"claims": ESSENTIAL}])
async def test_a_session_steps_up_for_who_asks(scene: OpenId, wanted: dict[str, str]) -> None:
    browser = await scene.allowed()
    generator = await enrol(scene.world, scene.person)
    before = await scene.id_token(await browser.open(scene.openid()))
    assert before["acr"] == ONE
    silent = await browser.open(scene.openid(prompt="none", **wanted))
    assert error_of(silent)[0] == "login_required"
    page = await show(scene, browser, await browser.open(scene.openid(**wanted)), generator)
    after = await scene.id_token(page)
    assert (after["acr"], after["sid"]) == (TWO, before["sid"])
    # The session in which the factor was enrolled stepped up with that.
    enrolling, stepped_up = await scene.world.events("session.stepped_up")
    assert enrolling.stream != stepped_up.stream
    assert stepped_up.event.amr == ("pwd", "otp", "mfa")
    again = await scene.id_token(await browser.open(scene.openid(prompt="none", **wanted)))
    assert (again["acr"], again["auth_time"]) == (TWO, after["auth_time"])


async def test_who_has_no_factor_cannot_meet_an_essential_class(scene: OpenId) -> None:
    browser = await scene.allowed()
    for prompt in (None, "none"):
        page = await browser.open(scene.openid(claims=ESSENTIAL, prompt=prompt))
        assert error_of(page)[0] == "unmet_authentication_requirements"
    fresh = scene.world.browser()
    page = await fresh.press(await fresh.open(scene.openid(claims=ESSENTIAL)), SIGN_IN, **scene.person.typed)
    assert error_of(page)[0] == "unmet_authentication_requirements"


async def test_a_wish_is_no_demand(scene: OpenId) -> None:
    browser = await scene.allowed()
    for wish in ({"acr_values": TWO}, {"claims": VOLUNTARY}):
        assert (await scene.id_token(await browser.open(scene.openid(**wish))))["acr"] == ONE
    await enrol(scene.world, scene.person)
    for acr_values in ("urn:example:gold", f"{ONE} {TWO}"):
        assert (await scene.id_token(await browser.open(scene.openid(acr_values=acr_values))))["acr"] == ONE


async def test_consent_does_not_lead_around_the_step_up(scene: OpenId) -> None:
    browser = await scene.signed_in()
    await enrol(scene.world, scene.person)
    question = await browser.open(scene.openid())
    form = question.form(CONSENT)
    form.action += f"&acr_values={TWO}"
    page = await browser.submit(form, APPROVE)
    assert "password" in page.form(SIGN_IN).fields
    assert not await scene.world.events("grant.code_issued")
