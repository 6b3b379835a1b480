"""Signing in with a password, and what failing to tells, costs and leaves."""

import asyncio
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from domain import account
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from security.fair_queue import Asker
from security.keyring import Keyring
from security.passwords import Argon2Parameters, Hasher, HasherOverloaded, Verification
from tests.any_command import any_command
from tests.scenarios.asking import CONSENT, SIGN_IN, Scene, set_scene
from tests.scenarios.world import open_world

COOKIE = "grantlog-session-platform"


async def test_wrong_password_keeps_the_name_and_its_event_omits_it(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
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


async def test_unknown_name_wrong_password_and_disabled_look_alike(scene: Scene) -> None:
    other = await scene.world.register_person("ada", realm="administration")
    off = await scene.world.register_person("paula")
    facts = {"leaves_no_administrator": False}
    await scene.world.execute(any_command(account.stream(off.account_id), account.disable, facts))
    seen = set()
    for name, password in (
        (scene.person.username, "wrong"),
        ("nobody", "wrong"),
        (other.username, other.password),
        (off.username, off.password),
    ):
        browser = scene.world.browser()
        page = await browser.press(await browser.open(scene.address()), SIGN_IN, username=name, password=password)
        form = page.form(SIGN_IN).fields
        seen.add((page.status, page.text.replace(name, "…").replace(form["csrf"], "…")))
    assert len(seen) == 1
    assert len(await scene.world.events("realm.unknown_user_refused")) == 2
    assert await scene.world.events("session.*") == ()


async def test_what_is_missing_is_said(scene: Scene) -> None:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    before = await scene.world.head()
    for typed in ({"username": "", "password": "x"}, {"username": "paul", "password": ""}):
        assert (await browser.press(page, SIGN_IN, **typed)).status == 400
    assert await scene.world.head() == before


async def test_guessing_slows_the_guesser_and_nobody_else(scene: Scene) -> None:
    browser = scene.world.browser("198.51.100.1")
    page = await browser.open(scene.address())
    for _ in range(20):
        page = await browser.press(page, SIGN_IN, username=scene.person.username, password="wrong")
        if page.status != 401:
            break
    assert page.status == 429
    wait = int(page.answer.headers["retry-after"])
    assert str(wait) in page.text
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert page.status == 429
    assert (await scene.signed_in()).cookies
    scene.world.clock.advance(wait)
    assert (await browser.press(page, SIGN_IN, **scene.person.typed)).status == 200


@pytest.mark.parametrize("cause", [HasherOverloaded(), DatabaseAway("gone"), LedgerOverloaded()])
async def test_a_password_that_nobody_could_judge_was_no_wrong_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    async def busy(self: Hasher, *given: Any, **named: Any) -> Verification:
        raise cause

    browser = scene.world.browser()
    page = await browser.open(scene.address())
    with monkeypatch.context() as crowded:
        crowded.setattr(Hasher, "verify", busy)
        for _ in range(30):
            assert (await browser.press(page, SIGN_IN, **scene.person.typed)).status == 503
    assert (await browser.press(page, SIGN_IN, **scene.person.typed)).status == 200
    assert await scene.world.events("account.sign_in_failed") == ()


async def test_simultaneous_sign_ins_during_a_rehash_both_succeed(scene: Scene) -> None:
    weak = Hasher(Argon2Parameters(memory=64, passes=2, lanes=1))
    facts = {"password_hash": await weak.hash(scene.person.password), "role_scopes": {}, "caller_scope": frozenset()}
    weak.close()
    stream = account.stream(scene.person.account_id)
    await scene.world.execute(any_command(stream, account.change_password, facts))
    browsers = [scene.world.browser() for _ in range(4)]
    pages = [await browser.open(scene.address()) for browser in browsers]
    opened = [browser.press(page, SIGN_IN, **scene.person.typed) for browser, page in zip(browsers, pages, strict=True)]
    assert [page.status for page in await asyncio.gather(*opened)] == [200] * 4
    assert len(await scene.world.events("account.password_rehashed")) == 1
    assert len(await scene.world.events("session.started")) == 4


async def test_password_changed_during_its_rehash_opens_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = account.stream(scene.person.account_id)

    async def set_hash(encoded: str) -> None:
        facts = {"password_hash": encoded, "role_scopes": {}, "caller_scope": frozenset()}
        await scene.world.execute(any_command(stream, account.change_password, facts))

    weak, genuine = Hasher(Argon2Parameters(memory=64, passes=2, lanes=1)), Hasher.rehash
    await set_hash(await weak.hash(scene.person.password))
    another = await weak.hash("quite another password")
    weak.close()

    async def meanwhile(self: Hasher, password: str, asker: Asker) -> str:
        await set_hash(another)
        return await genuine(self, password, asker)

    browser = scene.world.browser()
    page = await browser.open(scene.address())
    with monkeypatch.context() as racing:
        racing.setattr(Hasher, "rehash", meanwhile)
        page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert COOKIE not in browser.cookies
    assert await scene.world.events("session.started") == ()
    assert await scene.world.events("account.password_rehashed") == ()
    typed = {"username": scene.person.username, "password": "quite another password"}
    assert (await browser.press(await browser.open(scene.address()), SIGN_IN, **typed)).status == 200
    # Undisturbed, it is renewed, and what was verified is what is compared under the lock.
    assert len(await scene.world.events("account.password_rehashed")) == 1
    assert len(await scene.world.events("session.started")) == 1


async def test_pages_are_throttled_by_address(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, public_burst=3, public_rate=1) as world:
        scene = await set_scene(world)
        statuses = [(await world.browser().open(scene.address())).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        page = await world.browser().open(scene.address())
        assert int(page.answer.headers["retry-after"]) > 0
        assert page.answer.headers["content-type"].startswith("text/html")
        assert (await world.browser("198.51.100.2").open(scene.address())).status == 200


async def test_a_right_password_gets_through_a_storm_of_wrong_ones(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads look at one password after the other, as a test that has begun them all says."""
    hasher, looked_at, may_go_on = scene.world.services.hasher, list[str](), Event()
    matches = hasher._matches

    def held(encoded: str, octets: bytes) -> bool:
        looked_at.append(octets.decode())
        may_go_on.wait()
        return matches(encoded, octets)

    monkeypatch.setattr(hasher, "_matches", held)
    stormy, at_home = scene.world.browser("198.51.100.1"), scene.world.browser()
    stormy_page, page = await stormy.open(scene.address()), await at_home.open(scene.address())
    wrong = [
        asyncio.ensure_future(stormy.press(stormy_page, SIGN_IN, username=f"user{n}", password=f"wrong {n}"))
        for n in range(25)
    ]
    while hasher.waiting < 24:
        await asyncio.sleep(0)
    right = asyncio.ensure_future(at_home.press(page, SIGN_IN, **scene.person.typed))
    # One thread is the storm's; the other one is free for whoever comes from elsewhere, and is taken at once.
    while len(looked_at) < 2:
        await asyncio.sleep(0)
    may_go_on.set()
    assert (await right).status == 200
    assert {page.status for page in await asyncio.gather(*wrong)} == {401}
    assert scene.person.password in looked_at[:2]


async def test_a_form_of_before_leads_on_who_signed_in_since(scene: Scene) -> None:
    """Two tabs have asked, and the person has signed in at one of them: the other one asks nothing more."""
    browser = scene.world.browser()
    first, second = [await browser.open(scene.address(state=name)) for name in ("first", "second")]
    await browser.press(first, SIGN_IN, **scene.person.typed)
    before = await scene.world.head()
    for spelling in (scene.person.username.upper(), scene.person.email):
        led = await browser.press(second, SIGN_IN, username=spelling, password=scene.person.password)
        assert (led.status, led.form(CONSENT).action.count("state=second")) == (200, 1)
    assert await scene.world.events("session.*", after=before) == ()


async def test_a_form_of_before_takes_nobody_for_another(scene: Scene) -> None:
    other, browser = await scene.world.register_person("petra"), scene.world.browser()
    first, second = [await browser.open(scene.address(state=name)) for name in ("first", "second")]
    await browser.press(first, SIGN_IN, **scene.person.typed)
    page = await browser.press(second, SIGN_IN, **other.typed)
    assert page.status == 403
    page = await browser.press(page, SIGN_IN, **other.typed)
    assert other.username in page.text


async def test_a_form_of_before_is_no_sign_in_that_is_asked_for(scene: Scene) -> None:
    browser = scene.world.browser()
    first, second = [await browser.open(scene.address(prompt="login", state=name)) for name in ("first", "second")]
    assert (await browser.press(first, SIGN_IN, **scene.person.typed)).status == 200
    assert (await browser.press(second, SIGN_IN, **scene.person.typed)).status == 403
    led = await browser.press(first, SIGN_IN, **scene.person.typed)
    assert "state=first" in led.form(CONSENT).action
