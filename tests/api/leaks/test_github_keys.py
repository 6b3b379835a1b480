"""GitHub's keys: had once, looked for again at most once a minute, and never from inside the network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.http.outgoing_requests import OutgoingRequests
from api.leaks.scanners import AGAIN_AFTER, FRESH_FOR, GithubKeys, NoKeys, parse
from security.clock import SECOND, ManualClock
from tests.scenarios.leaks.test_intake import KEY_ID, SAMPLE_ID, published


@dataclass
class Publisher:
    """A server on this machine; it counts who asks."""

    answer: bytes = b""
    asked: int = 0
    url: str = ""
    headers: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.headers.append(await reader.readuntil(b"\r\n\r\n"))
        self.asked += 1
        writer.write(self.answer)
        await writer.drain()
        writer.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


@asynccontextmanager
async def publishing(answer: bytes) -> AsyncIterator[Publisher]:
    publisher = Publisher(answer)
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0)
    publisher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    async with server:
        yield publisher


def keys_from(url: str, clock: ManualClock, *, file: Path | None = None, private: bool = True) -> GithubKeys:
    return GithubKeys(url, file, clock, OutgoingRequests(allow_private=private, timeout=60))


async def test_fetched_once_and_for_an_unknown_key_id_once_a_minute() -> None:
    clock = ManualClock()
    async with publishing(ok(published())) as publisher:
        keys = keys_from(publisher.url, clock)
        found = await asyncio.gather(*(keys.find(KEY_ID) for _ in range(5)))
        assert all(key is not None for key in found)
        assert publisher.asked == 1
        for _ in range(5):
            assert await keys.find("unknown") is None
        clock.advance(AGAIN_AFTER / SECOND - 1)
        assert await keys.find("unknown") is None
        assert publisher.asked == 1
        clock.advance(1)
        assert await keys.find("unknown") is None
        assert await keys.find("unknown") is None
        assert publisher.asked == 2


async def test_those_known_stay_while_github_is_away() -> None:
    clock = ManualClock()
    async with publishing(ok(published())) as publisher:
        keys = keys_from(publisher.url, clock)
        await keys.find(KEY_ID)
        publisher.answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        clock.advance(AGAIN_AFTER / SECOND)
        assert await keys.find("unknown") is None
        assert await keys.find(SAMPLE_ID) is not None


async def test_withdrawn_github_key_is_believed_for_an_hour_at_most() -> None:
    clock = ManualClock()
    async with publishing(ok(published())) as publisher:
        keys = keys_from(publisher.url, clock)
        assert await keys.find(KEY_ID) is not None
        publisher.answer = ok(published().replace(KEY_ID.encode(), b"another"))
        clock.advance(FRESH_FOR / SECOND - 1)
        assert await keys.find(KEY_ID) is not None
        assert publisher.asked == 1
        clock.advance(1)
        assert await keys.find(KEY_ID) is None
        assert await keys.find("another") is not None
        assert publisher.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ok(b"no JSON"),
        ok(b'{"public_keys": [{"key": 1}]}'),
        ok(b" " * 300_000 + b'{"public_keys": []}'),
    ],
)
async def test_answer_without_keys_says_nothing_about_a_signature(answer: bytes) -> None:
    async with publishing(answer) as publisher:
        with pytest.raises(NoKeys):
            await keys_from(publisher.url, ManualClock()).find(KEY_ID)
        assert publisher.asked == 1


async def test_a_private_address_is_not_asked() -> None:
    async with publishing(ok(published())) as publisher:
        with pytest.raises(NoKeys):
            await keys_from(publisher.url, ManualClock(), private=False).find(KEY_ID)
        assert publisher.asked == 0


async def test_the_file_wins(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(published())
    async with publishing(ok(b"")) as publisher:
        assert await keys_from(publisher.url, ManualClock(), file=file).find(KEY_ID) is not None
        assert publisher.asked == 0


def test_what_is_no_key_on_that_curve_is_passed_over() -> None:
    assert set(parse(published())) == {KEY_ID, SAMPLE_ID}
