"""Which logs a process has open: a bounded number, one opened at a time, and closed when nobody asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from api.http.errors import Throttled
from api.issuers import open_issuers
from api.issuers.open_issuers import IssuerAway, LogReaders, OpenIssuer, OpenIssuers
from api.issuers.openings import AT_ONCE, Openings
from api.issuers.registry import IssuerEntry
from eventstore.database import reach
from eventstore.unavailable import DatabaseAway
from security.clock import ManualClock

pytestmark = pytest.mark.anyio

A, B, C = (IssuerEntry(name * 32, f"https://{name}.example", "enabled") for name in "abc")


class Logs:
    """Logs that can be opened, and say which are."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.times = 0
        self.broken = False
        self.frozen: set[str] = set()
        self.thawed = asyncio.Event()
        self.streams: dict[str, list[OpenIssuer]] = {}
        self.clock = ManualClock()

    @asynccontextmanager
    async def opening(self, entry: IssuerEntry) -> AsyncIterator[Any]:
        self.times += 1
        if self.broken:
            raise ConnectionRefusedError
        if entry.issuer in self.frozen:
            await self.thawed.wait()
        self.opened.append(entry.issuer)
        # Whoever asks meanwhile waits for the same.
        await asyncio.sleep(0)
        try:
            yield None, entry.issuer
        finally:
            self.opened.remove(entry.issuer)

    @contextmanager
    def using(self, issuer: OpenIssuer) -> Iterator[None]:
        issuer.enter()
        yield
        issuer.leave(self.clock.now())

    def follow(self, issuer: OpenIssuer) -> None:
        """A stream begins, and lasts until it is sent away."""
        issuer.enter()
        self.streams.setdefault(issuer.entry.issuer, []).append(issuer)

    def following(self, issuer: Any) -> int:
        return len(self.streams.get(issuer, []))

    def dismiss(self, issuer: Any) -> None:
        for each in self.streams.pop(issuer, []):
            each.leave(self.clock.now())

    def at_most(self, number: int, *, reaching: Any = None) -> OpenIssuers:
        followers = LogReaders(self.following, self.dismiss)
        return OpenIssuers(self.opening, number, 300, self.clock, reaching=reaching, followers=followers)


async def test_many_who_ask_at_once_open_it_once() -> None:
    logs = Logs()
    those = logs.at_most(2)
    found = await asyncio.gather(*(those.get(A) for _ in range(20)))
    assert len(set(map(id, found))) == logs.times == 1
    await those.close()
    assert logs.opened == []


async def test_the_one_that_was_used_longest_ago_makes_room() -> None:
    logs = Logs()
    those = logs.at_most(2)
    for entry in (A, B, A):
        logs.clock.advance(1)
        with logs.using(await those.get(entry)):
            pass
    await those.get(C)
    assert logs.opened == [A.issuer, C.issuer]
    await those.close()


async def test_one_in_use_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 0.05)
    logs = Logs()
    those = logs.at_most(1)
    used = await those.get(A)
    with logs.using(used):
        with pytest.raises(IssuerAway):
            await those.get(B)
        assert logs.opened == [A.issuer]
        monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 60)
        waiting = asyncio.create_task(those.get(B))
        await asyncio.sleep(0)
    assert (await waiting).entry is B
    assert logs.opened == [B.issuer]
    await those.close()


async def test_what_cannot_be_opened_is_not_tried_by_every_caller() -> None:
    logs = Logs()
    those = logs.at_most(1)
    logs.broken = True
    for _ in range(3):
        with pytest.raises(IssuerAway):
            await those.get(A)
    assert logs.times == 1
    logs.broken = False
    logs.clock.advance(3)
    assert (await those.get(A)).entry is A
    await those.close()


async def test_a_frozen_database_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 0.05)
    monkeypatch.setattr(open_issuers, "CLOSED_WITHIN", 0.01)
    logs = Logs()
    those = logs.at_most(2)
    logs.frozen = {A.issuer}
    with pytest.raises(IssuerAway):
        await those.get(A)
    monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 60)
    with pytest.raises(IssuerAway):
        await those.get(A)
    for entry in (B, C):
        assert (await those.get(entry)).entry is entry
    logs.clock.advance(301)
    await those.close_idle()
    assert logs.opened == []
    # Elsewhere it answers at once, and where it was as soon as that does.
    moved = replace(A, issuer="https://a.example:8443")
    await those.close_others({A.id: moved})
    assert (await those.get(moved)).entry is moved
    await those.close()
    assert (logs.opened, len(those)) == ([], 0)
    logs.thawed.set()
    assert (await those.get(A)).entry is A
    await those.close()


async def test_idle_ones_and_those_that_are_elsewhere_are_closed() -> None:
    logs = Logs()
    those = logs.at_most(3)
    for entry in (A, B):
        with logs.using(await those.get(entry)):
            pass
    logs.clock.advance(299)
    await those.close_idle()
    await those.close_others({A.id: A})
    assert logs.opened == [A.issuer]
    logs.clock.advance(1)
    with logs.using(await those.get(A)):
        await those.close_idle()
    assert logs.opened == [A.issuer]
    logs.clock.advance(300)
    await those.close_idle()
    assert logs.opened == []
    with (await those.get(A)).visited():
        pass
    await those.close_idle()
    assert logs.opened == []


async def test_who_only_follows_a_log_makes_room_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs()
    those = logs.at_most(2)
    for entry in (A, B):
        logs.follow(await those.get(entry))
    monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 0.05)
    with pytest.raises(IssuerAway):
        await those.get(C)
    logs.clock.advance(31)
    monkeypatch.setattr(open_issuers, "OPENED_WITHIN", 60)
    with logs.using(await those.get(B)):
        # One that is asked too is asked for something.
        await those.get(C)
    assert logs.opened == [B.issuer, C.issuer]
    assert list(logs.streams) == [B.issuer]
    await those.close()
    assert logs.streams == {}


async def test_a_database_out_of_reach_takes_nobodys_turn() -> None:
    logs, asked = Logs(), asyncio.Event()

    async def reaching(entry: IssuerEntry) -> None:
        if entry is A:
            asked.set()
            await logs.thawed.wait()
            raise DatabaseAway

    those = logs.at_most(1, reaching=reaching)
    waiting = asyncio.create_task(those.get(A))
    await asked.wait()
    assert (await those.get(B)).entry is B
    logs.thawed.set()
    with pytest.raises(DatabaseAway):
        await waiting
    assert logs.opened == [B.issuer]
    await those.close()


async def test_a_silent_database_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = ManualClock(), 0

    async def silent(**_: Any) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", silent)
    monkeypatch.setattr(reach, "ANSWERS_WITHIN", 0.05)
    urls = [f"postgresql+psycopg://a@db/a?options=-csearch_path%3D{each}" for each in "ab"]
    databases = reach.Reach(clock)
    found = await asyncio.gather(*(databases.require(url) for url in urls), return_exceptions=True)
    assert [type(each) for each in found] == [DatabaseAway] * 2
    monkeypatch.setattr(reach, "ANSWERS_WITHIN", 60)
    for _ in range(3):
        with pytest.raises(DatabaseAway):
            await databases.require(urls[1])
    assert asked == 1
    clock.advance(3)
    # From here on it is asked again, and nobody waits for that either.
    with pytest.raises(DatabaseAway):
        await databases.require(urls[0])
    await asyncio.sleep(0)
    assert asked == 2
    await databases.close()


async def test_an_address_has_a_bounded_number_of_logs_opened() -> None:
    clock = ManualClock()
    openings = Openings(clock)
    for _ in range(AT_ONCE):
        openings.take("2001:db8::1")
    with pytest.raises(Throttled) as refused:
        openings.take("2001:db8::2")
    assert refused.value.retry_after == 1
    openings.take("192.0.2.1")
    openings.take(None)
    clock.advance(1)
    openings.take("2001:db8::1")
    # Who is refused has opened nothing, and what is open is nobody's opening.
    logs = Logs()
    those = logs.at_most(2)
    await those.get(A)

    def refusing() -> None:
        raise Throttled(1)

    await those.get(A, refusing)
    with pytest.raises(Throttled):
        await those.get(B, refusing)
    assert logs.opened == [A.issuer]
    await those.close()
