"""Tiles that segments alone have: proofs are as before, and what grows or lives does not wait for a file."""

import asyncio
import io
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from eventstore import export_import
from eventstore.archiving import tiles
from eventstore.database.engines import migrating, snapshot
from eventstore.mapper import authenticate
from eventstore.sealed import dropped as sealed
from eventstore.sealed import segment
from eventstore.sealed.segment import SegmentDamaged
from eventstore.stored import TILES
from eventstore.transparency import published
from eventstore.transparency.comparison import misfits
from eventstore.transparency.published import read_leaves
from security.vault import Vault
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.archive.test_archive import DAY, archived, positions, problems, signed
from tests.scenarios.archive.test_archive_dropped import drop, verified
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.log.test_checking import found_by_a_round
from tests.scenarios.log.test_transparency import pinned
from tests.scenarios.world import Client, World
from verifier.proofs import check_receipt

pytestmark = pytest.mark.anyio


TILE = "/log/tile/0/000"


async def proven(world: World, asked: tuple[int, ...]) -> list[bytes]:
    """The first tile, as anyone may have it; the receipt of each event holds."""
    asking = await administering(world)
    for position in asked:
        receipt = await asking.get(f"/audit/proofs/{position}")
        assert check_receipt(receipt.text, [await pinned(world)]).exit_code == 0
    answer = await asking.get(TILE)
    assert answer.status_code == 200
    return [answer.content]


async def filled(world: World, job: Client) -> None:
    """Has the first tile full of tokens. Those asked for together share a transaction, where the database can."""
    for _ in range(13):
        for answer in await asyncio.gather(*(token(world, job) for _ in range(20))):
            ok(answer)


def forget() -> None:
    sealed._FORMS.clear()
    sealed._TILES.clear()


def standing(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return sorted(connection.scalars(select(TILES.c.number).where(TILES.c.level == 0)))


async def test_proofs_are_the_same_without_the_tiles(
    scene: Scene, job: Client, engine: Engine, sqlite_url: str, tmp_path: Path
) -> None:
    world = scene.world
    await lived(scene)
    await filled(world, job)
    world.clock.advance(900 * DAY)
    await signed(world)
    ledger = world.services.ledger
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    asked = (min({*range(1, 257)} - gone), min(gone), max(gone))
    said = await proven(world, asked)
    assert standing(engine)[0] == 0
    (made,) = await drop(world)
    assert standing(engine)[0] == 1
    forget()
    assert await proven(world, asked) == said
    await signed(world)
    assert await ledger.read(misfits, read_leaves, {}, 10) == {}
    assert await found_by_a_round(world) == []
    verdict = await verified(world)
    assert (verdict.exit_code, verdict.checked) == (0, await ledger.read(published.size))
    assert await drop(world) == []
    # An import has all of them.
    file = io.BytesIO()
    with snapshot(world.settings.database_url) as connection:
        authenticate(connection, Vault(ledger.vault._keyring))
        export_import.write(connection, file)
    target = migrating(sqlite_url)
    export_import.read(target, Vault(ledger.vault._keyring), io.BytesIO(file.getvalue()).readlines(), 1)
    assert standing(target)[0] == 0
    with closing(target.connect()) as connection:
        assert published.stored_tile(connection, 0, 0) == said[0]
    target.dispose()
    # Checked from elsewhere, a segment proves itself.
    (tmp_path / "archive").rename(tmp_path / "moved")
    forget()
    assert await problems(world, tmp_path / "moved") == [None]

    # Whoever needs the tile is told what is away, and nobody else.
    asking = await administering(world)
    body = problem(await asking.get(TILE), 503, reason="archive_away")
    assert made.segment in body["detail"]
    ok(await token(world, job))
    await signed(world)
    assert (await asking.get("/log/tile/0/999")).status_code == 404
    assert (await verified(world)).exit_code == 2
    assert await problems(world) != [None]
    (tmp_path / "moved").rename(tmp_path / "archive")
    # Nor is a tile of another tree given out.
    kept = tmp_path / "archive" / made.segment
    content = kept.read_bytes()
    whole = segment.unpack(content)
    kept.write_bytes(segment.pack(whole._replace(tiles={0: said[0][::-1]})))
    problem(await asking.get(TILE), 503, reason="archive_away")
    for wrong in (b"", b"no segment", content[: len(content) // 9]):
        kept.write_bytes(wrong)
        problem(await asking.get(TILE), 503, reason="archive_away")
    kept.write_bytes(content)
    assert await proven(world, asked) == said
    assert (await verified(world)).exit_code == 0


async def test_tiles_among_which_much_lives_stay(
    scene: Scene, job: Client, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scene.world
    await lived(scene)
    await filled(world, job)
    world.clock.advance(900 * DAY)
    gone = positions(await archived(world, tmp_path / "archive", days=1))
    of_the_first = len(gone.intersection(range(1, 257)))
    monkeypatch.setattr(tiles, "FEWEST", of_the_first + 1)
    assert await drop(world)
    assert standing(engine)[0] == 0
    monkeypatch.setattr(tiles, "FEWEST", of_the_first)
    assert await drop(world) == []
    assert standing(engine)[0] == 1


async def test_a_tile_that_is_another_one_is_left(engine: Engine) -> None:
    hashes = bytes(range(256)) * 32
    with engine.connect() as connection:
        connection.execute(insert(TILES), {"level": 0, "number": 7, "width": 256, "hashes": hashes})
        with pytest.raises(SegmentDamaged):
            tiles.remove(connection, [7], {7: hashes[::-1]})
        assert tiles.remove(connection, [7], {7: hashes[:-32]}) == frozenset()
        assert published.stored_tile(connection, 0, 7) == hashes
        assert tiles.remove(connection, [7], {7: hashes, 8: b""}) == {7}
        assert published.stored_tile(connection, 0, 7) is None


async def test_a_look_goes_on_behind_a_file_that_is_away(
    scene: Scene, job: Client, engine: Engine, tmp_path: Path
) -> None:
    """The first segment has a part of a tile, as the tree was then, and the second has all of it."""
    world = scene.world
    await lived(scene)
    world.clock.advance(900 * DAY)
    (first,) = await archived(world, tmp_path / "archive", days=1)
    await filled(world, job)
    world.clock.advance(900 * DAY)
    (second,) = await archived(world, tmp_path / "archive", days=1)
    await drop(world)
    assert standing(engine)[0] == 1
    assert await problems(world) == [None, None]
    (tmp_path / "archive" / second.segment).unlink()
    forget()
    found = await problems(world)
    assert [each is not None and second.segment in each for each in found] == [True, True]
    (tmp_path / "archive" / first.segment).unlink()
    own = await problems(world)
    assert own[0] is not None
    assert first.segment in own[0]
