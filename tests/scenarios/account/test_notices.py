"""What people are told of their accounts by mail, and what they choose not to be told."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert

from api.letters.noticing import NoticeWriter
from api.oauth.second_factor import LASTS
from commands import people
from commands.mailing import notices
from commands.mailing.notices import WAITING_AT_MOST
from domain.people.notices import SWITCHABLE
from projections import person_notices
from tests.scenarios.asking import Scene
from tests.scenarios.browser import Browser
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.factors import SIGN_IN, enrol
from tests.scenarios.letters import ReceivedLetter, delivered
from tests.scenarios.world import ADDRESS, Person, World

pytestmark = pytest.mark.anyio

NOTICES = "/account/notices"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
NEW_FIREFOX = FIREFOX.replace("128", "131")
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Safari/604.1"


async def told(world: World) -> list[ReceivedLetter]:
    """The letters that came since the last look, the index of the log being up to date."""
    await world.services.follower.follow()
    await NoticeWriter(world.services).distribute()
    return await delivered(world)


async def subjects(world: World) -> list[str]:
    return [letter.subject for letter in await told(world)]


async def sign_in(world: World, person: Person, address: str = ADDRESS, agent: str = FIREFOX) -> Browser:
    browser = world.browser(address)
    browser.client.headers["user-agent"] = agent
    page = await browser.open(f"{SIGN_IN}?realm={person.realm}")
    await browser.press(page, SIGN_IN, **person.typed)
    return browser


@pytest.fixture
async def paul(world: World) -> Person:
    return await world.register_person("paul")


async def test_first_sign_in_is_no_news_the_next_from_elsewhere_is(world: World, paul: Person) -> None:
    await sign_in(world, paul)
    assert await told(world) == []
    await sign_in(world, paul, "192.0.99.1", NEW_FIREFOX)
    assert await told(world) == []
    await sign_in(world, paul, "198.51.100.7")
    (letter,) = await told(world)
    assert letter.subject == "A new sign-in to your account"
    assert letter.to == paul.email
    for shown in ("198.51.100.7", FIREFOX, "1 January 2026", "/account/recover?realm=platform"):
        assert shown in letter.text
    await sign_in(world, paul, "198.51.200.7")
    assert await told(world) == []


async def test_new_device_is_told_and_no_block(world: World, paul: Person) -> None:
    await sign_in(world, paul)
    browser = await sign_in(world, paul, agent=PHONE)
    assert "grantlog-session-platform" in browser.cookies
    assert await subjects(world) == ["A new sign-in to your account"]


async def test_networks_of_the_sixth_version_are_wide(world: World, paul: Person) -> None:
    for address, news in (("2001:db8::1", 0), ("2001:db8:ffff::1", 0), ("2001:db9::1", 1)):
        await sign_in(world, paul, address)
        assert len(await told(world)) == news


async def test_dashboards_are_signed_in_to_as_well(world: World, paul: Person) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    board = await make_dashboard(world, "board", scope=("orders",))
    paula = await world.register_person("paula")
    await board.sign_in(paula)
    assert await told(world) == []
    await sign_in(world, paula, "198.51.100.7")
    assert await subjects(world) == ["A new sign-in to your account"]


async def test_changed_factors_are_told_without_exception(world: World, paul: Person) -> None:
    browser = await sign_in(world, paul)
    await browser.press(await browser.open(NOTICES), NOTICES)
    await enrol(world, paul)
    assert sorted(await subjects(world)) == ["A new sign-in to your account", "Your second factor was changed"]


async def test_a_row_that_cannot_be_looked_at_keeps_nobody_waiting(
    world: World, paul: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, broken = notices.concerned, 0
    token = await world.token("people:write")

    def concerned(folds: Any, privacy: Any, position: int) -> Any:
        if position == broken:
            raise ValueError("poisoned")
        return look(folds, privacy, position)

    monkeypatch.setattr(notices, "concerned", concerned)
    for password in ("another sentence of theirs", "and yet another of theirs"):
        answer = await world.client.post(
            f"/admin/people/{paul.account_id}/password",
            json={"password": password},
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 204
        broken = (await world.events("account.password_changed"))[0].position
    assert await subjects(world) == ["Your password was changed"]
    assert await world.services.ledger.read(person_notices.waiting, 10) == []


async def test_a_password_without_its_factor_is_told(world: World, paul: Person) -> None:
    generator = await enrol(world, paul)
    await told(world)
    browser = await sign_in(world, paul)
    page = await browser.open(f"{SIGN_IN}?realm={paul.realm}")
    page = await browser.press(page, SIGN_IN, **paul.typed)
    await browser.press(page, SIGN_IN, code=generator.code())
    assert await subjects(world) == ["A new sign-in to your account"]
    world.clock.advance(LASTS + 1)
    (letter,) = await told(world)
    assert letter.subject == "Somebody knows your password"
    for shown in (ADDRESS, FIREFOX, "1 January 2026"):
        assert shown in letter.text
    for _ in range(2 * WAITING_AT_MOST):
        await sign_in(world, paul)
    world.clock.advance(LASTS + 1)
    assert await subjects(world) == ["Somebody knows your password"] * WAITING_AT_MOST


async def letters_taken_back(world: World, person: Person, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a sign-in that ends with its factor looks for the letter about one that does not."""
    generator = await enrol(world, person)
    taken: list[str] = []
    monkeypatch.setattr("commands.factors.letters.remove", lambda _, letter_id: taken.append(letter_id))
    browser = await sign_in(world, person)
    page = await browser.open(f"{SIGN_IN}?realm={person.realm}")
    page = await browser.press(page, SIGN_IN, **person.typed)
    page = await browser.press(page, SIGN_IN, code=generator.code())
    assert not page.forms or "code" not in page.forms[0].fields
    return len(taken)


async def test_the_letter_about_a_left_sign_in_is_taken_back(
    world: World, paul: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await letters_taken_back(world, paul, monkeypatch) == 1


async def test_who_asks_to_be_erased_is_told(world: World, paul: Person) -> None:
    await world.execute(people.request_erasure(paul.account_id, 3_600))
    (letter,) = await told(world)
    assert letter.subject == "Your account is to be erased"


async def test_changed_password_is_told(world: World, paul: Person) -> None:
    token = await world.token("people:write")
    answer = await world.client.post(
        f"/admin/people/{paul.account_id}/password",
        json={"password": "another sentence of theirs"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 204
    assert await subjects(world) == ["Your password was changed"]


async def test_replayed_refresh_token_is_told(scene: Scene) -> None:
    world = scene.world
    tokens = await scene.redeem(await scene.approved(await scene.signed_in()))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for _ in range(2):
        await world.client.post("/oauth/token", data=form, auth=scene.shop.auth)
    assert await subjects(world) == ["An application of yours was signed out"]


async def contain(world: World, person: Person) -> None:
    token = await world.token("leaks:write")
    answer = await world.client.post(
        "/leaks/contain", json={"account_id": person.account_id}, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200, answer.text


async def test_containment_is_told_unless_that_is_switched_off(world: World, paul: Person) -> None:
    await contain(world, paul)
    assert await subjects(world) == ["Something of yours had leaked, and has ended"]
    browser = await sign_in(world, paul)
    page = await browser.open(NOTICES)
    assert page.text.count("checked") == len(SWITCHABLE)
    before = await world.head()
    kept: dict[str, str] = {name: "on" for name in SWITCHABLE if name != "contained"}
    form = page.form(NOTICES)
    form.fields = {"csrf": form.fields["csrf"], **kept}
    page = await browser.submit(form)
    assert page.text.count("checked") == len(SWITCHABLE) - 1
    (chosen,) = await world.events(after=before)
    assert (chosen.type, chosen.event.off) == ("account.notices_changed", ("contained",))
    await contain(world, paul)
    assert await told(world) == []


async def test_the_first_failed_factor_of_an_hour_is_told(world: World, paul: Person) -> None:
    await enrol(world, paul)
    await told(world)
    for _ in range(2):
        browser = await sign_in(world, paul)
        page = await browser.open(f"{SIGN_IN}?realm=platform")
        page = await browser.press(page, SIGN_IN, **paul.typed)
        await browser.press(page, SIGN_IN, code="000000")
        assert await subjects(world) in (["Somebody knows your password"], [])
    assert len(await world.events("account.factor_failed")) == 2


async def test_who_has_no_address_is_told_nothing(world: World) -> None:
    petra = await world.register_person("petra")
    token = await world.token("people:write")
    headers = {"authorization": f"Bearer {token}"}
    answer = await world.client.patch(f"/admin/people/{petra.account_id}", json={"email": None}, headers=headers)
    assert answer.status_code == 200
    await contain(world, petra)
    assert await told(world) == []


async def test_two_processes_tell_once(world: World, paul: Person) -> None:
    await contain(world, paul)
    await NoticeWriter(world.services).distribute()
    await NoticeWriter(world.services).distribute()
    assert len(await delivered(world)) == 1


class TestWithoutMail:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"mail": "off"}

    async def test_nothing_waits_and_nothing_can_be_chosen(self, world: World, paul: Person) -> None:
        await contain(world, paul)
        await NoticeWriter(world.services).distribute()
        assert await world.services.ledger.read(person_notices.waiting, 10) == []
        browser = await sign_in(world, paul)
        assert (await browser.open(NOTICES)).status == 404

    async def test_row_of_no_event_does_not_wait_for_ever(self, world: World, paul: Person) -> None:
        ledger = world.services.ledger
        await contain(world, paul)

        def put(connection: Connection) -> None:
            connection.execute(insert(person_notices.TABLE), [{"position": 10**6}, {"position": 10**12}])

        await ledger.tidy(put)
        for left in (2, 1, 0):
            await NoticeWriter(world.services).distribute()
            assert len(await ledger.read(person_notices.waiting, 10)) == left

    async def test_no_letter_is_taken_back(self, world: World, paul: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        assert await letters_taken_back(world, paul, monkeypatch) == 0
