"""Several processes over one log: they sign one tree, soon, and heed a rotation that any of them is told of."""

import asyncio
from contextlib import closing

from sqlalchemy import select

from commands import log_keys
from domain.keys import log_key
from eventstore.stored import CHECKPOINTS
from eventstore.transparency import keeper
from tests import plain_http
from tests.processes.conftest import Start
from tests.scenarios.world import SYSTEM, Client, World
from verifier.note import Key, open_note, parse_checkpoint
from verifier.source import open_source
from verifier.verify import verify

TOKENS = 100
CALLERS = 4
SHOWN = 4
"""Checkpoints that are seen at least: so long tokens are asked for."""


async def trusted(world: World) -> list[Key]:
    state: log_key.State = await world.services.ledger.state(log_key.STREAM)
    return [Key.parse(key.verifier_key) for key in state.keys.values()]


async def ask_for_tokens(base: str, client: Client, count: int, seen: list[str]) -> None:
    async with plain_http.caller(base) as caller:
        while count > 0 or len(set(seen)) < SHOWN:
            count -= 1
            answer = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client.auth)
            assert answer.status_code == 200, answer.text


async def covered(base: str, size: int) -> str:
    """The first checkpoint of that server that covers so many events."""
    async with plain_http.caller(base) as caller:
        for _ in range(1_200):
            answer = await caller.get("/log/checkpoint")
            if answer.status_code == 200 and int(answer.text.split("\n")[1]) >= size:
                return answer.text
            await asyncio.sleep(0.1)
    raise AssertionError(f"no checkpoint covers {size} events: {answer.text}")


def test_a_checkpoint_covers_an_event_within_a_second() -> None:
    # The longest way: an event just missed, then a look, then witnesses of whom one is away.
    assert keeper.INTERVAL_S + keeper.TIMEOUT_S < 1
    assert keeper.LOADED_S < 1


async def test_two_servers_never_sign_two_trees_of_one_size(world: World, start: Start, database_url: str) -> None:
    servers = [await start(), await start()]
    client = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    seen: list[str] = []
    done = asyncio.Event()

    async def watch(base: str) -> None:
        async with plain_http.caller(base) as caller:
            while not done.is_set():
                answer = await caller.get("/log/checkpoint")
                if answer.status_code == 200:
                    seen.append(answer.text)
                await asyncio.sleep(0.1)

    watching = [asyncio.create_task(watch(server.base)) for server in servers]
    share = TOKENS // CALLERS
    await asyncio.gather(*(ask_for_tokens(servers[n % 2].base, client, share, seen) for n in range(CALLERS)))
    size = await world.head()
    for server in servers:
        seen.append(await covered(server.base, size))
    done.set()
    await asyncio.gather(*watching)

    keys = await trusted(world)
    shown = {parse_checkpoint(open_note(note, keys).text) for note in seen if open_note(note, keys).verified}
    rows = await world.services.ledger.read(lambda c: c.execute(select(CHECKPOINTS.c.size, CHECKPOINTS.c.root)).all())
    signed = {size: root for size, root in rows}
    assert len(shown) >= SHOWN
    assert all(signed[checkpoint.size] == checkpoint.root for checkpoint in shown)
    with closing(open_source(database_url)) as source:
        verdict = verify(source, keys, kept=seen)
    assert (verdict.outcome, verdict.exit_code) == ("verified", 0), verdict


async def test_a_rotation_by_one_process_holds_for_the_others_at_once(world: World, start: Start) -> None:
    servers = [await start(), await start()]
    (first,) = await trusted(world)
    assert await log_keys.rotate(world.services.ledger, first.name, SYSTEM) is None
    rotated = await world.head()
    await world.define_scopes("one:more")
    second = (await trusted(world))[-1]
    for server in servers:
        note = await covered(server.base, rotated)
        assert open_note(note, [first, second]).verified == (second, first)
        assert (await _vkey(server.base)) == second
    assert await log_keys.revoke(world.services.ledger, first.name, "compromised", SYSTEM) is None
    revoked = await world.head()
    third = (await trusted(world))[-1]
    for server in servers:
        note = await covered(server.base, revoked)
        assert open_note(note, [third]).verified
        assert not open_note(note, [first, second]).verified


async def _vkey(base: str) -> Key:
    async with plain_http.caller(base) as caller:
        return Key.parse((await caller.get("/log/vkey")).text)
