"""The read models that follow the log are proved and made anew from its beginning, while the server goes on."""

import asyncio
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Table, delete, func, inspect, select, update

from domain import account, client
from eventstore.projecting import refollow
from eventstore.projecting.rebuild import PREFIX, Compared, tables_of
from eventstore.projecting.refollow import MODELS, Incomplete, Refollowing
from projections import event_index, sightings
from projections.event_index import NameKind
from projections.figures import event_counts
from tests.any_command import any_command
from tests.explore import ONE_FIXTURE_FOR_ALL, examples
from tests.scenarios.administration import administering
from tests.scenarios.asking import Scene
from tests.scenarios.audit.test_audit_replay import History
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.histories import erase, lived
from tests.scenarios.leaks.test_derived import ALL_STEPS, WAITS, settings_given
from tests.scenarios.world import ENABLES_CLIENT, ENABLES_PERSON, SYSTEM, World

pytestmark = pytest.mark.anyio

__all__ = ["settings_given"]


def anew(world: World, engine: Engine, name: str) -> Refollowing:
    ledger = world.services.ledger
    return Refollowing(engine, name, ledger.privacy)


def proved(world: World, engine: Engine) -> list[Compared]:
    return [each for name in MODELS for each in anew(world, engine, name).compare()]


def differing(compared: list[Compared]) -> list[str]:
    assert all((each.live == each.replayed) == (each.differs_at is None) for each in compared)
    return [each.table for each in compared if each.differs_at is not None]


async def live(scene: Scene, seed: int, steps: int = 12) -> History:
    """A shop's random history with cut-offs of everybody who takes part."""
    chance = Random(seed)  # noqa: S311 - a reproducible history, no secret
    person = account.stream(scene.person.account_id)
    for stream, verb, facts in (
        (client.stream(scene.shop.client_id), client.enable, ENABLES_CLIENT),
        (person, account.enable, ENABLES_PERSON),
    ):
        await scene.world.services.ledger.execute(any_command(stream, verb, facts), origin=SYSTEM)
    fresh = await scene.world.register_client(f"Shop {seed}")
    history = History(await lived(Scene(scene.world, scene.person, fresh)), await administering(scene.world), chance)
    for _ in range(steps):
        scene.world.clock.advance(chance.choice(WAITS))
        await chance.choice(list(ALL_STEPS.values()))(history)
        if chance.random() < 0.5:
            await scene.world.services.follower.follow()
    await scene.world.services.follower.follow()
    return history


async def test_refollowing_agrees_after_erasures_of_dashboard_people(scene: Scene, engine: Engine) -> None:
    world, other = scene.world, await scene.world.register_person("paula")
    dashboard = await make_dashboard(world, "stock", scope=("orders",))
    for number, person in enumerate((scene.person, other, scene.person)):
        device = world.caller(f"203.0.113.{number}")
        world.clock.advance(30)
        _, cookie = await dashboard.sign_in(person, by=device)
        assert (await dashboard.refresh(cookie, by=device)).status_code == 200
    for person in (scene.person, other):
        await world.services.follower.follow()
        await erase(world, person.account_id)
        assert (await dashboard.login(scene.person)).status_code == 401
    await world.services.follower.follow()
    assert differing(proved(world, engine)) == []


@settings(max_examples=examples(3, 6), suppress_health_check=ONE_FIXTURE_FOR_ALL)
@given(seed=st.integers(0, 2**32))
async def test_refollowing_every_history_gives_the_rows_that_exist(scene: Scene, engine: Engine, seed: int) -> None:
    await live(scene, seed)
    compared = proved(scene.world, engine)
    assert differing(compared) == []
    assert {each.table for each in compared if each.rows} >= {"event_positions", "sightings"}
    for name in MODELS:
        anew(scene.world, engine, name).rebuild()
    assert differing(proved(scene.world, engine)) == []


async def test_tampered_rows_are_named_and_a_rebuild_mends_them(scene: Scene, engine: Engine) -> None:
    await live(scene, 7)
    with engine.begin() as connection:
        typed = event_index.TABLE.c.kind == int(NameKind.TYPE)
        newest = connection.scalar(select(event_index.TABLE.c.position).where(typed).order_by(
            event_index.TABLE.c.position.desc()).limit(1))  # fmt: skip
        connection.execute(delete(event_index.TABLE).where(typed, event_index.TABLE.c.position == newest))
        connection.execute(update(sightings.TABLE).values(uses=0))
        connection.execute(update(event_counts.TABLE).values(events=0))
    assert differing(proved(scene.world, engine)) == ["event_positions", "sightings", "event_counts"]
    for name in MODELS:
        rebuilt = anew(scene.world, engine, name).rebuild()
        assert rebuilt.position >= await scene.world.head()
    assert differing(proved(scene.world, engine)) == []


def counted(engine: Engine, name: str) -> dict[str, int]:
    """How many rows each table of a follower has."""
    tables = [table for each in MODELS[name][0] for table in tables_of(each)]
    with engine.connect() as connection:
        return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("portion", [1, 2, None])
async def test_no_row_is_lost_between_two_portions(
    scene: Scene, engine: Engine, name: str, portion: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live(scene, 7)
    anew(scene.world, engine, name).rebuild()
    rows = counted(engine, name)
    most = max(rows.values())
    assert most > 1
    # With None the last row is the last of a whole portion too, and nothing comes after it.
    monkeypatch.setattr(refollow, "COPIED", portion or most)
    anew(scene.world, engine, name).rebuild()
    assert counted(engine, name) == rows
    assert differing(proved(scene.world, engine)) == []


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_a_copy_that_lost_a_row_is_not_swapped_in(
    scene: Scene, engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live(scene, 7)
    copy, lost = refollow.copy_rows, []

    def copy_but_one(connection: Connection, table: Table, target: Table) -> None:
        copy(connection, table, target)
        key = list(target.primary_key.columns)
        first = connection.execute(select(*key).limit(1)).first()
        if first is not None and not lost:
            lost.append(table.name)
            connection.execute(delete(target).where(*(column == each for column, each in zip(key, first, strict=True))))

    monkeypatch.setattr(refollow, "copy_rows", copy_but_one)
    with pytest.raises(Incomplete, match=r"was to get \d+ rows and got \d+") as refused:
        anew(scene.world, engine, name).rebuild()
    assert f"stay: {lost[0]} was to get" in str(refused.value)
    assert differing(proved(scene.world, engine)) == []
    assert not [each for each in inspect(engine).get_table_names() if each.startswith(PREFIX)]


async def test_erased_people_stay_erased(scene: Scene, engine: Engine) -> None:
    await live(scene, 11)
    gone = any_command(account.stream(scene.person.account_id), account.erase, {"leaves_no_administrator": False})
    await scene.world.services.ledger.execute(gone, origin=SYSTEM)
    await scene.world.services.follower.follow()
    assert differing(proved(scene.world, engine)) == []
    for name in MODELS:
        anew(scene.world, engine, name).rebuild()
    assert differing(proved(scene.world, engine)) == []


async def test_whoever_is_erased_takes_along_what_servers_told_of_them(scene: Scene, engine: Engine) -> None:
    world, past = scene.world, await lived(scene)
    asked = {"token": past.tokens["access_token"], "client_ip": "198.51.100.77"}
    assert (await world.client.post("/oauth/introspect", data=asked, auth=scene.shop.auth)).json()["active"]
    await world.services.token_uses.record(everything=True)
    (used,) = await world.events("usage.token_first_seen")
    assert (used.event.told_ip is None, used.ip is None) == (False, False)
    await world.services.follower.follow()
    await erase(world, scene.person.account_id)
    await world.services.follower.follow()
    assert differing(proved(world, engine)) == []


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_what_happens_while_rows_are_swapped_is_in_the_new_ones(
    scene: Scene, engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live(scene, 5)
    world, copying, go_on = scene.world, threading.Event(), threading.Event()
    copy = refollow.copy_rows

    def held(*given: object) -> None:
        copying.set()
        assert go_on.wait(60)
        copy(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(refollow, "copy_rows", held)
    rebuilding = asyncio.create_task(asyncio.to_thread(anew(world, engine, name).rebuild))
    await asyncio.to_thread(copying.wait, 60)
    await live(scene, 6)
    before = await world.head()
    go_on.set()
    assert (await rebuilding).position >= before
    await live(scene, 9)
    assert differing(proved(world, engine)) == []
