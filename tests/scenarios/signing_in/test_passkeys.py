"""Passkeys (Web Authentication Level 3): alone, beside a password, at dashboards; and what is refused."""

import dataclasses
import html
import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from api.letters.noticing import NoticeWriter
from api.oauth.passkeys import tell_of_dead
from commands import people as commands
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.browser import Browser, Form, Page
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.factors import FACTORS, SIGN_IN, TOTP, Generator
from tests.scenarios.letters import delivered
from tests.scenarios.signing_in.authenticator import Authenticator
from tests.scenarios.world import Person, World

HERE = "http://localhost:8400"
PASSKEYS = f"{FACTORS}/passkeys"
COOKIE = "grantlog-session-platform"


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"issuer": HERE}


def options_of(page: Page) -> dict[str, Any]:
    (found,) = re.findall(r'data-options="([^"]*)"', page.text)
    options: dict[str, Any] = json.loads(html.unescape(found))
    return options


def form_of(page: Page) -> Form:
    (found,) = [form for form in page.forms if "passkey" in form.fields]
    return found


def typing(page: Page) -> Form:
    return next(form for form in page.forms if "passkey" not in form.fields)


async def answered(browser: Browser, page: Page, credential: Any, **typed: str) -> Page:
    text = credential if isinstance(credential, str) else json.dumps(credential)
    return await browser.submit(form_of(page), None, passkey=text, **typed)


async def signed_in(world: World, person: Person) -> Browser:
    browser = world.browser()
    page = await browser.open(f"{SIGN_IN}?realm={person.realm}&to=factors")
    page = await browser.submit(typing(page), None, **person.typed)
    assert "Your second factor" in page.text
    return browser


async def enrolled(world: World, person: Person, device: Authenticator, browser: Browser | None = None) -> Page:
    browser = browser or await signed_in(world, person)
    page = await browser.open(f"{PASSKEYS}?realm={person.realm}")
    page = await answered(browser, page, device.create(options_of(page)), name="Telephone")
    assert page.status == 200, page.text
    return page


@pytest.fixture
def device() -> Authenticator:
    return Authenticator(HERE)


async def test_enrolment_comes_with_recovery_codes(scene: Scene, device: Authenticator) -> None:
    world, browser = scene.world, await signed_in(scene.world, scene.person)
    page = await enrolled(world, scene.person, device, browser)
    assert len(re.findall(r"[a-z2-9]{4}(?:-[a-z2-9]{4}){3}", page.text)) == 10
    made, issued, proved = (await world.events())[-3:]
    assert [each.type for each in (made, issued, proved)] == [
        "account.passkey_enrolled",
        "account.recovery_codes_issued",
        "session.stepped_up",
    ]
    assert (made.event.rp_id, proved.event.amr) == ("localhost", ("pwd", "hwk", "mfa"))
    page = await browser.open(FACTORS)
    assert "Telephone" in page.text
    again = await browser.open(PASSKEYS)
    assert options_of(again)["excludeCredentials"][0]["id"]
    # The same device once more.
    refused = await answered(browser, again, device.create(options_of(again)), name="Again")
    assert refused.status == 200
    assert len(await world.events("account.passkey_enrolled")) == 1


async def test_a_passkey_alone_signs_in(scene: Scene, device: Authenticator) -> None:
    await enrolled(scene.world, scene.person, device)
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    assert options_of(page)["userVerification"] == "required"
    assert "script-src 'self'" in page.answer.headers["content-security-policy"]
    page = await answered(browser, page, device.get(options_of(page)))
    assert APPROVE in page.form(CONSENT).buttons
    verified, begun = (await scene.world.events())[-2:]
    assert (verified.type, begun.type) == ("account.factor_verified", "session.started")
    assert begun.event.amr == ("hwk", "user", "mfa")
    tokens = await scene.redeem(await browser.press(page, CONSENT, APPROVE))
    assert tokens["scope"]


async def test_a_passkey_of_several_devices_is_in_software(scene: Scene, device: Authenticator) -> None:
    """RFC 8176 §2, by the flag of Web Authentication §6.1.3."""
    device.shares = True
    await enrolled(scene.world, scene.person, device)
    assert (await scene.world.events("session.stepped_up"))[-1].event.amr == ("pwd", "swk", "mfa")
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    await answered(browser, page, device.get(options_of(page)))
    assert (await scene.world.events("session.started"))[-1].event.amr == ("swk", "user", "mfa")


async def test_a_challenge_counts_once(scene: Scene, device: Authenticator) -> None:
    world = scene.world
    await enrolled(world, scene.person, device)
    browser = world.browser()
    page = await browser.open(scene.address())
    form, signed = form_of(page), device.get(options_of(page))
    before = dict(browser.client.cookies)
    answers = [await answered(browser, page, signed)]
    # The same browser as it was before: its form is genuine, and its challenge was for this very form.
    again = world.browser()
    again.client.cookies.update(before)
    answers.append(await again.submit(form, passkey=json.dumps(signed)))
    assert [answer.status for answer in answers] == [200, 401]
    # In another browser it was for another form.
    other = world.browser()
    assert (await answered(other, await other.open(scene.address()), signed)).status == 401
    assert len(await world.events("session.started")) == 2


async def test_a_sent_answer_is_worth_nothing_again(scene: Scene, device: Authenticator) -> None:
    world = scene.world
    await enrolled(world, scene.person, device)
    browser = world.browser()
    page = await browser.submit(typing(await browser.open(scene.address())), None, **scene.person.typed)
    signed, form = device.get(options_of(page)), form_of(page)
    await browser.submit(form, passkey=json.dumps(signed))
    started = len(await world.events("session.started"))
    kept = {name: value for name, value in browser.cookies.items() if name != "grantlog-form"}
    assert kept
    repeated = await browser.submit(form, passkey=json.dumps(signed))
    assert repeated.status == 403
    assert len(await world.events("session.started")) == started


async def test_without_verification_it_is_no_second_factor_alone(scene: Scene, device: Authenticator) -> None:
    world = scene.world
    device.verifies = False
    await enrolled(world, scene.person, device)
    browser = world.browser()
    page = await browser.open(scene.address())
    refused = await answered(browser, page, device.get(options_of(page)))
    assert refused.status == 401
    assert "That passkey does not sign in here" in refused.text
    (failed,) = await world.events("account.sign_in_failed")
    assert failed.event.reason == "wrong_passkey"
    page = await browser.submit(typing(refused), None, **scene.person.typed)
    assert options_of(page)["allowCredentials"]
    page = await answered(browser, page, device.get(options_of(page)))
    assert APPROVE in page.form(CONSENT).buttons
    assert (await world.events("session.started"))[-1].event.amr == ("pwd", "hwk", "mfa")


async def test_whose_passkey_it_is_not_signs_nobody_in(scene: Scene, device: Authenticator) -> None:
    world = scene.world
    await enrolled(world, scene.person, device)
    other = await world.register_person("eve")
    await enrolled(world, other, Authenticator(HERE, credential_id=b"another"))
    for attempt in (
        Authenticator(HERE, rp_id="localhost", handle=device.handle),
        Authenticator("https://evil.example", rp_id="localhost", handle=device.handle, key=device.key),
        Authenticator(HERE, rp_id="evil.example", handle=device.handle, key=device.key),
        Authenticator(HERE, rp_id="localhost", handle=other.account_id.encode(), key=device.key),
        Authenticator(HERE, rp_id="localhost", handle=b"nobody", key=device.key),
        Authenticator(HERE, rp_id="localhost", handle=b"", key=device.key),
    ):
        browser = world.browser()
        page = await browser.open(scene.address())
        page = await answered(browser, page, attempt.get(options_of(page)))
        assert page.status == 401
        assert COOKIE not in browser.cookies
    for text in (
        "x",
        "[]",
        "{}",
        '{"id": 1}',
        '{"a":' * 40,
        "\ud800".encode("utf-8", "replace").decode(),
        "{" * 20_000,
    ):
        page = await world.browser().open(scene.address())
        browser = world.browser()
        page = await answered(browser, await browser.open(scene.address()), text)
        assert page.status in (400, 401), text
    # Failures that need no password keep nobody out.
    assert not await world.events("account.factor_failed")


async def test_a_copied_passkey_is_an_alarm(scene: Scene) -> None:
    world, device = scene.world, Authenticator(HERE, counts=True, sign_count=4)
    await enrolled(world, scene.person, device)
    browser = world.browser()
    page = await browser.open(scene.address())
    device.sign_count = 2
    assert (await answered(browser, page, device.get(options_of(page)))).status == 401
    await world.services.follower.follow()
    await NoticeWriter(world.services).distribute()
    assert "A passkey of yours was refused" in [letter.subject for letter in await delivered(world)]
    (alarm,) = await world.events("account.passkey_counter_reversed")
    assert (alarm.event.known, alarm.event.shown) == (4, 3)
    device.sign_count = 10
    page = await browser.open(scene.address())
    assert APPROVE in (await answered(browser, page, device.get(options_of(page)))).form(CONSENT).buttons


async def test_who_renames_the_server_hears_of_dead_passkeys(scene: Scene, device: Authenticator) -> None:
    await enrolled(scene.world, scene.person, device)
    services = scene.world.services
    await services.search_index.follow()
    assert await tell_of_dead(services) == 0
    renamed = replace(services.settings, issuer="http://login.localhost:8400")
    assert await tell_of_dead(dataclasses.replace(services, settings=renamed)) == 1


async def test_a_person_who_may_not_sign_in_does_not_by_passkey(scene: Scene, device: Authenticator) -> None:
    world = scene.world
    await enrolled(world, scene.person, device)
    await world.execute(commands.disable(scene.person.account_id))
    browser = world.browser()
    page = await browser.open(scene.address())
    assert (await answered(browser, page, device.get(options_of(page)))).status == 401
    assert COOKIE not in browser.cookies


async def test_a_passkey_at_a_dashboard(world: World, device: Authenticator) -> None:
    platform = await make_platform(world)
    await enrolled(world, platform.paul, device)
    answer = await platform.client.login(platform.paul)
    body = answer.json()
    assert (answer.status_code, body["factors"]) == (403, ["webauthn", "recovery_code"])
    assert body["webauthn"]["rpId"] == "localhost"
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    headers = {"cookie": f"{name}={value}", "origin": platform.client.origin}
    path = f"/dashboards/{platform.client.slug}/login"

    async def show(credential: Any) -> Any:
        sent = {"auth_session": body["auth_session"], "webauthn": credential}
        return await world.caller().post(path, json=sent, headers=headers)

    for wrong in ({"id": 1}, device.get(body["webauthn"]) | {"id": "AAAA"}):
        refused = await show(wrong)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_authorization")
        assert refused.json()["webauthn"]["challenge"] != body["webauthn"]["challenge"]
    # Signed on the dashboard's own page, which is of another origin than the server.
    device.origin = platform.client.origin
    signed = device.get(body["webauthn"])
    assert (await show(signed)).status_code == 200
    assert (await show(signed)).status_code == 403
    issued = (await world.events("grant.tokens_issued"))[-1]
    assert issued.event.amr == ("pwd", "hwk", "mfa")


async def test_a_passkey_is_taken_away_and_erased(scene: Scene, device: Authenticator) -> None:
    world, browser = scene.world, await signed_in(scene.world, scene.person)
    await enrolled(world, scene.person, device, browser)
    page = await browser.open(FACTORS)
    (form,) = [each for each in page.forms if each.fields.get("factor_id")]
    page = await browser.submit(form)
    assert "Telephone" not in page.text
    page = await world.browser().open(scene.address())
    browser = world.browser()
    page = await browser.open(scene.address())
    assert (await answered(browser, page, device.get(options_of(page)))).status == 401
    browser = await signed_in(world, scene.person)
    await enrolled(world, scene.person, device, browser)
    token = await world.token("people:write")
    gone = await world.client.delete(
        f"/admin/people/{scene.person.account_id}", headers={"authorization": f"Bearer {token}"}
    )
    assert gone.status_code == 204
    state = await world.services.ledger.state(f"account:{scene.person.account_id}")
    assert not state.factors.enrolled


async def test_a_generator_beside_a_passkey(scene: Scene, device: Authenticator) -> None:
    world, browser = scene.world, await signed_in(scene.world, scene.person)
    await enrolled(world, scene.person, device, browser)
    assert "Set up a generator of codes" in (await browser.open(FACTORS)).text
    page = await browser.open(TOTP)
    (secret,) = re.findall(r'<code class="figures">([A-Z2-7 ]+)</code>', page.text)
    generator = Generator(world, secret.replace(" ", ""), [])
    # There are recovery codes already, so none come with it.
    page = await browser.press(page, TOTP, code=generator.code())
    assert "Recovery codes left" in page.text
    assert len(await world.events("account.recovery_codes_issued")) == 1
    other = world.browser()
    page = await other.submit(typing(await other.open(scene.address())), None, **scene.person.typed)
    page = await other.submit(typing(page), code=generator.next())
    assert APPROVE in page.form(CONSENT).buttons


async def test_origins_of_dashboards_are_told(world: World) -> None:
    await make_platform(world)
    answer = await world.client.get("/.well-known/webauthn")
    assert answer.status_code == 200
    assert answer.json() == {"origins": []} or all(each.startswith("http") for each in answer.json()["origins"])


class TestOnAnAddress:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"issuer": "http://127.0.0.1:8400"}

    async def test_there_are_no_passkeys_and_the_page_says_so(self, scene: Scene) -> None:
        browser = await scene.signed_in()
        assert "Browsers allow no passkeys at this address" in (await browser.open(FACTORS)).text
        page = await browser.open(PASSKEYS)
        assert "Browsers allow no passkeys at this address" in page.text
        assert "script-src" not in page.answer.headers["content-security-policy"]
        assert "data-options" not in (await scene.world.browser().open(scene.address())).text
        assert (await scene.world.client.get("/.well-known/webauthn")).json() == {"origins": []}
