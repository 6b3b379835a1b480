import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from commands.servers import note_divergence
from eventstore.database.engines import migrating
from eventstore.ledger import Ledger
from eventstore.transparency import published, signing_keys
from eventstore.transparency.keeper import ASK_AGAIN, CALM, INTERVAL_S, LOADED_S, Keeper, Witness, Witnesses
from eventstore.transparency.note import VerifierKey
from eventstore.transparency.tree import Tree
from security.clock import SECOND, ManualClock
from tests.eventstore.conftest import HERE, register
from tests.verifier.published_log import KEY, ORIGIN, signing
from verifier import witness as serving
from verifier.note import Cosigner, Key, open_note
from verifier.source import open_source
from verifier.verify import verify
from verifier.witness import Memory

pytestmark = pytest.mark.anyio

COSIGNER = Cosigner("witness.example/w1", bytes(range(32)))


class Place:
    """A witness that can go away and come back."""

    def __init__(self, path: Path) -> None:
        self.witness = serving.Witness(COSIGNER, [KEY], Memory(path), lambda: 1_767_225_600)
        self.away = False

    def asking(self) -> Witnesses:
        def handle(request: httpx.Request) -> httpx.Response:
            if self.away:
                raise httpx.ConnectError("away")
            answer = self.witness.add_checkpoint(request.content)
            return httpx.Response(answer.status, content=answer.body)

        client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        return Witnesses([Witness("https://witness.example", VerifierKey.parse(str(COSIGNER.key)))], client)


async def test_the_tree_of_real_events_is_verified(ledger: Ledger, clock: ManualClock, database_url: str) -> None:
    keeper = Keeper(ledger, Tree(ORIGIN, signing, clock, largest_step=2), clock, note_divergence)
    assert not await keeper.step()
    for name in ("a", "b", "c"):
        await ledger.execute(register(name), origin=HERE)
    head, _ = await ledger.head()
    steps = 1
    while await keeper.step():
        steps += 1
    assert steps == head // 2 + 1
    newest = await ledger.read(published.newest)
    assert newest is not None
    assert newest.size == head
    source = open_source(database_url)
    verdict = verify(source, [KEY])
    source.close()
    assert (verdict.outcome, verdict.checked) == ("verified", head)


async def test_a_step_begins_when_the_one_before_has_ended(ledger: Ledger, clock: ManualClock) -> None:
    class Adding:
        """The ledger, which adds to the tree when it is let."""

        def __init__(self) -> None:
            self.asked, self.let = asyncio.Event(), asyncio.Event()
            self.looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        async def read(self, *asked: Any) -> Any:
            self.looks += 1
            return await ledger.read(*asked)

        async def maintain(self, *work: Any) -> Any:
            self.asked.set()
            await self.let.wait()
            return await ledger.maintain(*work)

    adding = Adding()
    keeper = Keeper(adding, Tree(ORIGIN, signing, clock), clock, note_divergence)  # type: ignore[arg-type]
    await ledger.execute(register("a"), origin=HERE)
    first = asyncio.create_task(keeper.step())
    await adding.asked.wait()
    second = asyncio.create_task(keeper.step())
    for _ in range(100):
        await asyncio.sleep(0)
    assert adding.looks == 1
    adding.let.set()
    await asyncio.gather(first, second)
    assert adding.looks == 2


async def test_it_rests_longer_while_the_log_grows_fast(ledger: Ledger, clock: ManualClock, tmp_path: Path) -> None:
    alone = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence)
    asking = Place(tmp_path / "witness").asking()
    witnessed = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence, witnesses=asking)
    for keeper, rest in (alone, LOADED_S), (witnessed, INTERVAL_S):
        await asyncio.gather(*(ledger.execute(register(f"{rest}{n}"), origin=HERE) for n in range(CALM)))
        await keeper.step()
        assert keeper.rest() == rest
        await keeper.step()
        assert keeper.rest() == INTERVAL_S


async def test_a_checkpoint_is_shown_with_its_cosignatures(ledger: Ledger, clock: ManualClock, tmp_path: Path) -> None:
    keeper = Keeper(
        ledger,
        Tree(ORIGIN, signing, clock, witnessed=True),
        clock,
        note_divergence,
        witnesses=Place(tmp_path / "memory").asking(),
    )
    for name in ("a", "b"):
        await ledger.execute(register(name), origin=HERE)
        await keeper.step()
        newest = await ledger.read(published.newest)
        assert newest is not None
        assert newest.size == (await ledger.head())[0]
        assert open_note(newest.note, [KEY, COSIGNER.key]).verified == (KEY, COSIGNER.key)
    assert keeper.alarms == {}


async def test_a_witness_that_is_away_is_an_alarm_and_asked_again(
    ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> None:
    place = Place(tmp_path / "memory")
    place.away = True
    keeper = Keeper(
        ledger, Tree(ORIGIN, signing, clock, witnessed=True), clock, note_divergence, witnesses=place.asking()
    )
    await ledger.execute(register("a"), origin=HERE)
    await keeper.step()
    shown = await ledger.read(published.newest)
    assert shown is not None
    assert [alarm.kind for alarm in keeper.alarms.values()] == ["away"]
    place.away = False
    await keeper.step()
    assert keeper.alarms != {}
    clock.advance(ASK_AGAIN / SECOND)
    await keeper.step()
    newest = await ledger.read(published.newest)
    assert newest is not None
    assert keeper.alarms == {}
    assert newest.published == shown.published
    assert open_note(newest.note, [COSIGNER.key]).verified == (COSIGNER.key,)


async def test_keeper_refuses_to_sign_over_an_unsigned_tree(
    ledger: Ledger, clock: ManualClock, database_url: str
) -> None:
    keeper = Keeper(ledger, Tree(ORIGIN, signing, clock), clock, note_divergence)
    await ledger.execute(register("a"), origin=HERE)
    await keeper.step()
    engine = migrating(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE log_tiles SET hashes = :zero, width = 1"), {"zero": bytes(32)})
    engine.dispose()
    await ledger.execute(register("b"), origin=HERE)
    assert not await keeper.step()
    assert keeper.diverged is not None
    # And following ends for good.
    await keeper.run()


async def test_the_signing_key_lies_in_the_vault_and_rotates(ledger: Ledger, clock: ManualClock) -> None:
    vault = ledger.vault
    assert await ledger.read(signing_keys.signers, vault, ORIGIN) == []
    first, second, third = (signing_keys.fresh(ORIGIN) for _ in range(3))
    await ledger.maintain(signing_keys.introduce, vault, first, clock.now())
    await ledger.maintain(signing_keys.introduce, vault, second, clock.now())
    assert await ledger.read(signing_keys.signers, vault, ORIGIN) == [second, first]
    keeper = Keeper(ledger, Tree(ORIGIN, signing_keys.from_vault(vault, ORIGIN), clock), clock, note_divergence)
    await ledger.execute(register("a"), origin=HERE)
    await keeper.step()
    newest = await ledger.read(published.newest)
    assert newest is not None
    for signer in (first, second):
        key = Key.parse(str(signer.verifier))
        assert open_note(newest.note, [key]).verified == (key,)
    await ledger.maintain(signing_keys.retire, vault, ORIGIN, clock.now())
    assert await ledger.read(signing_keys.signers, vault, ORIGIN) == [second]
    await ledger.maintain(signing_keys.replace, vault, third, clock.now())
    await ledger.execute(register("b"), origin=HERE)
    await keeper.step()
    newest = await ledger.read(published.newest)
    assert newest is not None
    assert [name for name, _ in open_note(newest.note, []).signed_by] == [ORIGIN]
    assert open_note(newest.note, [Key.parse(str(third.verifier))]).verified != ()
