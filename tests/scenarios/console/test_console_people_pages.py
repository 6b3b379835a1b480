"""The console's pages of clients, people, roles and grants: each act is the person's own; nothing is shown unasked."""

import re
from html import unescape
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from api.console import named
from api.console.pages.clients import client_names
from commands import people, permissions
from commands.permissions import operator
from security.clock import format_rfc3339
from security.tokens import Kind
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.console.way_in import at_console
from tests.scenarios.histories import disable_client, lived
from tests.scenarios.world import World

READING = ("clients:read", "people:read", "grants:read")
WRITING = ("clients:write", "people:write", "grants:write")
AUDITING = ("audit:read", "audit:personal")


def readings(page: Page) -> list[int]:
    """The read events that the foot of a page names."""
    return sorted(
        int(each)
        for each in re.findall(r"told in the log at (.*?)</span>", page.text)
        for each in re.findall(r">(\d+)<", each)
    )


async def press(browser: Browser, page: Page, path: str, button: tuple[str, str] | None = None, **typed: str) -> Page:
    """Posts the last form of this path: of several the first ones are about one thing each."""
    form = [each for each in page.forms if each.action.partition("#")[0] == path][-1]
    return await browser.submit(form, button, **typed)


async def test_client_is_rotated_and_its_secret_shown_once(world: World) -> None:
    browser, _ = await at_console(world, *READING, *WRITING, *AUDITING)
    shop = await world.register_client("Photo Prints", grant_types=("client_credentials",), scope=("orders",))
    listed = await browser.open("/console/clients?q=photo&sort=risk")
    assert "no secret was ever used" in listed.text
    page = await browser.open(f"/console/clients/{shop.client_id}")
    assert "<h1>Photo Prints</h1>" in page.text
    shown = await press(browser, page, "/console/clients/rotate", others="now")
    (secret,) = re.findall(r"glog_cs_\w+", shown.text)
    assert world.services.format.read(secret).kind is Kind.CLIENT_SECRET
    again = await browser.open(f"/console/clients/{shop.client_id}")
    assert secret not in again.text
    assert "version 2" in again.text
    (rotated,) = await world.events("client.secret_rotated")
    assert (rotated.actor.kind, rotated.event.others_expire_in) == ("person", 0)
    await press(browser, again, "/console/clients/policy", maximum_age="90", overlap="7")
    assert "for 90 days" in (await browser.open(f"/console/clients/{shop.client_id}")).text
    page = await press(browser, again, "/console/clients/switch", ("to", "disable"))
    assert "✕ Disabled" in page.text
    assert len(await world.events("client.disabled")) == 1


async def test_page_names_more_clients_than_one_question_may(world: World) -> None:
    asking, shop = await administering(world), await world.register_client("Photo Prints")

    async def get(path: str, kind: type[Any], query: dict[str, Any]) -> Any:
        return msgspec.convert(ok(await asking.get(path, params=query)), kind)

    visit: Any = SimpleNamespace(may=("clients:read",), api=SimpleNamespace(get=get))
    ids = [*(f"unknown{number}" for number in range(150)), shop.client_id]
    assert await client_names(visit, ids) == {shop.client_id: "Photo Prints"}


async def test_event_tells_what_its_actor_held_then_and_by_which(world: World) -> None:
    browser, _ = await at_console(world, *READING, *WRITING, *AUDITING)
    shop = await world.register_client("Photo Prints")
    page = await browser.open(f"/console/clients/{shop.client_id}")
    await press(browser, page, "/console/clients/switch", ("to", "disable"))
    (disabled,), (defined, *_) = await world.events("client.disabled"), await world.events("role.defined")
    (registered,), (code,) = await world.events("account.registered"), await world.events("grant.code_issued")
    shown = (await browser.open(f"/console/events/{disabled.position}")).text
    assert "role of-ada" in shown
    assert f'href="/console/events/{registered.position}"' in shown
    # What they are given later changes nothing of what they held then.
    asking = await administering(world)
    role = {"realm": "administration", "name": "of-ada"}
    await world.execute(permissions.put_role(**role, scopes_allowed=("people:write",), default=False, by=operator))
    told = ok(await asking.get(f"/audit/events/{disabled.position}", params={"ground": "1"}))["ground"]
    (held,) = told["roles"]
    assert (held["name"], held["given_by"], held["defined_by"]) == ("of-ada", registered.position, defined.position)
    assert set(held["scopes"]) == {*READING, *WRITING, *AUDITING}
    assert told["acted_with"]["given_by"] == code.position
    assert "clients:write" in told["acted_with"]["scope"]
    assert told["decided_by"] == sorted((registered.position, defined.position, code.position))
    assert "ground" not in ok(await asking.get(f"/audit/events/{disabled.position}"))
    # A client acts with what it was registered for; the installation acts with nothing that anybody gave.
    read = (await world.events("audit.read"))[-1]
    by_client = ok(await asking.get(f"/audit/events/{read.position}", params={"ground": "1"}))["ground"]
    assert (by_client["roles"], "audit:read" in by_client["acted_with"]["scope"]) == ([], True)
    nothing = ok(await asking.get("/audit/events/1", params={"ground": "1"}))["ground"]
    assert nothing == {"roles": [], "acted_with": None, "decided_by": []}


async def test_client_is_shown_as_it_was_and_what_changed(world: World) -> None:
    browser, _ = await at_console(world, *READING, *AUDITING)
    shop = await world.register_client("Photo Prints")
    before = await world.head()
    await disable_client(world, shop)
    page = await browser.open(f"/console/clients/{shop.client_id}?at={before}&from={before}&to={await world.head()}")
    assert f"After event {before}" in page.text
    assert "What changed" in page.text
    # One reading for the story, one for the state and one for the difference: the foot names all.
    assert readings(page) == [each.position for each in (await world.events("audit.read"))[-3:]]


async def test_moments_may_be_days_and_are_kept_when_wrong(world: World) -> None:
    world.clock.advance(60)
    browser, _ = await at_console(world, *READING, *AUDITING)
    shop = await world.register_client("Photo Prints")
    await disable_client(world, shop)
    today = format_rfc3339(world.clock.now())[:10]
    address = f"/console/clients/{shop.client_id}"
    # A day begins before what happens on it, and ends behind that.
    page = await browser.open(f"{address}?at={today}&from={today}&to={today}")
    assert "Nothing had happened yet." in page.text
    changed = page.text.partition("What changed")[2].partition("</table>")[0]
    assert "Photo Prints" in changed
    assert not re.search(r"Before.>nothing</td><td[^>]*>nothing<", changed)
    page = await browser.open(f"{address}?at=noon&from={today}")
    assert "▲ At must be an RFC 3339 date-time such as 2026-01-31T12:00:00Z." in page.text
    assert 'name="at" value="noon"' in page.text
    assert f'name="from" value="{today}"' in page.text
    await browser.open(f"{address}?at=1{'0' * 30}")


async def test_all_of_something_is_of_all_times(world: World) -> None:
    shop = await world.register_client("Photo Prints")
    world.clock.advance(2 * 86_400)
    browser, _ = await at_console(world, *READING, *AUDITING)
    page = await browser.open(f"/console/clients/{shop.client_id}")
    (link,) = re.findall(r'href="([^"]+)">Everything that concerns it', page.text)
    found = await browser.open(unescape(link))
    assert "A client came into being." in found.text
    assert 'client Photo Prints <span aria-hidden="true">' in found.text


async def test_person_is_masked_until_shown(scene: Scene) -> None:
    world = scene.world
    browser, _ = await at_console(world, *READING, *AUDITING)
    await lived(scene)
    address = f"/console/people/{scene.person.account_id}"
    page = await browser.open(address)
    # Whose application they let in is said beside it.
    did = page.text.partition("What they did")[2].partition("What was done to them")[0]
    assert '(RFC 6749 §4.1.2). <bdi class="about">Shop</bdi></span>' in did
    assert "masked" in page.text
    assert scene.person.email not in page.text
    masked = await world.events("audit.read")
    assert [each.event.unsealed for each in masked[-2:]] == [False, False]
    page = await browser.open(f"{address}?show=1")
    assert scene.person.email in page.text
    told = (await world.events("audit.read"))[len(masked) :]
    assert sorted(each.event.unsealed for each in told) == [False, True]


async def test_person_is_shown_as_they_were_without_names(world: World) -> None:
    browser, _ = await at_console(world, *READING, *AUDITING)
    paul = await world.register_person()
    before = await world.head()
    await world.execute(people.disable(paul.account_id))
    address = f"/console/people/{paul.account_id}?show=0&at={before}&from={before}&to={await world.head()}"
    page = await browser.open(address)
    moment = page.text.partition('id="moment"')[2].partition("</section>")[0]
    assert f"After event {before}" in moment
    assert "The person could sign in and had no second factor." in moment
    changed = moment.partition("What changed")[2].partition("</table>")[0]
    assert "enabled" in changed
    assert "<dt>email</dt><dd>masked</dd>" in moment
    assert paul.email not in page.text
    assert f">{paul.account_id}<" not in page.text
    assert len(readings(page)) == 4
    page = await browser.open(f"/console/people/{paul.account_id}?from=1")
    assert re.search(r"state\.email.*Before.>masked</td><td[^>]*>masked<", page.text)
    assert paul.email not in page.text


async def test_person_is_found_by_name_that_stands_nowhere(world: World) -> None:
    browser, _ = await at_console(world, *READING)
    person = await world.register_person("paul")
    page = await browser.open("/console/people")
    found = await press(browser, page, "/console/people/find", text="paul")
    assert str(found.answer.url).endswith(f"/console/people/{person.account_id}")
    nobody = await press(browser, page, "/console/people/find", text="nobody-here")
    assert "Nobody has exactly this name" in nobody.text
    assert "nobody-here" not in nobody.text
    await world.define_role("administration", "none", "clients:read")
    (ada,) = [each for each in await world.events("session.started")]
    await world.execute(people.change_roles(ada.event.account_id, ("none",), by=operator))
    refused = await press(browser, page, "/console/people/find", text="nobody-here")
    assert refused.status == 403
    assert "nobody-here" not in refused.text
    assert "the scope <code>people:read</code>, which none of your roles gives. Some role" in refused.text


async def test_person_signs_out_changes_roles_and_is_erased(scene: Scene) -> None:
    world = scene.world
    browser, _ = await at_console(world, *READING, *WRITING, *AUDITING)
    await world.define_role("platform", "shopper", "profile")
    await lived(scene)
    address = f"/console/people/{scene.person.account_id}"
    page = await press(browser, await browser.open(address), "/console/people/end-session")
    assert [each.event.reason for each in await world.events("session.ended")] == ["administrator"]
    preview = await press(browser, page, "/console/people/roles", ("to", "give"), role="shopper")
    assert re.search(
        r"May before</dt>.*May after</dt>\s*<dd class=\"figures\">[^<]*\bprofile\b", preview.text, re.DOTALL
    )
    assert not await world.events("account.roles_changed")
    page = await press(browser, preview, "/console/people/roles", ("confirmed", "yes"))
    (changed,) = await world.events("account.roles_changed")
    assert changed.actor.kind == "person"
    page = await press(browser, page, "/console/people/erase")
    called = re.findall(r"Erasing <strong><bdi>(.*?)</bdi>", page.text)[0]
    page = await press(browser, page, "/console/people/erase", typed="somebody else")
    assert "That is not the name" in page.text
    assert not await world.events("account.erased")
    page = await press(browser, page, "/console/people/erase", typed=called)
    assert "Somebody who was erased" in page.text
    assert called not in page.text
    assert len(await world.events("account.erased")) == 1


async def test_grants_end_together_after_a_dry_run(scene: Scene) -> None:
    world = scene.world
    browser, _ = await at_console(world, *READING, *WRITING)
    await lived(scene)
    page = await browser.open("/console/grants?unused=30")
    missed = await press(browser, page, "/console/grants/find", person="nobody")
    assert "No person of this server is called so" in missed.text
    page = await press(browser, missed, "/console/grants/find", client="sho", person=scene.person.username, unused="")
    assert dict(page.answer.url.params) == {"client_id": scene.shop.client_id, "account_id": scene.person.account_id}
    assert "client Shop" in page.text
    linked = f'<a href="/console/clients/{scene.shop.client_id}"><bdi>Shop</bdi></a>'
    assert linked in page.text
    assert linked in (await browser.open(f"/console/people/{scene.person.account_id}")).text
    missed = await press(browser, page, "/console/grants/find", person="nobody")
    assert "No person of this server is called so" in missed.text
    # What was listed still is.
    assert linked in missed.text
    tried = await press(browser, page, "/console/grants/end")
    assert "Would end 1 grant of 1 person" in tried.text
    assert not await world.events("grant.ended")
    await press(browser, tried, "/console/grants/end", ("confirmed", "yes"))
    (ended,) = await world.events("grant.ended")
    assert (ended.event.reason, ended.actor.kind) == ("administrator", "person")
    assert "None that match" in (await browser.open("/console/grants?unused=30")).text
    # A client that is gone keeps the name that it had.
    ok(await (await administering(world)).delete(f"/admin/clients/{scene.shop.client_id}"), 204)
    assert linked in (await browser.open("/console/grants")).text


async def test_another_s_id_as_a_name_takes_nobody_s_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "PORTION", 1)
    browser, _ = await at_console(world, *READING)
    person, shop = await world.register_person("paul"), await world.register_client("Shop")
    for name in ("Shop", "Shop of somebody else", shop.client_id):
        await world.register_client(name)
    decoy = await world.register_person(person.account_id)
    page = await browser.open("/console/grants")
    several = await press(browser, page, "/console/grants/find", client="Shop")
    assert "Several are called so" in several.text
    found = await press(browser, page, "/console/grants/find", client=shop.client_id, person=person.account_id)
    assert dict(found.answer.url.params) == {"client_id": shop.client_id, "account_id": person.account_id}
    for imported in ("photo-prints", "https://prints.example/client.json"):
        await world.register_client("Imported", client_id=imported)
        await world.register_client(imported)
        found = await press(browser, page, "/console/grants/find", client=imported)
        assert dict(found.answer.url.params) == {"client_id": imported}
    quoted = await press(browser, page, "/console/grants/find", person=f'"{person.account_id}"')
    assert dict(quoted.answer.url.params) == {"account_id": decoy.account_id}


async def test_role_is_changed_after_saying_for_whom(world: World) -> None:
    browser, _ = await at_console(world, *READING, *WRITING)
    await world.define_scopes("orders")
    await world.define_role("platform", "shopper")
    await world.register_person("paul", roles_of=("shopper",))
    page = await browser.open("/console/roles")
    given = {"realm": "platform", "name": "shopper", "scope": "orders"}
    preview = await press(browser, page, "/console/roles/change", ("to", "give"), **given)
    assert "Gained" in preview.text
    assert not await world.events("role.changed")
    await press(browser, preview, "/console/roles/change", ("confirmed", "yes"))
    (changed,) = await world.events("role.changed")
    assert changed.actor.kind == "person"


async def test_auditor_can_change_nothing(scene: Scene) -> None:
    """Every button is absent, and every form that somebody makes up is refused."""
    world = scene.world
    browser, page = await at_console(world, *READING, *AUDITING)
    await lived(scene)
    person, shop = scene.person.account_id, scene.shop.client_id
    for address in (f"/console/clients/{shop}", f"/console/people/{person}", "/console/roles", "/console/grants"):
        page = await browser.open(address)
        own = {f"/console/{each}" for each in ("find", "theme", "sign-out", "people/find", "grants/find")}
        assert {form.action for form in page.forms if "/console" in form.action and form.fields.get("csrf")} <= own
    before = await world.head()
    forms = {
        "/console/clients/rotate": {"client_id": shop},
        "/console/clients/switch": {"client_id": shop, "to": "disable"},
        "/console/people/switch": {"account_id": person, "to": "disable"},
        "/console/people/password": {"account_id": person, "password": "a long enough sentence"},
        "/console/grants/end": {"client_id": shop, "confirmed": "yes"},
    }
    # What a page would hold, were the button there.
    for path, fields in forms.items():
        answer = await browser.client.post(path, data=fields, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 403, path
    assert not [tag for tag in await world.types_after(before) if not tag.startswith("audit.")]


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }}"


async def test_hostile_names_are_text(world: World) -> None:
    browser, _ = await at_console(world, *READING, *WRITING, *AUDITING)
    shop = await world.register_client(HOSTILE)
    asking = await administering(world)
    named = {"realm": "platform", "username": "mallory", "name": HOSTILE}
    person = ok(await asking.post("/admin/people", json=named), 201)["id"]
    addresses = ("/console/clients", f"/console/clients/{shop.client_id}?at=1", "/console/people")
    for address in (*addresses, f"/console/people/{person}?show=1", "/console/grants", "/console/roles"):
        page = await browser.open(address)
        assert page.status == 200, address
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "{{ 7 * 7 }}" in page.text or "alert(1)" not in page.text, address


async def test_person_page_names_exactly_its_readings(scene: Scene) -> None:
    world = scene.world
    browser, _ = await at_console(world, *READING, *AUDITING)
    await lived(scene)
    before = len(await world.events("audit.read"))
    page = await browser.open(f"/console/people/{scene.person.account_id}?show=1")
    assert readings(page) == [each.position for each in (await world.events("audit.read"))[before:]]
    assert {each.actor.kind for each in (await world.events("audit.read"))[before:]} == {"person"}
