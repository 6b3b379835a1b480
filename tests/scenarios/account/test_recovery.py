"""A forgotten password: the same answer for every name, and a link that sets a new one, once."""

import re
from typing import Any

import pytest

from api.pages import recover
from api.throttling.limits import FORGET, Bucket
from commands import people
from domain import account
from domain.people.mailed import RECOVERY_LASTS
from eventstore.pending import mailed_links
from security.clock import SECOND
from tests.any_command import any_command
from tests.cases import cases
from tests.scenarios.asking import Scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.factors import SIGN_IN, enrol, sign_in
from tests.scenarios.letters import ReceivedLetter, delivered
from tests.scenarios.world import PASSWORD, Person, World

pytestmark = pytest.mark.anyio

RECOVER = "/account/recover"
NEW_PASSWORD = "/account/recover/password"
NEW = "an entirely different sentence"
SECRET = re.compile(r"glog_pr_[0-9A-Za-z]{36}")


async def ask(browser: Browser, name: str, realm: str = "platform") -> Page:
    page = await browser.open(f"{RECOVER}?realm={realm}")
    return await browser.press(page, RECOVER, username=name)


async def mailed(world: World, name: str) -> ReceivedLetter:
    assert (await ask(world.browser(), name)).status == 200
    (letter,) = await delivered(world)
    return letter


async def set_password(world: World, link: str, password: str = NEW) -> Page:
    browser = world.browser()
    return await browser.press(await browser.open(link), NEW_PASSWORD, password=password)


async def signs_in(world: World, person: Person, password: str) -> bool:
    browser = world.browser()
    page = await browser.open(f"{SIGN_IN}?realm={person.realm}")
    page = await browser.press(page, SIGN_IN, username=person.username, password=password)
    return "grantlog-session-platform" in browser.cookies


@pytest.fixture
async def paul(world: World) -> Person:
    return await world.register_person("paul", name="Paul <b>Baker</b>")


async def test_link_sets_a_password_and_everything_else_ends(scene: Scene) -> None:
    world, person = scene.world, scene.person
    browser = await scene.signed_in()
    tokens = await scene.redeem(await scene.approved(browser))
    before = await world.head()
    letter = await mailed(world, person.email)
    assert letter.to == person.email
    page = await set_password(world, letter.link)
    assert (page.status, "Your password is set" in page.text) == (200, True)
    told = await world.events(after=before)
    assert [each.type for each in told] == [
        "account.recovery_requested",
        "account.recovered",
        "account.password_changed",
    ]
    assert told[1].actor.id == person.account_id
    assert told[1].actor.credential.keys() == {"link_sha256"}
    assert not SECRET.search(str(told))
    assert NEW not in str(told)
    answer = await world.client.post("/oauth/introspect", data={"token": tokens["access_token"]}, auth=scene.shop.auth)
    assert answer.json() == {"active": False}
    assert (await browser.open("/account")).form(SIGN_IN).fields["password"] == ""
    assert not await signs_in(world, person, PASSWORD)
    assert await signs_in(world, person, NEW)


async def test_letter_says_it_twice_and_loads_nothing(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    assert letter.subject == "A new password"
    assert str(letter.message["List-Id"]) == "<account.127.0.0.1>"
    assert letter.message["Auto-Submitted"] == "auto-generated"
    assert letter.message["From"] == "no-reply@localhost"
    assert letter.link.startswith(f"{world.settings.issuer}{NEW_PASSWORD}?link=glog_pr_")
    assert letter.html.count(letter.link) == 2
    assert {each.rstrip(".") for each in re.findall(r"https?://[^/\"<\s]+", letter.html)} == {world.settings.issuer}
    assert "<img" not in letter.html
    assert "Hello Paul <b>Baker</b>," in letter.text
    assert "Hello Paul &lt;b&gt;Baker&lt;/b&gt;," in letter.html


async def test_letter_is_in_the_persons_language(world: World) -> None:
    await world.register_person("petra", claims={"locale": "de-AT"})
    letter = await mailed(world, "petra")
    assert letter.subject == "Ein neues Passwort"
    assert letter.message["Content-Language"] == "de"
    assert "Neues Passwort wählen" in letter.text


async def test_opening_the_link_does_nothing(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    before = await world.head()
    for _ in range(3):
        page = await world.browser().open(letter.link)
        assert page.form(NEW_PASSWORD).fields["password"] == ""
        assert "no-store" in page.answer.headers["cache-control"]
    assert await world.head() == before
    assert await signs_in(world, paul, PASSWORD)
    assert (await set_password(world, letter.link)).status == 200


async def test_link_counts_once(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    browser = world.browser()
    page = await browser.open(letter.link)
    assert (await set_password(world, letter.link)).status == 200
    assert (await browser.press(page, NEW_PASSWORD, password="one more sentence of mine")).status == 404
    assert (await world.browser().open(letter.link)).status == 404
    assert await signs_in(world, paul, NEW)


async def test_row_of_a_used_link_put_back_does_nothing(
    world: World, paul: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = await mailed(world, paul.username)
    monkeypatch.setattr(mailed_links, "forget", lambda *_: None)
    assert (await set_password(world, letter.link)).status == 200
    assert (await world.browser().open(letter.link)).status == 404


async def test_link_ends_after_fifteen_minutes(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    world.clock.advance(RECOVERY_LASTS - 1)
    browser = world.browser()
    page = await browser.open(letter.link)
    assert page.status == 200
    world.clock.advance(1)
    assert (await browser.press(page, NEW_PASSWORD, password=NEW)).status == 404
    assert await signs_in(world, paul, PASSWORD)


async def test_new_link_ends_the_one_before(world: World, paul: Person) -> None:
    first, second = await mailed(world, paul.username), await mailed(world, paul.email)
    assert (await world.browser().open(first.link)).status == 404
    assert (await set_password(world, second.link)).status == 200


async def test_a_password_set_meanwhile_ends_the_link(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    other = await world.services.hasher.hash("another sentence of his")
    facts: dict[str, Any] = {"password_hash": other, "role_scopes": {}, "caller_scope": frozenset()}
    await world.execute(any_command(account.stream(paul.account_id), account.change_password, facts))
    assert (await world.browser().open(letter.link)).status == 404


async def test_another_address_meanwhile_ends_the_link(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    facts: dict[str, Any] = {"email": "paul@elsewhere.test", "role_scopes": {}, "caller_scope": None}
    await world.execute(any_command(account.stream(paul.account_id), account.change_profile, facts))
    assert (await world.browser().open(letter.link)).status == 404
    assert (await set_password(world, (await mailed(world, paul.username)).link)).status == 200


async def test_there_are_three_links_an_hour(world: World, paul: Person) -> None:
    for name in (paul.username, paul.email, paul.username):
        await mailed(world, name)
    for name in (paul.username, paul.email):
        assert (await ask(world.browser(), name)).status == 200
        assert await delivered(world) == []
    world.clock.advance(3600)
    await mailed(world, paul.username)


async def test_second_factor_is_asked_for_after_it(world: World, paul: Person) -> None:
    generator = await enrol(world, paul)
    letter = await mailed(world, paul.username)
    assert (await set_password(world, letter.link)).status == 200
    changed = Person(paul.account_id, paul.realm, paul.username, NEW)
    browser = world.browser()
    page = await sign_in(world, changed, browser)
    assert "grantlog-session-platform" not in browser.cookies
    await browser.press(page, SIGN_IN, code=generator.next())
    assert "grantlog-session-platform" in browser.cookies


@cases("password", ["short", "password1234", "paul@example.test"])
async def test_weak_passwords_are_refused_and_the_link_stays(world: World, paul: Person, password: str) -> None:
    letter = await mailed(world, paul.username)
    page = await set_password(world, letter.link, password)
    assert page.status == 400
    assert password not in page.text.replace(paul.username, "")
    assert (await set_password(world, letter.link)).status == 200


@cases("text", ["", "x", "glog_pr_" + "0" * 36, "x" * 5000, "glog_at_" + "0" * 36])
async def test_what_is_no_link_is_not_found(world: World, text: str) -> None:
    answer = await world.client.get(NEW_PASSWORD, params={"link": text})
    assert answer.status_code == 404
    assert (await world.client.post(NEW_PASSWORD, data={"link": text, "password": NEW})).status_code in (403, 404)


async def test_names_of_all_kinds_look_alike(world: World, paul: Person) -> None:
    elsewhere = await world.register_person("ada", realm="administration")
    off = await world.register_person("paula")
    disabled = any_command(account.stream(off.account_id), account.disable, {"leaves_no_administrator": False})
    gone = await world.register_person("pauline")
    await world.execute(disabled)
    await world.execute(people.erase(gone.account_id, vault=world.services.ledger.vault))
    found, texts = {}, set()
    for n, name in enumerate(
        (
            paul.username,
            paul.email.upper(),
            "nobody",
            "nobody@example.test",
            elsewhere.username,
            off.username,
            gone.email,
            "n" * 400,
        )
    ):
        browser, before, sizes = world.browser(f"198.51.100.{n}"), await world.head(), []
        for _ in range(5):
            page = await ask(browser, name)
            texts.add((page.status, page.text))
            sizes.append(await world.head() - before)
        world.clock.advance(max(world.settings.grouped_window, FORGET // SECOND))
        await world.services.repeated_facts.close_elapsed()
        found[name] = (*sizes, await world.head() - before)
    assert set(found.values()) == {(1, 1, 1, 1, 1, 2)}, found
    assert len(texts) == 1
    assert {letter.to for letter in await delivered(world)} <= {paul.email}


async def test_one_address_asks_for_so_many_links(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "ASKED_FROM_ONE_ADDRESS", Bucket(2, 60 * SECOND))
    browser = world.browser()
    page = await browser.open(RECOVER)
    answers = [await browser.press(page, RECOVER, username=f"nobody{n}") for n in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert int(answers[2].answer.headers["retry-after"]) > 0
    assert (await ask(world.browser("198.51.100.1"), "nobody")).status == 200


async def test_there_is_room_for_so_many_links(world: World, paul: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailed_links, "ROOM", 1)
    assert (await ask(world.browser(), "nobody")).status == 200
    assert (await ask(world.browser(), paul.username)).status == 503
    world.clock.advance(3600)
    assert (await ask(world.browser(), paul.username)).status == 200


async def test_foreign_forms_do_nothing(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    before = await world.head()
    for path, data in ((RECOVER, {"username": paul.username}), (NEW_PASSWORD, {"link": letter.link, "password": NEW})):
        answer = await world.client.post(path, data=data, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403
    assert (await world.client.post(RECOVER, data={"username": paul.username})).status_code == 403
    assert await world.head() == before


async def test_reported_link_is_ended(world: World, paul: Person) -> None:
    letter = await mailed(world, paul.username)
    answer = await world.client.post("/credentials/revoke", json={"credentials": [f"I found {letter.link}"]})
    assert answer.json() == {"accepted": 1, "damaged": 0}
    assert (await world.browser().open(letter.link)).status == 404


async def test_every_sign_in_page_leads_there(world: World) -> None:
    await make_dashboard(world, "board", realm="administration", scope=("clients:read",))
    for address, realm in (("/account/sign-in", "platform"), ("/dashboards/board", "administration")):
        assert f'href="{RECOVER}?realm={realm}"' in (await world.browser().open(address)).text


async def test_demo_says_where_mail_goes(world: World, paul: Person) -> None:
    assert "This is a demonstration" in (await ask(world.browser(), paul.username)).text


async def test_expired_links_go(world: World, paul: Person) -> None:
    await mailed(world, paul.username)
    ledger = world.services.ledger
    for seconds, left in ((3599, 0), (1, 1)):
        world.clock.advance(seconds)
        assert await ledger.maintain(mailed_links.prune, ledger.clock.now(), 10) == left


class TestWithoutMail:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"mail": "off"}

    async def test_there_is_no_recovery(self, world: World) -> None:
        assert (await world.client.get(RECOVER)).status_code == 404
        assert (await world.client.post(RECOVER, data={"username": "paul"})).status_code == 404
