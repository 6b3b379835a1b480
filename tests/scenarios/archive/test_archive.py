"""Old events copied into sealed segments: which ones, that they are whole, and what is told when they are not."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from commands.archiving import segments
from commands.archiving.segments import NotArchived, archive_before, look
from domain import log, server
from domain.log import Archived
from eventstore.archiving import archived as archive
from eventstore.archiving import stretch
from eventstore.recorder import LogRecorder
from eventstore.sealed import segment
from eventstore.sealed.log_rows import EventRow
from eventstore.sealed.segment_place import PlaceAway, SegmentPlace
from eventstore.search import stored_forms
from eventstore.stored import events
from eventstore.transparency import published
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import Diverged, read_leaves
from security.keyring import new_master_key, parse_keyring
from tests.any_command import any_command
from tests.processes.hostile import unprotected
from tests.scenarios.administration import ok
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.assertions import register_signer
from tests.scenarios.histories import Past, erase, lived
from tests.scenarios.jobs import token
from tests.scenarios.log.test_checking import everything_happened
from tests.scenarios.proofs import Holder
from tests.scenarios.world import SYSTEM, Client, World, open_world
from tests.started import PATIENCE

pytestmark = pytest.mark.anyio

DAY = 86_400
FEW = 4
KINDS = {"grant", "session", "audit", "usage", "account", "consent"}


async def signed(world: World) -> None:
    """Returns when the server's own task has brought the tree to the log's head: nobody else may take a step."""
    ledger = world.services.ledger
    head, _ = await ledger.head()
    async with asyncio.timeout(PATIENCE):
        while await ledger.read(published.size) < head:
            await asyncio.sleep(0.01)


@contextmanager
def rows_left() -> Iterator[None]:
    """Rows of dropped events stay where they are, as they did before they were packed."""

    async def pack(*_: object) -> None:
        pass

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "_pack_rows", pack)
        yield


async def archived(world: World, directory: Path | str, days: int = 0) -> list[Archived]:
    """Archives what is older than so many days under a tree that has come to the log's head."""
    await signed(world)
    before = world.clock.now() - days * DAY * 1_000_000
    made = archive_before(world.services.ledger, SegmentPlace(str(directory)), before, SYSTEM, lambda done, goal: None)
    return [each async for each in made]


async def problems(world: World, directory: Path | None = None) -> list[str | None]:
    place = None if directory is None else SegmentPlace(str(directory))
    seen = look(world.services.ledger, place, check=True, progress=lambda done, goal: None)
    return [each.problem async for each in seen]


def positions(made: Sequence[Archived]) -> set[int]:
    return {position for each in made for position in log.positions_of(each)}


async def old(scene: Scene) -> Past:
    """A grant, a session and uses of years ago, whose tokens have all expired."""
    past = await lived(scene)
    resource = await scene.world.register_client("Films", grant_types=("client_credentials",), scope=("catalog:read",))
    asked = {"token": past.tokens["access_token"]}
    await scene.world.client.post("/oauth/introspect", data=asked, auth=resource.auth)
    await scene.world.services.token_uses.record()
    await past.refresh()
    scene.world.clock.advance(900 * DAY)
    return past


async def everything_old(scene: Scene, job: Client) -> tuple[Past, str]:
    """A log in which everything happened years ago, and somebody whose tokens were refreshed then, by this one."""
    world = await everything_happened(scene)
    past = await lived(scene)
    old = past.tokens["refresh_token"]
    await past.refresh()
    # Tokens that are bound to a key, and one for whoever proved themselves by a key.
    proof = {"dpop": Holder(world).proof("/oauth/token")}
    assert ok(await token(world, job, headers=proof))["token_type"] == "DPoP"
    ok(await (await register_signer(world)).ask())
    # Tokens that a key of this server signed.
    grants = ("client_credentials",)
    signing = await world.register_client("Signing", grant_types=grants, scope=("orders",), access_token_format="jwt")
    for _ in range(2):
        ok(await token(world, signing))
    world.clock.advance(900 * DAY)
    await signed(world)
    await world.services.follower.follow()
    return past, old


async def test_what_has_ended_is_archived_and_nothing_else(scene: Scene, job: Any, tmp_path: Path) -> None:
    past, world = await old(scene), scene.world
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth)
    assert answer.status_code == 200
    before = {each.position: each for each in await world.events()}
    made = await archived(world, tmp_path / "archive")
    told = [each.event for each in await world.events("log.archived")]
    assert told == made
    chosen = {before[position].stream for position in positions(made)}
    grants = {stream for stream in chosen if stream.startswith("grant:")}
    assert {stream.partition(":")[0] for stream in chosen} == {"grant", "session", "usage"}
    # All of a stream or nothing of it; and the living grant stays, as do the clients and the person.
    assert positions(made) == {position for position, each in before.items() if each.stream in chosen}
    assert len(grants) == 1
    ledger = world.services.ledger
    packed = SegmentPlace(made[0].place).get(made[0].segment)
    forms = segment.opened(packed, made[0]).forms
    assert [form.decode() for form in forms.values()] == await ledger.read(stored_forms, sorted(positions(made)))
    assert oct((tmp_path / "archive" / made[0].segment).stat().st_mode)[-3:] == "600"
    assert await problems(world) == [None]

    # What has ended since is archived later, and nothing twice.
    assert await archived(world, tmp_path / "archive", days=1) == []
    await erase(world, past.scene.person.account_id)
    world.clock.advance(3 * DAY)
    later = await archived(world, tmp_path / "archive", days=1)
    assert {before[position].stream for position in positions(later) if position in before} >= {
        f"account:{past.scene.person.account_id}",
        f"consent:{past.scene.person.account_id}:{scene.shop.client_id}",
    }
    assert not positions(made) & positions(later)
    assert await problems(world) == [None, None]


async def test_each_stream_is_read_once_along_the_log(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old(scene)
    told, read, stretches = await scene.world.events(), list[str](), defaultdict[str, set[int]](set)
    for each in told:
        stretches[each.stream].add((each.position - 1) // FEW)

    class Recorder(LogRecorder):
        def select_events_of(self, wanted: Mapping[str, int], limit: int | None = None) -> dict[str, list[EventRow]]:
            read.extend(wanted)
            return super().select_events_of(wanted, limit)

    monkeypatch.setattr(stretch, "LogRecorder", Recorder)
    monkeypatch.setattr(archive, "LONGEST", FEW)
    made = await archived(scene.world, tmp_path / "archive")
    chosen = {each.stream for each in told if each.position in positions(made)}
    # Nothing is cut in pieces where a stretch ends; the newest event of all stays.
    assert positions(made) == {each.position for each in told[:-1] if each.stream in chosen}
    reaching = {stream for stream, found in stretches.items() if len(found) > 1}
    assert len(read) == len(set(read))
    assert reaching & chosen <= set(read) <= reaching
    assert {stream.partition(":")[0] for stream in reaching & chosen} == {"grant"}


async def test_a_changed_missing_or_foreign_segment_is_told(scene: Scene, sqlite_url: str, tmp_path: Path) -> None:
    await old(scene)
    (made,) = await archived(scene.world, tmp_path / "archive")
    file = tmp_path / "archive" / made.segment
    content = file.read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert await problems(scene.world) == ["it is not what was archived: its digest differs"]
    file.unlink()
    assert await problems(scene.world) == [f"{file}: there is no such file"]
    # They may be elsewhere by now.
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / made.segment).write_bytes(content)
    assert await problems(scene.world, moved) == [None]

    keyring = parse_keyring(new_master_key())
    async with open_world(sqlite_url, tmp_path / "other", keyring, scene.world.clock) as other:
        await old(await set_scene(other))
        await signed(other)
        ledger = other.services.ledger
        head, _ = await ledger.read(archive.bounds, ledger.vault, other.clock.now())
        with pytest.raises((segment.SegmentDamaged, Diverged)):
            await ledger.read(archive.verify, head, made, content)


async def test_whoever_is_interrupted_goes_on(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await old(scene)
    world, directory = scene.world, tmp_path / "archive"
    with monkeypatch.context() as broken:
        # Between the file and its verification.
        broken.setattr(SegmentPlace, "get", lambda self, name: _gone())
        with pytest.raises(PlaceAway):
            await archived(world, directory)
    assert await world.events("log.archived") == ()
    begun = os.listdir(directory)
    with monkeypatch.context() as broken:
        # Between the verification and the event.
        broken.setattr(segments, "_tell", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            await archived(world, directory)
    assert await world.events("log.archived") == ()
    (made,) = await archived(world, directory)
    assert os.listdir(directory) == begun == [made.segment]
    assert await problems(world) == [None]


async def test_what_was_accepted_though_it_does_not_fit_stays(scene: Scene, tmp_path: Path) -> None:
    world = scene.world
    await old(scene)
    begun = next(each.position for each in await world.events() if each.type == "grant.code_issued")
    await signed(world)
    with unprotected(world.settings.database_url) as connection:
        connection.execute(text("UPDATE stored_events SET state = state || ' ' WHERE id = :begun"), {"begun": begun})
    found = await world.services.ledger.read(misfits, read_leaves, {}, 9)
    assert list(found) == [str(begun)]
    noticed = {"reason": "it does not fit", "position": begun}
    await world.execute(any_command(server.STREAM, server.note_divergence, noticed))
    await world.execute(any_command(server.STREAM, server.accept_divergence, {"misfits": found}))
    streams = dict(await world.services.ledger.read(_streams))
    gone = positions(await archived(world, tmp_path / "archive"))
    assert {streams[position].partition(":")[0] for position in gone} == {"session", "usage"}


def _streams(connection: Connection) -> Sequence[tuple[int, str]]:
    return [(row[0], row[1]) for row in connection.execute(select(events.c.id, events.c.originator_id))]


def _gone() -> bytes:
    raise PlaceAway("the store does not answer")


async def _interrupted(*_: object) -> int:
    raise KeyboardInterrupt


async def test_of_two_who_archive_at_once_one_is_refused(scene: Scene, tmp_path: Path) -> None:
    await old(scene)
    await signed(scene.world)
    ledger, now = scene.world.services.ledger, scene.world.clock.now()
    first, second = (
        archive_before(ledger, SegmentPlace(str(tmp_path / name)), now, SYSTEM, lambda done, goal: None)
        for name in "ab"
    )
    # Both have looked at what there is before either has told of anything.
    with pytest.MonkeyPatch.context() as patch:
        telling = segments._tell

        async def tell(*given: Any) -> int:
            patch.setattr(segments, "_tell", telling)
            assert [each async for each in second]
            return await telling(*given)

        patch.setattr(segments, "_tell", tell)
        with pytest.raises(NotArchived):
            [each async for each in first]
    assert len(await scene.world.events("log.archived")) == 1
