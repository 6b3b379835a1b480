"""`POST /credentials/revoke`: whoever holds a secret may end it, and learns nothing from the answer."""

import asyncio
from hashlib import sha256

import pytest

from api.leaks import credentials, ending
from eventstore.commands import DatabaseAway, Origin
from eventstore.ledger import Ledger
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


async def test_what_was_accepted_ends_when_the_database_is_back_and_one_fault_spares_no_other(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = [ok(await token(world, job))["access_token"] for _ in range(3)]
    genuine, faults = ending.end, [DatabaseAway(), ZeroDivisionError(), DatabaseAway()]

    async def faulty(ledger: Ledger, digest: bytes, came: Origin) -> str | None:
        if faults:
            raise faults.pop(0)
        return await genuine(ledger, digest, came)

    monkeypatch.setattr(credentials, "end", faulty)
    monkeypatch.setattr(credentials, "PAUSES", (0, 0))
    answer = await world.client.post("/credentials/revoke", json={"credentials": [first, second, third]})
    assert answer.status_code == 202
    await credentials.ended()
    ended = [each.event.access_token for each in await world.events("grant.token_revoked")]
    assert ended == [sha256(raw.encode()).hexdigest() for raw in (second, third)]
