"""A whole request to a busy endpoint is answered without messages between server and app, and as ever in all else."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.http.bodies import WholeBody
from api.http.errors import InvalidRequest
from api.http.load_shedding import LoadShedding
from api.http.log_lines import REQUEST_ID
from api.http.request_context import Receive, Scope
from api.http.responses import RawResponse, raw_response
from tests.api.server.line import Line, Server, post, request, settle

pytestmark = pytest.mark.anyio

HOT = b"/oauth/hot"
VARYING = re.compile(rb"(x-request-id|date): [^\r]*\r\n")


class Endpoint:
    """Does what the body says, and keeps in mind what came, and which way."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.came: list[tuple[bytes, bool]] = []
        self.seen: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive) -> RawResponse:
        body: bytes = (await receive())["body"]
        self.came.append((body, isinstance(receive, WholeBody)))
        named: Callable[[], Awaitable[RawResponse]] | None = getattr(self, body.decode("latin-1"), None)
        return raw_response(200, body, None) if named is None else await named()

    async def refuse(self) -> RawResponse:
        raise InvalidRequest("No.")

    async def fail(self) -> RawResponse:
        raise ZeroDivisionError

    async def wait(self) -> RawResponse:
        await self.gate.wait()
        return raw_response(200, b"waited", None)

    async def turn(self) -> RawResponse:
        before = REQUEST_ID.get()
        await asyncio.sleep(0)
        self.seen.append((before, REQUEST_ID.get()))
        return raw_response(200, b"turned", None)

    async def late(self) -> RawResponse:
        try:
            async with asyncio.timeout(0):
                await self.gate.wait()
        except TimeoutError:
            return raw_response(200, b"late", None)
        raise AssertionError("the gate was open")

    async def split(self) -> RawResponse:
        return RawResponse(200, ((b"x", b"a\r\nset-cookie: b"), (b"content-length", b"1")), b"c")

    async def longer(self) -> RawResponse:
        return RawResponse(200, ((b"content-length", b"1"),), b"cc")


@pytest.fixture
async def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def hot(endpoint: Endpoint) -> Server:
    return around(endpoint)


def around(endpoint: Endpoint, **more: Any) -> Server:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("everything goes to the endpoint")

    return Server(app, direct={HOT.decode(): endpoint}, **more)


def asked(body: bytes, *fields: bytes) -> bytes:
    return post(body, *fields, target=HOT)


@pytest.mark.parametrize("body", [b"anything", b"refuse", b"fail", b"turn", b"late"])
async def test_both_ways_give_the_same_answer(hot: Server, endpoint: Endpoint, body: bytes) -> None:
    short, long = Line(hot), Line(hot)
    await short.send(asked(body))
    head, _, rest = asked(body).partition(b"\r\n\r\n")
    await long.send(head + b"\r\n\r\n")
    await long.send(rest)
    assert endpoint.came == [(body, True), (body, False)]
    assert VARYING.sub(b"", short.wire.written) == VARYING.sub(b"", long.wire.written)
    assert (len(short.statuses), short.over) == (1, False)
    await short.send(asked(b"next"))
    assert short.body == b"next"


async def test_a_fault_in_the_head_is_refused_on_both_ways(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"a").replace(b"grantlog.test", b"grantlog.test:99999"))
    assert (line.statuses, endpoint.came) == ([400], [])


@pytest.mark.parametrize(
    "sent",
    [
        asked(b"a", b"Origin: https://shop.example"),
        asked(b"a", b"Expect: 100-continue"),
        asked(b"a", b"Connection: close"),
        asked(b"a", b"X-Twice: 1", b"X-Twice: 2"),
        request(HOT, b"Content-Length: 1", method=b"PUT") + b"a",
        request(HOT, b"Content-Length: 1", method=b"POST", version=b"1.0") + b"a",
        request(HOT, b"Transfer-Encoding: chunked", method=b"POST") + b"1\r\na\r\n0\r\n\r\n",
        request(HOT + b"?a=b", b"Content-Length: 1", method=b"POST") + b"a",
        asked(b"a", b"Connection: Upgrade", b"Upgrade: h2c"),
    ],
)
async def test_what_is_unusual_goes_the_long_way(hot: Server, endpoint: Endpoint, sent: bytes) -> None:
    line = Line(hot)
    await line.send(sent)
    assert (line.statuses[-1:], endpoint.came) == ([200], [(b"a", False)])


async def test_what_comes_behind_a_request_waits_for_its_answer(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait") + asked(b"b") + asked(b"c"))
    assert (line.statuses, [body for body, _ in endpoint.came]) == ([], [b"wait"])
    endpoint.gate.set()
    await settle()
    assert re.findall(rb"\r\n\r\n(\w+?)(?=HTTP|$)", line.wire.written) == [b"waited", b"b", b"c"]


async def test_many_small_requests_do_not_keep_the_loop_to_themselves(hot: Server, endpoint: Endpoint) -> None:
    many, one = Line(hot), Line(hot)
    many.connection.data_received(asked(b"m") * 1_000)
    one.connection.data_received(asked(b"o"))
    await settle()
    assert one.statuses == [200]
    assert len(many.statuses) < 100


async def test_nothing_is_begun_before_all_of_a_turn_have_come(hot: Server, endpoint: Endpoint) -> None:
    first, second = Line(hot), Line(hot)
    first.connection.data_received(asked(b"a"))
    second.connection.data_received(asked(b"b"))
    assert endpoint.came == []
    await settle()
    assert (endpoint.came, first.statuses, second.statuses) == ([(b"a", True), (b"b", True)], [200], [200])


async def test_each_has_its_own_id_in_the_log_at_every_moment(hot: Server, endpoint: Endpoint) -> None:
    lines = [Line(hot), Line(hot)]
    for line in lines:
        line.connection.data_received(asked(b"turn"))
    await settle()
    assert endpoint.seen == [(line.request_id, line.request_id) for line in lines]
    assert lines[0].request_id != lines[1].request_id
    assert REQUEST_ID.get() is None


async def test_what_was_begun_goes_on_when_its_client_hangs_up(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait"))
    await line.goes()
    assert len(hot.shared.tasks) == 1
    endpoint.gate.set()
    await settle()
    assert (hot.shared.tasks, line.wire.written) == (set(), b"")


async def test_what_is_cancelled_ends_its_connection(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait"))
    (task,) = hot.shared.tasks
    task.cancel()
    await settle()
    assert (task.cancelled(), line.over, line.wire.written) == (True, True, b"")


@pytest.mark.parametrize("body", [b"split", b"longer"])
async def test_what_would_be_another_answer_than_it_says_is_none(hot: Server, endpoint: Endpoint, body: bytes) -> None:
    line = Line(hot)
    await line.send(asked(body))
    assert (line.wire.written, line.over, hot.shared.tasks) == (b"", True, set())


async def test_who_finds_no_place_is_sent_away_as_ever(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    held_back = asyncio.Event()
    monkeypatch.setattr(LoadShedding, "hold_back", lambda _: held_back.wait())
    server = around(endpoint, in_flight=1)
    waiting, short, long = Line(server), Line(server), Line(server)
    await waiting.send(asked(b"wait"))
    await short.send(asked(b"a"))
    await long.send(asked(b"a", b"X-Twice: 1", b"X-Twice: 2"))
    assert short.statuses == long.statuses == []
    held_back.set()
    await settle()
    assert (short.statuses, long.statuses) == ([503], [503])
    assert VARYING.sub(b"", short.wire.written) == VARYING.sub(b"", long.wire.written)
    endpoint.gate.set()
    await settle()
    assert waiting.statuses == [200]
    await short.send(asked(b"a"))
    assert short.statuses == [503, 200]


async def test_who_hangs_up_before_being_sent_away_is_told_nothing(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_back = asyncio.Event()
    monkeypatch.setattr(LoadShedding, "hold_back", lambda _: held_back.wait())
    server = around(endpoint, in_flight=0)
    line = Line(server)
    await line.send(asked(b"a"))
    await line.goes()
    held_back.set()
    await settle()
    assert (line.wire.written, server.shared.tasks, len(server.shared.callers)) == (b"", set(), 0)


async def test_a_client_that_has_gone_is_told_nothing(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait"))
    await line.goes()
    endpoint.gate.set()
    await settle()
    assert (line.wire.written, hot.shared.tasks, len(hot.shared.callers)) == (b"", set(), 0)


async def test_an_answer_is_the_last_when_the_worker_stops(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait") + asked(b"b"))
    hot.shared.stopping = True
    line.connection.shutdown()
    endpoint.gate.set()
    await settle()
    assert (line.statuses, line.field("connection"), line.over) == ([200], "close", True)
    assert [body for body, _ in endpoint.came] == [b"wait"]


async def test_what_does_not_end_when_the_worker_stops_is_broken_off(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    await line.send(asked(b"wait"))
    (task,) = hot.shared.tasks
    assert task.cancel()
    await settle()
    assert (line.wire.written, line.over, task.done(), hot.shared.tasks) == (b"", True, True, set())
    assert not task.cancel()


async def test_a_full_connection_takes_the_long_way(hot: Server, endpoint: Endpoint) -> None:
    line = Line(hot)
    line.connection.pause_writing()
    await line.send(asked(b"a"))
    assert (line.wire.written, endpoint.came) == (b"", [(b"a", False)])
    line.connection.resume_writing()
    await settle()
    assert line.statuses == [200]
