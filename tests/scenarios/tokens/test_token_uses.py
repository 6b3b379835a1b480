"""Uses of tokens as grouped facts: each new token within the next recording, the rest as counts, strangers never."""

import asyncio
from typing import Any

import pytest

from api.throttling import windowed_counter
from domain import usage
from domain.event import Actor
from eventstore.execution import Origin, PendingRequest
from eventstore.unavailable import DatabaseAway, LedgerOverloaded
from projections import tokens
from security.tokens import Kind, digest
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

USED = ("usage.token_first_seen", "usage.token_seen")


@pytest.fixture
async def service(world: World) -> Client:
    return await world.register_client("Service", grant_types=("client_credentials",), scope=("catalog:read",))


async def issued(world: World, service: Client, count: int) -> list[str]:
    async def one() -> str:
        answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
        raw: str = answer.json()["access_token"]
        return raw

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def introspect(world: World, service: Client, raw: str, **told: str) -> bool:
    answer = await world.client.post("/oauth/introspect", data={"token": raw, **told}, auth=service.auth)
    active: bool = answer.json()["active"]
    return active


async def uses(world: World, after: int = 0) -> list[tuple[str, str, Any, Any]]:
    """Type, digest, count and address told of each fact about a use."""
    return [
        (each.type, each.stream.partition(":")[2], getattr(each.event, "count", 1), each.event.seen_by)
        for each in await world.events("usage.token_*", after=after)
        if each.type in USED
    ]


async def test_many_new_tokens_are_each_told_once(
    world: World, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowed_counter, "AT_ONCE", 7)
    raw = await issued(world, service, 30)
    assert all([await introspect(world, service, each) for each in raw])
    assert await uses(world) == []
    await world.services.token_uses.record()
    first = [("usage.token_first_seen", digest(each).hex(), 1, service.client_id) for each in raw]
    assert sorted(await uses(world)) == sorted(first)
    head = await world.head()
    for each in raw[:10] * 3:
        await introspect(world, service, each)
    await world.services.token_uses.record()
    assert await uses(world, head) == []
    world.clock.advance(world.settings.token_usage_interval)
    await world.services.token_uses.record()
    counts = [("usage.token_seen", digest(each).hex(), 3, service.client_id) for each in raw[:10]]
    assert sorted(await uses(world, head)) == sorted(counts)


async def test_a_line_has_no_log_filled(world: World) -> None:
    """Whoever has a line has more addresses than a log has room, and a token that lives is no reason to fill it."""
    service = await world.register_client("Job", grant_types=("client_credentials",), scope=("clients:read",))
    (raw,) = await issued(world, service, 1)
    for number in range(1, 5):
        caller = world.caller(f"2001:db8:1:2::{number:x}07", headers={"authorization": f"Bearer {raw}"})
        assert (await caller.get("/admin/scopes")).status_code == 200
        await introspect(world, service, raw, client_ip=f"2001:db8:7:7::{number:x}07")
    await introspect(world, service, raw, client_ip="2001:db8:7:8::107")
    await world.services.token_uses.record(everything=True)
    told = sorted((count, seen_by or "") for _, _, count, seen_by in await uses(world))
    assert told == sorted([(1, ""), (3, ""), (1, service.client_id), (3, service.client_id), (1, service.client_id)])


async def test_neighbours_on_a_line_are_told_apart(world: World, service: Client) -> None:
    """A token is contained by the address of its thief, who may be in the network of the one who has it rightly."""
    (raw,) = await issued(world, service, 1)
    for number in (0x1, 0x2, 0x11):
        await introspect(world, service, raw, client_ip=f"2001:db8:7:7::{number:x}")
    await world.services.token_uses.record(everything=True)
    assert [kind for kind, *_ in await uses(world)] == ["usage.token_first_seen"] * 3


async def test_whoever_asks_for_one_token_has_all_of_that_one_recorded(world: World, service: Client) -> None:
    one, other, new = await issued(world, service, 3)
    for raw in (one, other):
        await introspect(world, service, raw)
    await world.services.token_uses.record()
    head = await world.head()
    for raw in (one, other, one):
        await introspect(world, service, raw)
    await world.services.token_uses.record(of=[digest(one)])
    of_one = ("usage.token_seen", digest(one).hex(), 2, service.client_id)
    assert await uses(world, head) == [of_one]
    await introspect(world, service, new)
    await world.services.token_uses.record(of=[digest(new)])
    of_new = ("usage.token_first_seen", digest(new).hex(), 1, service.client_id)
    assert await uses(world, head) == [of_one, of_new]
    await world.services.token_uses.record(everything=True)
    of_other = ("usage.token_seen", digest(other).hex(), 1, service.client_id)
    assert await uses(world, head) == [of_one, of_new, of_other]


async def test_uses_accepted_before_the_ledger_filled_are_told_once(
    world: World, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = await issued(world, service, 5)
    for each in raw:
        await introspect(world, service, each)
    committer = world.services.ledger._committer
    real, submitted = committer.submit, []

    def submit(request: PendingRequest) -> None:
        # Followers of the log write in turn with commands, whenever they come to it.
        if request.commands:
            submitted.append(request)
            if len(submitted) == 3:
                raise LedgerOverloaded
        real(request)

    monkeypatch.setattr(committer, "submit", submit)
    with pytest.raises(LedgerOverloaded):
        await world.services.token_uses.record()
    first = [("usage.token_first_seen", digest(each).hex(), 1, service.client_id) for each in raw]
    assert await uses(world) == first[:2]
    await world.services.token_uses.record()
    assert await uses(world) == first


async def test_first_use_says_who_asked_and_a_count_is_of_many(world: World, service: Client) -> None:
    (raw,) = await issued(world, service, 1)
    for _ in range(2):
        await introspect(world, service, raw, client_ip="2001:0DB8::1", client_user_agent="x" * 300)
    await world.services.token_uses.record(everything=True)
    first, more = [each for each in await world.events("usage.token_*")]
    assert first.request_id is not None
    assert more.request_id is None
    for each in (first, more):
        assert (each.actor.kind, each.actor.id) == ("client", service.client_id)
        assert each.event.told_ip is not None
        assert each.ip is not None


async def test_strangers_are_looked_up_a_few_at_a_time_and_never_told(
    world: World, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowed_counter, "LOOKED_UP", 2)
    monkeypatch.setattr(windowed_counter, "ASKED", 5)
    (dead,) = await issued(world, service, 1)
    world.clock.advance(7 * 86_400)
    while await world.services.ledger.maintain(tokens.prune, world.clock.now(), 100):
        pass
    head = await world.head()
    for _ in range(3):
        assert not await introspect(world, service, world.services.format.mint(Kind.ACCESS_TOKEN).reveal())
    for _ in range(2):
        assert not await introspect(world, service, dead)
    await world.services.token_uses.record()
    assert await uses(world, head) == []
    await world.services.token_uses.record()
    # A token of ours whose row is gone is told of as any other, and the further use is not lost.
    assert [each[:3] for each in await uses(world, head)] == [("usage.token_first_seen", digest(dead).hex(), 1)]
    await world.services.token_uses.record(everything=True)
    assert [each[:3] for each in await uses(world, head)][1:] == [("usage.token_seen", digest(dead).hex(), 1)]
    for _ in range(9):
        assert not await introspect(world, service, world.services.format.mint(Kind.ACCESS_TOKEN).reveal())
    head = await world.head()
    await world.services.token_uses.record(everything=True)
    assert await uses(world, head) == []


@pytest.mark.parametrize("error", [DatabaseAway, asyncio.CancelledError])
async def test_what_could_not_be_looked_up_is_looked_up_next_time(
    world: World, service: Client, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async def read(*_: object) -> None:
        raise error

    dead = await issued(world, service, 2)
    world.clock.advance(7 * 86_400)
    while await world.services.ledger.maintain(tokens.prune, world.clock.now(), 100):
        pass
    for raw in dead:
        await introspect(world, service, raw)
    with monkeypatch.context() as broken:
        broken.setattr(world.services.ledger, "read", read)
        with pytest.raises(error):
            await world.services.token_uses.record()
    await introspect(world, service, dead[0])
    await world.services.token_uses.record(everything=True)
    told = [(each[1], each[2]) for each in await uses(world)]
    assert told == [(digest(dead[0]).hex(), 1), (digest(dead[1]).hex(), 1), (digest(dead[0]).hex(), 1)]


async def test_a_repeat_needs_no_note(world: World, service: Client) -> None:
    kept, sha256 = world.services.token_uses, b"d" * 32
    assert not kept.again(sha256, service.client_id, "192.0.2.1", ended=True)
    origin = Origin(Actor("client", service.client_id), "request", "192.0.2.1", None)
    kept.note(
        sha256, None, "unknown", via="introspection", address="192.0.2.1", origin=lambda: origin,
        seen_by=service.client_id,
    )  # fmt: skip
    assert kept.again(sha256, service.client_id, "192.0.2.1", ended=True)
    assert not kept.again(sha256, service.client_id, "192.0.2.2", ended=True)
    assert not kept.again(sha256, service.client_id, "192.0.2.1", ended=False)
    assert not kept.again(sha256, None, "192.0.2.1", ended=True)
    assert usage.stream(sha256.hex()) not in {each.stream for each in await world.events()}
