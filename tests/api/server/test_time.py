"""Nobody holds a connection for nothing, and nobody's is ended who keeps to the times."""

import pytest

from api.server import connection
from tests.api.server.conftest import App
from tests.api.server.line import Line, Server, request, settle

pytestmark = pytest.mark.anyio

MOMENT = 0.01


async def test_idle_connection_is_closed_after_75_seconds_not_before(server: Server) -> None:
    assert connection.KEEP_ALIVE == 75
    line = Line(server)
    await line.send(request(b"/early"))
    for _ in range(3):
        await server.pass_time(75 - MOMENT)
        assert not line.over
        await line.send(request(b"/early"))
    await server.pass_time(75)
    assert (line.wire.closed, line.statuses) == (True, [200] * 4)


async def test_a_connection_that_never_says_anything_is_closed_sooner(server: Server) -> None:
    line = Line(server)
    await server.pass_time(connection.HEAD_WITHIN - MOMENT)
    assert not line.over
    await server.pass_time(MOMENT)
    assert (line.wire.closed, line.wire.written) == (True, b"")


async def test_a_head_that_trickles_is_given_up(server: Server, app: App) -> None:
    line = Line(server)
    head = request(b"/early", b"X: " + b"y" * 100)
    for at in range(15):
        await line.send(head[at : at + 1])
        assert not line.over
        await server.pass_time(1)
    assert (line.statuses, line.field("connection"), line.over) == ([408], "close", True)
    assert (line.field("x-request-id") is not None, app.begun) == (True, [])


async def test_so_is_the_second_head_on_a_connection(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/early") + b"GET ")
    await server.pass_time(connection.HEAD_WITHIN - MOMENT)
    assert line.statuses == [200]
    await server.pass_time(MOMENT)
    assert line.statuses == [200, 408]


async def test_empty_lines_are_no_request(server: Server) -> None:
    line = Line(server)
    for _ in range(15):
        assert not line.over
        await line.send(b"\r\n")
        await server.pass_time(1)
    assert line.over


async def test_a_body_that_nobody_waits_for_any_more_is_given_up(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/early", b"Content-Length: 100", method=b"POST") + b"x")
    assert line.statuses == [200]
    for _ in range(29):
        await server.pass_time(1)
        await line.send(b"x")
        assert not line.over
    await server.pass_time(1)
    assert (line.over, line.statuses) == (True, [200])


async def test_work_may_take_as_long_as_it_likes(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/wait"))
    await server.pass_time(1000)
    assert not line.over
    app.gate.set()
    await settle()
    assert line.statuses == [200]


async def test_what_was_not_read_because_of_us_is_not_late(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/wait") + request(b"/early") + b"GET ")
    await server.pass_time(1000)
    app.gate.set()
    await settle()
    assert (line.statuses, line.over) == ([200, 200], False)
    await line.send(b"/early HTTP/1.1\r\nHost: a\r\n\r\n")
    assert line.statuses == [200, 200, 200]


async def test_who_takes_nothing_of_an_answer_is_left(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/feed"))
    line.connection.pause_writing()
    await server.pass_time(connection.TAKEN_WITHIN - MOMENT)
    line.connection.resume_writing()
    line.connection.pause_writing()
    await server.pass_time(connection.TAKEN_WITHIN - MOMENT)
    assert not line.over
    await server.pass_time(MOMENT)
    assert line.wire.aborted


async def test_a_close_that_does_not_come_about_is_not_waited_for(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/early", b"Connection: close"))
    assert (line.wire.closed, line.wire.aborted) == (True, False)
    await server.pass_time(connection.TAKEN_WITHIN)
    assert line.wire.aborted
