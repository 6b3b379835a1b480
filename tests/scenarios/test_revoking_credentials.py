"""`POST /credentials/revoke`: whoever holds a secret may end it, and learns nothing from the answer."""

import asyncio
from contextlib import suppress
from hashlib import sha256

import pytest

from api.leaks import credentials, ending
from eventstore import reported
from eventstore.commands import DatabaseAway, Origin
from eventstore.ledger import Ledger
from security.clock import SECOND
from tests.scenarios.administration import ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio


async def test_anybody_may_end_what_they_hold(world: World, scene: Scene, job: Client) -> None:
    past = await lived(scene)
    access = ok(await token(world, job))["access_token"]
    stranger = world.caller("203.0.113.77")

    async def report(*found: str) -> None:
        answer = await stranger.post("/credentials/revoke", json={"credentials": list(found)})
        assert (answer.status_code, answer.json()) == (202, {"accepted": len(found)})
        await credentials.ended()

    await report(access, "unknown", past.tokens["refresh_token"], access)
    kinds = [each.type for each in await world.events("incident.*")]
    assert kinds == ["incident.reported", "incident.identified", "incident.contained"] * 2
    assert len(await world.events("grant.token_revoked")) == 1
    assert [each.event.reason for each in await world.events("grant.ended")] == ["secret_leak"]
    head = await world.head()
    await report(access, past.tokens["refresh_token"], past.tokens["access_token"])
    assert await world.head() == head
    await report(job.secret or "")
    assert (await token(world, job)).status_code == 401
    too_many = await stranger.post("/credentials/revoke", json={"credentials": ["x"] * 1001})
    problem(too_many, 422)


async def test_the_answer_waits_for_nothing_that_depends_on_what_was_sent(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, looked, go_on = ok(await token(world, job))["access_token"], list[bytes](), asyncio.Event()

    async def slow(ledger: Ledger, digest: bytes, came: Origin) -> str | None:
        looked.append(digest)
        await go_on.wait()
        return await ending.end(ledger, digest, came)

    monkeypatch.setattr(credentials, "end", slow)
    answers = [
        await world.client.post("/credentials/revoke", json={"credentials": [sent]}) for sent in (raw, raw[:-1], "x")
    ]
    assert [(each.status_code, each.json()) for each in answers] == [(202, {"accepted": 1})] * 3
    assert len({tuple(sorted(set(each.headers) - {"x-request-id"})) for each in answers}) == 1
    assert await world.events("incident.*") == ()
    go_on.set()
    await credentials.ended()
    assert looked == [sha256(raw.encode()).digest()]
    assert len(await world.events("grant.token_revoked")) == 1


async def waiting(world: World) -> list[reported.Reported]:
    """What was accepted and has not been ended yet."""
    found: list[reported.Reported] = await world.services.ledger.read(reported.overdue, world.clock.now() + 1, 1_000)
    return found


def digest(raw: str) -> bytes:
    return sha256(raw.encode()).digest()


async def ended_tokens(world: World) -> list[bytes]:
    return [bytes.fromhex(each.event.access_token) for each in await world.events("grant.token_revoked")]


async def test_what_a_killed_process_had_accepted_is_ended_by_another(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, reached = ok(await token(world, job))["access_token"], asyncio.Event()

    async def killed(ledger: Ledger, digest: bytes, came: Origin) -> str | None:
        reached.set()
        raise asyncio.CancelledError

    with monkeypatch.context() as dying:
        dying.setattr(credentials, "end", killed)
        answer = await world.client.post("/credentials/revoke", json={"credentials": [raw, "none of ours"]})
        assert answer.status_code == 202
        (row,) = await waiting(world)
        assert row.sha256 == digest(raw)
        await reached.wait()
    with suppress(asyncio.CancelledError):
        await credentials.ended()
    world.clock.advance(credentials.OVERDUE // SECOND)
    await credentials.resume(world.services.ledger)
    assert await ended_tokens(world) == []
    world.clock.advance(1)
    await credentials.resume(world.services.ledger)
    assert await ended_tokens(world) == [digest(raw)]
    assert await waiting(world) == []
    incident = (await world.events("incident.reported"))[0]
    assert (incident.request_id, incident.ip) == (answer.headers["x-request-id"], None)


async def test_what_was_accepted_ends_when_the_database_is_back_and_one_fault_spares_no_other(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = [ok(await token(world, job))["access_token"] for _ in range(4)]
    genuine, faults = ending.end, {digest(second): ZeroDivisionError(), digest(third): DatabaseAway()}

    async def faulty(ledger: Ledger, digest: bytes, came: Origin) -> str | None:
        if digest in faults:
            raise faults.pop(digest)
        return await genuine(ledger, digest, came)

    monkeypatch.setattr(credentials, "end", faulty)
    sent = [first, second, third, fourth, first]
    answer = await world.client.post("/credentials/revoke", json={"credentials": sent})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 5})
    await credentials.ended()
    assert await ended_tokens(world) == [digest(first)]
    assert {each.sha256 for each in await waiting(world)} == {digest(third), digest(fourth)}
    world.clock.advance(credentials.OVERDUE // SECOND + 1)
    await credentials.resume(world.services.ledger)
    assert sorted((await ended_tokens(world))[1:]) == sorted([digest(third), digest(fourth)])
    assert await waiting(world) == []


async def test_while_the_database_is_away_nothing_is_accepted(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = ok(await token(world, job))["access_token"]

    async def away(*given: object) -> None:
        raise DatabaseAway

    with monkeypatch.context() as broken:
        broken.setattr(world.services.ledger, "maintain", away)
        problem(await world.client.post("/credentials/revoke", json={"credentials": [raw]}), 503)
    assert await waiting(world) == []
