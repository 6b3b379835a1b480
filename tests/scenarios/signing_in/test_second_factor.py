"""A second factor beside the password: enrolled on the account pages, asked for at every sign-in of who has one."""

import asyncio
import re
from html import unescape

import segno
from sqlalchemy import select

from api.oauth import second_factor as page_of
from domain.grants.device_code import GRANT_TYPE as DEVICE_CODE
from eventstore import stored
from security.vault import SECRETS
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.asking import SIGN_IN as AUTHORIZE_SIGN_IN
from tests.scenarios.browser import Page
from tests.scenarios.devices import posted
from tests.scenarios.factors import FACTORS, SIGN_IN, TOTP, enrol, sign_in

COOKIE = "grantlog-session-platform"


def asks_factor(page: Page) -> bool:
    return "code" in page.forms[0].fields


async def test_enrolment_shows_recovery_codes_once(scene: Scene) -> None:
    browser = scene.world.browser()
    generator = await enrol(scene.world, scene.person, browser)
    assert len(set(generator.recovery_codes)) == 10
    enrolled, issued, proved = (await scene.world.events())[-3:]
    assert (enrolled.type, issued.type) == ("account.totp_enrolled", "account.recovery_codes_issued")
    assert (proved.type, proved.event.amr) == ("session.stepped_up", ("pwd", "otp", "mfa"))
    assert enrolled.actor.id == scene.person.account_id
    page = await browser.open(FACTORS)
    assert "Recovery codes left" in page.text
    assert not any(code in page.text for code in generator.recovery_codes)


async def test_nothing_of_a_factor_stands_in_the_log_or_vault(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)

    def rows(connection):
        log = connection.execute(select(stored.events.c.state)).scalars().all()
        kept = connection.execute(select(SECRETS.c.wrapped)).scalars().all()
        return "\n".join(map(str, log)) + "\n".join(bytes(each).decode("latin-1") for each in kept)

    whole = await scene.world.services.ledger.read(rows)
    assert generator.secret not in whole
    for code in generator.recovery_codes:
        assert code not in whole
        assert code.replace("-", "") not in whole


async def test_the_secret_is_shown_as_a_qr_code_too(scene: Scene) -> None:
    browser = scene.world.browser()
    await sign_in(scene.world, scene.person, browser, "factors")
    page = await browser.open(TOTP)
    (drawn,) = re.findall(r"<svg[^>]*>.*?</svg>", page.text, re.DOTALL)
    (uri,) = re.findall(r'href="(otpauth:[^"]*)"', page.text)
    wanted = segno.make_qr(unescape(uri), error="m").svg_inline(
        light="#fff", omitsize=True, svgclass=None, lineclass=None
    )
    assert drawn == wanted
    # The page's policy lets in no style of its own, so the picture has none.
    assert "style" not in drawn


async def test_wrong_code_enrols_nothing_and_keeps_the_secret(scene: Scene) -> None:
    browser = scene.world.browser()
    await sign_in(scene.world, scene.person, browser, "factors")
    page = await browser.open(TOTP)
    (secret,) = re.findall(r'<code class="figures">([A-Z2-7 ]+)</code>', page.text)
    again = await browser.press(page, TOTP, code="000000")
    assert again.status == 400
    assert secret in again.text
    assert (await browser.press(page, TOTP, code="12345", enrolment="AAAA")).status == 400
    assert not await scene.world.events("account.totp_enrolled")


async def test_enrolment_wants_a_recent_sign_in(scene: Scene) -> None:
    browser = await scene.signed_in()
    scene.world.clock.advance(scene.world.settings.recent_authentication + 1)
    page = await browser.open(TOTP)
    assert "password" in page.form(SIGN_IN).fields
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert "Your second factor" in page.text
    assert "enrolment" in (await browser.open(TOTP)).form(TOTP).fields
    assert len(await scene.world.events("session.stepped_up")) == 1


async def test_password_alone_signs_nobody_in_who_has_a_factor(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)
    browser, started = scene.world.browser(), len(await scene.world.events("session.started"))
    page = await browser.press(await browser.open(scene.address()), AUTHORIZE_SIGN_IN, **scene.person.typed)
    assert page.status == 200
    assert asks_factor(page)
    assert COOKIE not in browser.cookies
    assert len(await scene.world.events("session.started")) == started
    page = await browser.press(page, AUTHORIZE_SIGN_IN, code=generator.code())
    assert APPROVE in page.form(CONSENT).buttons
    verified, begun = (await scene.world.events())[-2:]
    assert (verified.type, begun.type) == ("account.factor_verified", "session.started")
    assert begun.event.amr == ("pwd", "otp", "mfa")


async def test_a_code_counts_once(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)
    code, pages = generator.code(), []
    for _ in range(3):
        browser = scene.world.browser()
        pages.append((browser, await sign_in(scene.world, scene.person, browser)))
    answers = await asyncio.gather(*(browser.press(page, SIGN_IN, code=code) for browser, page in pages))
    assert sorted(answer.status for answer in answers) == [200, 401, 401]
    assert len(await scene.world.events("account.factor_verified")) == 1
    assert {each.event.reason for each in await scene.world.events("account.factor_failed")} == {"used"}


async def test_a_recovery_code_counts_once(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)
    code = generator.recovery_codes[3]
    for typed, status in ((code.upper().replace("-", " "), 200), (code, 401)):
        browser = scene.world.browser()
        page = await sign_in(scene.world, scene.person, browser)
        assert (await browser.press(page, SIGN_IN, code=typed)).status == status
    state = await scene.world.services.ledger.state(f"account:{scene.person.account_id}")
    assert len(state.factors.recovery_codes) == 9


async def test_five_wrong_codes_end_a_sign_in_and_ten_slow_all(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)
    statuses = []
    for _ in range(2):
        browser = scene.world.browser()
        page = await sign_in(scene.world, scene.person, browser)
        for _ in range(5):
            page = await browser.press(page, SIGN_IN, code="000000")
            statuses.append(page.status)
            assert asks_factor(page)
    assert statuses == [401] * 10
    assert len(await scene.world.events("account.factor_failed")) == 10
    ended = await browser.press(page, SIGN_IN, code=generator.code())
    assert ended.status == 401
    other = scene.world.browser("198.51.100.9")
    page = await sign_in(scene.world, scene.person, other)
    slowed = await other.press(page, SIGN_IN, code=generator.code())
    assert slowed.status == 429
    assert int(slowed.answer.headers["retry-after"]) <= 3600
    assert len(await scene.world.events("account.factor_failed")) == 10
    # From an address that has tried none yet, a recovery code still counts; another one there does not.
    assert (await other.press(page, SIGN_IN, code="aaaa-aaaa-aaaa-aaaa")).status == 401
    assert (await other.press(page, SIGN_IN, code=generator.recovery_codes[0])).status == 429
    third = scene.world.browser("203.0.113.9")
    page = await sign_in(scene.world, scene.person, third)
    assert (await third.press(page, SIGN_IN, code=generator.recovery_codes[0])).status == 200
    scene.world.clock.advance(3601)
    page = await sign_in(scene.world, scene.person, other)
    assert (await other.press(page, SIGN_IN, code=generator.code())).status == 200


async def test_half_a_sign_in_is_of_one_browser_and_five_minutes(scene: Scene) -> None:
    generator = await enrol(scene.world, scene.person)
    browser, other = scene.world.browser(), scene.world.browser()
    page = await sign_in(scene.world, scene.person, browser)
    theirs = await sign_in(scene.world, scene.person, other)
    mixed = theirs.form(SIGN_IN)
    mixed.fields["auth_session"] = page.form(SIGN_IN).fields["auth_session"]
    assert (await other.submit(mixed, code=generator.code())).status == 403
    scene.world.clock.advance(page_of.LASTS + 1)
    assert (await browser.press(page, SIGN_IN, code=generator.code())).status == 403
    for forged in ("", "AAAA", "é", "A" * 2000):
        form = theirs.form(SIGN_IN)
        form.fields["auth_session"] = forged
        assert (await other.submit(form, code=generator.code())).status in (400, 403)
    assert COOKIE not in browser.cookies
    assert COOKIE not in other.cookies


async def test_a_factor_is_taken_away_by_who_showed_it(scene: Scene) -> None:
    browser = await scene.signed_in()
    generator = await enrol(scene.world, scene.person)
    page = await browser.press(await browser.open(FACTORS), f"{FACTORS}/remove")
    # The session began with the password alone.
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    page = await browser.press(page, SIGN_IN, code=generator.code())
    renewed = await browser.press(page, f"{FACTORS}/recovery-codes")
    assert not any(code in renewed.text for code in generator.recovery_codes)
    page = await browser.press(await browser.open(FACTORS), f"{FACTORS}/remove")
    assert "Set up a generator" in page.text
    assert await scene.world.events("account.factor_removed")
    assert (await sign_in(scene.world, scene.person, scene.world.browser())).status == 200
    ledger = scene.world.services.ledger
    assert await ledger.read(lambda connection: ledger.vault.secrets_like(connection, "totp:")) == {}


async def test_an_administrator_resets_a_factor(scene: Scene) -> None:
    await enrol(scene.world, scene.person)
    token = await scene.world.token("people:write")
    address = f"/admin/people/{scene.person.account_id}/factors/reset"
    for _ in range(2):
        answer = await scene.world.client.post(address, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
    assert len(await scene.world.events("account.factors_reset")) == 1
    page = await sign_in(scene.world, scene.person, scene.world.browser())
    assert "Your account" in page.text


async def test_time_travel_says_who_had_a_factor(scene: Scene) -> None:
    stream, factors = f"account:{scene.person.account_id}", "a generator of codes, 10 recovery codes"
    moments = [scene.world.services.ledger.changes.position]
    await enrol(scene.world, scene.person)
    moments.append(scene.world.services.ledger.changes.position)
    token = await scene.world.token("audit:read", "people:write")
    caller = scene.world.caller(headers={"authorization": f"Bearer {token}"})
    for command in ("factors/reset", "disable"):
        await caller.post(f"/admin/people/{scene.person.account_id}/{command}")
    moments.append(scene.world.services.ledger.changes.position)
    answers = [await caller.get(f"/audit/state/{stream}?position={position}") for position in moments]
    assert [answer.json()["meaning"] for answer in answers] == [
        "The person could sign in and had no second factor.",
        f"The person could sign in and had a second factor: {factors}.",
        "The person was disabled and had no second factor.",
    ]
    await caller.delete(f"/admin/people/{scene.person.account_id}")
    assert (await caller.get(f"/audit/state/{stream}")).json()["meaning"] == "The person had been erased."


async def test_erasure_takes_the_factor_with_it(scene: Scene) -> None:
    await enrol(scene.world, scene.person)
    token = await scene.world.token("people:write")
    address = f"/admin/people/{scene.person.account_id}"
    answer = await scene.world.client.delete(address, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 204
    ledger = scene.world.services.ledger
    assert await ledger.read(lambda connection: ledger.vault.secrets_like(connection, "totp:")) == {}
    state = await ledger.state(f"account:{scene.person.account_id}")
    assert not state.factors.enrolled


async def test_a_device_is_approved_with_the_factor_too(scene: Scene) -> None:
    world = scene.world
    television = await world.register_client("Television", public=True, grant_types=(DEVICE_CODE,), redirect_uris=())
    generator = await enrol(world, scene.person)
    asked = await posted(world, television, "/oauth/device_authorization", {"scope": "orders"})
    browser = world.browser()
    page = await browser.open("/device")
    page = await browser.press(page, "/device", user_code=asked.json()["user_code"])
    page = await browser.press(page, "/device/sign-in", **scene.person.typed)
    assert asks_factor(page)
    page = await browser.press(page, "/device/sign-in", code=generator.code())
    assert APPROVE in page.form("/device/decision").buttons
