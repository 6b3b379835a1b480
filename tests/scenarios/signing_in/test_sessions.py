"""Staying signed in: whose browser it is, and for how long."""

from pathlib import Path
from typing import Any

import pytest

from domain import account
from security.keyring import Keyring
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.asking import APPROVE, CONSENT, SIGN_IN, Scene, set_scene
from tests.scenarios.browser import Browser
from tests.scenarios.world import ENABLES_PERSON, open_world

COOKIE = "grantlog-session-platform"
FORM_COOKIE = "grantlog-form"
ACCOUNT_SIGN_IN = "/account/sign-in"


# Cookies ----------------------------------------------------------------------------------------------------------


async def test_cookies_of_a_loopback_server(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    answer = await browser.client.post(
        page.form(SIGN_IN).action, data={**page.form(SIGN_IN).fields, **scene.person.typed}
    )
    for cookie in answer.headers.get_list("set-cookie") + page.answer.headers.get_list("set-cookie"):
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "path=/", "samesite=lax"} <= parts
        assert "secure" not in parts
        assert not any(part.startswith("domain") for part in parts)


async def test_cookies_of_an_https_server(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, issuer="https://login.example") as world:
        scene = await set_scene(world)
        browser = await scene.signed_in()
        assert sorted(browser.cookies) == ["__Host-grantlog-device", "__Host-grantlog-session-platform"]
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


@cases("value", ["", "x", "glog_ss_x.1.y", "..", "é.1.é", "a" * 5000, '"quoted"', "glog_ss_x.٣.y"])
async def test_a_cookie_that_is_none_of_ours_is_nobodys(scene: Scene, value: str) -> None:
    answer = await scene.world.client.get(
        scene.address(), headers=[(b"cookie", f"{COOKIE}={value}; {FORM_COOKIE}={value}".encode())]
    )
    assert answer.status_code == 200
    assert 'name="password"' in answer.text


async def test_a_session_of_one_realm_is_none_in_another(scene: Scene) -> None:
    await scene.world.define_role("administration", "reader", "orders", default=True)
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
        account.change_password,
        {"password_hash": "$argon2id$other", "role_scopes": {}, "caller_scope": frozenset()},
        id="password changed",
    ),
]


@pytest.mark.parametrize(("verb", "facts"), ENDS)
async def test_what_happens_to_the_account_ends_its_sessions(scene: Scene, verb: Any, facts: dict[str, Any]) -> None:
    browser = await scene.signed_in()
    page = await browser.open(scene.address())
    await scene.world.execute(any_command(account.stream(scene.person.account_id), verb, facts))
    before = await scene.world.head()
    page = await browser.press(page, CONSENT, APPROVE)
    assert page.form(SIGN_IN).fields["password"] == ""
    assert not await signed_in_still(scene, browser)
    assert await scene.world.head() == before


async def test_enabling_a_person_revives_no_session(scene: Scene) -> None:
    browser, stream = await scene.signed_in(), account.stream(scene.person.account_id)
    await scene.world.execute(any_command(stream, account.disable, {"leaves_no_administrator": False}))
    await scene.world.execute(any_command(stream, account.enable, ENABLES_PERSON))
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
