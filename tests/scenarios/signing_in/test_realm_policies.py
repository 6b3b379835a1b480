"""What realms ask of their people beside a password, and realms beyond the two of every installation."""

import re
from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import ok
from tests.scenarios.asking import APPROVE, CHALLENGE, CONSENT, Scene
from tests.scenarios.asking import SIGN_IN as AUTHORIZE_SIGN_IN
from tests.scenarios.browser import Browser, Page
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.devices import begin, posted
from tests.scenarios.factors import FACTORS, TOTP, Generator, enrol, sign_in
from tests.scenarios.world import World

PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
SECRET = re.compile(r'<code class="figures">([A-Z2-7 ]+)</code>')


async def put(world: World, realm: str, *scopes: str, **terms: Any) -> httpx.Response:
    token = await world.token(*(scopes or ("clients:read", "clients:write", "people:write")))
    return await world.client.put(f"/admin/realms/{realm}", json=terms, headers={"authorization": f"Bearer {token}"})


async def enrolled(world: World, browser: Browser, page: Page) -> Page:
    """What follows the enrolment to which a page leads, once it is over."""
    assert "You need a second factor" in page.text, page.text
    (link,) = re.findall(r'href="(/account/factors/totp[^"]*)"', page.text)
    page = await browser.open(link.replace("&amp;", "&"))
    (secret,) = SECRET.findall(page.text)
    page = await browser.press(page, TOTP, code=Generator(world, secret.replace(" ", ""), []).code())
    (link,) = re.findall(r'href="([^"]*)">', page.text.partition("<main")[2])
    return await browser.open(link.replace("&amp;", "&"))


async def test_policies_are_read_and_set(world: World) -> None:
    await world.define_scopes("orders")
    answer = await put(world, "platform", second_factor="required_for", required_for=["orders"])
    told = {
        "name": "platform",
        "second_factor": "required_for",
        "required_for": ["orders"],
        "registration": "off",
    }
    assert (answer.status_code, answer.json()) == (200, told)
    made = await put(world, "partners", second_factor="off")
    assert (made.status_code, made.headers["location"]) == (201, "/admin/realms/partners")
    assert (await put(world, "partners", second_factor="off")).status_code == 200
    assert len(await world.events("realm_policy.changed")) == 2
    reader = {"authorization": f"Bearer {await world.token('clients:read')}"}
    listed = ok(await world.client.get("/admin/realms", headers=reader))["items"]
    assert [each["name"] for each in listed] == ["administration", "platform", "partners"]
    assert ok(await world.client.get("/admin/realms/platform", headers=reader)) == told
    assert (await world.client.get("/admin/realms/nowhere", headers=reader)).status_code == 404


async def test_what_is_not_named_stays(world: World) -> None:
    await world.define_scopes("orders")
    await put(world, "platform", second_factor="required_for", required_for=["orders"])
    opened = (await put(world, "platform", registration="open")).json()
    assert opened == {
        "name": "platform",
        "second_factor": "required_for",
        "required_for": ["orders"],
        "registration": "open",
    }
    assert (await put(world, "platform", second_factor="required_for")).json() == opened
    told = (await put(world, "platform", second_factor="required")).json()
    assert told == opened | {"second_factor": "required", "required_for": []}


async def test_a_policy_is_refused_with_the_member_at_fault(world: World) -> None:
    for name, field, terms in (
        ("platform", "required_for", {"second_factor": "required_for"}),
        ("platform", "required_for", {"second_factor": "required_for", "required_for": ["nothing"]}),
        ("platform", "second_factor", {"second_factor": "sometimes"}),
        ("platform", "name", {"name": "other"}),
        ("Platform", "name", {}),
    ):
        answer = await put(world, name, **terms)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field), answer.text
    weaker = await put(world, "administration", "clients:write", second_factor="off")
    assert weaker.status_code == 403
    assert not await world.events("realm_policy.changed")


async def test_a_dashboard_is_told_where_to_enrol(world: World) -> None:
    platform = await make_platform(world)
    await put(world, "platform", second_factor="required_for", required_for=["orders"])
    answer = await platform.client.login(platform.paul)
    body = answer.json()
    assert answer.status_code == 403
    assert (body["error"], body["enrol_url"]) == ("enrolment_required", FACTORS)
    assert "set-cookie" not in answer.headers
    assert not await world.events("grant.tokens_issued", stream=f"account:{platform.paul.account_id}")
    await put(world, "platform", second_factor="required_for", required_for=["openid"])
    assert (await platform.client.login(platform.paul)).status_code == 200
    await put(world, "administration", second_factor="required")
    answer = await platform.administration.login(platform.ada)
    assert answer.json()["enrol_url"] == f"{FACTORS}?realm=administration"


async def test_an_application_leads_to_the_enrolment_and_back(scene: Scene) -> None:
    world, browser = scene.world, scene.world.browser()
    await put(world, "platform", second_factor="required_for", required_for=["orders"])
    page = await browser.open(scene.address(scope="catalog:read"))
    page = await browser.press(page, AUTHORIZE_SIGN_IN, **scene.person.typed)
    assert APPROVE in page.form(CONSENT).buttons
    page = await enrolled(world, browser, await browser.open(scene.address(scope="orders")))
    page = await browser.press(page, CONSENT, APPROVE)
    tokens = await scene.redeem(page)
    assert tokens["scope"] == "orders"
    issued = (await world.events("grant.code_issued"))[-1]
    assert issued.event.authentication.amr == ("pwd", "otp", "mfa")


async def test_a_sign_in_leads_to_the_enrolment(scene: Scene) -> None:
    world, browser = scene.world, scene.world.browser()
    await put(world, "platform", second_factor="required")
    page = await browser.open(scene.address())
    page = await browser.press(page, AUTHORIZE_SIGN_IN, **scene.person.typed)
    page = await enrolled(world, browser, page)
    assert APPROVE in page.form(CONSENT).buttons
    other = world.browser()
    assert "code" in (await sign_in(world, scene.person, other)).forms[0].fields


async def test_who_had_signed_in_before_shows_the_factor(scene: Scene) -> None:
    world, browser = scene.world, await scene.signed_in()
    generator = await enrol(world, scene.person)
    assert APPROVE in (await browser.open(scene.address())).form(CONSENT).buttons
    question = await browser.open(scene.address())
    await put(world, "platform", second_factor="required")
    page = await browser.press(question, CONSENT, APPROVE)
    page = await browser.press(page, AUTHORIZE_SIGN_IN, **scene.person.typed)
    page = await browser.press(page, AUTHORIZE_SIGN_IN, code=generator.code())
    assert APPROVE in page.form(CONSENT).buttons
    assert len(await world.events("session.ended")) == 0


@pytest.mark.parametrize("has_one", [False, True])
async def test_without_a_page_nothing_is_given(scene: Scene, has_one: bool) -> None:
    world, browser = scene.world, await scene.signed_in()
    await scene.approved(browser)
    if has_one:
        await enrol(world, scene.person)
    await put(world, "platform", second_factor="required")
    page = await browser.open(scene.address(prompt="none"))
    assert page.parameters["error"] == ("login_required" if has_one else "interaction_required")


async def test_where_it_is_off_nobody_is_asked(scene: Scene) -> None:
    world = scene.world
    await enrol(world, scene.person)
    await put(world, "platform", second_factor="off")
    browser = world.browser()
    assert "Your account" in (await sign_in(world, scene.person, browser)).text
    assert "nobody here is asked" in (await browser.open(FACTORS)).text


async def test_a_device_leads_to_the_enrolment_too(scene: Scene) -> None:
    world, browser = scene.world, scene.world.browser()
    television = await world.register_client(
        "Television", public=True, grant_types=("urn:ietf:params:oauth:grant-type:device_code",), redirect_uris=()
    )
    device = await begin(world, television, scope="orders")
    await put(world, "platform", second_factor="required_for", required_for=["orders"])
    browser = await scene.signed_in()
    page = await browser.press(await browser.open("/device"), "/device", user_code=device.user_code)
    page = await enrolled(world, browser, page)
    assert APPROVE in page.form("/device/decision").buttons


@cases("onward", ["//evil.example/oauth/authorize?x", "https://evil.example/", "/account", "é" * 9])
async def test_the_enrolment_leads_nowhere_else(scene: Scene, onward: str) -> None:
    browser = await scene.signed_in()
    answer = await browser.client.get(FACTORS, params={"onward": onward})
    assert answer.status_code == 200
    assert "evil" not in answer.text


async def test_an_application_of_our_own_is_told_likewise(scene: Scene) -> None:
    world = scene.world
    own = await world.register_client("Pocket", public=True, first_party=True, scope=("orders",))
    await put(world, "platform", second_factor="required")
    answer = await posted(world, own, "/oauth/authorize-challenge", {**scene.person.typed, **PKCE})
    assert (answer.status_code, answer.json()["error"]) == (403, "enrolment_required")
    assert answer.json()["enrol_url"] == FACTORS


async def test_people_of_another_realm_live_apart(world: World) -> None:
    made = await put(world, "partners", second_factor="optional")
    assert made.status_code == 201
    await world.define_role("partners", "member", "orders", default=True)
    paul = await world.register_person("paul")
    other = await world.register_person("paul", realm="partners", password="another unguessable password")
    shop = await world.register_client("Partners' shop", realm="partners")
    scene = Scene(world, other, shop)
    browser = world.browser()
    page = await browser.press(await browser.open(scene.address()), AUTHORIZE_SIGN_IN, **paul.typed)
    assert page.status == 401
    page = await browser.press(page, AUTHORIZE_SIGN_IN, **other.typed)
    tokens = await scene.redeem(await browser.press(page, CONSENT, APPROVE))
    assert tokens["scope"] == "orders"
    assert "partners" in (await browser.open("/account")).text
    token = {"authorization": f"Bearer {await world.token('people:read')}"}
    found = ok(await world.client.get("/admin/people", params={"username": "paul"}, headers=token))["items"]
    assert {each["realm"] for each in found} == {"platform", "partners"}
    for address in ("/account?realm=nowhere", "/account/sign-in?realm=nowhere"):
        assert (await world.client.get(address)).status_code == 400
