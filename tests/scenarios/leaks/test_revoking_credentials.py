"""`POST /credentials/revoke`: whoever holds a secret may end it, and learns nothing from the answer."""

import asyncio
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, insert, select, update

from api.leaks import revoke
from api.leaks.targets import Target
from api.throttling.limits import KEYS_AT_ONCE
from eventstore import reported
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.reported import LEASE
from eventstore.stored import reported_secrets as table
from eventstore.unavailable import DatabaseAway
from security.clock import SECOND
from security.keyring import Keyring, MasterKeyError
from security.tokens import Format, Kind
from tests.scenarios.administration import ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.histories import lived
from tests.scenarios.jobs import token
from tests.scenarios.world import Client, World, open_world

pytestmark = pytest.mark.anyio


async def test_anybody_may_end_what_they_hold(world: World, scene: Scene, job: Client) -> None:
    past = await lived(scene)
    access = ok(await token(world, job))["access_token"]
    stranger = world.caller("203.0.113.77")

    async def report(*found: str) -> None:
        answer = await stranger.post("/credentials/revoke", json={"credentials": list(found)})
        accepted = len({each for each in found if each.startswith("glog_")})
        assert (answer.status_code, answer.json()) == (202, {"accepted": accepted, "damaged": 0})
        await revoke.ended(world.services.ledger)

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
    many = " ".join(Format().mint(Kind.ACCESS_TOKEN).reveal() for _ in range(1001))
    problem(await stranger.post("/credentials/revoke", json={"credentials": [many]}), 422)
    # All of them are looked at, be they keys or not.
    many, other = '{"kty":"OKP","d":""}' * 1001, world.caller("203.0.113.78")
    problem(await other.post("/credentials/revoke", json={"credentials": [many]}), 422)


async def test_reports_with_private_keys_are_counted_apart(world: World) -> None:
    """To find out whether it is one takes as long as many secrets do."""

    async def report(text: str) -> int:
        return (await world.client.post("/credentials/revoke", json={"credentials": [text]})).status_code

    key = '{"kty":"OKP","d":""}'
    assert [await report(key) for _ in range(KEYS_AT_ONCE + 1)] == [202] * KEYS_AT_ONCE + [429]
    assert await report("none") == 202
    world.clock.advance(1)
    assert [await report(key) for _ in range(2)] == [202, 429]


async def test_a_report_counts_as_many_times_as_it_holds_secrets(
    sqlite_url: str, tmp_path: Path, keyring: Keyring
) -> None:
    async with open_world(sqlite_url, tmp_path, keyring, public_burst=10, public_rate=1) as opened:

        async def report(secrets: int, caller: httpx.AsyncClient = opened.client) -> int:
            text = " ".join(Format().mint(Kind.ACCESS_TOKEN).reveal() for _ in range(secrets))
            return (await caller.post("/credentials/revoke", json={"credentials": [text]})).status_code

        assert [await report(secrets) for secrets in (4, 4, 1, 1, 1)] == [202] * 4 + [429]
        opened.clock.advance(10)
        # What a report holds beyond what there was room for is paid back before the next one, and others go on.
        assert [await report(900), await report(1)] == [202, 429]
        assert await report(1, opened.caller("203.0.113.77")) == 202
        opened.clock.advance(890)
        assert await report(0) == 429
        opened.clock.advance(1)
        assert await report(0) == 202


@pytest.mark.parametrize(
    "around",
    [
        " {}",
        "{}\n",
        "Authorization: Bearer {}\r\n",
        '{{"access_token":"{}"}}',
        "https://app.example/?token={}&x=1",
    ],
)
async def test_what_surrounds_a_secret_keeps_it_from_nothing(world: World, job: Client, around: str) -> None:
    raw = ok(await token(world, job))["access_token"]
    answer = await world.client.post("/credentials/revoke", json={"credentials": [around.format(raw)]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "damaged": 0})
    await revoke.ended(world.services.ledger)
    assert await ended_tokens(world) == [digest(raw)]


async def test_secrets_of_one_client_in_a_report_are_one_incident(world: World, scene: Scene, job: Client) -> None:
    past = await lived(scene)
    tokens = [ok(await token(world, job))["access_token"] for _ in range(3)]
    text = f"{past.tokens['refresh_token']}\n" + "\n".join(tokens) + f"\nsecret={job.secret} {tokens[0][:-1]}?"
    answer = await world.client.post("/credentials/revoke", json={"credentials": [text, tokens[1]]})
    assert answer.json() == {"accepted": 5, "damaged": 0}
    await revoke.ended(world.services.ledger)
    assert len(await world.events("incident.reported")) == 2
    (added,) = await world.events("incident.secrets_added")
    assert {each.sha256 for each in added.event.secrets} <= {digest(each).hex() for each in (*tokens, job.secret or "")}
    # The secret's end takes what it authenticated with it.
    for each in tokens:
        asked = await world.client.post("/oauth/introspect", data={"token": each}, auth=scene.shop.auth)
        assert asked.json() == {"active": False}
    head = await world.head()
    await world.client.post("/credentials/revoke", json={"credentials": [text]})
    await revoke.ended(world.services.ledger)
    assert await world.head() == head


async def test_answer_waits_for_nothing_that_depends_on_the_report(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, looked, go_on = ok(await token(world, job))["access_token"], list[bytes](), asyncio.Event()

    genuine = revoke.end

    async def slow(ledger: Ledger, target: Target, came: Origin) -> str | None:
        looked.append(bytes.fromhex(target.sha256 or ""))
        await go_on.wait()
        return await genuine(ledger, target, came)

    monkeypatch.setattr(revoke, "end", slow)
    unissued = Format().mint(Kind.ACCESS_TOKEN).reveal()
    answers = [await world.client.post("/credentials/revoke", json={"credentials": [sent]}) for sent in (raw, unissued)]
    assert [(each.status_code, each.json()) for each in answers] == [(202, {"accepted": 1, "damaged": 0})] * 2
    assert len({tuple(sorted(set(each.headers) - {"x-request-id"})) for each in answers}) == 1
    assert await world.events("incident.*") == ()
    go_on.set()
    await revoke.ended(world.services.ledger)
    assert looked == [sha256(raw.encode()).digest()]
    assert len(await world.events("grant.token_revoked")) == 1


async def waiting(world: World) -> dict[bytes, int]:
    """What was accepted and has not been ended yet, each with how often it was taken up again."""
    ledger = world.services.ledger
    rows = await ledger.read(lambda connection: connection.execute(select(*table.c)).all())
    reports = [reported._opened(ledger.vault, row.report_id, row.sealed, row.attempts) for row in rows]
    return {digest: report.attempts for report in reports for digest in report.digests}


async def resumed(world: World, seconds: float = LEASE // SECOND) -> None:
    """What any process does by and by."""
    world.clock.advance(seconds)
    await revoke.resume(world.services.ledger)


def digest(raw: str) -> bytes:
    return sha256(raw.encode()).digest()


async def ended_tokens(world: World) -> list[bytes]:
    return [bytes.fromhex(each.event.access_token) for each in await world.events("grant.token_revoked")]


async def test_what_a_killed_process_had_accepted_is_ended_by_another(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, reached = ok(await token(world, job))["access_token"], asyncio.Event()

    async def killed(ledger: Ledger, target: Target, came: Origin) -> str | None:
        reached.set()
        raise asyncio.CancelledError

    with monkeypatch.context() as dying:
        dying.setattr(revoke, "end", killed)
        answer = await world.client.post("/credentials/revoke", json={"credentials": [raw, "none of ours"]})
        assert answer.status_code == 202
        assert await waiting(world) == {digest(raw): 0}
        await reached.wait()
    with suppress(asyncio.CancelledError):
        await revoke.ended(world.services.ledger)
    await resumed(world, LEASE // SECOND - 1)
    assert await ended_tokens(world) == []
    await resumed(world, 1)
    assert await ended_tokens(world) == [digest(raw)]
    assert await waiting(world) == {}
    incident = (await world.events("incident.reported"))[0]
    assert (incident.request_id, incident.ip) == (answer.headers["x-request-id"], None)


@pytest.mark.parametrize("fault", [ZeroDivisionError(), MasterKeyError("missing")])
async def test_undone_revocation_is_retried_and_holds_up_no_other(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    raws = [ok(await token(world, job))["access_token"] for _ in range(4)]
    first, second, third, fourth = map(digest, raws)
    genuine, faulty = revoke.end, {second}

    async def end(ledger: Ledger, target: Target, came: Origin) -> str | None:
        if faulty & {bytes.fromhex(each.sha256) for each in target.leaked}:
            raise fault
        return await genuine(ledger, target, came)

    monkeypatch.setattr(revoke, "end", end)
    answer = await world.client.post("/credentials/revoke", json={"credentials": [*raws, raws[0]]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 4, "damaged": 0})
    await revoke.ended(world.services.ledger)
    assert await ended_tokens(world) == [first, third, fourth]
    for attempts in (1, 2):
        await resumed(world, attempts * LEASE // SECOND)
        assert await waiting(world) == {second: attempts}
    # One that does not end holds up nobody else's.
    last = ok(await token(world, job))["access_token"]
    await world.client.post("/credentials/revoke", json={"credentials": [last]})
    await revoke.ended(world.services.ledger)
    assert (await ended_tokens(world))[-1] == digest(last)
    faulty.clear()
    await resumed(world, 4 * LEASE // SECOND)
    assert (await ended_tokens(world))[-1] == second
    assert await waiting(world) == {}


async def test_report_done_but_not_forgotten_does_nothing_again(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = ok(await token(world, job))["access_token"]

    def broken(*given: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as failing:
        failing.setattr(reported, "leave", broken)
        await world.client.post("/credentials/revoke", json={"credentials": [raw]})
        # What stops a server waits for this, and must hear of no fault.
        await revoke.ended(world.services.ledger)
    assert await waiting(world) == {digest(raw): 0}
    before = await world.head()
    await resumed(world)
    assert await world.head() == before
    assert (await waiting(world), await ended_tokens(world)) == ({}, [digest(raw)])


async def test_what_never_ends_is_given_up(world: World, job: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(ledger: Ledger, target: Target, came: Origin) -> str | None:
        raise ZeroDivisionError

    monkeypatch.setattr(revoke, "end", end)
    monkeypatch.setattr(revoke, "ATTEMPTS", 2)
    raw = ok(await token(world, job))["access_token"]
    await world.client.post("/credentials/revoke", json={"credentials": [raw]})
    await revoke.ended(world.services.ledger)
    await resumed(world, 3_600)
    assert await waiting(world) == {digest(raw): 1}
    await resumed(world, 3_600)
    assert await waiting(world) == {}


async def test_without_a_database_nothing_is_accepted_and_little_tried(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [job]
    for number in range(revoke.AWAY_AT_MOST):
        made = await world.register_client(f"Job {number}", grant_types=("client_credentials",), scope=("orders",))
        clients.append(made)
    raws, tried = [ok(await token(world, each))["access_token"] for each in clients for _ in range(2)], list[Target]()

    async def away(*given: object) -> None:
        raise DatabaseAway

    with monkeypatch.context() as broken:
        broken.setattr(world.services.ledger, "maintain", away)
        problem(await world.client.post("/credentials/revoke", json={"credentials": raws}), 503)
    assert await waiting(world) == {}

    async def end(ledger: Ledger, target: Target, came: Origin) -> str | None:
        tried.append(target)
        raise DatabaseAway

    monkeypatch.setattr(revoke, "end", end)
    assert (await world.client.post("/credentials/revoke", json={"credentials": raws})).status_code == 202
    await revoke.ended(world.services.ledger)
    assert len(tried) == revoke.AWAY_AT_MOST
    assert set(await waiting(world)) == set(map(digest, raws))


async def test_no_more_are_under_way_than_there_is_room_for(
    world: World, job: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, go_on = ok(await token(world, job))["access_token"], asyncio.Event()

    async def slow(ledger: Ledger, target: Target, came: Origin) -> str | None:
        await go_on.wait()
        return None

    monkeypatch.setattr(revoke, "end", slow)
    monkeypatch.setattr(revoke, "WAITING", 4)
    report = {"credentials": [raw]}
    answers = await asyncio.gather(*(world.client.post("/credentials/revoke", json=report) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] * 4 + [503] * 6
    go_on.set()
    await revoke.ended(world.services.ledger)
    assert await waiting(world) == {}


async def test_a_report_that_somebody_wrote_or_altered_ends_nothing(world: World, job: Client) -> None:
    """Digests stand in the log and in projections: whoever can read them must not be able to end what they name."""
    ledger = world.services.ledger
    raws = [ok(await token(world, job))["access_token"] for _ in range(3)]
    genuine, moved, plain = (digest(raw) for raw in raws)
    await ledger.maintain(
        reported.keep, ledger.vault, reported.ReportedSecret("moved", None, [moved]), world.clock.now()
    )
    await ledger.maintain(
        reported.keep, ledger.vault, reported.ReportedSecret("genuine", None, [genuine]), world.clock.now()
    )

    def alter(connection: Connection) -> None:
        connection.execute(update(table).where(table.c.report_id == "moved").values(report_id="elsewhere"))
        row = {"report_id": "made", "due_at": 0, "attempts": 0, "sealed": plain}
        connection.execute(insert(table), row)
        # Nobody is to come to it for a thousand years.
        connection.execute(update(table).where(table.c.report_id == "genuine").values(due_at=2**60, attempts=99))

    await ledger.maintain(alter)
    await resumed(world)
    assert await ended_tokens(world) == [genuine]
    assert await waiting(world) == {}
