"""One machine's clock jumps: it writes nothing and says why, the others go on, and nothing lives longer for it."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from api.background import Retention
from api.services import SYSTEM
from commands import people
from eventstore import may_write, recorder
from eventstore.appending import transaction
from eventstore.execution import Origin
from eventstore.stored import head
from projections.prepared import Prepared
from security.clock import DAY, HURRY, SECOND, Moment, SteadyClock, SystemClock, Timer, WatchedClock
from security.keyring import Keyring
from tests.scenarios.asking import VERIFIER, set_scene
from tests.scenarios.log.forged_rows import intruding
from tests.scenarios.world import World, open_world

pytestmark = pytest.mark.anyio


class Passing:
    """A clock on which seconds pass as a test says, and that may be set apart from the others."""

    def __init__(self, real: Timer) -> None:
        self._real = real
        self.passed = 0.0
        self.off = 0.0

    def now(self) -> Moment:
        return self._real.now() + round((self.passed + self.off) * SECOND)


class Nodes:
    """Two machines with a clock each over one database that has its own, and the time that passes for all."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.machines = Passing(SystemClock()), Passing(SystemClock())
        self._steady = Passing(SteadyClock())
        self.clocks: list[Any] = [self.started(machine) for machine in self.machines]
        self._lock = transaction._LOCK
        self._leapt = 0.0

    def started(self, machine: Timer) -> Any:
        """The clock of a process that starts there now."""
        return WatchedClock(machine, self._steady)

    def leap(self, seconds: float) -> None:
        """Every clock jumps, and the database's with them: nobody contradicts."""
        self._leapt += seconds
        for machine in self.machines:
            machine.off += seconds
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self._steady.passed += seconds
        for machine in self.machines:
            machine.passed += seconds
        told = f"({recorder.DATABASE_TIME} + {round((self._steady.passed + self._leapt) * SECOND)})"
        self._patch.setattr(transaction, "_LOCK", self._lock.replace(recorder.DATABASE_TIME, told))
        self._patch.setattr(may_write, "_DATABASE_TIME", Prepared(text(f"SELECT {told}")))


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return Nodes(monkeypatch)


@pytest.fixture
async def worlds(
    nodes: Nodes, database_url: str, tmp_path: Path, keyring: Keyring
) -> AsyncIterator[tuple[World, World]]:
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(open_world(database_url, tmp_path / str(n), keyring, clock))
            for n, clock in enumerate(nodes.clocks)
        ]
        yield first, second


async def ready(world: World) -> tuple[int, str]:
    answer = await world.operators.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["clock"]


async def issue(world: World, job: Any) -> Any:
    return await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth)


@pytest.mark.parametrize("by", [3600, -3600, 3, -3])
async def test_machine_with_a_wrong_clock_writes_nothing_others_go_on(
    nodes: Nodes, worlds: tuple[World, World], by: float
) -> None:
    astray, right = worlds
    job = await right.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    token = (await issue(astray, job)).json()["access_token"]
    nodes.machines[0].off = by
    before = await right.head()
    for _ in range(3):
        nodes.advance(3)
        refused = await issue(astray, job)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"] == "temporarily_unavailable"
    assert await right.head() == before
    status, words = await ready(astray)
    assert status == 503
    assert re.fullmatch(r"\d+ s (ahead of|behind) the (database's clock|newest event)|jumped \d+ s (ahead|back)", words)
    # What was issued is as alive as it should be, on both.
    for world in worlds:
        answer = await world.client.post("/oauth/introspect", data={"token": token}, auth=job.auth)
        assert answer.json()["active"] is True
    assert await ready(right) == (200, "ok")
    assert (await issue(right, job)).status_code == 200
    (issued,) = (await right.events("grant.tokens_issued"))[-1:]
    assert abs(issued.time - nodes.clocks[1].now()) < 60 * SECOND
    # And when it is right again, it is one of them.
    nodes.machines[0].off = 0
    assert await ready(astray) == (200, "ok")
    assert (await issue(astray, job)).status_code == 200


async def test_a_code_lives_a_minute_whatever_a_clock_did(nodes: Nodes, worlds: tuple[World, World]) -> None:
    astray, right = worlds
    scene = await set_scene(right)
    browser = await scene.signed_in()
    # The machine's clock is an hour ahead for ten seconds, in which it is asked to write again and again.
    nodes.machines[0].off = 3600
    for _ in range(10):
        nodes.advance(1)
        assert (await issue(astray, await a_job(right))).status_code == 503
    nodes.machines[0].off = 0
    in_time, too_late = await scene.approved(browser), await browser.open(scene.address())
    nodes.advance(50)
    assert (await scene.redeem(in_time))["token_type"] == "Bearer"
    nodes.advance(15)
    code = too_late.parameters["code"]
    answer = await right.client.post(
        "/oauth/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": scene.shop.redirect_uri,
            "code_verifier": VERIFIER,
        },
        auth=scene.shop.auth,
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert [each.event.reason for each in await right.events("grant.code_refused")] == ["expired"]


async def a_job(world: World) -> Any:
    return await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))


async def test_what_the_heads_row_says_moves_no_clock(worlds: tuple[World, World], database_url: str) -> None:
    """Whoever may append can write there, and would end every token at once."""
    first, second = worlds
    job = await first.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    asked = {"grant_type": "client_credentials"}
    raw = (await first.client.post("/oauth/token", data=asked, auth=job.auth)).json()["access_token"]
    for seconds in (366 * 86_400, -366 * 86_400):
        known = (await first.events())[-1].time
        with intruding(database_url) as connection:
            connection.execute(update(head).values(time=head.c.time + seconds * SECOND))
            connection.commit()
        for world in (second, first):
            assert await world.services.ledger.clock_fault() is None
            answer = await world.client.post("/oauth/introspect", data={"token": raw}, auth=job.auth)
            assert answer.json()["active"] is True
            assert (await world.client.post("/oauth/token", data=asked, auth=job.auth)).status_code == 200
            (*_, newest) = await world.events()
            assert known <= newest.time < known + 60 * SECOND


FAR = 4 * 365 * 86_400.0


async def destroyed(world: World) -> list[str]:
    """What is destroyed for ever once all that is done again and again was done."""
    await Retention(world.services).enforce()
    await people.erase_due(world.services.ledger, Origin(SYSTEM))
    return [each.type for each in await world.events() if each.event.destroys_key]


async def test_what_cannot_be_undone_does_not_come_by_a_leap(
    nodes: Nodes, worlds: tuple[World, World], database_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    """Not while the process runs, which comes to believe it, and not in one that starts then."""
    world, right = worlds
    scene, job = await set_scene(world), await a_job(right)
    browser = await scene.signed_in()
    await browser.press(await browser.open("/account/data"), "/account/data/erase")
    before = nodes.clocks[0].now()
    nodes.leap(FAR)
    for passed in (1, 60, FAR / HURRY - 60):
        assert (await issue(world, job)).status_code == 503
        nodes.advance(passed)
    assert (await issue(world, job)).status_code == 200
    assert (await world.events())[-1].time > before + FAR * SECOND
    assert await destroyed(world) == []
    async with open_world(database_url, tmp_path / "started", keyring, nodes.started(nodes.machines[0])) as started:
        assert await destroyed(started) == []
        # When it has been so for days nobody has put it right.
        nodes.advance(FAR / HURRY + 10)
        assert await destroyed(started) == ["origin.month_destroyed", "account.erased"]


async def test_what_is_due_is_done_where_time_only_passes(nodes: Nodes, worlds: tuple[World, World]) -> None:
    world, _ = worlds
    scene = await set_scene(world)
    browser = await scene.signed_in()
    await browser.press(await browser.open("/account/data"), "/account/data/erase")
    # Nobody asks for anything for two years.
    nodes.advance(730 * DAY / SECOND)
    assert await destroyed(world) == ["origin.month_destroyed", "account.erased"]


async def test_a_server_that_starts_holds_up_nothing_that_is_due(
    nodes: Nodes, worlds: tuple[World, World], database_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    """Where the log was in use until a moment ago."""
    world, right = worlds
    scene, job = await set_scene(world), await a_job(right)
    browser = await scene.signed_in()
    await browser.press(await browser.open("/account/data"), "/account/data/erase")
    nodes.advance(6 * DAY / SECOND)
    assert (await issue(world, job)).status_code == 200
    nodes.advance(DAY / SECOND + 60)
    async with open_world(database_url, tmp_path / "started", keyring, nodes.started(nodes.machines[0])) as started:
        assert await destroyed(started) == ["account.erased"]
