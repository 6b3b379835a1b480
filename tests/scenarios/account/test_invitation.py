"""People who are invited: an administrator has a link mailed, by which they choose a password."""

from typing import Any

import httpx
import pytest

from domain.people.mailed import INVITATION_LASTS
from tests.scenarios.account.test_recovery import NEW, NEW_PASSWORD, signs_in
from tests.scenarios.administration import ok, problem
from tests.scenarios.letters import delivered
from tests.scenarios.world import Person, World

pytestmark = pytest.mark.anyio

INVITATION = "/account/invitation"


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    token = await world.token("people:write", "people:read", "audit:personal")
    return world.caller(headers={"authorization": f"Bearer {token}"})


async def made(admin: httpx.AsyncClient, **given: Any) -> str:
    body = {"realm": "platform", "username": "petra", "email": "petra@example.test"} | given
    account_id: str = ok(await admin.post("/admin/people", json=body), 201)["id"]
    return account_id


async def test_invited_person_chooses_a_password(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin)
    before = await world.head()
    answer = ok(await admin.post(f"/admin/people/{account_id}/invite"), 200)
    assert (answer["id"], answer["username"]) == (account_id, "petra")
    assert await world.types_after(before) == ["account.invited"]
    (letter,) = await delivered(world)
    assert (letter.to, letter.subject) == ("petra@example.test", "Your account at 127.0.0.1:8400")
    browser = world.browser()
    page = await browser.open(letter.link)
    assert "For the account <strong><bdi>petra</bdi></strong>" in page.text
    assert await world.types_after(before) == ["account.invited"]
    page = await browser.press(page, INVITATION, password=NEW)
    assert page.status == 200
    accepted = (await world.events(after=before))[1:]
    assert [each.type for each in accepted] == [
        "account.invitation_accepted",
        "account.password_changed",
        "account.profile_changed",
    ]
    assert all(each.actor.id == account_id and "link_sha256" in (each.actor.credential or {}) for each in accepted)
    assert ok(await admin.get(f"/admin/people/{account_id}"), 200)["email_verified"] is True
    assert await signs_in(world, Person(account_id, "platform", "petra", NEW), NEW)
    assert (await world.browser().open(letter.link)).status == 404


async def test_invitation_lasts_a_week_and_opens_nothing_else(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin)
    await admin.post(f"/admin/people/{account_id}/invite")
    (letter,) = await delivered(world)
    assert (await world.browser().open(letter.link.replace(INVITATION, NEW_PASSWORD))).status == 404
    world.clock.advance(INVITATION_LASTS - 1)
    assert (await world.browser().open(letter.link)).status == 200
    world.clock.advance(1)
    assert (await world.browser().open(letter.link)).status == 404


async def test_a_newer_invitation_ends_the_one_before(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin)
    for _ in range(3):
        ok(await admin.post(f"/admin/people/{account_id}/invite"), 200)
    links = [letter.link for letter in await delivered(world)]
    statuses = sorted([(await world.browser().open(link)).status for link in links])
    assert statuses == [200, 404, 404]
    problem(await admin.post(f"/admin/people/{account_id}/invite"), 409)


async def test_invitation_ends_with_the_address_that_it_was_mailed_to(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin, email="mistyped@example.test")
    ok(await admin.post(f"/admin/people/{account_id}/invite"), 200)
    (letter,) = await delivered(world)
    browser = world.browser()
    page = await browser.open(letter.link)
    ok(await admin.patch(f"/admin/people/{account_id}", json={"email": "petra@example.test"}), 200)
    before = await world.head()
    assert (await browser.press(page, INVITATION, password=NEW)).status == 404
    assert (await world.browser().open(letter.link)).status == 404
    assert await world.head() == before
    assert ok(await admin.get(f"/admin/people/{account_id}"), 200)["email_verified"] is not True


async def test_who_cannot_be_invited(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin, email=None)
    problem(await admin.post(f"/admin/people/{account_id}/invite"), 409)
    other = await made(admin, username="paul", email="paul@example.test")
    ok(await admin.post(f"/admin/people/{other}/disable"), 200)
    problem(await admin.post(f"/admin/people/{other}/invite"), 409)
    problem(await admin.post("/admin/people/nobody/invite"), 404)
    assert await delivered(world) == []


async def test_nobody_invites_whom_they_could_not_be(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_role("administration", "administrator", "clients:write", "people:write")
    ada = await world.register_person("ada", realm="administration", roles_of=("administrator",))
    problem(await admin.post(f"/admin/people/{ada.account_id}/invite"), 403)
    assert await delivered(world) == []


async def test_repeat_with_a_key_mails_once(world: World, admin: httpx.AsyncClient) -> None:
    account_id = await made(admin)
    for _ in range(2):
        answer = await admin.post(f"/admin/people/{account_id}/invite", headers={"idempotency-key": "one"})
        assert answer.status_code == 200
    assert len(await delivered(world)) == 1


class TestWithoutMail:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"mail": "off"}

    async def test_nobody_is_invited(self, world: World, admin: httpx.AsyncClient) -> None:
        problem(await admin.post(f"/admin/people/{await made(admin)}/invite"), 404)
