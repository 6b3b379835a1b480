"""An address from where grants were used is contained: every one of them ends, however many, and nothing else does."""

import asyncio
from typing import Any

import httpx
import pytest

from api.leaks import address_target
from api.leaks.address_target import AddressTarget
from domain import ended_grants
from domain.event import SECOND
from eventstore import affected, time_travel
from eventstore.database.engines import migrating
from eventstore.leaked import afterwards
from eventstore.ledger import Ledger
from eventstore.projecting.rebuild import Comparison
from eventstore.projecting.refollow import MODELS, Refollowing
from eventstore.unavailable import DatabaseAway
from projections import PROJECTIONS
from security.clock import format_rfc3339
from security.keyring import Keyring
from security.tokens import digest
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

NOTHING = {"secrets_ended": 0, "grants_ended": 0, "tokens_ended": 0, "people_affected": 0}
THERE, ELSEWHERE = "203.0.113.7", "198.51.100.1"
HERE = {"address": THERE}


@pytest.fixture(params=(False, True), ids=("at once", "in many portions"), autouse=True)
def portions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a million grants are to the server: more than it holds at a time, wherever it looks."""
    if request.param:
        for module in (affected, afterwards, time_travel, address_target):
            monkeypatch.setattr(module, "AT_ONCE", 2)
        monkeypatch.setattr(address_target, "EVENTS_AT_ONCE", 2)
        monkeypatch.setattr(address_target, "LOOKED_AT", 3)
        monkeypatch.setattr(afterwards, "COUNTED_TOGETHER", 3)
        monkeypatch.setattr(ended_grants, "TOGETHER", 4)
        monkeypatch.setattr(address_target, "FEW", 0)


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


@pytest.fixture
async def server(world: World) -> Client:
    return await world.register_client("API", grant_types=("client_credentials",), scope=("introspect",))


async def give(world: World, job: Client, address: str, count: int = 1) -> list[str]:
    caller, data = world.caller(address), {"grant_type": "client_credentials"}
    return [ok(await caller.post("/oauth/token", data=data, auth=job.auth))["access_token"] for _ in range(count)]


async def active(world: World, server: Client, raw: str, **told: str) -> bool:
    """What a resource server hears, which asks from a place of its own."""
    caller = world.caller("198.51.100.200")
    return bool(ok(await caller.post("/oauth/introspect", data={"token": raw, **told}, auth=server.auth))["active"])


async def contain(admin: httpx.AsyncClient, **asked: Any) -> Any:
    """The numbers, which a dry run told before."""
    tried = ok(await admin.post("/leaks/contain", json=asked | {"dry_run": True}))["contained"]
    done = ok(await admin.post("/leaks/contain", json=asked))
    assert done["contained"] == tried
    return done["contained"]


async def ended(world: World, after: int) -> list[str]:
    await address_target.settle(world.services.ledger)
    found = [each for each in await world.events("grant.ended", after=after)]
    assert {each.event.reason for each in found} <= {"secret_leak"}
    return [each.stream for each in found]


async def proved(world: World, keyring: Keyring) -> None:
    """The rows that are there are those that the log makes."""
    services, engine = world.services, migrating(world.settings.database_url)
    ledger: Ledger = services.ledger
    try:
        await services.follower.follow()
        now = ledger.clock.now()
        compared = Comparison(engine, PROJECTIONS, ledger.privacy, now).run()
        compared += [each for name in MODELS for each in Refollowing(engine, name, ledger.privacy).compare()]
        assert [each.table for each in compared if each.differs_at is not None] == []
    finally:
        engine.dispose()


async def test_what_was_started_or_used_from_there_ends(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client, keyring: Keyring
) -> None:
    started = await give(world, job, THERE, 5)
    used, safe = await give(world, job, ELSEWHERE, 2)
    assert await active(world, server, used, client_ip=THERE)
    # A resource server that says who brought the token says nothing by its own address.
    assert await active(world, server, safe, client_ip=ELSEWHERE)
    before = await world.head()
    at = format_rfc3339(world.clock.now())
    world.clock.advance(1)
    assert await contain(admin, **HERE) == NOTHING | {"grants_ended": 6, "tokens_ended": 6}
    assert len(set(await ended(world, before))) == 6
    alive = [await active(world, server, raw) for raw in (*started, used, safe)]
    assert alive == [False] * 6 + [True]
    types = [each.type for each in await world.events(after=before) if each.stream.startswith(("incident", "grant"))]
    together = types.count("grants.ended_together")
    assert types[: 2 + together] == ["incident.reported", "incident.identified", *["grants.ended_together"] * together]
    assert sorted(types[2 + together :]) == [*["grant.ended"] * 6, "grants.settled", "incident.contained"]
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (incident["evidence"], incident["settled"]) == (f"Address {THERE}", True)
    assert THERE not in str(await world.events(after=before))
    # The past is as it was, and the end has its reason.
    for raw in (started[0], used):
        then = ok(await admin.post("/audit/token-state", json={"token": raw, "at": at}))
        now = ok(await admin.post("/audit/token-state", json={"token": raw, "at": format_rfc3339(world.clock.now())}))
        assert (then["reason"], now["reason"]) == ("active", "grant_ended")
    assert await contain(admin, **HERE) == NOTHING
    await proved(world, keyring)


async def test_since_a_moment_means_the_use_and_the_whole_grant_ends(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client
) -> None:
    (left,) = await give(world, job, THERE)
    (used,) = await give(world, job, ELSEWHERE)
    world.clock.advance(60)
    since = format_rfc3339(world.clock.now())
    (started,) = await give(world, job, THERE)
    assert await active(world, server, used, client_ip=THERE)
    assert await contain(admin, **HERE, since=since) == NOTHING | {"grants_ended": 2, "tokens_ended": 2}
    assert [await active(world, server, raw) for raw in (left, used, started)] == [True, False, False]
    later = format_rfc3339(world.clock.now() + 3_600 * SECOND)
    assert await contain(admin, **HERE, since=later) == NOTHING
    assert await contain(admin, **HERE) == NOTHING | {"grants_ended": 1, "tokens_ended": 1}


async def test_people_count_once_and_cannot_go_on(
    world: World, scene: Scene, admin: httpx.AsyncClient, keyring: Keyring
) -> None:
    there = Scene(world, scene.person, scene.shop)
    browser = world.browser(THERE)
    page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
    await browser.press(page, "/account/sign-in", username=scene.person.username, password=scene.person.password)
    granted = []
    for _ in range(3):
        page = await browser.open(there.address())
        if page.status == 200:
            page = await browser.press(page, CONSENT, APPROVE)
        granted.append(await there.redeem(page))
    # One more code, that nobody has redeemed yet.
    pending = await browser.open(there.address())
    found = await contain(admin, **HERE)
    assert found == NOTHING | {"grants_ended": 4, "tokens_ended": 7, "people_affected": 1}
    for tokens in granted:
        data = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        refused = await world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await there.redeem(pending))["error"] == "invalid_grant"
    await proved(world, keyring)


async def test_who_signed_in_there_has_to_sign_in_again(
    world: World, scene: Scene, admin: httpx.AsyncClient, keyring: Keyring
) -> None:
    """A browser that stays signed in would be given new tokens with nobody asking, a consent being remembered."""

    async def signed_in(address: str) -> Any:
        browser = world.browser(address)
        page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
        await browser.press(page, "/account/sign-in", username=scene.person.username, password=scene.person.password)
        return browser

    idle, safe = await signed_in(THERE), await signed_in(ELSEWHERE)
    page = await safe.open(scene.address())
    page = await safe.press(page, CONSENT, APPROVE)
    assert "code" in (await idle.open(scene.address())).parameters
    before = await world.head()
    await contain(admin, **HERE)
    await address_target.settle(world.services.ledger)
    assert [each.event.reason for each in await world.events("session.ended", after=before)] == ["secret_leak"]
    asked = await idle.open(scene.address())
    assert asked.status == 200
    assert any("sign-in" in form.action for form in asked.forms)
    assert "code" in (await safe.open(scene.address())).parameters
    await proved(world, keyring)


async def test_session_used_from_the_address_ends_wherever_it_began(
    world: World, scene: Scene, admin: httpx.AsyncClient
) -> None:
    browser = world.browser(ELSEWHERE)
    page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
    await browser.press(page, "/account/sign-in", username=scene.person.username, password=scene.person.password)
    thief = world.browser(THERE)
    thief.client.cookies = browser.client.cookies
    page = await thief.open(scene.address())
    await thief.press(page, CONSENT, APPROVE)
    await contain(admin, **HERE)
    for each in (thief, browser):
        asked = await each.open(scene.address())
        assert any("sign-in" in form.action for form in asked.forms)


async def test_nobody_hides_behind_an_address_told_of_a_foreign_token(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client
) -> None:
    """Somebody has stolen a token, and asks as a client of their own whether it still lives."""
    (stolen,) = await give(world, job, ELSEWHERE)
    stranger = await world.register_client("Stranger", grant_types=("client_credentials",), scope=("orders",))
    data = {"token": stolen, "client_ip": "192.0.2.55", "client_user_agent": "nobody/1"}
    told = ok(await world.caller(THERE).post("/oauth/introspect", data=data, auth=stranger.auth))
    assert told == {"active": False}
    # Nor does anybody else's grant end because they say that it was used from somewhere.
    assert await contain(admin, address="192.0.2.55") == NOTHING
    assert await active(world, server, stolen)
    assert await contain(admin, **HERE) == NOTHING | {"grants_ended": 1, "tokens_ended": 1}
    assert not await active(world, server, stolen)


async def test_what_is_dead_already_is_neither_counted_nor_ended_again(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client
) -> None:
    revoked, expired, living_one = await give(world, job, THERE, 3)
    other = await world.register_client("Other", grant_types=("client_credentials",), scope=("orders",))
    await give(world, other, THERE, 2)
    ok(await world.client.post("/oauth/revoke", data={"token": revoked}, auth=job.auth), status=200)
    ok(await admin.post("/leaks/contain", json={"client_id": other.client_id}))
    before = await world.head()
    assert await contain(admin, **HERE) == NOTHING | {"grants_ended": 2, "tokens_ended": 2}
    assert len(await ended(world, before)) == 2
    assert not await active(world, server, living_one)
    assert not await active(world, server, expired)


async def test_what_came_after_the_look_is_ended_too(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look through the index and the lock somebody asks from there once more."""
    await give(world, job, THERE)
    look, late = AddressTarget.gather, list[str]()

    async def gather_slowly(self: AddressTarget, *given: Any) -> None:
        await look(self, *given)
        late.extend(await give(world, job, THERE, 2))

    monkeypatch.setattr(AddressTarget, "gather", gather_slowly)
    done = ok(await admin.post("/leaks/contain", json=HERE))
    assert done["contained"] == NOTHING | {"grants_ended": 3, "tokens_ended": 3}
    assert [await active(world, server, raw) for raw in late] == [False, False]


async def test_every_worker_knows_it_when_it_is_answered(
    world: World, admin: httpx.AsyncClient, job: Client, keyring: Keyring
) -> None:
    raws = await give(world, job, THERE, 6)
    ledger = world.services.ledger
    other = await Ledger.open(world.settings.database_url, keyring, world.clock)
    try:
        for each in (ledger, other):
            for raw in raws:
                found = await each.validation.find(digest(raw))
                assert found is not None
                assert found.reason(world.clock.now()) == "active"
        await contain(admin, **HERE)
        for each in (ledger, other):
            known = [await each.validation.find(digest(raw)) for raw in raws]
            assert {found.reason(world.clock.now()) for found in known if found} == {"grant_ended"}
    finally:
        await other.close()


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody goes on behind the fact: its process was killed."""
    monkeypatch.setattr(address_target, "begin_settling", lambda ledger: None)


async def test_the_one_fact_is_obeyed_everywhere_until_it_is_settled(
    world: World, scene: Scene, admin: httpx.AsyncClient, job: Client, keyring: Keyring, unsettled: None
) -> None:
    raws = await give(world, job, THERE, 5)
    browser = world.browser(THERE)
    page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
    await browser.press(page, "/account/sign-in", username=scene.person.username, password=scene.person.password)
    tokens = await scene.redeem(await browser.press(await browser.open(scene.address()), CONSENT, APPROVE))
    before, then = await world.head(), format_rfc3339(world.clock.now())
    world.clock.advance(1)
    assert await contain(admin, **HERE) == NOTHING | {"grants_ended": 6, "tokens_ended": 7, "people_affected": 1}
    assert not await world.events("grant.ended", after=before)
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (incident["state"], incident["settled"]) == ("contained", False)
    # Another worker, that has seen nothing of it.
    other = await Ledger.open(world.settings.database_url, keyring, world.clock)
    try:
        for raw in (*raws, tokens["access_token"], tokens["refresh_token"]):
            for ledger in (world.services.ledger, other):
                known = await ledger.validation.find(digest(raw))
                assert known is not None
                assert known.reason(world.clock.now()) == "grant_ended"
            asked = {"token": raw}
            now = format_rfc3339(world.clock.now())
            assert ok(await admin.post("/audit/token-state", json=asked | {"at": then}))["reason"] == "active"
            told = ok(await admin.post("/audit/token-state", json=asked | {"at": now}))
            assert (told["reason"], told["active"]) == ("grant_ended", False)
            (decisive,) = told["decided_by"]
            assert [each.type for each in await world.events(after=decisive - 1)][0] == "grants.ended_together"
    finally:
        await other.close()
    data = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await world.client.post("/oauth/token", data=data, auth=scene.shop.auth)).json()["error"] == "invalid_grant"
    assert any("sign-in" in form.action for form in (await browser.open(scene.address())).forms)
    # What it ended is no more counted, and nothing ends twice.
    found = ok(await admin.post("/leaks/investigate", json={"secret": job.secret}))
    assert found["derived"]["access_tokens"] == {"total": 5, "live": 0}
    assert await contain(admin, **HERE) == NOTHING
    # Not while somebody may still be at it.
    await address_target.resume_settling(world.services.ledger)
    assert not await world.events("grant.ended", after=before)
    world.clock.advance(121)
    await address_target.resume_settling(world.services.ledger)
    assert len(await world.events("grant.ended", after=before)) == 6
    assert len(await world.events("session.ended", after=before)) == 1
    assert len(await world.events("grants.settled", after=before)) == 1
    admin = await administering(world)
    assert {each["settled"] for each in ok(await admin.get("/leaks/incidents"))["items"]} == {True}
    await proved(world, keyring)


async def test_containment_killed_before_its_count_is_counted_later(
    world: World, admin: httpx.AsyncClient, job: Client, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = await give(world, job, THERE, 3)

    async def killed(*given: object) -> None:
        raise DatabaseAway

    with monkeypatch.context() as patched:
        patched.setattr(AddressTarget, "ended", killed)
        problem(await admin.post("/leaks/contain", json=HERE), 503)
    assert [await active(world, server, raw) for raw in raws] == [False] * 3
    (incident,) = ok(await admin.get("/leaks/incidents"))["items"]
    assert (incident["state"], incident["settled"]) == ("identified", None)
    world.clock.advance(121)
    await address_target.resume_settling(world.services.ledger)
    (incident,) = ok(await (await administering(world)).get("/leaks/incidents"))["items"]
    assert (incident["state"], incident["settled"]) == ("contained", True)
    assert incident["contained"] == NOTHING | {"grants_ended": 3, "tokens_ended": 3}


async def test_whoever_contains_their_own_address_is_answered(world: World, job: Client) -> None:
    data = {"grant_type": "client_credentials", "scope": "leaks:write"}
    security = await world.register_client("Security", grant_types=("client_credentials",), scope=("leaks:write",))
    caller = world.caller(THERE)
    token = ok(await caller.post("/oauth/token", data=data, auth=security.auth))["access_token"]
    caller.headers["authorization"] = f"Bearer {token}"
    assert ok(await caller.post("/leaks/contain", json=HERE))["contained"]["grants_ended"] == 1
    problem(await caller.post("/leaks/contain", json=HERE), 401)


async def test_others_go_on_while_it_is_contained(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    await give(world, job, THERE, 6)
    done, others = await asyncio.gather(contain(admin, **HERE), give(world, job, ELSEWHERE, 8))
    assert done["grants_ended"] == 6
    assert len(others) == 8


async def test_an_erased_person_leaves_nothing_to_end(world: World, scene: Scene, admin: httpx.AsyncClient) -> None:
    browser = world.browser(THERE)
    page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
    await browser.press(page, "/account/sign-in", username=scene.person.username, password=scene.person.password)
    page = await browser.open(scene.address())
    await browser.press(page, CONSENT, APPROVE)
    ok(await admin.delete(f"/admin/people/{scene.person.account_id}"), status=204)
    assert await contain(admin, **HERE) == NOTHING


@cases("address", ["", "nowhere", "203.0.113.7/24", "203.0.113.999", "\u0000"])
async def test_what_is_no_address_is_told_so(admin: httpx.AsyncClient, address: str) -> None:
    problem(await admin.post("/leaks/contain", json={"address": address}), 400, field=None)


async def test_an_address_has_many_spellings(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    await give(world, job, "2001:db8::7")
    found = await contain(admin, address="2001:0DB8:0:0::0007")
    assert found == NOTHING | {"grants_ended": 1, "tokens_ended": 1}
    problem(await admin.post("/leaks/contain", json=HERE | {"rotate": True}), 400, field="rotate")
