"""The console: the sign-in behind its cookie, its frame, and that it is a client of the API like any other."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api.account import active_sign_ins
from api.console.frame import LogLine
from api.console.gate import is_within
from api.environment import load
from api.routes import routed
from commands import people, servers
from commands.console import console_client, console_sessions
from commands.permissions import operator
from domain.rules.administrative_scope import CONSOLE
from tests.scenarios.console.way_in import at_console, enable_console, person_with, sign_in
from tests.scenarios.world import SYSTEM, World

READER = ("audit:read", "audit:personal")
COOKIE = "grantlog-console"


async def test_sign_in_is_the_code_flow_and_shows_no_token(world: World) -> None:
    browser, page = await at_console(world, *READER)
    assert page.status == 200
    assert "<h1>Overview</h1>" in page.text
    held = " ".join(browser.cookies.values()) + page.text
    assert not re.search(r"glog_(at|rt|ac|cs)_", held)
    (issued,) = await world.events("grant.tokens_issued")
    assert issued.event.client_id == CONSOLE
    (read,) = await world.events("audit.read")
    assert (read.actor.kind, read.event.question) == ("person", "overview")
    assert read.actor.credential is not None
    assert "grant_id" in read.actor.credential
    # The foot names exactly the event that the page left.
    assert f'href="/console/events/{read.position}"' in page.text


async def test_cookie_is_strict_and_out_of_reach_of_scripts(world: World) -> None:
    await enable_console(world)
    browser = world.browser()
    await sign_in(browser, await person_with(world, *READER))
    (cookie,) = [each for each in browser.client.cookies.jar if each.name.endswith(COOKIE)]
    assert cookie.path == "/"
    assert not cookie.domain_specified
    answers = [each for each in cookie.__dict__["_rest"]]
    assert "HttpOnly" in answers
    assert cookie.__dict__["_rest"]["SameSite"].lower() == "strict"


async def test_link_of_another_site_lands_signed_in(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    kept = dict(browser.client.cookies)
    browser.client.cookies.clear()
    first = await browser.client.get("/console/", headers={"sec-fetch-site": "cross-site"})
    assert 'http-equiv="refresh" content="0"' in first.text
    assert "default-src 'none'" in first.headers["content-security-policy"]
    browser.client.cookies.update(kept)
    again = await browser.client.get("/console/", headers={"sec-fetch-site": "same-origin"})
    assert "<h1>Overview</h1>" in again.text


async def test_tokens_are_refreshed_behind_the_cookie(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    world.clock.advance(590)
    page = await browser.open("/console/")
    assert page.status == 200
    assert "<h1>Overview</h1>" in page.text
    assert len(await world.events("grant.tokens_refreshed")) == 1


async def test_session_outlives_what_is_refused_for_now(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    await world.execute(servers.suspend_issuance())
    world.clock.advance(590)
    for _ in range(2):
        frozen = await browser.client.get("/console/")
        assert (frozen.status_code, "set-cookie" in frozen.headers) == (503, False)
        assert int(frozen.headers["retry-after"]) > 0
    await world.execute(servers.resume_issuance())
    assert "<h1>Overview</h1>" in (await browser.open("/console/")).text


async def test_idle_and_old_sessions_are_over_with_their_grants(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    world.clock.advance(console_sessions.IDLE + 1)
    answer = await browser.client.get("/console/")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in")
    assert len(await world.events("grant.ended")) == 1


async def test_forms_of_other_sites_and_other_sessions_do_nothing(world: World) -> None:
    browser, page = await at_console(world, *READER)
    form = page.form("/console/theme")
    sent = {**form.fields, "theme": "dark"}
    shorter = {"origin": world.settings.issuer[:-1]}
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}, shorter):
        refused = await browser.client.post(form.action, data=sent, headers=headers)
        assert refused.status_code == 403
    own = {"sec-fetch-site": "same-origin"}
    assert (await browser.client.post(form.action, data={**sent, "csrf": "x"}, headers=own)).status_code == 403
    done = await browser.client.post(form.action, data=sent, headers=own)
    assert done.status_code == 303
    assert 'data-theme="dark"' in (await browser.open("/console/")).text


async def test_sign_out_ends_the_grant_and_the_sign_in(world: World) -> None:
    browser, page = await at_console(world, *READER)
    after = await browser.press(page, "/console/sign-out")
    assert "You are signed out" in after.text
    assert len(await world.events("grant.ended")) == 1
    assert len(await world.events("session.ended")) == 1
    assert (await browser.client.get("/console/")).status_code == 303


async def test_sign_out_at_the_server_is_one_of_the_console_too(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    await browser.press(await browser.open("/account?realm=administration"), "/account/sign-out")
    assert (await browser.client.get("/console/")).status_code == 303
    (ended,) = await world.events("grant.ended")
    assert ended.event.reason == "logout"


async def test_sign_in_that_somebody_ends_is_over_at_the_console(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    (started,) = await world.events("session.started")
    bearer = {"authorization": f"Bearer {await world.token('grants:write')}"}
    sessions = f"/admin/people/{started.event.account_id}/sessions"
    ended = await world.client.delete(f"{sessions}/{started.stream.partition(':')[2]}", headers=bearer)
    assert ended.status_code == 204
    (grant,) = await world.events("grant.ended")
    assert grant.event.reason == "administrator"
    assert (await browser.client.get("/console/")).status_code == 303


async def test_a_console_among_many_grants_ends_with_its_sign_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the person's applications hold that were used since."""
    browser, _ = await at_console(world, *READER)
    (started,) = await world.events("session.started")
    monkeypatch.setattr(active_sign_ins, "AT_MOST", 0)
    bearer = {"authorization": f"Bearer {await world.token('grants:write')}"}
    address = f"/admin/people/{started.event.account_id}/sessions/{started.stream.partition(':')[2]}"
    assert (await world.client.delete(address, headers=bearer)).status_code == 204
    assert (await browser.client.get("/console/")).status_code == 303


async def test_pages_show_what_the_persons_scopes_allow(world: World) -> None:
    await enable_console(world)
    browser = world.browser()
    page = await sign_in(browser, await person_with(world, "clients:read", username="rose"))
    assert "Your roles do not let you read the log" in page.text
    assert "omnibox" not in page.text
    assert not await world.events("audit.*")


async def test_what_is_pasted_leads_to_its_page_and_stands_nowhere(world: World) -> None:
    browser, page = await at_console(world, *READER)
    shop = await world.register_client("Photo Prints")
    form = page.form("/console/find")
    assert shop.secret is not None
    headers = {"sec-fetch-site": "same-origin"}
    for text, place in (("Photo Prints", shop.client_id), ("1", "1")):
        answer = await browser.client.post(form.action, data={**form.fields, "text": text}, headers=headers)
        assert answer.status_code == 303
        assert place in answer.headers["location"]
    long = await browser.client.post(form.action, data={**form.fields, "text": "a " * 100_000}, headers=headers)
    assert long.status_code == 200
    longer = await browser.client.post(form.action, data={**form.fields, "text": "%" * 500_001}, headers=headers)
    assert (longer.status_code, "nothing was looked for" in longer.text) == (413, True)
    # A browser would cut it off instead, and tell nobody.
    assert "maxlength" not in page.text.partition('id="find"')[2].partition(">")[0]
    nothing = await browser.client.post(form.action, data={**form.fields, "text": "glog_at_nonsense"}, headers=headers)
    assert nothing.status_code == 200
    assert "glog_at_nonsense" not in nothing.text


async def test_an_unknown_address_is_a_page_of_the_console(world: World) -> None:
    browser, _ = await at_console(world, *READER)
    for address in ("/console/nothing", "/console/clients/abc/nothing", "/console/nothing/at/all?x=1"):
        page = await browser.open(address)
        assert (page.status, "<h1>There is no such thing</h1>" in page.text) == (404, True), address
        assert 'action="/console/sign-out"' in page.text
        head = await browser.client.head(address)
        assert (head.status_code, head.content) == (404, b"")
        # Nobody is led to a sign-in behind which there is nothing, wherever the link stood.
        for came in ({}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}):
            strange = await world.client.get(address, headers={"accept": "text/html", **came})
            assert (strange.status_code, "sign-out" in strange.text) == (404, False)
        assert (await world.client.get("/console/clients")).status_code == 303
        posted = await browser.client.post(address, headers={"sec-fetch-site": "same-origin"})
        assert posted.status_code == 404
    elsewhere = await browser.client.get("/consoles/nothing")
    assert (elsewhere.status_code, "sign-out" in elsewhere.text) == (404, False)


async def test_sign_in_leads_back_to_pages_of_the_console_alone(world: World) -> None:
    await enable_console(world)
    person = await person_with(world, *READER)
    page = await sign_in(world.browser(), person, "/console/sign-in?to=https://elsewhere.example/")
    assert "<h1>Overview</h1>" in page.text
    for right in ("/console", "/console/", "/console/audit?q=a//b..", "/console/clients/a%3Ab"):
        assert is_within(right), right
    wrong = ("//elsewhere.example", "/console//elsewhere.example", "/consoles", "/admin/clients", "/console/\\x")
    for each in (*wrong, "/console/../oauth/logout", "/console/%2e%2e/oauth/logout", "/console/..%2foauth"):
        assert not is_within(each), each


async def test_made_up_id_leads_to_no_other_endpoint(world: World) -> None:
    browser, _ = await at_console(world, "clients:read")
    shop = await world.register_client("Photo Prints")
    before = await world.head()
    page = await browser.open(f"/console/clients/{shop.client_id}%252Fsecrets")
    assert page.status == 404
    assert await world.types_after(before) == []


async def test_answer_that_was_not_asked_for_signs_nobody_in(world: World) -> None:
    await enable_console(world)
    begun = await world.client.get("/console/sign-in")
    assert begun.status_code == 303
    for query in ("", "?code=x", "?code=x&state=y&iss=https://elsewhere.example", "?error=access_denied&state=z"):
        assert (await world.client.get(f"/console/callback{query}")).status_code == 403
    # Who only asks what would come leaves the sign-in as it is.
    (state,) = parse_qs(urlsplit(begun.headers["location"]).query)["state"]
    looked = await world.client.head("/console/callback", params={"code": "x", "state": state})
    assert (looked.status_code, "set-cookie" in looked.headers) == (303, False)


async def test_client_is_changed_by_whoever_runs_the_server(world: World) -> None:
    await enable_console(world)
    token = await world.token("clients:read", "clients:write", *READER)
    bearer = {"authorization": f"Bearer {token}"}
    listed = (await world.client.get("/admin/clients/console", headers=bearer)).json()
    assert (listed["type"], listed["realm"]) == ("confidential", "administration")
    changed = await world.client.patch(
        "/admin/clients/console", json={"redirect_uris": ["https://elsewhere.example/"]}, headers=bearer
    )
    assert changed.status_code == 403
    before = await world.head()
    await console_client.enable(world.services.ledger, world.services.format, world.settings.issuer, SYSTEM)
    assert await world.types_after(before) == []


async def test_console_outlives_what_is_done_to_its_client(world: World) -> None:
    await enable_console(world)
    token = await world.token("clients:read", "clients:write", "leaks:read", "leaks:write")
    bearer = {"authorization": f"Bearer {token}"}
    ours = "/admin/clients/console"
    for refused in (
        await world.client.delete(ours, headers=bearer),
        await world.client.patch(ours, json={"scope": "openid"}, headers=bearer),
        await world.client.post(f"{ours}/secrets", json={"not_before_in": 3_600}, headers=bearer),
    ):
        assert refused.status_code in (400, 403), refused.text
    # Whoever contains it learns no secret of it, and the vault has the one that works.
    body = {"client_id": CONSOLE, "rotate": True}
    contained = await world.client.post("/leaks/contain", json=body, headers=bearer)
    assert contained.status_code == 200, contained.text
    assert contained.json()["client_secret"] is None
    assert "glog_cs_" not in contained.text
    assert (await sign_in(world.browser(), await person_with(world, *READER, username="rose"))).status == 200
    # One that was ended without another is renewed by whoever runs the server.
    await world.client.post("/leaks/contain", json={"client_id": CONSOLE}, headers=bearer)
    enabled = (world.services.ledger, world.services.format, world.settings.issuer, SYSTEM)
    assert [each.type for each in await console_client.enable(*enabled)] == ["client.secret_rotated"]
    assert await console_client.enable(*enabled) == ()
    assert (await sign_in(world.browser(), await person_with(world, *READER, username="zoe"))).status == 200


def test_console_that_is_off_is_not_there() -> None:
    off = routed(load({}, None, environment="demo", console=False))
    assert not [each.path for each in off.routes if each.path.startswith("/console")]


async def test_stepping_up_leads_back_and_replaces_the_grant(world: World) -> None:
    await enable_console(world)
    browser, ada = world.browser(), await person_with(world, *READER)
    await sign_in(browser, ada)
    (before,) = await world.events("grant.code_issued")
    world.clock.advance(400)
    page = await browser.open("/console/audit/export?show=1&type=scope.*")
    page = await browser.press(page, "/oauth/authorize/sign-in", **ada.typed)
    assert page.status == 200
    assert "<h1>Search the log</h1>" in page.text
    file = await browser.client.get("/console/audit/export?show=1&type=scope.*")
    assert file.status_code == 200
    assert len(await world.events("session.stepped_up")) == 1
    (ended,) = await world.events("grant.ended")
    assert ended.stream == before.stream


async def test_removed_role_is_felt_by_the_next_click(world: World) -> None:
    await enable_console(world)
    browser, ada = world.browser(), await person_with(world, *READER, "people:read")
    await sign_in(browser, ada)
    await world.define_role("administration", "none", "people:read")
    await world.execute(people.change_roles(ada.account_id, ("none",), by=operator))
    page = await browser.open("/console/audit")
    assert page.status == 403
    assert (
        "the scope <code>audit:read</code>, which none of your roles gives. The role <code>of-ada</code>" in page.text
    )
    assert "<h1>Search the log</h1>" not in page.text


async def test_page_that_waits_for_the_index_says_how_far_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _ = await at_console(world, *READER)

    async def lagging(**_: Any) -> bool:
        return False

    monkeypatch.setattr(world.services.search_index, "follow", lagging)
    page = await browser.open("/console/audit?type=client.*")
    assert page.status == 503
    assert re.search(r"The search index is [\d,]+ events behind\.", page.text)
    assert '<meta http-equiv="refresh" content="30">' in page.text


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (None, "signed"),
        (0, "signed 0 s ago"),
        (119, "signed 1 min ago"),
        (7_200, "signed 2 h ago"),
        (86_400, "signed 1 d ago"),
    ],
)
def test_signature_is_told_with_its_age(age: int | None, words: str) -> None:
    assert LogLine(1, 0, 0, "", age).signed == words


async def test_no_page_may_be_framed_or_kept(world: World) -> None:
    _, page = await at_console(world, *READER)
    fields = page.answer.headers
    assert fields["x-frame-options"] == "DENY"
    assert fields["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in fields["content-security-policy"]
    assert "unsafe" not in fields["content-security-policy"]


async def test_nothing_that_is_sent_is_a_fault_of_the_server(world: World) -> None:
    browser, _ = await at_console(world, *READER, "leaks:write", "keys:read")
    queries: tuple[str, ...] = (
        "after=x",
        "from=x",
        "range=x",
        "order=x",
        "since=x",
        "since=0001-01-01T00:00:00Z",
        "ip=x",
        "type=x",
    )
    queries += ("until=0001-01-01T00:00:00Z", "since=2026-01-01T24:00:00Z", "client_id=%2F", "account_id=%00", "type=")
    queries += ("since=9999-12-31T23:59:59.999999Z", "until=9999-12-31T23:59:59.999999Z")
    for query in queries:
        for path in ("/console/audit", "/console/audit/export", "/console/live"):
            assert (await browser.client.get(f"{path}?{query}")).status_code < 500, (path, query)
    for of in ("%2F", "%0A", "..", "%25", "%C3%A9", "x" * 64):
        assert (await browser.client.get(f"/console/notifications?of={of}")).status_code < 500, of
    page = await browser.open("/console/notifications")
    own = {"sec-fetch-site": "same-origin"}
    for path in ("/console/find", "/console/audit/line", "/console/theme"):
        form = (page if path != "/console/audit/line" else await browser.open("/console/audit")).form(path)
        for text in ("\0", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "a:b:c", '"', "x" * 4_000):
            sent = {**form.fields, "text": text, "line": text, "theme": text[:8], "to": text[:2_000]}
            assert (await browser.client.post(path, data=sent, headers=own)).status_code < 500, (path, text)
    for name in ("grantlog-console", "grantlog-console-flow"):
        for value in ("", "x", "AAAA", "A" * 5_000):
            headers = {"cookie": f"{name}={value}"}
            for path in ("/console/", "/console/callback?code=x&state=y"):
                assert (await world.client.get(path, headers=headers)).status_code < 500, (name, value)
