"""Where requests came from ends after its retention, month by month; who people are does not, and every proof stays."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, Update, func, select, update
from sqlalchemy.engine import make_url

from api.background import Retention
from domain import hold, incident
from domain.event import SECOND
from eventstore import origin_months
from eventstore.database.engines import migrating
from eventstore.projecting.refollow import MODELS, Refollowing
from projections import event_index, incidents, secrets, sightings
from projections.event_index import NameKind
from security.clock import DAY, ManualClock, month_of, parse_rfc3339
from security.keyring import Keyring
from security.vault import KEYS
from tests.any_command import any_command
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.audit.test_audit_events import everything
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.histories import lived
from tests.scenarios.log.test_transparency import followed, pinned
from tests.scenarios.world import World, open_world
from verifier.proofs import check_receipt
from verifier.source import open_source
from verifier.verify import verify

pytestmark = pytest.mark.anyio
THEN, NOW_THERE = "203.0.113.50", "203.0.113.51"


async def later(world: World, days: int) -> None:
    world.clock.advance(days * 86_400)
    await world.services.follower.follow()


async def enforced(world: World) -> list[str]:
    """The months whose end that recorded."""
    before = await world.head()
    await world.services.follower.follow()
    await Retention(world.services).enforce()
    return [each.event.month for each in await world.events("origin.month_destroyed", after=before)]


async def origin_keys(world: World) -> dict[str, bool]:
    """The months that have or had a key, and whether it is there."""
    query = select(KEYS.c.subject, KEYS.c.wrapped.is_not(None)).where(KEYS.c.subject.like("origin:%"))
    rows = await world.services.ledger.read(lambda connection: connection.execute(query).all())
    return {subject: bool(present) for subject, present in rows}


async def signs_in(world: World, scene: Scene, address: str) -> httpx.AsyncClient:
    """The person signs in from an address with name and password; their browser."""
    browser = world.browser(address)
    page = await browser.open(f"/account/sign-in?realm={scene.person.realm}")
    page = await browser.press(page, "/account/sign-in", **scene.person.typed)
    assert page.status == 200, page.text
    return browser.client


async def test_person_of_500_days_ago_signs_in_without_old_addresses(
    scene: Scene,
) -> None:
    world = scene.world
    past = await lived(scene)
    await signs_in(world, scene, THEN)
    month = month_of(world.clock.now())
    assert await origin_keys(world) == {f"origin:{month}": True}
    await later(world, 500)
    assert await enforced(world) == [month]
    assert await origin_keys(world) == {f"origin:{month}": False}
    (destroyed,) = await world.events("origin.month_destroyed")
    assert destroyed.stream == f"origin:{month}"
    assert (destroyed.actor.kind, destroyed.actor.credential) == ("system", {"user": "server"})
    assert (destroyed.event.reason, destroyed.event.retention_days) == ("retention", 400)

    await signs_in(world, scene, NOW_THERE)
    admin = await administering(world)
    (found,) = ok(
        await admin.get("/admin/people", params={"username": scene.person.username, "realm": scene.person.realm})
    )["items"]
    assert (found["id"], found["username"], found["email"]) == (
        scene.person.account_id,
        scene.person.username,
        scene.person.email,
    )
    seeing = await administering(world, "audit:read", "audit:personal")
    assert await everything(seeing, ip=THEN) == []
    assert {each["type"] for each in await everything(seeing, ip=NOW_THERE)} >= {"session.started"}
    first, second = (await everything(seeing, type="session.started", account_id=scene.person.account_id))[-2:]
    assert (first["ip"], first["user_agent"], set(first["erased"])) == (None, None, {"ip", "user_agent"})
    assert (second["ip"], second["erased"]) == (NOW_THERE, [])
    (registered,) = await everything(seeing, type="account.registered", account_id=scene.person.account_id)
    assert registered["data"]["username"] == scene.person.username
    assert registered["erased"] == []
    assert past.tokens["access_token"]


async def test_every_proof_still_verifies(scene: Scene) -> None:
    world = scene.world
    await lived(scene)
    # From here on the tree is followed when this test says so, and by nobody beside it.
    await world.services.transparency.stop()
    await followed(world)
    auditor = await administering(world, "audit:read")
    kept = (await world.client.get("/log/checkpoint")).text
    receipt = (await auditor.get("/audit/proofs/5")).text
    await later(world, 500)
    assert len(await enforced(world)) == 1
    size, key = await followed(world), await pinned(world)
    url = world.settings.database_url
    with closing(open_source(url.replace("+psycopg", ""))) as source:
        verdict = verify(source, [key], kept=[kept])
    assert (verdict.outcome, verdict.size) == ("verified", size)
    assert verdict.checked >= size
    auditor = await administering(world, "audit:read")
    for text in (receipt, (await auditor.get("/audit/proofs/5")).text):
        assert check_receipt(text, [key]).outcome == "verified"


async def test_month_is_kept_until_all_of_it_exceeds_the_retention(world: World) -> None:
    world.clock.set(parse_rfc3339("2026-01-31T23:00:00Z"))
    await administering(world)
    january_over = parse_rfc3339("2026-02-01T00:00:00Z")
    world.clock.set(january_over + 400 * DAY - SECOND)
    assert await enforced(world) == []
    world.clock.set(january_over + 400 * DAY)
    assert await enforced(world) == ["2026-01"]
    # Another process, or the same one later, finds nothing left to be done.
    assert await enforced(world) == []


async def test_a_held_month_waits_until_the_hold_is_released(world: World) -> None:
    await administering(world)
    month = month_of(world.clock.now())
    facts = {"hold_id": "one", "first": month, "last": month, "reason": "asked by a court for Ada"}
    await world.execute(any_command(hold.STREAM, hold.place, facts))
    assert "Ada" not in str(await world.events("hold.*"))
    await later(world, 500)
    assert await enforced(world) == []
    assert (await origin_keys(world))[f"origin:{month}"]
    await world.execute(any_command(hold.STREAM, hold.release, {"hold_id": "one"}))
    assert await enforced(world) == [month]


def changed(connection: Connection, statement: Update) -> int:
    """How many rows the statement changed."""
    return connection.execute(statement).rowcount


async def test_months_since_an_open_incidents_facts_wait_for_its_close(world: World) -> None:
    await administering(world)
    before = month_of(world.clock.now())
    await later(world, 60)
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth))
    since = month_of(world.clock.now())
    await later(world, 500)
    admin = await administering(world)
    made = ok(await admin.post("/leaks/contain", json={"secret": job.secret}))["incident_id"]
    # Whoever says so in the rows neither closes an incident nor makes what it is about younger.
    for forged in (update(incidents.TABLE).values(state="closed"), update(secrets.TABLE).values(created_at=2**50)):
        await world.services.ledger.maintain(changed, forged)
    assert await enforced(world) == [before]
    assert await enforced(world) == []
    ok(await admin.post(f"/leaks/incidents/{made}/close", json={}))
    assert await enforced(world) == [since]


async def test_what_is_not_identified_keeps_no_month_before_its_report(world: World) -> None:
    await administering(world)
    month = month_of(world.clock.now())
    await later(world, 500)
    unknown = {"source": "administrator", "evidence": None, "sha256": None, "kind": None}
    await world.execute(any_command(incident.stream("odd"), incident.report, unknown))
    assert await enforced(world) == [month]


async def test_read_models_keep_no_addresses_and_equal_a_replay(scene: Scene) -> None:
    world, dashboard = scene.world, await make_dashboard(scene.world, "stock", scope=("orders",))
    phone = world.caller(THEN)
    _, cookie = await dashboard.sign_in(scene.person, by=phone)
    assert (await dashboard.refresh(cookie, by=phone)).status_code == 200
    month = month_of(world.clock.now())
    # A search of the next month lies in the same row of the index as those of this one.
    await later(world, 31)
    await dashboard.sign_in(scene.person, by=phone)
    await world.services.follower.follow()
    secret_id = dashboard.secret_ids[0]
    before = await world.services.ledger.read(sightings.summary, secret_id)
    await later(world, 400)
    assert await enforced(world) == [month]

    (each,) = [one for one in await world.services.ledger.read(origin_months.ended) if one.month == month]
    kept = select(func.count()).where(
        event_index.TABLE.c.kind == int(NameKind.ADDRESS), event_index.TABLE.c.position <= each.last
    )
    assert await world.services.ledger.read(lambda connection: connection.scalar(kept)) == 0
    assert await world.services.ledger.read(sightings.summary, secret_id) == before
    places = await world.services.ledger.read(sightings.newest, secret_id, 10)
    assert {(place.address == b"", place.ip is None) for place in places} == {(True, True), (False, False)}
    seeing = await administering(world, "audit:read", "audit:personal")
    assert {found["position"] > each.last for found in await everything(seeing, ip=THEN)} == {True}
    await world.services.follower.follow()
    engine = migrating(world.settings.database_url)
    try:
        for name in MODELS:
            compared = Refollowing(engine, name, world.services.ledger.privacy).compare()
            assert [one.table for one in compared if one.differs_at is not None] == []
    finally:
        engine.dispose()


async def test_another_process_opens_nothing_of_a_month_that_ended(
    database_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    clock = ManualClock()
    async with (
        open_world(database_url, tmp_path / "one", keyring, clock) as world,
        open_world(database_url, tmp_path / "two", keyring, clock) as other,
    ):
        await administering(world)
        seeing = await administering(other, "audit:read", "audit:personal")
        assert (await everything(seeing, type="grant.tokens_issued"))[0]["ip"] is not None
        await later(world, 500)
        assert len(await enforced(world)) == 1
        seeing = await administering(other, "audit:read", "audit:personal")
        assert (await everything(seeing, type="grant.tokens_issued"))[0]["erased"] == ["ip", "user_agent"]


async def test_the_destroyed_key_is_in_no_file(sqlite_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with open_world(sqlite_url, tmp_path, keyring) as world:
        await administering(world)
        query = select(KEYS.c.wrapped).where(KEYS.c.subject.like("origin:%"))
        wrap = await world.services.ledger.read(lambda connection: connection.scalars(query).one())
        file = Path(make_url(sqlite_url).database or "")
        assert any(wrap in each.read_bytes() for each in file.parent.glob(f"{file.name}*"))
        await later(world, 500)
        assert len(await enforced(world)) == 1
        await world.services.ledger.wipe()
        assert not any(wrap in each.read_bytes() for each in file.parent.glob(f"{file.name}*"))
