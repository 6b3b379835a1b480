"""A person's own pages: the session, what they have allowed, and the way in."""

import html
import json
import re
from typing import Any

import pytest

from api.pages import account
from domain import client
from security.keyring import new_master_key
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.asking import APPROVE, CONSENT, DENY, Scene
from tests.scenarios.browser import Page
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.world import World

GRANTS = "/account/grants"
WITHDRAW = "/account/grants/withdraw"
SIGN_IN = "/account/sign-in"
SIGN_OUT = "/account/sign-out"
COOKIE = "grantlog-session-platform"


async def introspected(scene: Scene, token: str) -> bool:
    answer = await scene.world.client.post("/oauth/introspect", data={"token": token}, auth=scene.shop.auth)
    active: bool = answer.json()["active"]
    return active


async def test_without_a_session_every_page_begins_with_the_sign_in(scene: Scene) -> None:
    for address in ("/account", GRANTS, SIGN_OUT):
        browser = scene.world.browser()
        page = await browser.open(address)
        page = await browser.press(page, SIGN_IN, username=scene.person.username, password=scene.person.password)
        assert page.status == 200
        assert scene.person.username in page.text
        if address == GRANTS:
            assert str(page.answer.url).endswith("/account/grants?realm=platform")


async def test_the_page_of_the_session_says_who_and_signs_out(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open("/account")
    assert scene.person.username in page.text
    page = await browser.press(page, SIGN_OUT)
    assert page.status == 200
    assert COOKIE not in browser.cookies
    (ended,) = await scene.world.events("session.ended")
    assert (ended.event.reason, ended.actor.id) == ("signed_out", scene.person.account_id)
    assert (await browser.open("/account")).form(SIGN_IN).fields["password"] == ""


async def test_a_link_ends_no_session(scene: Scene) -> None:
    browser = await scene.signed_in()
    before = await scene.world.head()
    page = await browser.open(SIGN_OUT)
    assert page.status == 200
    assert await scene.world.head() == before
    await browser.press(page, SIGN_OUT)
    assert await scene.world.types_after(before) == ["session.ended"]


async def test_copied_cookie_is_worthless_after_sign_out(scene: Scene) -> None:
    browser = await scene.signed_in()
    copied = browser.cookies[COOKIE]
    await browser.press(await browser.open("/account"), SIGN_OUT)
    thief = scene.world.browser()
    thief.client.cookies.set(COOKIE, copied, domain="127.0.0.1")
    assert (await thief.open("/account")).form(SIGN_IN).fields["password"] == ""


async def test_signing_out_twice_does_no_harm(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open("/account")
    await browser.press(page, SIGN_OUT)
    assert (await browser.press(page, SIGN_OUT)).status == 200


async def test_person_sees_consents_and_withdraws_one_at_once(scene: Scene) -> None:
    browser = await scene.signed_in()
    assert "No application may act for you" in (await browser.open(GRANTS)).text
    tokens = await scene.redeem(await scene.approved(browser))
    assert await introspected(scene, tokens["access_token"])
    page = await browser.open(GRANTS)
    for shown in ("Shop", "May orders", "May catalog:read", "1 January 2026"):
        assert shown in page.text
    page = await browser.press(page, WITHDRAW)
    assert "Withdrawn." in page.text
    assert "No application may act for you" in page.text
    (withdrawn,) = await scene.world.events("consent.withdrawn")
    assert withdrawn.actor.credential.keys() == {"session_id"}
    assert not await introspected(scene, tokens["access_token"])
    refreshed = await scene.world.client.post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
        auth=scene.shop.auth,
    )
    assert refreshed.json()["error"] == "invalid_grant"
    assert (await browser.open(scene.address())).form(CONSENT).buttons == [APPROVE, DENY]


async def test_applications_come_in_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "APPLICATIONS", 2)
    browser = await scene.signed_in()
    names = ["Anchor", "Barge", "Canoe"]
    for name in names:
        allowed = await scene.world.register_client(name, scope=("orders",))
        await scene.approved(browser, scene.address(allowed, scope="orders"))
    first = await browser.open(GRANTS)
    (onward,) = re.findall(r'href="(/account/grants[?]realm=platform&amp;after=[^"]+)"', first.text)
    second = await browser.open(html.unescape(onward))
    shown = [[name for name in names if f"<bdi>{name}</bdi>" in page.text] for page in (first, second)]
    assert [len(each) for each in shown] == [2, 1]
    assert sorted(sum(shown, [])) == names
    assert "after=" not in second.text
    assert (await browser.open(f"{GRANTS}?realm=platform&after=x")).status == 400


async def test_the_page_names_claims_that_were_allowed_alone(scene: Scene) -> None:
    known = await scene.world.register_client("Known", scope=("openid", "email", "phone"))
    browser = await scene.signed_in()
    claims = json.dumps({"userinfo": {"email": None, "phone_number": {"essential": True}}})
    address = scene.address(known, scope="openid phone", claims=claims)
    await scene.redeem(await scene.approved(browser, address), known)
    page = await browser.open(GRANTS)
    assert "It also knows your: <strong>email</strong>" in page.text
    page = await browser.press(page, WITHDRAW)
    assert "It also knows" not in page.text


async def test_a_code_does_not_outlive_a_withdrawal(scene: Scene) -> None:
    browser = await scene.signed_in()
    answered = await scene.approved(browser)
    await browser.press(await browser.open(GRANTS), WITHDRAW)
    assert (await scene.redeem(answered))["error"] == "invalid_grant"
    again = await scene.redeem(await scene.approved(browser))
    assert await introspected(scene, again["access_token"])


async def test_a_withdrawal_is_the_persons_own(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser)
    page = await browser.open(GRANTS)
    other = await scene.signed_in(await scene.world.register_person("mallory"))
    theirs = await other.open(GRANTS)
    form = page.form(WITHDRAW)
    form.fields["csrf"] = theirs.form(SIGN_OUT).fields["csrf"]
    assert (await other.submit(form)).status == 404
    assert (await browser.press(page, WITHDRAW, csrf=form.fields["csrf"] + "x")).status == 403
    assert await scene.world.events("consent.withdrawn") == ()


@cases("client_id", ["unknown", "%C3%A9", "x" * 500, "a:b"])
async def test_withdrawing_what_was_never_given_is_404(scene: Scene, client_id: str) -> None:
    browser = await scene.signed_in()
    form = (await browser.open(GRANTS)).form(SIGN_OUT)
    form.action = f"{WITHDRAW}?client_id={client_id}"
    before = await scene.world.head()
    assert (await browser.submit(form)).status == 404
    assert await scene.world.head() == before


async def test_an_application_that_is_gone_can_still_be_withdrawn(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser)
    await scene.world.execute(any_command(client.stream(scene.shop.client_id), client.delete))
    page = await browser.open(GRANTS)
    assert "Shop" in page.text
    assert "Withdrawn." in (await browser.press(page, WITHDRAW)).text


async def test_a_notice_is_never_somebody_elses_words(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open(f"{GRANTS}?done=Call+this+number")
    assert page.status == 200
    assert "Call this number" not in page.text


async def test_each_realm_has_its_own_session_and_page(scene: Scene) -> None:
    ada = await scene.world.register_person("ada", realm="administration")
    browser = await scene.signed_in(ada)
    assert "ada" in (await browser.open("/account")).text
    page = await browser.open("/account?realm=platform")
    assert page.form(SIGN_IN).action.startswith(f"{SIGN_IN}?realm=platform")
    assert (await browser.open("/account?realm=other")).status == 400


async def test_the_page_of_factors_leads_back(scene: Scene) -> None:
    page = await (await scene.signed_in()).open("/account/factors")
    assert 'href="/account?realm=platform"' in page.text


async def test_the_home_page_leads_everywhere(world: World) -> None:
    page = await world.browser().open("/")
    for link in ('href="/account"', 'href="/account/grants"', 'href="/schema"', 'href="http://127.0.0.1:8401/"'):
        assert link in page.text
    assert page.answer.headers["content-type"] == "text/html; charset=utf-8"


class TestProduction:
    @pytest.fixture
    def settings_given(self) -> dict[str, str]:
        return {"environment": "production", "master_key": new_master_key()}

    async def test_productions_home_lists_nothing(self, world: World) -> None:
        await make_platform(world)
        page = await world.browser().open("/")
        assert page.status == 200
        for told in ("8401", "/dashboards/", "/account", "/schema", "/.well-known", world.settings.issuer):
            assert told not in page.text


class TestProductionWithAHome:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"environment": "production", "master_key": new_master_key(), "home": True}

    async def test_it_lists_the_dashboards_and_no_demonstration(self, world: World) -> None:
        await make_platform(world)
        text = (await world.browser().open("/")).text
        assert "/dashboards/" in text
        assert "8401" not in text


async def test_static_files_are_kept_by_their_hash(world: World) -> None:
    home: Page = await world.browser().open("/")
    address = home.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = await world.client.get(address)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    plain = await world.client.get("/static/grantlog.css?v=other")
    assert plain.headers["cache-control"] == "no-cache"
    etag = plain.headers["etag"]
    for given in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        unchanged = await world.client.get("/static/grantlog.css", headers={"if-none-match": given})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert (await world.client.get("/static/grantlog.css", headers={"if-none-match": '"x"'})).status_code == 200
    for name in ("other.css", "..%2fpages.py", "%2e%2e/pages.py"):
        assert (await world.client.get(f"/static/{name}")).status_code == 404
