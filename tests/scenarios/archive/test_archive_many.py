"""Many segments: what is read of them, by whom, and two who drop them at once."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, select

from commands.archiving import segments
from commands.archiving.segments import NotArchived
from domain.log import Archived
from eventstore.archiving import dropping
from eventstore.database.engines import is_sqlite
from eventstore.mapper import authenticate
from eventstore.projecting.check_rounds import AlongThePacked, Walks
from eventstore.sealed import dropped as sealed
from eventstore.sealed import segment
from eventstore.search import recorded_forms
from eventstore.transparency import published
from projections.named import grant_runs, wide
from security.lru import Lru
from tests.scenarios.administration import administering
from tests.scenarios.archive.test_archive import DAY, archived
from tests.scenarios.archive.test_archive_dropped import drop
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.world import Client

pytestmark = pytest.mark.anyio


async def test_of_two_who_drop_at_once_one_is_refused(scene: Scene, tmp_path: Path) -> None:
    world = scene.world
    await lived(scene)
    world.clock.advance(900 * DAY)
    made = await archived(world, tmp_path / "archive", days=1)
    head = await world.head()
    # Both have looked at what there is before either has dropped anything.
    with pytest.MonkeyPatch.context() as patch:
        require = segments._require_level

        async def first_the_other(*given: Any) -> None:
            patch.setattr(segments, "_require_level", require)
            assert await drop(world) == made
            await require(*given)

        patch.setattr(segments, "_require_level", first_the_other)
        with pytest.raises(NotArchived):
            await drop(world)
    assert len(await world.events("log.archive_dropped", after=head)) == len(made)


async def test_each_drop_reads_what_was_told_since_the_one_before(
    scene: Scene, job: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, made = scene.world, list[Archived]()
    for _ in range(4):
        await token(world, job)
        # The newest event of a log stays.
        await token(world, job)
        world.clock.advance(900 * DAY)
        made += await archived(world, tmp_path / "archive", days=1)
    assert len(made) == 4
    read = list[int]()

    def has(self: dropping.Meanwhile, connection: Connection, sha256: str) -> bool:
        before = self._version
        found = having(self, connection, sha256)
        read.append(self._version - before)
        return found

    having = dropping.Meanwhile.has
    monkeypatch.setattr(dropping.Meanwhile, "has", has)
    assert await drop(world) == made
    assert read == [0, 1, 1, 1]


async def test_events_of_a_segment_are_dropped_together(scene: Scene, job: Client, tmp_path: Path) -> None:
    """Those who write wait meanwhile: on PostgreSQL a statement for each event is a journey for each, and SQLite's
    driver is handed all of them."""
    world, sent = scene.world, list[bool]()
    for _ in range(3):
        await token(world, job)
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    assert made.count > 1

    def count(_: object, __: object, statement: str, ___: object, ____: object, for_each: bool) -> None:
        if statement.startswith("UPDATE stored_events"):
            sent.append(for_each)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        await drop(world)
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert sent == ([] if is_sqlite(world.settings.database_url) else [False])


async def test_no_request_has_the_event_loop_read_a_segment(
    scene: Scene, job: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread does, be it for auditors, for a token of then, for a proof or for the rounds through the log."""
    world = scene.world
    past = await lived(scene)
    issued = (await token(world, job)).json()["access_token"]
    world.clock.advance(900 * DAY)
    (made,) = await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    administrator = await administering(world)
    read = list[bool]()
    opening = segment.opened

    def opened(*given: Any) -> Any:
        read.append(current_thread() is main_thread())
        return opening(*given)

    monkeypatch.setattr(segment, "opened", opened)
    ledger, dead = world.services.ledger, past.tokens["refresh_token"]
    asked: Sequence[Callable[[], Awaitable[Any]]] = (
        lambda: administrator.get(f"/audit/events/{made.first}"),
        lambda: administrator.get("/audit/events", params={"limit": 100}),
        lambda: administrator.post("/audit/token-history", json={"token": dead}),
        lambda: world.client.post("/oauth/introspect", data={"token": issued}, auth=job.auth),
        lambda: ledger.read(published.read_authentic_leaves, made.first - 1, 1),
        lambda: ledger.look(lambda folds: recorded_forms(folds.connection, [made.first])),
    )
    for ask in asked:
        sealed._FORMS.clear()
        sealed._SEGMENTS.clear()
        answer = await ask()
        assert getattr(answer, "status_code", 200) == 200, answer.text
    assert len(read) >= 4
    assert not any(read)


async def test_a_round_along_what_is_packed_reads_each_segment_once(
    scene: Scene, job: Client, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, made = scene.world, list[Archived]()
    resource = await world.register_client("Films", grant_types=("client_credentials",), scope=("catalog:read",))
    for _ in range(4):
        issued = (await token(world, job)).json()["access_token"]
        await world.client.post("/oauth/introspect", data={"token": issued}, auth=resource.auth)
        await world.services.token_uses.record()
        await world.services.follower.follow()
        world.clock.advance(900 * DAY)
        made += await archived(world, tmp_path / "archive", days=1)
    assert len(made) == 4
    await drop(world)
    # The server's own rounds read segments too.
    await world.services.transparency.stop()
    opening, read = segment.opened, list[str]()

    def opened(packed: bytes, of: Archived) -> segment.Contents:
        read.append(of.segment)
        return opening(packed, of)

    authenticate(engine, world.services.ledger.vault)
    with closing(Walks(world.services.ledger.privacy, 0)) as walks, engine.connect() as connection:
        for table in (wide.TABLE, grant_runs.TABLE):
            assert connection.scalar(select(func.count()).select_from(table))
        (along,) = (each for each in walks.all if isinstance(each, AlongThePacked))
        with monkeypatch.context() as patch:
            patch.setattr(segment, "opened", opened)
            # As on a long log, of whose segments few are in memory.
            patch.setattr(sealed, "_FORMS", Lru(1))
            is_over = False
            while not is_over:
                found, is_over = along.step(connection, world.clock.now())
                assert found == []
    assert read == [each.segment for each in made]
