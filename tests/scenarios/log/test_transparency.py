"""The published log: what anybody sees, what auditors see, and that it is the tree over the stored events."""

import asyncio
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, text

from api.server import transparency
from domain import server
from domain.keys import log_key
from eventstore.transparency import published
from security.clock import SECOND
from tests.any_command import any_command
from tests.cases import cases
from tests.processes.hostile import unprotected
from tests.scenarios.world import SYSTEM, World
from tests.started import PATIENCE
from verifier.note import Cosigner, Key, open_note, parse_checkpoint
from verifier.proofs import check_receipt
from verifier.server_source import Answer, ServerSource, split_entries
from verifier.tree import CompactRange, leaf_hash
from verifier.verify import verify

pytestmark = pytest.mark.anyio


async def followed(world: World) -> int:
    """Lets the tree come to the log's head; its size. A step that the server's own task was ahead of is made again."""
    keeper, ledger = world.services.transparency.keeper, world.services.ledger
    assert keeper is not None
    head, _ = await ledger.head()
    while await keeper.step() or (keeper.diverged is None and await ledger.read(published.size) < head):
        pass
    return await ledger.read(published.size)


async def pinned(world: World) -> Key:
    state: log_key.State = await world.services.ledger.state(log_key.STREAM)
    assert state.verifier_key is not None
    return Key.parse(state.verifier_key)


async def test_the_first_start_makes_the_key_and_later_ones_none(world: World) -> None:
    made = await world.events("log_key.*")
    assert [event.type for event in made] == ["log_key.introduced", "log_key.activated"]
    assert made[0].event.verifier_key.startswith(f"127.0.0.1:8400/log+{made[0].event.key_id}+")
    await world.services.transparency.stop()
    await world.services.transparency.start(SYSTEM)
    assert await world.events("log_key.*") == made


async def test_the_watch_goes_on_after_something_unforeseen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transparency, "AGAIN_AFTER", 0.0)
    loop, looked, unforeseen = asyncio.get_running_loop(), asyncio.Event(), [RuntimeError("unforeseen")]

    def look(connection: Connection) -> None:
        if unforeseen:
            raise unforeseen.pop()
        loop.call_soon_threadsafe(looked.set)

    await world.services.transparency.stop()
    monkeypatch.setattr(world.services.ledger.changes, "look_beyond", look)
    await world.services.transparency.start(SYSTEM)
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
    assert unforeseen == []


async def test_anybody_reads_key_checkpoint_and_hashes(world: World) -> None:
    size = await followed(world)
    vkey = await world.client.get("/log/vkey")
    assert vkey.headers["content-type"] == "text/plain; charset=utf-8"
    key = Key.parse(vkey.text)
    assert key == await pinned(world)
    answer = await world.client.get("/log/checkpoint")
    assert (
        answer.headers["content-type"],
        answer.headers["cache-control"],
        answer.headers["access-control-allow-origin"],
    ) == (
        "text/plain; charset=utf-8",
        "no-cache",
        "*",
    )
    signed = parsedate_to_datetime(answer.headers["last-modified"]).timestamp()
    assert 0 <= world.clock.now() / SECOND - signed < 60
    checkpoint = parse_checkpoint(open_note(answer.text, [key]).text)
    assert (checkpoint.origin, checkpoint.size) == (key.name, size)
    tile = await world.client.get(f"/log/tile/0/000.p/{size}")
    hashes = [tile.content[at : at + 32] for at in range(0, len(tile.content), 32)]
    tree = CompactRange()
    for hash_ in hashes:
        tree.add(hash_)
    assert (len(hashes), tree.root()) == (size, checkpoint.root)
    assert (await world.client.get(f"/log/tile/0/000.p/{size - 1}")).content == tile.content[:-32]


async def test_a_full_tile_may_be_kept_for_ever(world: World) -> None:
    await world.define_scopes(*(f"made:{number}" for number in range(256)))
    size = await followed(world)
    full, partial = [await world.client.get(f"/log/tile/0/{path}") for path in ("000", f"001.p/{size - 256}")]
    assert full.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "immutable" not in partial.headers["cache-control"]
    assert full.headers["content-type"] == "application/octet-stream"
    assert len((await world.client.get("/log/tile/1/000.p/1")).content) == 32


@cases(
    "path",
    ["0/001", "0/00", "00/000", "0/000.p/256", "0/000.p/0", "0/x000/001", "64/000", "entries/", "a/000", "0/000/"],
)
async def test_what_is_no_tile_is_not_found(world: World, path: str) -> None:
    await followed(world)
    assert (await world.client.get(f"/log/tile/{path}")).status_code in (401, 404)


async def test_events_are_for_auditors_and_reading_them_is_an_event(world: World) -> None:
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    size = await followed(world)
    path = f"/log/tile/entries/000.p/{size}"
    assert (await world.client.get(path)).status_code == 401
    answer = await world.client.get(path, headers=bearer)
    assert answer.headers["cache-control"] == "no-store"
    leaves = split_entries(answer.content)
    hashes = (await world.client.get(f"/log/tile/0/000.p/{size}")).content
    assert b"".join(map(leaf_hash, leaves)) == hashes
    assert [json.loads(leaf)["position"] for leaf in leaves] == list(range(1, size + 1))
    (read,) = await world.events("audit.read")
    assert (read.event.question, read.event.count) == ("entries", size)
    assert read.event.parameters == {"from": "1", "to": str(size)}
    assert (await world.client.get("/log/tile/entries/900", headers=bearer)).status_code == 404


async def test_a_receipt_is_checked_offline(world: World) -> None:
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    size = await followed(world)
    answer = await world.client.get(f"/audit/proofs/{size}", headers=bearer)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    verdict = check_receipt(answer.text, [await pinned(world)])
    assert (verdict.outcome, verdict.position) == ("verified", size)
    beyond = await world.client.get(f"/audit/proofs/{size + 9}", headers=bearer)
    assert beyond.status_code == 404
    assert [(e.event.question, e.event.count) for e in await world.events("audit.read")] == [("proof", 1), ("proof", 0)]


async def test_the_verifier_reads_the_running_server(world: World) -> None:
    size = await followed(world)
    paths = {}
    for path in ("checkpoint", f"tile/0/000.p/{size}"):
        paths[f"/log/{path}"] = (await world.client.get(f"/log/{path}")).content

    def ask(url: str, _: Mapping[str, str]) -> Answer:
        found = paths.get(urlsplit(url).path)
        return Answer(404) if found is None else Answer(200, found)

    source = ServerSource(world.settings.issuer, ask=ask)
    verdict = verify(source, [await pinned(world)])
    assert (verdict.outcome, verdict.size, verdict.checked) == ("verified", size, 0)


async def test_rewritten_log_is_not_served_as_if_nothing_happened(world: World) -> None:
    assert (await world.client.get("/health/ready")).status_code == 200
    keeper = world.services.transparency.keeper
    assert keeper is not None
    keeper.diverged = "the event at position 3 is not the one that the tree holds"
    answer = await world.operators.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["log"] == keeper.diverged


def change(world: World, before: str, after: str, position: int = 2) -> None:
    """What somebody does to an event who owns the database."""
    with unprotected(world.settings.database_url) as connection:
        statement = text("UPDATE stored_events SET state = replace(state, :b, :a) WHERE id = :p")
        connection.execute(statement, {"b": before, "a": after, "p": position})


def resting(world: World) -> None:
    """Has the round rest for good: in a long log it is elsewhere most of the time."""
    for task in world.services.transparency._tasks[1:]:
        task.cancel()


async def diverged(world: World, position: int) -> None:
    """That the server says so in every place, and signs nothing more."""
    reason = f"the event at position {position} is not the one that the tree holds"
    ready = await world.operators.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["log"]) == (503, reason)
    assert "grantlog_log_diverged 1.0" in (await world.operators.get("/metrics")).text.splitlines()
    before = await world.services.ledger.read(published.size)
    await world.execute(any_command(server.STREAM, server.suspend_issuance))
    assert await followed(world) == before < await world.head()


async def test_a_changed_event_is_noticed_by_the_server_itself(world: World) -> None:
    await followed(world)
    change(world, '"position":2', '"position":9')
    keeper = world.services.transparency.keeper
    assert keeper is not None
    while keeper.diverged is None:
        await asyncio.sleep(0.02)
    await diverged(world, 2)


async def test_changed_event_gets_no_receipt_and_raises_the_alarm(world: World) -> None:
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    size = await followed(world)
    change(world, '"position":2', '"position":9')
    answer = await world.client.get("/audit/proofs/2", headers=bearer)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["reason"] == "log_diverged"
    assert problem["detail"] == "No receipt can be given: the event at position 2 is not the one that the tree holds."
    (asked,) = await world.events("audit.read", after=2)
    assert (asked.event.question, asked.event.count) == ("proof", 0)
    await diverged(world, 2)
    # What fits is proved as before, under the last checkpoint that was signed.
    sound = await world.client.get(f"/audit/proofs/{size}", headers=bearer)
    assert check_receipt(sound.text, [await pinned(world)]).outcome == "verified"


async def test_an_event_that_does_not_verify_is_served_in_no_bundle(world: World) -> None:
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    size = await followed(world)
    change(world, '"position":2', '"position":9')
    answer = await world.client.get(f"/log/tile/entries/000.p/{size}", headers=bearer)
    assert (answer.status_code, answer.json()["reason"]) == (503, "log_forged")
    assert (await world.client.get("/audit/events/2", headers=bearer)).json()["reason"] == "log_forged"


async def test_receipts_raise_the_alarm_without_waiting_for_the_round(world: World) -> None:
    await followed(world)
    resting(world)
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    change(world, '"position":2', '"position":9')
    assert world.services.transparency.problem is None
    assert (await world.client.get("/audit/proofs/2", headers=bearer)).status_code == 503
    await diverged(world, 2)


@pytest.mark.parametrize("settings_given", [{"public_burst": 3}])
async def test_the_public_part_is_throttled(world: World) -> None:
    answers = [(await world.client.get("/log/vkey")).status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    bearer = {"authorization": f"Bearer {await world.token('audit:read')}"}
    assert (await world.client.get("/log/vkey", headers=bearer)).status_code == 200
    other = {"authorization": f"Bearer {await world.token('people:read')}"}
    assert (await world.client.get("/log/vkey", headers=other)).status_code == 429


COSIGNER = Cosigner("witness.example", bytes(32))


@pytest.mark.parametrize("settings_given", [{"witnesses": f"http://127.0.0.1:1/ {COSIGNER.key}"}])
async def test_without_its_witness_the_log_goes_on_and_says_so(world: World) -> None:
    size = await followed(world)
    keeper = world.services.transparency.keeper
    assert keeper is not None
    # It is shown when its witness has been asked, which takes until the connection is refused.
    while (answer := await world.client.get("/log/checkpoint")).status_code != 200 or not keeper.alarms:
        await asyncio.sleep(0.02)
    assert parse_checkpoint(open_note(answer.text, [await pinned(world)]).text).size == size
    assert (keeper.alarms[COSIGNER.name].kind, keeper.short) == ("away", True)
    numbers = (await world.operators.get("/metrics")).text
    for line in ("grantlog_log_witness_alarms 1.0", "grantlog_log_witnesses_short 1.0", "grantlog_log_diverged 0.0"):
        assert line in numbers.splitlines()
    assert (await world.client.get("/health/ready")).status_code == 200
