"""The console's search and event pages: an address holds the whole search, a page leaves the reads that it names."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.audit.rendering import BY_TAG
from api.console.own_api import OwnApi
from api.console.pages.event import members_of
from api.console.ready_searches import READY
from api.console.searching import UnknownFilter, beside, instant, parsed, read_address, read_line, written
from api.console.shown_events import Event, EventActor
from domain import client
from tests.scenarios.administration import administering, ok
from tests.scenarios.browser import Browser, Page
from tests.scenarios.console.way_in import at_console, enable_console, person_with, sign_in
from tests.scenarios.world import World

READER = ("audit:read", "audit:personal")
OWN = {"sec-fetch-site": "same-origin"}


def rows(page: Page) -> list[int]:
    return [int(each) for each in re.findall(r'aria-label="Event (\d+)"', page.text)]


def told(page: Page) -> list[int]:
    """The events that the page's foot names."""
    foot = page.text.partition('<footer class="foot">')[2]
    return [int(each) for each in re.findall(r'<a href="/console/events/(\d+)"', foot)]


async def typed(browser: Browser, line: str, **more: str) -> Page:
    page = await browser.open("/console/audit")
    return await browser.press(page, "/console/audit/line", line=line, **more)


async def test_names_become_ids_and_the_address_holds_the_search(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints")
    paul = await world.register_person("paul", roles_of=())
    page = await typed(browser, 'client:"Photo Prints" type:client.*')
    (found,) = await world.events("client.registered", stream=client.stream(shop.client_id))
    assert found.position in rows(page)
    address = urlsplit(str(page.answer.url))
    assert parse_qs(address.query) == {"type": ["client.*"], "client_id": [shop.client_id]}
    several = await browser.open("/console/audit?type=scope.*&type=client.*")
    assert len(rows(several)) > len(rows(page))
    again = await browser.open(f"{address.path}?{address.query}")
    assert rows(again) == rows(page)
    of_paul = await typed(browser, "person:paul")
    assert parse_qs(urlsplit(str(of_paul.answer.url)).query) == {"account_id": [paul.account_id]}
    assert rows(of_paul)
    # What looks like an id is one, unless it is quoted as a name.
    alike = await world.register_client("PhotoPrintsAndPosters1")
    await world.register_client("Imported", client_id="prints.example")
    await world.register_client("prints.example")
    for line, id in (
        ('client:"PhotoPrintsAndPosters1"', alike.client_id),
        (f"client:{shop.client_id}", shop.client_id),
        ("client:prints.example", "prints.example"),
    ):
        page = await typed(browser, line)
        assert parse_qs(urlsplit(str(page.answer.url)).query) == {"client_id": [id]}
    nobody = await typed(browser, "person:nobody")
    assert 'data-csrf=""' not in nobody.text
    assert "No person of this server is named so" in nobody.text
    assert not rows(nobody)


async def test_a_page_asks_together_what_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the readings that it leaves share a transaction, and its foot names them in their order."""
    browser, _ = await at_console(world, *READER)
    asked: list[str] = []
    exchange = OwnApi.exchange

    async def noted(api: OwnApi, method: str, url: str, *given: Any, **more: Any) -> Any:
        asked.append(url.partition("?")[0])
        answer = await exchange(api, method, url, *given, **more)
        asked.append(f"answered {url.partition('?')[0]}")
        return answer

    monkeypatch.setattr(OwnApi, "exchange", noted)
    page = await browser.open("/console/audit")
    answered = asked.index("answered /audit/events")
    assert asked.index("/audit/events") < asked.index("/audit/counts") < answered
    questions = {each.position: getattr(each.event, "question", None) for each in await world.events("audit.read")}
    # On PostgreSQL either may be the first in the log.
    assert [questions[each] for each in told(page)] == ["events", "counts"]


async def test_people_are_found_by_the_names_that_they_have_now(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    paul = await world.register_person("paul", roles_of=())
    admin = await administering(world)
    ok(await admin.patch(f"/admin/people/{paul.account_id}", json={"username": "pablo"}))
    renamed = await typed(browser, "person:pablo")
    assert parse_qs(urlsplit(str(renamed.answer.url)).query) == {"account_id": [paul.account_id]}
    assert len(rows(renamed)) >= 2
    ok(await admin.delete(f"/admin/people/{paul.account_id}"), 204)
    erased = await typed(browser, "person:pablo")
    assert "No person of this server is named so" in erased.text
    assert not rows(erased)
    assert "pablo" not in (await browser.open(f"/console/audit?account_id={paul.account_id}&show=1")).text


async def test_a_page_leaves_exactly_the_reads_that_its_foot_names(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    for path in ("/console/audit", "/console/events/1", "/console/"):
        before = await world.head()
        page = await browser.open(path)
        reads = [each.position for each in await world.events("audit.*", after=before)]
        assert reads == sorted(told(page)) != []
        assert all(each.actor.kind == "person" for each in await world.events("audit.*", after=before))


async def test_reads_are_hidden_by_a_chip_and_can_be_shown(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    (read,) = await world.events("audit.read")
    page = await browser.open("/console/audit")
    assert read.position not in rows(page)
    assert "Reads of the log are hidden" in page.text
    assert read.position in rows(await browser.open("/console/audit?reads=1"))


async def test_chips_name_what_is_asked_for_though_nothing_is_found(world: World) -> None:
    browser, page = await at_console(world, *READER, "clients:read")
    prints = await world.register_client("Photo Prints")
    paul = await world.register_person("paul", roles_of=())
    masked = f"person {paul.account_id[:4]}…{paul.account_id[-4:]}"
    for query, said in (
        (f"client_id={prints.client_id}", "client Photo Prints"),
        (f"by_client_id={prints.client_id}", "by client Photo Prints"),
        ("client_id=nobody", "client nobody"),
        (f"account_id={paul.account_id}", f"of {masked}"),
        (f"by_account_id={paul.account_id}", f"by {masked}"),
        (f"about_account_id={paul.account_id}", f"about {masked}"),
    ):
        page = await browser.open(f"/console/audit?type=grant.ended&{query}")
        assert not rows(page)
        chips = re.findall(r'<a class="chip" href="[^"]*">(.*?) <span', page.text)
        assert [unescape(each) for each in chips] == ["type grant.ended", said]


async def test_line_names_clients_as_its_chips_do(world: World) -> None:
    """Whoever sends the line again means the same client: its name is not looked up, and may be another's too."""
    browser, _ = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints")
    page = await browser.open(f"/console/audit?client_id={shop.client_id}")
    assert page.form("/console/audit/line").fields["line"] == 'client:"Photo Prints"'
    await world.register_client("Photo Prints")
    before = len(await world.events("audit.read"))
    again = await browser.press(page, "/console/audit/line")
    assert page.form("/console/audit/line").fields["line"] in unescape(again.text)
    finding = [each for each in (await world.events("audit.read"))[before:] if each.event.question == "find"]
    assert not finding
    (link,) = set(re.findall(r"/console/live\?([^\"]*)", again.text))
    assert parse_qs(link)["client_id"] == [shop.client_id]
    quoting = await world.register_client('Say "hi"')
    odd = await browser.open(f"/console/audit?client_id={quoting.client_id}")
    assert odd.form("/console/audit/line").fields["line"] == f"client:{quoting.client_id}"


async def test_unknown_filter_shows_nothing(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    for query in (
        "?tpye=client.*",
        "?outcome=nonsense",
        "?until=nonsense",
        "?range=all&until=0001-01-01T00:00:00%2B14:00",
    ):
        before = await world.head()
        page = await browser.open(f"/console/audit{query}")
        assert 'role="alert"' in page.text
        assert not rows(page)
        assert await world.head() == before
    for line in ("tpye:client.*", "outcome:nonsense", "outcome:failure outcome:success"):
        assert 'role="alert"' in (await typed(browser, line)).text
    assert 'href="/console/audit">outcome failure' in (await typed(browser, "outcome:failure")).text


async def test_second_page_is_stable_while_events_arrive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.console.pages.search.LIMIT", "5")
    browser, _ = await at_console(world, *READER)
    first = await browser.open("/console/audit")
    for name in ("One", "Two"):
        await world.register_client(name)
    match = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert match is not None
    second = await browser.open(unescape(match[1]))
    assert max(rows(second)) == min(rows(first)) - 1


async def test_totals_equal_the_lines_of_the_export(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    page = await browser.open("/console/audit?type=scope.*")
    total = re.search(r'<strong class="figures">([\d,]+)</strong> events', page.text)
    assert total is not None
    for format in ("jsonl", "csv"):
        file = await browser.client.get(f"/console/audit/export?type=scope.*&format={format}")
        assert file.headers["content-disposition"].startswith("attachment")
        lines = file.text.strip().splitlines()
        assert len(lines) - (format == "csv") == int(total[1]) == len(rows(page))
    proven = await browser.client.get("/console/audit/export?type=scope.*&format=proof")
    assert proven.status_code == 200


async def test_personal_values_are_masked_until_somebody_shows_them(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    (signed_in,) = await world.events("session.started")
    page = await browser.open(f"/console/events/{signed_in.position}")
    assert "192.0.2.7" not in page.text
    before = await world.events("audit.read")
    assert not any(each.event.unsealed for each in before)
    shown = await browser.open(f"/console/events/{signed_in.position}?show=1")
    assert "192.0.2.7" in shown.text
    read = await world.events("audit.read", after=before[-1].position)
    assert {each.event.question: each.event.unsealed for each in read} == {"event": True, "proof": False}


async def test_event_shows_old_and_new_and_its_receipt(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints")
    await world.execute(world.changing(shop.client_id, client.Attributes(client_name="Photo <b>Prints")))
    (updated,) = await world.events("client.updated")
    page = await browser.open(f"/console/events/{updated.position}")
    assert "Old → new" in page.text
    assert "Photo &lt;b&gt;Prints" in page.text
    assert "<b>" not in page.text
    assert f'data-verify data-position="{updated.position}"' in page.text
    assert (await browser.client.get("/console/events/999999")).status_code == 404


async def test_export_with_personal_values_wants_a_recent_sign_in(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    assert (await browser.client.get("/console/audit/export?show=1&type=scope.*")).status_code == 200
    world.clock.advance(400)
    answer = await browser.client.get("/console/audit/export?show=1&type=scope.*")
    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["max_age"] == ["300"]
    assert asked["to"] == ["/console/audit?type=scope.%2A&show=1"]


async def test_auditor_is_shown_nothing_that_changes_anything(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    for path in ("/console/", "/console/audit", "/console/events/1"):
        page = await browser.open(path)
        posts = {urlsplit(form.action).path for form in page.forms}
        assert posts <= {f"/console/{each}" for each in ("find", "theme", "sign-out", "audit/line")}


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11-30", "2026-11-30T00:00:00.000000Z", "2026-12-01T00:00:00.000000Z"),
        ("2026-11-30T10:14", "2026-11-30T10:14:00.000000Z", "2026-11-30T10:15:00.000000Z"),
        ("2026-11-30T10:14:21", "2026-11-30T10:14:21.000000Z", "2026-11-30T10:14:22.000000Z"),
        ("2026-11-30T10", "2026-11-30T10:00:00.000000Z", "2026-11-30T11:00:00.000000Z"),
        ("2026-11-30 10:14:21.5", "2026-11-30T10:14:21.500000Z", "2026-11-30T10:14:21.500000Z"),
        ("2026-11-30T10:14:21+02:00", "2026-11-30T08:14:21.000000Z", "2026-11-30T08:14:22.000000Z"),
        ("2026-11-30T10:14-05:30", "2026-11-30T15:44:00.000000Z", "2026-11-30T15:45:00.000000Z"),
        ("2026-11-30+02:00", "2026-11-29T22:00:00.000000Z", "2026-11-30T22:00:00.000000Z"),
    ],
)
def test_both_ends_of_a_range_belong_to_it(text: str, since: str, until: str) -> None:
    assert instant(text, end=False) == since
    assert instant(text, end=True) == until


@pytest.mark.parametrize(
    "text", ["", "yesterday", "9999-12-31", "2026-13-01", "2026-11-30T25:00", "2026-W48-1", "2026-11-30T10:14+25:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UnknownFilter):
        instant(text, end=True)


@pytest.mark.parametrize("line", ["tpye:x", "-client:x", "x:", "type :x"])
def test_line_of_any_shape_is_read_or_refused(line: str) -> None:
    try:
        terms = read_line(line)
    except UnknownFilter:
        return
    assert all(each.name == "" for each in terms)


def test_line_asks_for_no_more_names_than_somebody_types() -> None:
    assert len(read_line("a " * 50)) == 50
    with pytest.raises(UnknownFilter):
        read_line("a " * 51)


def test_address_keeps_repeated_filters() -> None:
    assert read_address("type=a.*&type=b.*&range=7d&show=0") == {"type": ["a.*", "b.*"], "range": ["7d"]}


def test_what_an_event_names_leads_there() -> None:
    seen = Event(1, "usage.token_first_seen", "usage:1", 1, "", EventActor("client"), "", data={"seen_by": "api"})
    assert [each.url for each in members_of(seen)] == ["/console/clients/api"]


async def test_event_beside_the_list_is_a_question_of_its_own(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints")
    await world.execute(world.changing(shop.client_id, client.Attributes(client_name="Photo <b>Prints")))
    (updated,) = await world.events("client.updated")
    (signed_in,) = await world.events("session.started")
    for position, show, says in ((updated.position, "", "Old → new"), (signed_in.position, "?show=1", "192.0.2.7")):
        before = await world.head()
        page = await browser.open(f"/console/events/{position}/beside{show}")
        (read,) = await world.events("audit.*", after=before)
        assert f'<a href="/console/events/{read.position}"' in page.text.partition("<footer>")[2]
        assert says in page.text
        assert "<b>" not in page.text
        assert read.event.unsealed == bool(show)
    assert "192.0.2.7" not in (await browser.open(f"/console/events/{signed_in.position}/beside")).text
    assert (await browser.client.get("/console/events/999999/beside")).status_code == 404


async def test_line_keeps_what_it_says_nothing_of(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    page = await browser.open("/console/audit?range=7d&order=asc&reads=1&show=1")
    page = await browser.press(page, "/console/audit/line", line="type:client.* -type:client.updated by_client:console")
    asked = {"range": ["7d"], "order": ["asc"], "reads": ["1"], "show": ["1"]}
    asked |= {"type": ["client.*"], "not_type": ["client.updated"], "by_client_id": ["console"]}
    assert parse_qs(urlsplit(str(page.answer.url)).query) == asked
    page = await browser.press(page, "/console/audit/line", since="2026-11-01", until="2026-11-30T10:14:21")
    asked |= {"since": ["2026-11-01T00:00:00.000000Z"], "until": ["2026-11-30T10:14:22.000000Z"]}
    assert parse_qs(urlsplit(str(page.answer.url)).query) == {each: asked[each] for each in asked if each != "range"}
    # The fields beside the line hold the same once more.
    fields = page.form("/console/audit/line").fields
    assert (fields["since"], fields["until"]) == ("2026-11-01T00:00:00", "2026-11-30T10:14:21")
    live = re.search(r'href="(/console/live\?[^"]*)"', page.text)
    assert live is not None
    assert set(parse_qs(urlsplit(unescape(live[1])).query)) == {"type", "not_type", "by_client_id", "reads", "show"}


def test_stretches_before_and_after_have_the_same_length() -> None:
    since, until = parsed("2026-11-30T10:00:00Z"), parsed("2026-11-30T11:00:00Z")
    former, latter = ("2026-11-30T09:00:00.000000Z", written(since)), (written(until), "2026-11-30T12:00:00.000000Z")
    assert beside(since, until, until) == (former, None)
    assert beside(since, until, parsed("2026-11-30T11:00:01Z")) == (former, latter)
    assert beside(until, since, until) == (None, None)
    assert beside(parsed("0001-01-01T00:00:00Z"), parsed("9999-12-31T23:59:59Z"), until) == (None, None)


async def test_types_are_chosen_with_their_sentence_and_count(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    await world.register_client("Photo Prints")
    page = await browser.open("/console/audit?type=client.registered&range=7d")
    kinds = page.text.partition('id="kinds"')[2].partition("</details>\n</div>")[0]
    counted = len(await world.events("client.registered"))
    chosen = re.search(
        r'<a href="([^"]*)" data-type="client.registered" aria-current="true">client.registered</a> '
        r'<span class="figures">(\d+)</span> <a href="([^"]*)" aria-label="Leave client.registered out">',
        kinds,
    )
    assert chosen is not None
    assert (chosen[1], int(chosen[2])) == ("/console/audit?range=7d", counted)
    assert "not_type=client.registered" in chosen[3]
    assert "A client came into being." in kinds
    added = re.search(r'<a href="([^"]*)" data-type="grant\.\*">', kinds)
    assert added is not None
    assert parse_qs(urlsplit(unescape(added[1])).query)["type"] == ["client.registered", "grant.*"]
    without = await browser.open(unescape(chosen[3]).replace("type=client.registered&", "", 1))
    assert "not type client.registered" in without.text
    assert "A client came into being." not in "".join(re.findall(r'<span class="said">.*', without.text))


async def test_searches_that_are_ready_find_what_they_are_called(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    types = {each["type"] for each in (await bearing(world)).json()["items"]}
    families = {f"{each.partition('.')[0]}.*" for each in types}
    for each in READY:
        assert set(parse_qs(urlsplit(each.url).query).get("type", ())) <= types | families
        assert 'role="alert"' not in (await browser.open(each.url)).text


async def test_names_are_asked_for_by_somebody_alone_and_told(world: World) -> None:
    browser, page = await at_console(world, *READER)
    long, short = await world.register_client("Photo Prints Pro"), await world.register_client("Photo Prints")
    page = await browser.open("/console/audit")
    csrf = re.search(r'id="line"[^>]* data-csrf="([^"]+)"', page.text)
    assert csrf is not None
    asked = {"csrf": csrf[1], "kind": "client", "text": "Photo"}
    before = await world.head()
    answer = await browser.client.post("/console/audit/names", data=asked, headers=OWN)
    assert set(re.findall(r'<li data-id="([^"]+)" data-name="Photo', answer.text)) == {long.client_id, short.client_id}
    (read,) = await world.events("audit.*", after=before)
    assert f"/console/events/{read.position}" in answer.text
    for more in ({"kind": "incident"}, {"text": ""}, {"text": "nobody"}):
        answer = await browser.client.post("/console/audit/names", data={**asked, **more}, headers=OWN)
        assert (answer.status_code, "<li data-id" in answer.text) == (200, False)
    for wrong in ({"csrf": "x"}, {"kind": "person"}):
        answer = await browser.client.post("/console/audit/names", data={**asked, **wrong}, headers=OWN)
        assert answer.status_code in (400, 403)
    # Who looks for a client is told of no person who is called so, and no event says that they were.
    before = await world.head()
    answer = await browser.client.post("/console/audit/names", data={**asked, "text": "ada"}, headers=OWN)
    assert "<li data-id" not in answer.text
    assert "▲ No client of this server is named so.</p>" in (await typed(browser, "client:ada")).text
    found = [each.event for each in await world.events("audit.read", after=before) if each.event.question == "find"]
    assert [each.unsealed for each in found] == [False, False]
    # The whole name of one is that one's alone.
    whole = await typed(browser, 'client:"Photo Prints"')
    assert parse_qs(urlsplit(str(whole.answer.url)).query) == {"client_id": [short.client_id]}


async def test_types_of_events_are_told_without_an_event(world: World) -> None:
    await enable_console(world)
    before = await world.head()
    answer = await bearing(world)
    types = [each["type"] for each in answer.json()["items"]]
    assert types == list(BY_TAG)
    assert all(each["meaning"].endswith(".") and "`" not in each["meaning"] for each in answer.json()["items"])
    assert [each for each in await world.types_after(before) if each.startswith("audit.")] == []


async def bearing(world: World) -> httpx.Response:
    return await (await administering(world)).get("/audit/event-types")


async def test_network_address_is_in_no_page_s_address(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    (signed_in,) = await world.events("session.started")
    page = await typed(browser, "ip:192.0.2.7")
    (sealed,) = parse_qs(urlsplit(str(page.answer.url)).query)["ip"]
    assert sealed.startswith("~")
    assert signed_in.position in rows(page)
    assert "192.0.2.7" not in page.text
    assert "ip masked" in page.text
    # What somebody writes into the address by hand is sealed at once; line and export go on from what is sealed.
    assert "192.0.2.7" not in str((await browser.open("/console/audit?ip=192.0.2.7")).answer.url)
    assert rows(await browser.press(page, "/console/audit/line")) == rows(page)
    file = await browser.client.get("/console/audit/export", params={"ip": sealed, "format": "csv"})
    assert len(file.text.strip().splitlines()) == len(rows(page)) + 1
    live = await browser.open(f"/console/live?ip={sealed}")
    assert "192.0.2.7" not in live.text
    # Nor does a page tell it that refuses the search: what it asks is faulty, or who has the link may not ask that.
    refused = await browser.open(f"/console/audit?ip={sealed}&from=x")
    other = world.browser()
    await sign_in(other, await person_with(world, "audit:read", username="eve"))
    for page in (refused, await other.open(f"/console/audit?ip={sealed}")):
        assert "ip=masked" in page.text
        assert "192.0.2.7" not in page.text
    for wrong in ("~", "~x", f"{sealed[:-2]}AA", "~\u00e9", "1" * 65):
        page = await browser.open(str(httpx.URL("/console/audit", params={"ip": wrong})))
        assert 'role="alert"' in page.text
        assert not rows(page)


async def test_form_sends_back_what_its_page_names(world: World) -> None:
    """Names that would be too long as they are sent, each of their letters nine, are told by ids."""
    browser, _ = await at_console(world, "audit:read", "clients:read")
    clients = [await world.register_client(f"{number}" + "写" * 99) for number in range(18)]
    query = "&".join(f"client_id={each.client_id}" for each in clients)
    page = await browser.open(f"/console/audit?{query}&range=24h")
    sent = await browser.press(page, "/console/audit/line")
    assert sent.status == 200
    assert all(each.client_id in str(sent.answer.url) for each in clients)
