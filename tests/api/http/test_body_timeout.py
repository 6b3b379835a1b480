"""Whoever sends a body slowly takes no place from others, and is not waited for without end."""

import asyncio
from typing import Any

import pytest

from api.http import load_shedding
from api.http.bodies import read_body
from api.http.load_shedding import LoadShedding, Slot
from api.http.middleware import Middleware

SLOW, QUICK = "/oauth/token", "/admin/quick"


async def reading(scope: Any, receive: Any, send: Any) -> None:
    body = await read_body(scope, receive, 1000)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Call:
    """One request to the app, whose body comes when the test says so."""

    def __init__(self, app: Any, path: str) -> None:
        self.body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.sent: list[dict[str, Any]] = []
        self.task = asyncio.create_task(app(self._scope(path), self._receive, self._send))

    def _scope(self, path: str) -> dict[str, Any]:
        return {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(b"content-length", b"2")],
            "client": ("192.0.2.7", 5),
        }

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": await self.body}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])


async def all_have_left(wrapper: Middleware) -> None:
    """Lets the event loop go round until no place is taken."""
    await asyncio.sleep(0)
    while wrapper.load.taken:
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_request_with_a_pending_body_leaves_its_slot_to_others(monkeypatch):
    monkeypatch.setattr(load_shedding, "BODY_WITHIN", 0)
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)
    wrapper = Middleware(reading, in_flight=1, log_requests=False)
    slow = []
    for _ in range(5):
        slow.append(Call(wrapper, SLOW))
        await all_have_left(wrapper)
    quick = Call(wrapper, QUICK)
    quick.body.set_result(b"ok")
    assert await quick.status() == 200
    for each in slow:
        each.body.set_result(b"ok")
        assert await each.status() == 200
    assert wrapper.load.taken == 0


@pytest.mark.anyio
async def test_requests_of_one_turn_do_not_all_find_the_same_place(monkeypatch):
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)
    wrapper = Middleware(reading, in_flight=2, log_requests=False)
    calls = [Call(wrapper, SLOW) for _ in range(5)]
    await asyncio.sleep(0)
    for each in calls:
        each.body.set_result(b"ok")
    assert [await each.status() for each in calls] == [200, 200, 503, 503, 503]


@pytest.mark.anyio
async def test_late_body_gets_a_slot_or_503_with_retry_after(monkeypatch):
    monkeypatch.setattr(load_shedding, "BODY_WITHIN", 0)
    monkeypatch.setattr(load_shedding, "HELD_BACK", 0)
    wrapper = Middleware(reading, in_flight=1, log_requests=False)
    late, later = Call(wrapper, SLOW), Call(wrapper, QUICK)
    assert await later.status() == 503
    await all_have_left(wrapper)
    other = Slot(wrapper.load, None)
    late.body.set_result(b"ok")
    assert await late.status() == 503
    assert dict(late.sent[0]["headers"])[b"retry-after"] == b"1"
    other.end()
    assert wrapper.load.taken == 0


@pytest.mark.anyio
async def test_a_body_that_does_not_come_ends_the_connection(monkeypatch):
    monkeypatch.setattr(load_shedding, "BODY_TIMEOUT", 0)
    wrapper = Middleware(reading, log_requests=False)
    slow = Call(wrapper, SLOW)
    assert await slow.status() == 408
    assert (b"connection", b"close") in slow.sent[0]["headers"]
    assert b'"error":"invalid_request"' in slow.sent[1]["body"]
    assert wrapper.load.taken == 0


def anywhere() -> Slot:
    """A slot where there is always room."""
    return Slot(LoadShedding(1), None)


class Piecemeal:
    """A body in pieces, each of which says that there may be more. Raises StopIteration when it is asked too often."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def __call__(self) -> dict[str, Any]:
        return {"type": "http.request", "body": next(self._pieces), "more_body": True}


@pytest.mark.anyio
@pytest.mark.parametrize("pieces", [(b"a=b&c=d",), (b"a=b", b"&c=", b"d"), (b"", b"a=b&c=d")])
async def test_the_server_is_not_asked_for_more_than_was_announced(pieces):
    arriving = load_shedding.Arriving(Piecemeal(*pieces), anywhere(), load_shedding.BodyPatience(), 7)
    assert await read_body({"headers": [(b"content-length", b"7")]}, arriving, 1000) == b"a=b&c=d"


@pytest.mark.anyio
async def test_a_body_of_unknown_length_is_read_to_its_end():
    begun, ended = {"type": "http.request", "body": b"a=", "more_body": True}, {"type": "http.request", "body": b"b"}
    messages: Any = iter([begun, ended])

    async def receive() -> dict[str, Any]:
        return next(messages)

    arriving = load_shedding.Arriving(receive, anywhere(), load_shedding.BodyPatience(), None)
    assert await read_body({"headers": [(b"transfer-encoding", b"chunked")]}, arriving, 1000) == b"a=b"


@pytest.mark.anyio
async def test_disconnect_may_be_awaited_without_a_timeout(monkeypatch):
    monkeypatch.setattr(load_shedding, "BODY_TIMEOUT", 0)
    gone: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    messages = iter([{"type": "http.request", "body": b"ok"}])

    async def receive() -> dict[str, Any]:
        return next(messages, None) or await gone

    arriving = load_shedding.Arriving(receive, anywhere(), load_shedding.BodyPatience(), None)
    # What is there already is taken, however late it is.
    assert (await arriving())["body"] == b"ok"
    waiting = asyncio.create_task(arriving())
    await asyncio.sleep(0)
    gone.set_result({"type": "http.disconnect"})
    assert (await waiting)["type"] == "http.disconnect"
