"""E-mail addresses: verified by a link, and changed when they are confirmed at both ends."""

from typing import Any

import pytest

from domain.people.email_address import CONFIRMATION_LASTS
from tests.cases import cases
from tests.scenarios.account.test_notices import sign_in
from tests.scenarios.account.test_recovery import NEW_PASSWORD
from tests.scenarios.browser import Browser, Page
from tests.scenarios.letters import ReceivedLetter, delivered
from tests.scenarios.world import PASSWORD, Person, World

pytestmark = pytest.mark.anyio

EMAIL = "/account/email"
VERIFY = "/account/email/verify"
CONFIRM = "/account/email/confirm"
NEW = "paul@new.example.test"


@pytest.fixture
async def paul(world: World) -> Person:
    return await world.register_person("paul")


async def claims(world: World, person: Person) -> dict[str, Any]:
    token = await world.token("people:read", "audit:personal")
    answer = await world.client.get(f"/admin/people/{person.account_id}", headers={"authorization": f"Bearer {token}"})
    found: dict[str, Any] = answer.json()
    return found


async def follow(world: World, letter: ReceivedLetter) -> Page:
    browser = world.browser()
    page = await browser.open(letter.link)
    return page if page.status == 404 else await browser.press(page, CONFIRM)


async def ask(browser: Browser, email: str = NEW, password: str = PASSWORD) -> Page:
    return await browser.press(await browser.open(EMAIL), EMAIL, email=email, current_password=password)


async def letters_of_change(world: World) -> tuple[ReceivedLetter, ReceivedLetter]:
    """To the present address, and to the new one."""
    found = {letter.to: letter for letter in await delivered(world)}
    return found["paul@example.test"], found[NEW]


async def test_link_verifies_the_address_once(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    page = await browser.press(await browser.open(EMAIL), VERIFY)
    assert "A link is on its way" in page.text
    (letter,) = await delivered(world)
    assert (letter.to, letter.subject) == (paul.email, "Is this your address?")
    before = await world.head()
    assert (await world.browser().open(letter.link)).status == 200
    assert await world.head() == before
    assert (await claims(world, paul))["email_verified"] is not True
    before = await world.head()
    assert "is verified" in (await follow(world, letter)).text
    told = await world.events(after=before)
    assert [each.type for each in told] == ["account.email_verified", "account.profile_changed"]
    assert (await claims(world, paul))["email_verified"] is True
    assert VERIFY not in (await browser.open(EMAIL)).text
    assert (await world.browser().open(letter.link)).status == 404


async def test_links_last_a_day_and_open_nothing_else(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    await browser.press(await browser.open(EMAIL), VERIFY)
    (letter,) = await delivered(world)
    assert (await world.browser().open(letter.link.replace(CONFIRM, NEW_PASSWORD))).status == 404
    world.clock.advance(CONFIRMATION_LASTS)
    assert (await world.browser().open(letter.link)).status == 404


@pytest.mark.parametrize("new_first", [True, False])
async def test_address_changes_when_both_agree(world: World, paul: Person, *, new_first: bool) -> None:
    browser = await sign_in(world, paul)
    assert "both addresses" in (await ask(browser)).text
    present, new = await letters_of_change(world)
    assert NEW in present.text
    assert paul.email not in new.text
    first, second = (new, present) if new_first else (present, new)
    before = await world.head()
    assert "as soon as" in (await follow(world, first)).text
    assert (await claims(world, paul))["email"] == paul.email
    assert (await world.types_after(before))[0] == "account.email_change_confirmed"
    assert (await follow(world, first)).status == 404
    before = await world.head()
    assert "is verified" in (await follow(world, second)).text
    told = await world.events(after=before)
    assert [each.type for each in told] == ["account.email_change_confirmed", "account.profile_changed"]
    assert NEW not in str(told)
    changed = await claims(world, paul)
    assert (changed["email"], changed["email_verified"]) == (NEW, True)


async def test_nobody_learns_whose_an_address_is_without_its_mail(world: World, paul: Person) -> None:
    petra = await world.register_person("petra")
    browser = await sign_in(world, paul)
    free = await ask(browser)
    taken = await ask(browser, petra.email)
    assert (free.status, free.text.replace(NEW, "")) == (taken.status, taken.text.replace(petra.email, ""))
    found = {letter.to: letter for letter in await delivered(world)}
    assert set(found) >= {petra.email}
    mine = await ask(browser, petra.email)
    assert mine.status == 200
    letters = await delivered(world)
    pages = [await follow(world, letter) for letter in letters]
    assert sorted(page.status for page in pages)[0] == 200
    assert (await claims(world, paul))["email"] == paul.email
    assert (await claims(world, petra))["email"] == petra.email


async def test_present_password_is_asked_for(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    page = await ask(browser, password="not his password at all")
    assert page.status == 400
    assert await delivered(world) == []


@cases("email", ["paul", "a@b@c", "p@x\n.test", "x" * 400 + "@example.test", "\x00@example.test"])
async def test_what_is_no_address_is_refused(world: World, paul: Person, email: str) -> None:
    browser = await sign_in(world, paul)
    assert (await ask(browser, email)).status == 400
    assert await delivered(world) == []


async def test_newer_change_ends_the_one_before(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    await ask(browser, "first@example.test")
    older = await delivered(world)
    await ask(browser)
    for letter in older:
        assert (await world.browser().open(letter.link)).status == 404
    for letter in await letters_of_change(world):
        assert (await follow(world, letter)).status == 200
    assert (await claims(world, paul))["email"] == NEW


async def test_administrators_change_of_it_ends_a_change_under_way(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    await ask(browser)
    token = await world.token("people:write")
    headers = {"authorization": f"Bearer {token}"}
    body = {"email": "third@example.test"}
    answer = await world.client.patch(f"/admin/people/{paul.account_id}", json=body, headers=headers)
    assert answer.status_code == 200
    for letter in await delivered(world):
        assert (await follow(world, letter)).status == 404
    assert (await claims(world, paul))["email"] == "third@example.test"


async def test_there_are_three_letters_an_hour(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    page = await browser.open(EMAIL)
    for _ in range(3):
        assert (await browser.press(page, VERIFY)).status == 200
    assert (await browser.press(page, VERIFY)).status == 409
    assert len(await delivered(world)) == 3


async def test_foreign_forms_confirm_nothing(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    await browser.press(await browser.open(EMAIL), VERIFY)
    (letter,) = await delivered(world)
    before = await world.head()
    link = letter.link.partition("link=")[2]
    answer = await world.client.post(CONFIRM, data={"link": link}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    await world.client.post(CONFIRM, data={"link": link})
    assert await world.head() == before


@cases("text", ["", "x", "glog_ev_" + "0" * 36, "x" * 5000, "glog_pr_" + "0" * 36])
async def test_what_is_no_link_is_not_found(world: World, text: str) -> None:
    assert (await world.client.get(CONFIRM, params={"link": text})).status_code == 404
    assert (await world.client.post(CONFIRM, data={"link": text})).status_code == 404
