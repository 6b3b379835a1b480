"""Answers go out as HTTP, whole or recognisably not whole, and the app learns when nobody takes them."""

from typing import Any

import pytest

from api.server import connection
from tests.api.server.conftest import App, start
from tests.api.server.line import Line, Server, post, request, settle

pytestmark = pytest.mark.anyio


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def given(server: Server, app: App, *messages: dict[str, Any], **asked: Any) -> Line:
    app.answer = list(messages)
    line = Line(server)
    await line.send(request(b"/given", **asked))
    return line


async def test_an_answer_of_unknown_length_is_sent_in_chunks(server: Server, app: App) -> None:
    line = await given(server, app, start(200), part(b"ab", True), part(b"", True), part(b"c" * 17))
    assert line.field("transfer-encoding") == "chunked"
    assert line.body == b"2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n"
    assert not line.over
    old = await given(server, app, start(200), part(b"ab", True), part(b"c"), version=b"1.0")
    assert (old.field("transfer-encoding"), old.body, old.over) == (None, b"abc", True)


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        (b"HEAD", 200, ((b"content-length", b"5"),)),
        (b"HEAD", 200, ()),
        (b"GET", 204, ()),
        (b"GET", 304, ()),
    ],
)
async def test_what_has_no_body_has_none(
    server: Server, app: App, method: bytes, status: int, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    line = await given(server, app, start(status, *fields), part(b""), method=method)
    assert (line.statuses, line.body, line.over) == ([status], b"", False)
    assert line.field("transfer-encoding") is None
    await line.send(post(b"next"))
    assert line.body == b"next"


@pytest.mark.parametrize(
    "messages",
    [
        (start(200, (b"x", b"a\r\nset-cookie: b")), part(b"")),
        (start(200, (b"x\nset-cookie", b"b")), part(b"")),
        (start(200, (b"x", b"a\0b")), part(b"")),
        (start(200, (b"content-length", b"2")), part(b"abc")),
        (part(b"abc"),),
        (),
    ],
)
async def test_what_would_be_another_answer_than_it_says_is_none(server: Server, app: App, messages: Any) -> None:
    line = await given(server, app, *messages)
    assert b"cookie" not in line.wire.written
    assert b"abc" not in line.wire.written
    assert line.over or line.statuses == [500]


@pytest.mark.parametrize(
    "messages", [(start(200), part(b"ab", True)), (start(200, (b"content-length", b"5")), part(b"ab", True))]
)
async def test_half_an_answer_is_not_taken_for_a_whole_one(server: Server, app: App, messages: Any) -> None:
    line = await given(server, app, *messages)
    assert line.wire.closed
    assert not line.wire.written.endswith(b"0\r\n\r\n")
    old = await given(server, app, start(200), part(b"ab", True), version=b"1.0")
    assert old.wire.aborted


async def test_an_answer_waits_until_the_client_takes_it(server: Server, app: App) -> None:
    app.answer = [start(200), part(b"ab", True), part(b"c")]
    line = Line(server)
    line.connection.pause_writing()
    await line.send(request(b"/given"))
    assert line.wire.written == b""
    line.connection.resume_writing()
    await settle()
    assert line.body.endswith(b"0\r\n\r\n")


async def test_the_app_learns_that_the_client_has_gone(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/feed"))
    assert (line.body, app.told) == (b"9\r\n: hello\n\n\r\n", ["http.request"])
    await line.goes()
    assert app.told == ["http.request", "http.disconnect"]
    waiting = Line(server)
    await waiting.send(request(b"/wait") + request(b"/early"))
    await waiting.goes()
    app.gate.set()
    await settle()
    assert waiting.wire.written == b""
    assert (len(server.shared.connections), len(server.shared.callers), server.shared.tasks) == (0, 0, set())


async def test_stop_answers_requests_in_progress_and_begins_no_more(
    server: Server, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LAST_CHANCE", 0)
    idle, busy, feed, half, new = (Line(server) for _ in range(5))
    await idle.send(request(b"/early"))
    await busy.send(request(b"/wait") + request(b"/early"))
    await feed.send(request(b"/feed"))
    await half.send(request(b"/early")[:20])
    server.shared.stopping = True
    for each in tuple(server.shared.connections):
        each.shutdown()
    # It was on its way already.
    await new.send(request(b"/early"))
    assert (new.statuses, new.field("connection"), new.over) == ([200], "close", True)
    await settle()
    assert (idle.over, busy.over, half.over) == (True, False, False)
    # Who reads a feed goes on elsewhere; an answer that has an end gets it.
    assert (feed.over, app.told) == (True, ["http.request", "http.disconnect"])
    app.gate.set()
    await half.send(request(b"/early")[20:])
    for line, body in ((busy, b"waited"), (half, b"early")):
        assert (line.statuses, line.field("connection"), line.body, line.over) == ([200], "close", body, True)
    late = Line(server)
    await settle()
    assert late.over
