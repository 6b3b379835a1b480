"""Going round the read models: whatever somebody changes in a row that nobody looks at is found within one round."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Connection, LargeBinary, Table, Text, UniqueConstraint, delete, insert, select, update
from structlog.testing import capture_logs

from api.background import Checking, Retention
from commands import people, upstreams
from commands.permissions import operator
from domain import account, client, incident, usage
from domain.events import AGGREGATES
from domain.people.passwords import ForeignHash
from domain.people.upstream import UpstreamTerms
from eventstore.database.engines import migrating
from eventstore.execution import Origin
from eventstore.projecting.check_rounds import Difference, ProjectionRounds
from eventstore.projecting.checks import CATEGORIES, OWNERS, SUMMED, TABLES
from eventstore.projecting.rebuild import Rebuild, clear, differing, tables_of
from eventstore.projecting.refollow import MODELS
from projections import FOLLOWING, PROJECTIONS, event_index, grants, outbox, scopes, tokens
from projections.event_index import NameKind
from projections.named import digest_runs, wide
from security.keyring import Keyring
from security.tokens import new_id
from security.vault import KEYS
from tests.any_command import any_command
from tests.cases import cases
from tests.explore import examples
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.audit.test_audit_replay import History
from tests.scenarios.histories import erase, lived
from tests.scenarios.leaks.test_derived import ALL_STEPS, WAITS, settings_given
from tests.scenarios.world import ENABLES_CLIENT, ENABLES_PERSON, SYSTEM, World, open_world

pytestmark = pytest.mark.anyio

__all__ = ["settings_given"]

HANDLED = {event for each in PROJECTIONS for event in each.HANDLES} - {*usage.EVENTS}
"""What makes rows, uses apart, which are counted."""

PACKED = {str(wide.TABLE.name), str(digest_runs.TABLE.name)}
"""What is packed of archived events is tampered with in test_archive_packed."""

ALL: dict[str, Table] = {
    table.name: table for each in (*PROJECTIONS, *FOLLOWING) for table in tables_of(each) if table.name not in PACKED
}


async def rested(_: float) -> None:
    await asyncio.sleep(0)


def going(world: World, **given: Any) -> tuple[ProjectionRounds, list[Difference]]:
    """Rounds in small steps, from the first event, and what they tell before anything is recorded of it."""
    told: list[Difference] = []
    checking = Checking(world.services)

    async def tell(difference: Difference) -> None:
        told.append(difference)
        await checking.tell(difference)

    how: dict[str, Any] = {"stretch": 7, "begin": lambda size: 0, "sleep": rested}
    return ProjectionRounds(world.services.ledger, world.settings.database_url, tell, **how | given), told


async def one_round(rounds: ProjectionRounds) -> None:
    before = rounds.rounds
    while rounds.rounds == before:
        await rounds.step()


async def found_by_a_round(world: World) -> list[str]:
    """The read models that one round records as different."""
    await world.services.follower.follow()
    before = await world.head()
    rounds, _ = going(world, stretch=40)
    try:
        await one_round(rounds)
    finally:
        rounds.close()
    return [each.event.projection for each in await world.events("server.projection_differed", after=before)]


ALONE = "0f8c-of-a-proxy"
"""Ids of ours that come within 62 milliseconds share a row of the index; this one has a row to itself."""

BCRYPT = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"


async def everything_happened(scene: Scene) -> World:
    """A log in which every read model has a row."""
    world = scene.world
    past = await lived(scene)
    await past.refresh()
    known = await world.register_client("Known", scope=("openid",))
    await scene.redeem(await scene.approved(past.browser, scene.address(known, scope="openid")), known)
    ok(await world.client.post("/oauth/introspect", data={"token": past.tokens["access_token"]}, auth=scene.shop.auth))
    await world.services.uses.record(everything=True)
    await world.services.token_uses.record(everything=True)
    admin = await administering(world)
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth))
    ok(await admin.post("/leaks/contain", json={"secret": job.secret, "evidence": "on a wall"}))
    ok(await admin.put(f"/admin/clients/{scene.shop.client_id}/rotation", json={"maximum_age": 90 * 86_400}))
    gone = await world.register_person("gone")
    await erase(world, gone.account_id)
    known_as = await world.register_person("known")
    going = await world.register_person("going")
    await world.services.ledger.execute(
        people.request_erasure(going.account_id, 86_400), origin=Origin(request_id=ALONE)
    )
    hashed = people.PersonRegistration(
        realm="platform", username="moved", email=None, password_hash=BCRYPT, foreign_hash=ForeignHash("$2y$04", 960)
    )
    privacy, vault = world.services.ledger.privacy, world.services.ledger.vault
    await world.execute(people.register(new_id(), hashed, privacy=privacy, by=operator))
    terms = UpstreamTerms(issuer="https://elsewhere.example", client_id="here", title="Elsewhere")
    issuer = world.settings.issuer
    await world.execute(
        upstreams.put("platform", "elsewhere", terms, secret="s" * 32, issuer=issuer, vault=vault, by=operator)
    )
    await world.execute(upstreams.link(known_as.account_id, "elsewhere", "sub-1", privacy=privacy, by=operator))
    await world.services.follower.follow()
    return world


def change(world: World, work: Any) -> None:
    engine = migrating(world.settings.database_url)
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()


def test_every_table_of_a_read_model_is_looked_at_and_has_owners() -> None:
    followed = {table.name for projections, _ in MODELS.values() for each in projections for table in tables_of(each)}
    assert set(ALL) == (set(TABLES) | SUMMED | followed) - PACKED
    assert set(OWNERS) == set(TABLES)
    assert {category for category, page in AGGREGATES.items() if set(page.EVENTS) & HANDLED} == CATEGORIES


# What somebody does to a row ------------------------------------------------------------------------------------------


def other(column: Any, value: Any) -> Any:
    """Another value that the column can hold."""
    if isinstance(column.type, LargeBinary):
        return b"\x01" if value is None else bytes(value[:-1]) + bytes([value[-1] ^ 1])
    if isinstance(column.type, Boolean):
        return not value
    return f"{value or ''}x" if isinstance(column.type, Text) else (value or 0) + 1


def distinguishing(table: Table) -> set[str]:
    """The columns of which no two rows may have the same."""
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return {column.name for each in (table.primary_key, *unique) for column in each.columns}


def added(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row like another one, under a key of its own."""
    own = distinguishing(table)
    return {name: other(table.c[name], value) if name in own and value is not None else value
            for name, value in row.items()}  # fmt: skip


def altered(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """The same row with something else in its last column that matters."""
    horizon = getattr(next(each for each in (*PROJECTIONS, *FOLLOWING) if table in tables_of(each)), "HORIZON", None)
    name = [column.name for column in table.columns if not column.primary_key and column.name != horizon][-1]
    return row | {name: other(table.c[name], row[name])}


TAMPERING: dict[str, Any] = {
    "inserted": lambda table, row: (row, added(table, row)),
    "altered": lambda table, row: (altered(table, row),),
    "deleted": lambda table, row: (),
}


def any_row(connection: Connection, table: Table) -> dict[str, Any]:
    query = select(table)
    if table.name == event_index.TABLE.name:
        # It has one event, and so the one before is about something else.
        query = query.where(table.c.kind == int(NameKind.REQUEST), table.c.key == ALONE.encode())
    found = connection.execute(query.limit(1)).mappings().first()
    assert found is not None, f"nothing stands in {table.name}"
    return dict(found)


def replace(connection: Connection, table: Table, rows: Any, by: Any) -> None:
    for row in rows:
        key = [column == row[column.name] for column in table.primary_key.columns]
        connection.execute(delete(table).where(*key))
    for row in by:
        connection.execute(insert(table).values(row))


@pytest.fixture
async def everything(scene: Scene) -> World:
    return await everything_happened(scene)


@cases("tampering", TAMPERING, ids=TAMPERING)
async def test_tampered_row_is_found_within_one_round(everything: World, tampering: str) -> None:
    world = everything
    undo: dict[str, tuple[Table, dict[str, Any], tuple[dict[str, Any], ...]]] = {}
    assert await found_by_a_round(world) == []
    # Of each read model one table at a time, since it is the read model that is named.
    every = {
        each.__name__.rpartition(".")[2]: [table for table in tables_of(each) if table.name not in PACKED]
        for each in (*PROJECTIONS, *FOLLOWING)
    }
    for place in range(max(map(len, every.values()))):
        tables = {name: of[place] for name, of in every.items() if place < len(of)}
        for name, table in tables.items():
            row = await world.services.ledger.read(any_row, table)
            instead = TAMPERING[tampering](table, row)
            change(world, lambda c, t=table, r=row, i=instead: replace(c, t, (r,), i))
            undo[name] = (table, row, instead)
        assert sorted(await found_by_a_round(world)) == sorted(tables)
        for name, (table, row, instead) in undo.items():
            change(world, lambda c, t=table, r=row, i=instead: replace(c, t, i, (r,)))
            change(world, lambda c, n=name: clear(c, n))
        undo.clear()
    assert await found_by_a_round(world) == []


async def test_difference_is_an_alarm_until_its_model_is_rebuilt(scene: Scene) -> None:
    world = scene.world
    change(world, lambda connection: connection.execute(insert(scopes.TABLE).values(name="all", description="")))
    before = await world.head()
    assert await found_by_a_round(world) == ["scopes"]
    (told,) = await world.events("server.projection_differed")
    assert (told.stream, told.event.head, len(told.event.key_sha256)) == ("server", before, 64)
    assert "all" not in str(told.event)
    # It is told once, and the server goes on.
    assert await found_by_a_round(world) == []
    answer = await world.operators.get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["projections"]) == (503, "not what the log says: scopes")
    # Asked at any time, it is told as it is then.
    assert "grantlog_projections_differing 1.0" in (await world.operators.get("/metrics")).text
    engine = migrating(world.settings.database_url)
    Rebuild(engine, (scopes,), world.services.ledger.privacy, world.clock.now()).run()
    engine.dispose()
    assert (await world.operators.get("/health/ready")).status_code == 200
    assert await found_by_a_round(world) == []
    assert "server.projection_differed" in outbox.TYPES


@pytest.mark.parametrize("gone", ["destroyed", "deleted"])
async def test_a_key_that_is_gone_without_its_event_is_found(scene: Scene, gone: str) -> None:
    world = scene.world
    await lived(scene)
    paula = await world.register_person("paula")
    await erase(world, paula.account_id)
    assert await found_by_a_round(world) == []
    of_paul = KEYS.c.subject == f"account:{scene.person.account_id}"
    row = await world.services.ledger.read(lambda c: dict(c.execute(select(KEYS).where(of_paul)).mappings().one()))

    def destroy(connection: Connection) -> None:
        if gone == "deleted":
            connection.execute(delete(KEYS).where(of_paul))
        else:
            connection.execute(update(KEYS).where(of_paul).values(wrapped=None, key_id=None, destroyed_at=1))

    change(world, destroy)
    assert "vault_keys" in await found_by_a_round(world)
    assert (await world.operators.get("/health/ready")).status_code == 503
    change(world, lambda connection: replace(connection, KEYS, (row,), (row,)))
    await found_by_a_round(world)
    assert "vault_keys" not in await world.services.ledger.read(differing)


async def test_what_no_key_opens_any_more_is_refused_in_words(world: World, keyring: Keyring) -> None:
    paul = await world.register_person("paul")
    of_paul = KEYS.c.subject == f"account:{paul.account_id}"
    change(world, lambda connection: connection.execute(delete(KEYS).where(of_paul)))
    async with open_world(world.settings.database_url, world.settings.data_dir, keyring, world.clock) as other:
        admin = await administering(other)
        renaming = {"username": "paolo"}
        problem(await admin.patch(f"/admin/people/{paul.account_id}", json=renaming), 503, reason="vault_changed")


@pytest.mark.parametrize("gone", ["deleted", "altered"])
async def test_a_key_that_is_away_takes_no_list_along(world: World, keyring: Keyring, gone: str) -> None:
    paul, paula = await world.register_person("paul"), await world.register_person("paula")
    of_paul = KEYS.c.subject == f"account:{paul.account_id}"

    def take(connection: Connection) -> None:
        if gone == "deleted":
            connection.execute(delete(KEYS).where(of_paul))
        else:
            wrapped = connection.scalars(select(KEYS.c.wrapped).where(of_paul)).one()
            altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
            connection.execute(update(KEYS).where(of_paul).values(wrapped=altered))

    change(world, take)
    async with open_world(world.settings.database_url, world.settings.data_dir, keyring, world.clock) as other:
        admin = await administering(other)
        with capture_logs() as lines:
            told = {each["id"]: each for each in ok(await admin.get("/admin/people"), 200)["items"]}
        unopened = [each["keys"] for each in lines if each["event"] == "vault.cannot_be_opened"]
        assert set(unopened) == {(f"account:{paul.account_id}",)}
        assert (told[paul.account_id]["username"], told[paul.account_id]["unreadable"]) == (None, True)
        assert (told[paula.account_id]["username"], "unreadable" in told[paula.account_id]) == ("paula", False)
        # Whatever the names are, they can be kept from coming in.
        disabled = ok(await admin.post(f"/admin/people/{paul.account_id}/disable"), 200)
        assert (disabled["state"], disabled["unreadable"]) == ("disabled", True)
        # Its nulls, sent back as they came, take no name away.
        as_got = {name: disabled[name] for name in ("username", "email", "name", "unreadable")}
        problem(await admin.patch(f"/admin/people/{paul.account_id}", json=as_got), 400, field="unreadable")
        assert ok(await admin.get(f"/admin/people/{paul.account_id}"), 200) == disabled
        assert "vault_keys" in await found_by_a_round(other)
        assert (await other.operators.get("/health/ready")).status_code == 503


# Nothing where there is nothing ---------------------------------------------------------------------------------------


@settings(max_examples=examples(2, 4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_who_writes_meanwhile_raises_no_alarm(scene: Scene, seed: int) -> None:
    world, chance = scene.world, Random(seed)  # noqa: S311 - a reproducible history, no secret
    for stream, verb, facts in (
        (client.stream(scene.shop.client_id), client.enable, ENABLES_CLIENT),
        (account.stream(scene.person.account_id), account.enable, ENABLES_PERSON),
    ):
        await world.services.ledger.execute(any_command(stream, verb, facts), origin=SYSTEM)
    fresh = await world.register_client(f"Shop {seed}")
    history = History(await lived(Scene(world, scene.person, fresh)), await administering(world), chance)
    before, done = await world.head(), False
    rounds, _ = going(world)

    async def write() -> None:
        for _ in range(12):
            world.clock.advance(chance.choice(WAITS))
            await chance.choice(list(ALL_STEPS.values()))(history)
            if chance.random() < 0.5:
                await world.services.follower.follow()
                await world.services.ledger.maintain(tokens.prune, world.clock.now(), 3)
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    try:
        while not done:
            done = writing.done()
            await one_round(rounds)
        await writing
    finally:
        writing.cancel()
        rounds.close()
    assert await world.events("server.projection_differed", after=before) == ()


async def test_ended_months_and_erased_people_raise_no_alarm(scene: Scene) -> None:
    world = await everything_happened(scene)
    await erase(world, scene.person.account_id)
    (leak,) = await world.events("incident.reported")
    await world.execute(any_command(leak.stream, incident.close))
    assert await found_by_a_round(world) == []
    world.clock.advance(500 * 86_400)
    await Retention(world.services).enforce()
    assert len(await world.events("origin.month_destroyed")) == 1
    assert await found_by_a_round(world) == []


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "logs"), [(1, 1), (4, 1), (1, 3)])
async def test_checker_rests_so_that_workers_take_2_percent_of_a_core(world: World, workers: int, logs: int) -> None:
    """Also with the logs of several issuers open in each of them."""
    elapsed, rests = 0.0, []

    class Enough(Exception):
        pass

    class Other(ProjectionRounds):
        async def step(self) -> bool:
            began.release()
            await asyncio.Event().wait()
            return True

    class Timed(ProjectionRounds):
        async def step(self) -> bool:
            nonlocal elapsed
            elapsed += 0.25 * (1 + len(rests))
            return True

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 5:
            raise Enough

    async def tell(_: Difference) -> None:
        raise AssertionError

    ledger, url, began = world.services.ledger, world.settings.database_url, asyncio.Semaphore(0)
    others = [Other(ledger, url, tell) for _ in range(logs - 1)]
    going = [asyncio.ensure_future(each.run()) for each in others]
    for _ in going:
        await began.acquire()
    timed = Timed(ledger, url, tell, workers=workers, now=lambda: elapsed, sleep=sleep)
    with pytest.raises(Enough):
        await timed.run()
    for each in going:
        each.cancel()
    await asyncio.gather(*going, return_exceptions=True)
    for rounds in (timed, *others):
        rounds.close()
    assert elapsed / (elapsed + sum(rests)) == pytest.approx(0.02 / workers / logs)


async def test_a_round_begins_anywhere_and_its_time_is_told(scene: Scene) -> None:
    world, now = scene.world, 100.0
    await lived(scene)
    await world.services.follower.follow()
    change(world, lambda connection: connection.execute(delete(grants.TABLE)))
    rounds, told = going(world, begin=lambda size: size - 3, now=lambda: now)
    await rounds.step()
    now += 40
    assert rounds.round_seconds == 40
    await one_round(rounds)
    assert {each.projection for each in told} >= {"grants"}
    assert rounds.round_seconds == 40
    rounds.close()
