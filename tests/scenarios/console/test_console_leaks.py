"""The leak desk and incidents: what is pasted is found and ended, and stands nowhere."""

import re
from typing import Any

import pytest

from api.console.masking import pseudonym
from eventstore.leaked import about
from tests.scenarios.account.test_recovery import mailed
from tests.scenarios.browser import Browser, Page
from tests.scenarios.console.way_in import at_console, enable_console, person_with, sign_in
from tests.scenarios.jobs import token
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

SECURITY = ("leaks:read", "leaks:write", "audit:read", "audit:personal")
DESK, CONTAIN = "/console/leaks", "/console/leaks/contain"
OWN = {"sec-fetch-site": "same-origin"}


def mistyped(raw: str) -> str:
    return raw[:-1] + ("0" if raw[-1] != "0" else "1")


async def pasted(browser: Browser, text: str) -> Page:
    return await browser.press(await browser.open(DESK), DESK, text=text)


async def test_a_long_text_is_looked_through_or_refused_and_never_cut(world: World, job: Client) -> None:
    browser, _ = await at_console(world, *SECURITY)
    page = await browser.open(DESK)
    # A browser would cut off what is pasted beyond it, and tell nobody.
    assert "maxlength" not in page.text.partition('id="paste"')[2].partition(">")[0]
    # In a form three octets stand for each of these.
    found = await browser.press(page, DESK, text="%=&" * 300_000 + f" {job.secret}")
    assert "1 secret of this server" in found.text
    refused = await browser.press(page, DESK, text="x" * 1_048_577)
    assert (refused.status, "larger than 1048576 bytes" in refused.text) == (413, True)


async def test_what_is_pasted_is_found_and_contained(world: World, job: Client) -> None:
    given = (await token(world, job)).json()["access_token"]
    browser, _ = await at_console(world, *SECURITY)
    theirs = f"ghp_{(job.secret or '')[-36:]}"
    found = await pasted(browser, f"> '{job.secret}'\r\n> {given}\r\n{mistyped(given)} {theirs}")
    assert found.status == 200
    assert "2 secrets of this server" in found.text
    assert "Access token at character" in found.text
    assert "GitHub token at character" in found.text
    assert re.findall(r'<th scope="row">([^<]+)<br>', found.text) == [
        "client secret, version 1",
        "access token, by version 1 of the secret",
    ]
    assert "would end 1 secret, 1 grant, 1 token; 0 people affected" in found.text
    assert "Ever issued for it: 1 grant, 1 token." in found.text
    assert "2 secrets, 2 alive; 1 grant, 1 alive; 1 token, 1 alive" in found.text
    # Counted once: what lives is asked for with the dry run alone, behind what is known at once.
    asked = re.findall(r"/leaks/(investigate[^ &<]*|contain)", found.text.partition("<footer")[2])
    assert asked == ["investigate?counts=2", "contain"]
    before = await world.head()
    world.clock.advance(8)
    done = await browser.press(found, CONTAIN, ("do", "contain"), evidence=f"a chat, beside {job.secret}")
    assert "Contained 8.0 s after it was pasted: 1 secret, 1 grant, 1 token; 0 people affected" in done.text
    assert "<b>Identified, at once</b>" in done.text
    (contained,) = await world.events("incident.contained", after=before)
    overview = await browser.open("/console/")
    assert re.search(r'<a href="/console/incidents/\w+" aria-describedby="reported-1">Contained: ', overview.text)
    assert (contained.actor.kind, contained.event.numbers.tokens_ended) == ("person", 1)
    assert (await token(world, job)).status_code == 401
    # The same form once more, as by the browser's way back: nothing new.
    sent = {**found.form(CONTAIN).fields, "do": "contain", "evidence": f"a chat, beside {job.secret}"}
    assert (await browser.client.post(CONTAIN, data=sent, headers=OWN)).status_code == 303
    assert len(await world.events("incident.*", after=before)) == len(await world.events("incident.*"))
    assert len(await world.events("incident.contained")) == 1
    assert re.search(r'with 1 more</span><span class="by">by person \w{4}…\w{4}</span>', done.text)
    pages = "".join(page.text for page in (found, done)) + str(await world.events())
    for raw in (job.secret or "", given, mistyped(given), theirs):
        assert raw not in pages


async def test_of_very_many_a_sample_is_drawn_first(world: World, job: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await token(world, job)
    browser, _ = await at_console(world, *SECURITY)
    usual = re.findall(r"<figcaption>(.*?)</figcaption>", (await pasted(browser, f"{job.secret}")).text)
    monkeypatch.setattr(about, "FEW", 1)
    found = await pasted(browser, f"{job.secret}")
    first, _, rest = found.text.partition("Counting what of it is alive")
    assert usual == re.findall(r"<figcaption>(.*?)</figcaption>", rest)
    assert usual == ["1 secret, 1 alive; 3 grants, 3 alive; 3 tokens, 3 alive; 0 people affected; used from 1 place."]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", first) == [
        "1 secret, 1 alive; 3 grants, ≈ 3 alive; 3 tokens, ≈ 3 alive; people being counted; used from 1 place."
    ]
    assert 'class="came guessed"' in first
    assert 'class="came guessed"' not in rest


async def test_a_new_secret_is_shown_once(world: World, job: Client) -> None:
    browser, _ = await at_console(world, *SECURITY)
    found = await pasted(browser, f"{job.secret}")
    sent: dict[str, Any] = {**found.form(CONTAIN).fields, "do": "contain", "rotate": "1"}
    first, again = [await browser.client.post(CONTAIN, data=sent, headers=OWN) for _ in range(2)]
    (fresh,) = set(re.findall(r"glog_cs_[0-9A-Za-z]{36}", first.text))
    assert fresh != job.secret
    assert "glog_cs_" not in again.text
    assert "was shown before" in again.text
    assert len(await world.events("client.secret_rotated")) == 1


async def test_new_secret_is_shown_also_to_who_ended_their_own_token(world: World, job: Client) -> None:
    browser, _ = await at_console(world, *SECURITY, "clients:read")
    (own,) = [each for each in await world.events("grant.tokens_issued") if each.event.account_id is not None]
    found = await pasted(browser, f"{job.secret}")
    fields = found.form(CONTAIN).fields
    sent = {**fields, "do": "contain", "rotate": "1", "digests": f"{fields['digests']} {own.event.access_token}"}
    shown = await browser.client.post(CONTAIN, data=sent, headers=OWN)
    assert re.findall(r"glog_cs_[0-9A-Za-z]{36}", shown.text)
    # What its client is called could not be asked for any more.
    assert '<span class="quiet">401' in shown.text


async def test_link_that_was_mailed_leads_to_its_person(world: World) -> None:
    browser, _ = await at_console(world, *SECURITY)
    paul = await world.register_person("paul")
    page = await pasted(browser, (await mailed(world, paul.email)).link)
    assert f'mailed to <a href="/console/people/{paul.account_id}">person {paul.account_id[:4]}…' in page.text
    # Nothing is issued for it, so there are no lists.
    assert f'href="{DESK}/' not in page.text
    # Nor for a key of this server's own: what ends that is told.
    page = await pasted(browser, (await world.client.get("/.well-known/jwks.json")).text)
    assert "POST /admin/keys/rotate with" in page.text
    assert f'href="{DESK}/' not in page.text


async def test_nothing_of_ours_is_no_all_clear(world: World) -> None:
    browser, _ = await at_console(world, *SECURITY)
    page = await pasted(browser, "a log without <b>secrets</b> " * 3)
    assert "Found no Grantlog secret in 87 characters. That is no all-clear" in page.text
    assert CONTAIN not in page.text


async def test_a_person_is_contained_by_id_or_name(world: World) -> None:
    browser, _ = await at_console(world, *SECURITY)
    paul = await world.register_person("paul")
    desk = await browser.open(f"{DESK}?account_id={paul.account_id}")
    assert f'value="{paul.account_id}"' in desk.text
    tried = await browser.press(desk, CONTAIN, ("do", "try"), named="account_id")
    assert f"Everything of a person: <bdi>{pseudonym(paul.account_id)}</bdi>" in tried.text
    assert "would end 0 secrets" in tried.text
    named = await browser.press(desk, CONTAIN, ("do", "try"), named="account_id", given="paul")
    assert f'value="{paul.account_id}"' in named.text
    await world.register_client("Photo Prints")
    reader, _ = await at_console(world, *SECURITY, "clients:read", username="eve")
    client = await reader.press(await reader.open(DESK), CONTAIN, ("do", "try"), named="client_id", given="Photo")
    assert "Everything of a client: <bdi>Photo Prints</bdi>" in client.text
    nobody = await browser.press(desk, CONTAIN, ("do", "try"), named="client_id", given="Nothing")
    assert "No client of this server is called so" in nobody.text
    wrong = await browser.press(tried, CONTAIN, ("do", "try"), since="yesterday")
    assert "▲ Since must be an RFC 3339 date-time such as 2026-01-31T12:00:00Z." in wrong.text
    done = await browser.press(tried, CONTAIN, ("do", "contain"))
    assert "Contained" in done.text
    assert len(await world.events("account.tokens_ended")) == 1


async def test_what_was_typed_waits_for_the_sign_in(world: World, job: Client) -> None:
    await enable_console(world)
    person = await person_with(world, *SECURITY)
    browser = world.browser()
    await sign_in(browser, person)
    found = await pasted(browser, f"{job.secret}")
    world.clock.advance(3_600)
    form = found.form(CONTAIN)
    sent = {**form.fields, "do": "contain", "evidence": "found by Sam"}
    refused = await browser.client.post(CONTAIN, data=sent, headers=OWN)
    assert refused.status_code == 401
    assert "found by Sam" in refused.text
    assert (job.secret or "") not in refused.text
    assert not await world.events("incident.*")
    (address,) = re.findall(r'href="(/console/sign-in[^"]+)"', refused.text)
    await sign_in(browser, person, address.replace("&amp;", "&"))
    tried = await browser.press(Page(refused), CONTAIN, ("do", "try"))
    assert "found by Sam" in tried.text
    assert not await world.events("incident.*")
    await browser.press(tried, CONTAIN, ("do", "contain"))
    assert len(await world.events("incident.contained")) == 1


async def test_who_only_reads_ends_nothing(world: World, job: Client) -> None:
    browser, _ = await at_console(world, "leaks:read")
    page = await pasted(browser, f"{job.secret}")
    assert "1 secret of this server" in page.text
    assert "1 secret, 1 alive; 0 grants, 0 alive" in page.text
    assert CONTAIN not in page.text
    assert "Its story" not in page.text


async def test_freeze_wants_to_be_meant(world: World) -> None:
    browser, _ = await at_console(world, *SECURITY)
    desk = await browser.open(DESK)
    await browser.press(desk, f"{DESK}/freeze", ("do", "freeze"))
    assert not await world.events("server.issuance_suspended")
    frozen = await browser.press(desk, f"{DESK}/freeze", ("do", "freeze"), sure="1")
    assert "nobody gets a code or a token" in frozen.text
    await browser.press(frozen, f"{DESK}/freeze", ("do", "unfreeze"), sure="1")
    assert len(await world.events("server.issuance_resumed")) == 1


async def test_an_incident_is_looked_after_and_closed(world: World, job: Client) -> None:
    browser, _ = await at_console(world, *SECURITY)
    page = await browser.press(await pasted(browser, f"{job.secret}"), CONTAIN, ("do", "contain"), evidence="<script>")
    await token(world, job)
    address = page.answer.url.path
    page = await browser.open(address)
    assert "masked, or told without words" in page.text
    assert "&lt;script&gt;" in (await browser.open(f"{address}?show=1")).text
    assert re.search(r"▲ [1-9]", page.text)
    before = await world.head()
    for _ in range(2):
        watched = await browser.open(f"{address}?watch=1")
    assert 'http-equiv="refresh" content="10"' in watched.text
    assert set(await world.types_after(before)) == {"audit.watched"}
    assert len(await world.types_after(before)) == 5
    page = await browser.press(page, "/console/incidents/assign")
    assert len(await world.events("incident.assigned")) == 1
    page = await browser.press(page, "/console/incidents/evidence", evidence="and in a mail")
    assert "and in a mail" in (await browser.open(f"{address}?show=1")).text
    page = await browser.press(page, "/console/incidents/tell", whom="Sam, by telephone")
    assert "somebody, masked" in page.text
    assert "Sam, by telephone" in (await browser.open(f"{address}?show=1")).text
    page = await browser.press(page, "/console/incidents/close", note="all told")
    assert "all told" in (await browser.open(f"{address}?show=1")).text
    assert "/console/incidents/close" not in page.text
    listed = await browser.open("/console/incidents?state=closed")
    assert address in listed.text
    assert "<bdi>you</bdi>" in listed.text
    assert address not in (await browser.open("/console/incidents?state=reported")).text


async def test_desk_wants_a_recent_sign_in_and_its_own_forms(world: World, job: Client) -> None:
    await enable_console(world)
    person = await person_with(world, *SECURITY)
    browser = world.browser()
    await sign_in(browser, person)
    found = await pasted(browser, f"{job.secret}")
    sent = {**found.form(CONTAIN).fields, "do": "contain"}
    foreign = await browser.client.post(CONTAIN, data=sent, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    assert "frame-ancestors 'none'" in found.answer.headers["content-security-policy"]
    world.clock.advance(400)
    # What is typed waits where the API wants a more recent sign-in, and who enters is asked at once.
    late = await browser.client.post(CONTAIN, data=sent, headers=OWN)
    assert late.status_code == 401
    assert "max_age=300" in late.text
    assert not await world.events("incident.*")
    entering = await browser.client.get(DESK)
    assert entering.headers["location"] == "/console/sign-in?to=%2Fconsole%2Fleaks&max_age=150"
    page = await sign_in(browser, person, DESK)
    assert 'id="paste"' in page.text
    assert (await browser.client.get(DESK)).status_code == 200
