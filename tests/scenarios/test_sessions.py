"""Signing in and staying so: whose browser it is, for how long, and what nobody can make it do."""

from pathlib import Path
from typing import Any

import pytest

from domain import account, account_sign_in
from eventstore.commands import Command
from security.keyring import Keyring
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, SIGN_OUT, Scene, set_scene
from tests.scenarios.browser import Browser, Form, Page
from tests.scenarios.world import open_world

COOKIE = "grantlog-session-platform"
FORM_COOKIE = "grantlog-form"
ACCOUNT_SIGN_IN = "/account/sign-in"


async def sign_in_page(scene: Scene, browser: Browser) -> Page:
    return await browser.open(scene.address())


async def post(browser: Browser, form: Form, headers: dict[str, str], **typed: str) -> int:
    answer = await browser.client.post(form.action, data={**form.fields, **typed}, headers=headers)
    assert "location" not in answer.headers or answer.status_code == 303
    return answer.status_code


def right(scene: Scene) -> dict[str, str]:
    return {"username": scene.person.username, "password": scene.person.password}


# Failures ---------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_keeps_the_name_and_is_a_fact_without_it(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    for password in ("wrong one", scene.person.password + " ", "x" * 5000):
        page = await browser.press(page, SIGN_IN, username=scene.person.username, password=password)
        assert page.status == 401
        assert page.answer.headers["www-authenticate"].startswith("Form ")
        assert page.form(SIGN_IN).fields["username"] == scene.person.username
        assert page.form(SIGN_IN).fields["password"] == ""
        assert password not in page.text
    (failed,) = await scene.world.events("account.sign_in_failed")
    assert failed.event.reason == "wrong_password"
    assert failed.actor.kind == "anonymous"
    assert COOKIE not in browser.cookies


async def test_nothing_tells_an_unknown_name_from_a_wrong_password_or_a_disabled_person(scene: Scene) -> None:
    other = await scene.world.register_person("ada", realm="administration")
    off = await scene.world.register_person("paula")
    facts = {"leaves_no_administrator": False}
    await scene.world.execute(Command(account.stream(off.account_id), account.disable, facts))
    seen = set()
    for name, password in (
        (scene.person.username, "wrong"),
        ("nobody", "wrong"),
        (other.username, other.password),
        (off.username, off.password),
    ):
        browser = scene.world.browser()
        page = await browser.press(await sign_in_page(scene, browser), SIGN_IN, username=name, password=password)
        form = page.form(SIGN_IN).fields
        seen.add((page.status, page.text.replace(name, "…").replace(form["csrf"], "…")))
    assert len(seen) == 1
    assert len(await scene.world.events("realm.unknown_user_refused")) == 1
    assert await scene.world.events("session.*") == ()


async def test_what_is_missing_is_said(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    before = await scene.world.head()
    for typed in ({"username": "", "password": "x"}, {"username": "paul", "password": ""}):
        assert (await browser.press(page, SIGN_IN, **typed)).status == 400
    assert await scene.world.head() == before


async def test_guessing_slows_the_guesser_and_nobody_else(scene: Scene) -> None:
    browser = scene.world.browser("198.51.100.1")
    page = await sign_in_page(scene, browser)
    for _ in range(20):
        page = await browser.press(page, SIGN_IN, username=scene.person.username, password="wrong")
        if page.status != 401:
            break
    assert page.status == 429
    wait = int(page.answer.headers["retry-after"])
    assert str(wait) in page.text
    page = await browser.press(page, SIGN_IN, **right(scene))
    assert page.status == 429
    assert (await scene.signed_in()).cookies
    scene.world.clock.advance(wait)
    assert (await browser.press(page, SIGN_IN, **right(scene))).status == 200


async def test_pages_are_throttled_by_address(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, public_burst=3, public_rate=1) as world:
        scene = await set_scene(world)
        statuses = [(await world.browser().open(scene.address())).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        page = await world.browser().open(scene.address())
        assert int(page.answer.headers["retry-after"]) > 0
        assert page.answer.headers["content-type"].startswith("text/html")
        assert (await world.browser("198.51.100.2").open(scene.address())).status == 200


# Forgery ----------------------------------------------------------------------------------------------------------


FOREIGN: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8400"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:8401"},
    {"origin": "https://127.0.0.1:8400"},
    {"origin": "http://127.0.0.1:8400.evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_forms_posted_from_elsewhere_do_nothing(scene: Scene, headers: dict[str, str]) -> None:
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    before = await scene.world.head()
    assert await post(browser, page.form(SIGN_IN), headers, **right(scene)) == 403
    assert await scene.world.head() == before
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    before = await scene.world.head()
    assert await post(browser, page.form(CONSENT), headers, decision="approve") == 403
    assert await post(browser, page.form(SIGN_OUT), headers) == 403
    grants = await browser.open("/account/grants")
    assert await post(browser, grants.form("/account/sign-out"), headers) == 403
    assert await scene.world.head() == before


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}], ids=str)
async def test_browsers_that_say_less_may_post_our_forms(scene: Scene, headers: dict[str, str]) -> None:
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    assert await post(browser, page.form(SIGN_IN), headers, **right(scene)) == 303


async def test_a_form_without_its_token_does_nothing(scene: Scene) -> None:
    attacker = await scene.signed_in(await scene.world.register_person("mallory"))
    theirs = (await attacker.open(scene.address())).form(CONSENT).fields["csrf"]
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    account_page = await browser.open("/account")
    before = await scene.world.head()
    other = await scene.world.register_client("Other", redirect_uris=("https://other.example/",))
    other_page = await browser.open(scene.address(other))
    for token in (
        "",
        "x",
        theirs,
        account_page.form("/account/sign-out").fields["csrf"],
        "é",
        other_page.form(CONSENT).fields["csrf"],
    ):
        refused = await browser.press(page, CONSENT, APPROVE, csrf=token)
        assert refused.status == 403
        refused = await browser.press(page, SIGN_OUT, csrf=token)
        assert refused.status == 403
        if token != account_page.form("/account/sign-out").fields["csrf"]:
            assert (await browser.press(account_page, "/account/sign-out", csrf=token)).status == 403
    types = await scene.world.types_after(before)
    assert not {"consent.given", "grant.code_issued", "session.ended"} & set(types)


async def test_a_sign_in_needs_the_browsers_own_token(scene: Scene) -> None:
    """Else a page of somebody else's could sign a person in to an account that is not theirs."""
    attacker = scene.world.browser()
    theirs = (await sign_in_page(scene, attacker)).form(SIGN_IN)
    victim = scene.world.browser()
    await sign_in_page(scene, victim)
    assert await post(victim, theirs, {}, **right(scene)) == 403
    without_cookie = scene.world.browser()
    assert await post(without_cookie, theirs, {}, **right(scene)) == 403
    assert COOKIE not in victim.cookies
    assert await scene.world.events("session.*") == ()


async def test_a_sign_in_makes_former_tokens_worthless(scene: Scene) -> None:
    browser = scene.world.browser()
    first = await sign_in_page(scene, browser)
    kept = dict(browser.cookies)
    page = await browser.press(first, SIGN_IN, **right(scene))
    assert FORM_COOKIE not in browser.cookies
    token = first.form(SIGN_IN).fields["csrf"]
    assert (await browser.press(page, CONSENT, APPROVE, csrf=token)).status == 403
    assert kept[FORM_COOKIE] not in str(browser.cookies)


async def test_a_planted_session_is_not_taken_over(scene: Scene) -> None:
    """Session fixation: who signs in gets a secret that nobody can have known before."""
    attacker = await scene.signed_in(await scene.world.register_person("mallory"))
    planted = attacker.cookies[COOKIE]
    browser = scene.world.browser()
    browser.client.cookies.set(COOKIE, planted, domain="127.0.0.1")
    page = await browser.open(scene.address())
    page = await browser.press(page, SIGN_OUT)
    browser.client.cookies.set(COOKIE, planted, domain="127.0.0.1")
    page = await browser.press(page, SIGN_IN, **right(scene))
    assert page.form(CONSENT) is not None
    assert planted not in browser.cookies.values()


async def test_signing_in_as_somebody_else_ends_the_session_before(scene: Scene) -> None:
    other = await scene.world.register_person("paula")
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    first = await browser.press(page, SIGN_IN, **right(scene))
    old = browser.cookies[COOKIE]
    # A second tab that had been opened before; its form is stale and comes back with a fresh token.
    again = await browser.press(page, SIGN_IN, username=other.username, password=other.password)
    assert again.status == 403
    again = await browser.press(again, SIGN_IN, username=other.username, password=other.password)
    assert other.username in again.text
    started = await scene.world.events("session.started")
    (ended,) = await scene.world.events("session.ended")
    assert (ended.stream, ended.event.reason) == (started[0].stream, "replaced")
    assert (await browser.press(first, CONSENT, APPROVE)).status == 403
    browser.client.cookies.set(COOKIE, old, domain="127.0.0.1")
    thief = scene.world.browser()
    thief.client.cookies.set(COOKIE, old, domain="127.0.0.1")
    assert (await thief.open(scene.address())).form(SIGN_IN).fields["password"] == ""


# Cookies ----------------------------------------------------------------------------------------------------------


async def test_cookies_of_a_loopback_server(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await sign_in_page(scene, browser)
    answer = await browser.client.post(page.form(SIGN_IN).action, data={**page.form(SIGN_IN).fields, **right(scene)})
    for cookie in answer.headers.get_list("set-cookie") + page.answer.headers.get_list("set-cookie"):
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "path=/", "samesite=lax"} <= parts
        assert "secure" not in parts
        assert not any(part.startswith("domain") for part in parts)


async def test_cookies_of_an_https_server(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, issuer="https://login.example") as world:
        scene = await set_scene(world)
        browser = await scene.signed_in()
        assert list(browser.cookies) == ["__Host-grantlog-session-platform"]
        page = await scene.world.browser().open(scene.address())
        (cookie,) = page.answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-grantlog-form=")
        assert "; Secure" in cookie
        page = await scene.approved(browser)
        assert page.parameters["iss"] == "https://login.example"


async def test_the_log_holds_the_digest_of_the_sessions_secret_alone(scene: Scene) -> None:
    browser = await scene.signed_in()
    secret = browser.cookies[COOKIE].split(".")[0]
    assert secret.startswith("glog_ss_")
    (started,) = await scene.world.events("session.started")
    assert started.event.sha256 == scene.world.services.format.read(secret).hex
    assert all(secret not in str(each) for each in await scene.world.events())


@pytest.mark.parametrize("value", ["", "x", "glog_ss_x.1.y", "..", "é.1.é", "a" * 5000, '"quoted"', "glog_ss_x.٣.y"])
async def test_a_cookie_that_is_none_of_ours_is_nobodys(scene: Scene, value: str) -> None:
    answer = await scene.world.client.get(
        scene.address(), headers=[(b"cookie", f"{COOKIE}={value}; {FORM_COOKIE}={value}".encode())]
    )
    assert answer.status_code == 200
    assert 'name="password"' in answer.text


async def test_a_session_of_one_realm_is_none_in_another(scene: Scene) -> None:
    await scene.world.define_role("administration", "reader", "profile", default=True)
    ada = await scene.world.register_person("ada", realm="administration")
    intern = await scene.world.register_client("Intern", realm="administration")
    browser = await scene.signed_in()
    assert (await browser.open(scene.address(intern))).form(SIGN_IN).fields["password"] == ""
    browser.client.cookies.set("grantlog-session-administration", browser.cookies[COOKIE], domain="127.0.0.1")
    page = await browser.open(scene.address(intern))
    page = await browser.press(page, SIGN_IN, username=ada.username, password=ada.password)
    assert page.form(CONSENT).buttons
    assert (await browser.open(scene.address())).form(CONSENT).buttons


# Ends -------------------------------------------------------------------------------------------------------------


async def signed_in_still(scene: Scene, browser: Browser) -> bool:
    page = await browser.open(scene.address())
    return any(form.buttons for form in page.forms)


async def test_an_idle_session_ends_and_a_busy_one_does_not(scene: Scene) -> None:
    settings, clock = scene.world.settings, scene.world.clock
    busy, idle = await scene.signed_in(), await scene.signed_in()
    stale = idle.cookies[COOKIE]
    for _ in range(3):
        clock.advance(settings.session_idle_lifetime - 1)
        assert await signed_in_still(scene, busy)
    assert not await signed_in_still(scene, idle)
    secret, used_at, seal = stale.split(".")
    forged = f"{secret}.{int(used_at) + 10**6}.{seal}"
    idle.client.cookies.set(COOKIE, forged, domain="127.0.0.1")
    assert not await signed_in_still(scene, idle)


async def test_no_session_outlives_its_absolute_lifetime(scene: Scene) -> None:
    settings, clock = scene.world.settings, scene.world.clock
    browser = await scene.signed_in()
    for _ in range(settings.session_absolute_lifetime // settings.session_idle_lifetime * 2 - 1):
        clock.advance(settings.session_idle_lifetime / 2)
        assert await signed_in_still(scene, browser)
    clock.advance(settings.session_idle_lifetime / 2)
    assert not await signed_in_still(scene, browser)


ENDS: list[Any] = [
    pytest.param(account.disable, {"leaves_no_administrator": False}, id="disabled"),
    pytest.param(account.erase, {"leaves_no_administrator": False}, id="erased"),
    pytest.param(
        account_sign_in.change_password,
        {"password_hash": "$argon2id$other", "role_scopes": {}, "caller_scope": None},
        id="password changed",
    ),
]


@pytest.mark.parametrize(("verb", "facts"), ENDS)
async def test_what_happens_to_the_account_ends_its_sessions(scene: Scene, verb: Any, facts: dict[str, Any]) -> None:
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    await scene.world.execute(Command(account.stream(scene.person.account_id), verb, facts))
    before = await scene.world.head()
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.form(SIGN_IN).fields["password"] == ""
    assert not await signed_in_still(scene, browser)
    assert await scene.world.head() == before


async def test_enabling_a_person_revives_no_session(scene: Scene) -> None:
    browser, stream = await scene.signed_in(), account.stream(scene.person.account_id)
    await scene.world.execute(Command(stream, account.disable, {"leaves_no_administrator": False}))
    await scene.world.execute(Command(stream, account.enable))
    assert not await signed_in_still(scene, browser)
    assert await signed_in_still(scene, await scene.signed_in())


async def test_sign_in_leads_only_to_known_places(scene: Scene) -> None:
    browser = scene.world.browser()
    for query in (
        "to=https://evil.example",
        "to=//evil.example",
        "to=",
        "realm=other",
        "realm=",
        "to=grants&to=account",
    ):
        page = await browser.open(f"{ACCOUNT_SIGN_IN}?{query}")
        assert (page.status, "location" in page.answer.headers) == (400, False)
