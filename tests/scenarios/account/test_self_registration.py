"""People who register themselves, where their realm is open, by a link to their address."""

from typing import Any

import httpx
import pytest

from api.admin.realms import PATH as REALMS
from eventstore.pending import mailed_links
from tests.scenarios.account.test_recovery import NEW, signs_in
from tests.scenarios.administration import ok, problem
from tests.scenarios.browser import Browser, Page
from tests.scenarios.letters import delivered
from tests.scenarios.world import Person, World

pytestmark = pytest.mark.anyio

REGISTER = "/account/register"
CONFIRM = "/account/register/confirm"
ADDRESS = "new@example.test"


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    scopes = ("clients:read", "clients:write", "people:read", "people:write", "audit:personal")
    return world.caller(headers={"authorization": f"Bearer {await world.token(*scopes)}"})


@pytest.fixture
async def opened(world: World, admin: httpx.AsyncClient) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    assert ok(await admin.put(f"{REALMS}/platform", json={"registration": "open"}), 200)["registration"] == "open"


async def ask(browser: Browser, email: str = ADDRESS) -> Page:
    return await browser.press(await browser.open(REGISTER), REGISTER, email=email)


async def link_to(world: World, email: str = ADDRESS) -> str:
    assert (await ask(world.browser(), email)).status == 200
    (letter,) = await delivered(world)
    assert letter.to == email
    return letter.link


async def confirm(world: World, link: str, username: str = "", password: str = NEW) -> Page:
    browser = world.browser()
    return await browser.press(await browser.open(link), CONFIRM, username=username, password=password)


@pytest.mark.parametrize("mode", [None, "invitation", "off"])
async def test_nobody_registers_where_the_realm_is_not_open(
    world: World, admin: httpx.AsyncClient, mode: str | None
) -> None:
    if mode is not None:
        ok(await admin.put(f"{REALMS}/platform", json={"registration": mode}), 200)
    assert (await world.client.get(REGISTER)).status_code == 404
    assert (await world.client.post(REGISTER, data={"email": ADDRESS})).status_code == 404


@pytest.mark.usefixtures("opened")
async def test_link_makes_an_account_with_default_roles(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    link = await link_to(world)
    assert await world.types_after(before) == ["realm.registrations_requested"]
    assert (await world.browser().open(link)).status == 200
    assert (await confirm(world, link, "Newman")).status == 200
    (registered,) = await world.events("account.registered", after=before)
    assert registered.actor.id == registered.stream.partition(":")[2]
    assert (registered.actor.credential or {}).keys() == {"link_sha256"}
    (found,) = ok(await admin.get("/admin/people?username=newman"), 200)["items"]
    assert (found["email"], found["email_verified"], found["roles"]) == (ADDRESS, True, ["member"])
    assert await signs_in(world, Person(found["id"], "platform", "newman", NEW), NEW)
    assert (await world.browser().open(link)).status == 404


@pytest.mark.usefixtures("opened")
async def test_row_of_a_used_link_put_back_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    link = await link_to(world)
    monkeypatch.setattr(mailed_links, "forget", lambda *_: None)
    assert (await confirm(world, link)).status == 200
    assert (await world.browser().open(link)).status == 404


@pytest.mark.usefixtures("opened")
async def test_known_addresses_are_told_by_mail_alone(world: World) -> None:
    paul = await world.register_person("paul")
    answers, growth = [], []
    for n, email in enumerate((ADDRESS, paul.email)):
        before = await world.head()
        page = await ask(world.browser(f"198.51.100.{n}"), email)
        answers.append((page.status, page.text))
        growth.append(await world.head() - before)
    assert answers[0] == answers[1]
    assert growth[0] == growth[1]
    found = {letter.to: letter for letter in await delivered(world)}
    assert found[paul.email].subject == "You have an account at 127.0.0.1:8400"
    assert "glog_ev_" not in found[paul.email].text
    assert "glog_ev_" in found[ADDRESS].text
    has_account = "because you have an account"
    assert has_account in found[paul.email].text
    assert has_account not in found[ADDRESS].text


@pytest.mark.usefixtures("opened")
async def test_what_is_wrong_is_said_and_the_link_stays(world: World) -> None:
    await world.register_person("paul")
    link = await link_to(world)
    assert (await confirm(world, link, "paul")).status == 400
    assert (await confirm(world, link, "p@ul")).status == 400
    assert (await confirm(world, link, "fine", "short")).status == 400
    assert (await confirm(world, link, "fine")).status == 200


@pytest.mark.usefixtures("opened")
async def test_link_is_worth_nothing_once_the_realm_has_closed(world: World, admin: httpx.AsyncClient) -> None:
    link = await link_to(world)
    browser = world.browser()
    page = await browser.open(link)
    ok(await admin.put(f"{REALMS}/platform", json={"registration": "off"}), 200)
    before = await world.head()
    assert (await browser.press(page, CONFIRM, password=NEW)).status == 404
    assert await world.head() == before


@pytest.mark.usefixtures("opened")
async def test_address_that_was_taken_meanwhile_stays_its_owners(world: World) -> None:
    link = await link_to(world, "paul@example.test")
    await world.register_person("paul")
    assert (await confirm(world, link)).status == 409


@pytest.mark.usefixtures("opened")
async def test_sign_in_page_leads_there(world: World) -> None:
    page = await world.browser().open("/account/sign-in?realm=platform")
    assert f'href="{REGISTER}?realm=platform"' in page.text
    page = await world.browser().open("/account/sign-in?realm=administration")
    assert REGISTER not in page.text


async def test_realm_keeps_what_is_not_named(world: World, admin: httpx.AsyncClient) -> None:
    ok(await admin.put(f"{REALMS}/platform", json={"registration": "open"}), 200)
    body = ok(await admin.put(f"{REALMS}/platform", json={"second_factor": "required"}), 200)
    assert body == {"name": "platform", "second_factor": "required", "required_for": [], "registration": "open"}
    answer = await admin.put(f"{REALMS}/administration", json={"registration": "open"})
    problem(answer, 400, field="registration")
    problem(await admin.put(f"{REALMS}/platform", json={"registration": "perhaps"}), 400, field="registration")


@pytest.mark.usefixtures("opened")
class TestWithoutMail:
    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"mail": "off"}

    async def test_nobody_registers(self, world: World) -> None:
        assert (await world.client.get(REGISTER)).status_code == 404
