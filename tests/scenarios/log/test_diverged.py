"""A log that is not the one that was signed: whoever is in may be ended, and nobody gets in."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from domain import client, incident, server, session
from domain.event import Event
from domain.events import EVENTS
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from eventstore.unavailable import InDoubt
from tests.any_command import any_command
from tests.processes.hostile import unprotected
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import VERIFIER, Scene
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.world import ENABLES_CLIENT, SYSTEM, Client, World

pytestmark = pytest.mark.anyio

REASON = "the event at position 3 is not the one that the tree holds"
WORDS = "Nothing is issued at present, to anybody: the server's log has to be looked at."


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


async def doubt(world: World) -> None:
    """What a server records that notices something, be it this one or another."""
    await world.execute(any_command(server.STREAM, server.note_divergence, {"reason": REASON, "position": 3}))


def refused(answer: httpx.Response) -> None:
    """On the JSON API and at dashboards."""
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["reason"], answer.json()["detail"]) == ("log_diverged", WORDS)


def refused_by_oauth(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60"), answer.text
    assert answer.json() == {"error": "temporarily_unavailable", "error_description": WORDS}


async def recorded_in_doubt(world: World, head: int) -> list[str]:
    """The types since, of which each may be recorded."""
    given = await world.events(after=head)
    assert all(each.event.in_doubt for each in given), given
    return [each.type for each in given]


async def test_no_token_for_anything(scene: Scene, job: Client) -> None:
    world = scene.world
    past = await lived(scene)
    browser = await scene.signed_in()
    code = (await browser.open(scene.address())).parameters["code"]
    await doubt(world)
    head = await world.head()
    refused_by_oauth(await token(world, job))
    refresh = {"grant_type": "refresh_token", "refresh_token": past.tokens["refresh_token"]}
    redeem = {"grant_type": "authorization_code", "code": code, "redirect_uri": scene.shop.redirect_uri}
    redeem["code_verifier"] = VERIFIER
    for body in (refresh, redeem):
        refused_by_oauth(await world.client.post("/oauth/token", data=body, auth=scene.shop.auth))
    assert "grant.ended" not in await recorded_in_doubt(world, head)
    # Neither is used up by it.
    await world.execute(any_command(server.STREAM, server.accept_divergence, {}))
    for body in (refresh, redeem):
        ok(await world.client.post("/oauth/token", data=body, auth=scene.shop.auth))


async def test_no_code_and_no_session_but_a_page_that_says_so(scene: Scene) -> None:
    world = scene.world
    browser, fresh = await scene.signed_in(), world.browser()
    page = await browser.open(scene.address())
    await doubt(world)
    head = await world.head()
    if page.status == 200:
        page = await browser.press(page, "/oauth/authorize/consent", ("decision", "approve"))
    else:
        page = await browser.open(scene.address())
    signing_in = await fresh.open("/account/sign-in?realm=platform")
    typed = {"username": scene.person.username, "password": scene.person.password}
    signed = await fresh.press(signing_in, "/account/sign-in", **typed)
    for each in (page, signed):
        assert (each.status, each.answer.headers["content-type"]) == (503, "text/html; charset=utf-8"), each.text
        assert "Nothing is issued at present, to anybody" in each.text
    assert await recorded_in_doubt(world, head) == []
    assert "grantlog-session-platform" not in fresh.cookies


async def test_no_dashboard_signs_in_and_who_is_in_may_leave(world: World) -> None:
    platform = await make_platform(world)
    access, cookie = await platform.client.sign_in(platform.paul)
    await doubt(world)
    head = await world.head()
    refused(await platform.client.login(platform.paul))
    refused(await platform.client.refresh(cookie))
    assert (await platform.client.logout(cookie=cookie, bearer=access)).status_code == 204
    assert await recorded_in_doubt(world, head) == ["grant.ended"]


async def test_nobody_is_registered_or_given_more(world: World, admin: httpx.AsyncClient, job: Client) -> None:
    ok(await admin.post(f"/admin/clients/{job.client_id}/disable"))
    ok(await admin.post("/leaks/freeze"))
    await doubt(world)
    head = await world.head()
    shop = {"client_name": "New", "grant_types": ["client_credentials"], "scope": "orders"}
    person = {"realm": "platform", "username": "new", "password": "a long password"}
    refused(await admin.post("/admin/clients", json=shop))
    refused(await admin.post("/admin/people", json=person))
    refused(await admin.put("/admin/roles/platform/new", json={"scopes": ["orders"]}))
    refused(await admin.put("/admin/scopes/new:one", json={"description": "New"}))
    refused(await admin.post(f"/admin/clients/{job.client_id}/enable"))
    refused(await admin.post("/leaks/unfreeze"))
    assert await recorded_in_doubt(world, head) == []


async def test_validation_goes_on_and_every_ending_works(scene: Scene, admin: httpx.AsyncClient, job: Client) -> None:
    world, resources = (
        scene.world,
        await scene.world.register_client("Server", grant_types=("client_credentials",), scope=("introspect",)),
    )
    past = await lived(scene)
    held, other = ok(await token(world, job))["access_token"], ok(await token(world, job))["access_token"]
    await doubt(world)
    head = await world.head()

    async def is_active(raw: str) -> bool:
        answer = ok(await world.client.post("/oauth/introspect", data={"token": raw}, auth=resources.auth))
        active: bool = answer["active"]
        return active

    assert await is_active(held)
    ok(await world.client.post("/oauth/revoke", data={"token": held}, auth=job.auth))
    assert not await is_active(held)
    done = ok(await admin.post("/leaks/contain", json={"secret": past.tokens["access_token"]}))
    assert not await is_active(past.tokens["access_token"])
    ok(await admin.post(f"/leaks/incidents/{done['incident_id']}/close", json={"note": "Done."}))
    page = await past.browser.open("/account")
    assert (await past.browser.press(page, "/account/sign-out")).status == 200
    ok(await admin.post(f"/admin/people/{scene.person.account_id}/disable"))
    contained = {"client_id": job.client_id, "rotate": True}
    ok(await admin.post("/leaks/contain", json=contained))
    ok(await admin.post(f"/admin/clients/{job.client_id}/disable"))
    assert not await is_active(other)
    ok(await admin.post("/leaks/freeze"))
    given = set(await recorded_in_doubt(world, head))
    assert given >= {
        "grant.token_revoked", "incident.contained", "incident.closed", "session.ended", "account.disabled",
        "client.disabled", "client.secret_rotated", "server.issuance_suspended",
    }  # fmt: skip


async def test_it_is_accepted_by_name_and_then_it_is_over(world: World, job: Client) -> None:
    keeper = world.services.transparency.keeper
    assert keeper is not None
    while await keeper.step():
        pass
    with unprotected(world.settings.database_url) as connection:
        connection.execute(text("UPDATE stored_events SET state = state || ' ' WHERE id = 3"))
    ledger = world.services.ledger
    while (await ledger.state(server.STREAM)).diverged is None:
        await asyncio.sleep(0.02)
    noticed = await world.events("server.log_diverged", after=3)
    assert [(each.event.reason, each.event.position) for each in noticed] == [(REASON, 3)]
    assert noticed[0].actor.kind == "system"
    refused_by_oauth(await token(world, job))
    found = await ledger.read(misfits, read_leaves, {}, 9)
    assert list(found) == ["3"]
    await world.execute(any_command(server.STREAM, server.accept_divergence, {"misfits": found}))
    ok(await token(world, job))
    while (await world.client.get("/health/ready")).status_code != 200:
        await asyncio.sleep(0.02)
    (accepted,) = await world.events("server.divergence_accepted", after=3)
    assert (accepted.event.reason, accepted.event.misfits) == (REASON, found)
    again = await ledger.execute(any_command(server.STREAM, server.accept_divergence, {}), origin=SYSTEM)
    assert again.refusal is not None


async def test_another_process_that_starts_knows_it_from_the_log(world: World, job: Client) -> None:
    keeper = world.services.transparency.keeper
    assert keeper is not None
    await doubt(world)
    await keeper.step()
    assert keeper.diverged == REASON
    ready = await world.operators.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["log"]) == (503, REASON)


async def test_whoever_asks_together_with_it_is_answered_by_themselves(world: World, job: Client) -> None:
    """Commands that share a transaction: those that may be recorded are."""
    await doubt(world)
    head = await world.head()
    ledger, stream = world.services.ledger, client.stream(job.client_id)
    asked = ((client.disable, {}), (client.enable, ENABLES_CLIENT), (client.disable, {}), (client.delete, {}))
    answers = await asyncio.gather(
        *(ledger.execute(any_command(stream, verb, facts), origin=SYSTEM) for verb, facts in asked),
        return_exceptions=True,
    )
    assert [type(each) is InDoubt for each in answers] == [False, True, False, False]
    assert await recorded_in_doubt(world, head) == ["client.disabled", "client.deleted"]


def test_each_event_says_whether_it_is_recorded_in_doubt() -> None:
    """What begins or gives something waits; what ends something does not. By name, so that a new one is held to it."""
    ends = {"revoked", "ended", "disabled", "deleted", "withdrawn", "denied", "retired", "closed", "contained"}
    notes = {"failed", "refused", "replayed", "seen", "read", "used", "reported", "identified", "suspended"}
    gives = {"registered", "issued", "started", "enabled", "given", "extended", "defined", "resumed", "redeemed"}

    def those(last_words: set[str]) -> set[type[Event]]:
        return {each for each in EVENTS if each.type.rpartition(".")[2].rpartition("_")[2] in last_words}

    assert {each.type for each in those(ends | notes) if not each.in_doubt} == set()
    assert {each.type for each in those(gives) if each.in_doubt} == {server.ServerStarted.type}
    assert session.SessionStarted in those(gives)
    assert incident.IncidentClosed in those(ends)
