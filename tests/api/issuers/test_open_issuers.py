"""Which logs a process has open: a bounded number, one opened at a time, and closed when nobody asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from api.issuers import open_issuers
from api.issuers.open_issuers import IssuerAway, OpenIssuer, OpenIssuers
from api.issuers.registry import IssuerEntry
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
            yield None, None
        finally:
            self.opened.remove(entry.issuer)

    @contextmanager
    def using(self, issuer: OpenIssuer) -> Iterator[None]:
        issuer.enter()
        yield
        issuer.leave(self.clock.now())

    def at_most(self, number: int) -> OpenIssuers:
        return OpenIssuers(self.opening, number, 300, self.clock)


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
