"""Requests are read as they come and answered in their order; what is no HTTP, or too much, is answered as well."""

import gc
import re
import weakref

import pytest

from api.server import connection
from tests.api.server.conftest import App
from tests.api.server.line import HOST, Line, Server, post, request

is_id = re.compile(r"[0-9A-Za-z]{22}").fullmatch

pytestmark = pytest.mark.anyio


async def test_a_request_in_any_pieces_is_one_request(server: Server, app: App) -> None:
    whole = post(b"a=b&c=d", b"X-Odd:   spaced  ")
    for size in (1, 7, len(whole)):
        line = Line(server)
        for at in range(0, len(whole), size):
            await line.send(whole[at : at + size])
        assert (line.statuses, line.body, line.over) == ([200], b"a=b&c=d", False)
        assert (b"x-odd", b"spaced") in app.heads[-1]
        assert (line.field("server"), line.field("connection")) == (None, None)


async def test_a_connection_serves_one_request_after_the_other(server: Server) -> None:
    line = Line(server)
    for number in range(1, 5):
        await line.send(post(b"%d" % number))
        assert line.body == b"%d" % number
    assert (line.statuses, line.over) == ([200] * 4, False)


async def test_requests_that_come_together_are_answered_in_their_order(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/wait") + post(b"second") + request(b"/early"))
    # None is begun before the one ahead of it is answered: it may rest on what that one does.
    assert (app.begun, line.wire.paused) == (["/wait"], True)
    app.gate.set()
    await line.send(b"")
    assert app.begun == ["/wait", "/echo", "/early"]
    assert line.wire.written.index(b"waited") < line.wire.written.index(b"second") < line.wire.written.index(b"early")
    assert (line.statuses, line.wire.paused, line.over) == ([200] * 3, False, False)


async def test_a_packet_full_of_requests_is_not_taken_apart_at_once(server: Server, app: App) -> None:
    line = Line(server)
    one, many = request(b"/early"), 3000
    await line.send(request(b"/wait") + one * many)
    assert len(line.connection._waiting) < connection.SLICE / len(one) + 2
    assert line.wire.paused
    app.gate.set()
    while len(line.statuses) <= many:
        await line.send(b"")
    assert len(app.begun) == 1 + many
    assert not line.wire.paused


async def test_body_behind_a_waiting_request_reaches_the_right_one(server: Server, app: App) -> None:
    line = Line(server)
    body = b"x" * 20_000
    await line.send(request(b"/wait") + post(body) + request(b"/early"))
    app.gate.set()
    for _ in range(5):
        await line.send(b"")
    assert line.statuses == [200] * 3
    assert body in line.wire.written


async def test_chunked_body_is_joined_and_its_trailer_is_no_head(server: Server, app: App) -> None:
    line = Line(server)
    head = request(b"/echo", b"Transfer-Encoding: chunked", method=b"POST")
    await line.send(head + b"3;name=value\r\nabc\r\n")
    await line.send(
        b"2\r\nde\r\n0\r\nAuthorization: Basic eDp5\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n" + request(b"/early")
    )
    assert line.statuses == [200, 200]
    assert b"abcde" in line.wire.written
    assert app.heads[0] == [(b"host", b"grantlog.test"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "rest", [b"zz\r\n", b"3\r\nabcd\r\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"]
)
async def test_chunks_that_are_none_are_told_to_whoever_reads_them(server: Server, rest: bytes) -> None:
    line = Line(server)
    await line.send(request(b"/echo", b"Transfer-Encoding: chunked", method=b"POST"))
    await line.send(rest)
    assert line.statuses in ([400], [431])
    assert (line.field("connection"), line.over) == ("close", True)
    assert is_id(line.request_id)


LONG = b"a" * (connection.FIELDS_LONGEST + 1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /early HTTP/9.9\r\n\r\n", 400),
        (b"GET /early HTTP/1.1\r\nHost grantlog.test\r\n\r\n", 400),
        (b"GET /early HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /a\0b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (request(b"/early", b"Content-Length: 3", b"Transfer-Encoding: chunked", method=b"POST"), 400),
        (request(b"/early", b"Content-Length: 3", b"Content-Length: 4", method=b"POST"), 400),
        (request(b"/early", b"Content-Length: -1", method=b"POST"), 400),
        (request(b"/early", b"X: a\r\n b"), 400),
        (request(b"/early", b"X: a\0b"), 400),
        (request(b"/" + LONG), 414),
        (b"GET /" + LONG * 3, 414),
        (request(b"/early", b"X: " + LONG), 431),
        (b"GET /early HTTP/1.1\r\nX: " + LONG * 4, 431),
        (request(b"/early", *[b"X%d: y" % number for number in range(connection.FIELDS_MOST)]), 431),
    ],
)
async def test_what_cannot_be_read_is_answered_and_ends_the_connection(
    server: Server, app: App, sent: bytes, status: int
) -> None:
    line = Line(server)
    await line.send(sent)
    await line.send(request(b"/early"))
    assert (line.statuses, line.over) == ([status], True)
    assert line.field("connection") == "close"
    assert line.field("content-type") == "application/problem+json"
    assert is_id(line.request_id)
    assert line.field("x-content-type-options") == "nosniff"
    assert b'"request_id"' in line.body
    assert app.begun == []


async def test_what_is_just_small_enough_is_served(server: Server) -> None:
    for sent in (
        request(b"/early?" + b"a" * (connection.TARGET_LONGEST - 7)),
        request(b"/early", b"X: " + b"a" * (connection.FIELDS_LONGEST - 30)),
        request(b"/early", *[b"X%d: y" % number for number in range(connection.FIELDS_MOST - 1)]),
    ):
        line = Line(server)
        await line.send(sent)
        assert line.statuses == [200]


async def test_refusals_speak_as_the_place_does_and_come_in_their_turn(server: Server, app: App) -> None:
    line = Line(server)
    await line.send(request(b"/wait") + request(b"/oauth/token", b"X: " + LONG, method=b"POST"))
    assert line.statuses == []
    app.gate.set()
    await line.send(b"")
    assert line.statuses == [200, 431]
    assert line.body.startswith(b'{"error":"invalid_request"')


async def test_a_body_is_asked_for_when_somebody_wants_it(server: Server, app: App) -> None:
    line = Line(server)
    head = request(b"/read_later", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST")
    await line.send(head)
    assert line.wire.written == b""
    app.gate.set()
    await line.send(b"")
    assert line.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    await line.send(b"ok")
    assert (line.statuses, line.body) == ([100, 200], b"ok")
    refused = Line(server)
    await refused.send(request(b"/early", b"Content-Length: 2", b"Expect: 100-continue", method=b"POST"))
    assert refused.statuses == [200]


async def test_no_more_is_read_than_somebody_takes(server: Server, app: App) -> None:
    line = Line(server)
    size = 200_000
    await line.send(request(b"/read_later", b"Content-Length: %d" % size, method=b"POST") + b"x" * 50_000)
    assert line.wire.is_read()
    await line.send(b"x" * 50_000)
    assert not line.wire.is_read()
    app.gate.set()
    await line.send(b"")
    assert line.wire.is_read()
    await line.send(b"x" * 100_000)
    assert (line.statuses, len(line.body)) == ([200], size)


async def test_another_protocol_is_not_spoken(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/early", b"Connection: Upgrade", b"Upgrade: websocket") + b"\x81\x05hello")
    assert (line.statuses, line.field("connection"), line.over) == ([200], "close", True)


H2C = b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "sent",
    [
        post(b"a=b&c=d", *H2C),
        request(b"/echo", b"Transfer-Encoding: chunked", *H2C, method=b"POST") + b"4\r\na=b&\r\n3\r\nc=d\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_upgrade_offer_is_ignored_and_its_body_is_answered(
    server: Server, app: App, sent: bytes, size: int
) -> None:
    """So do curl and Java over plain HTTP. A body that was passed over would be a command with nothing in it."""
    line = Line(server)
    # Nothing behind it is a request, and nothing of it comes into this one.
    whole = sent + request(b"/early") + post(b"more")
    for at in range(0, len(whole), size):
        await line.send(whole[at : at + size])
    assert (line.statuses, line.body, app.begun) == ([200], b"a=b&c=d", ["/echo"])
    assert (line.field("connection"), line.over) == ("close", True)


@pytest.mark.parametrize("endless", [b"0\r\nX-Endless: ", b"0\r\nX-", b"3;name="], ids=["value", "name", "extension"])
@pytest.mark.parametrize("more", [(), H2C], ids=["plain", "offered"])
async def test_nothing_in_a_body_that_is_not_the_body_is_endless(
    server: Server, endless: bytes, more: tuple[bytes, ...]
) -> None:
    """The parser would keep it all, and copy it with each packet."""
    line = Line(server)
    await line.send(request(b"/echo", b"Transfer-Encoding: chunked", *more, method=b"POST") + b"3\r\nabc\r\n" + endless)
    assert line.statuses == []
    for _ in range(20):
        await line.send(b"x" * 4096)
    assert (line.statuses, line.over) == ([431], True)


async def test_many_small_chunks_are_a_body(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/echo", b"Transfer-Encoding: chunked", method=b"POST"))
    await line.send(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    for _ in range(5):
        await line.send(b"")
    assert (line.statuses, len(line.body), line.over) == ([200], 50_000, False)


@pytest.mark.parametrize(
    ("sent", "over"),
    [
        (request(b"/early"), False),
        (request(b"/early", b"Connection: close"), True),
        (request(b"/early", version=b"1.0"), True),
        (request(b"/early", b"Connection: keep-alive", version=b"1.0"), True),
        (b"GET /early HTTP/1.0\r\n\r\n", True),
        (b"GET http://grantlog.test/early HTTP/1.1\r\n" + HOST + b"\r\n", False),
        (b"\r\n\r\n" + request(b"/early"), False),
    ],
)
async def test_the_connection_ends_where_the_client_said_so(server: Server, sent: bytes, over: bool) -> None:
    line = Line(server)
    await line.send(sent)
    assert (line.statuses, line.body, line.over) == ([200], b"early", over)
    assert line.field("connection") == ("close" if over else None)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/early", b"grantlog.test"),
        (b"http://a.example:8443/early", b"a.example:8443"),
        (b"https://a.example?x", b"a.example"),
        # Refused as no host, like every other such value.
        (b"http://grantlog.test@a.example/early", b"grantlog.test@a.example"),
    ],
)
async def test_an_absolute_target_names_the_host(server: Server, app: App, target: bytes, host: bytes) -> None:
    line = Line(server)
    await line.send(request(target))
    if b"@" in host:
        assert line.statuses == [400]
    else:
        assert [value for name, value in app.heads[-1] if name == b"host"] == [host]


async def test_refused_client_may_finish_sending_within_a_limit(server: Server) -> None:
    line = Line(server)
    await line.send(request(b"/" + LONG))
    # An end at once would take the answer away from who is still sending.
    assert (line.wire.ended, line.wire.is_closing()) == (True, False)
    await line.send(b"x" * connection.LINGER_BYTES)
    assert not line.wire.is_cut()
    await line.send(b"x")
    assert line.wire.is_cut()
    other = Line(server)
    await other.send(request(b"/" + LONG))
    await server.pass_time(connection.LINGER - 0.1)
    assert not other.wire.is_cut()
    await server.pass_time(0.1)
    assert other.wire.is_cut()


async def test_a_connection_that_ended_waits_for_no_collection(server: Server) -> None:
    line = Line(server)
    await line.send(post(b"a"))
    ended = weakref.ref(line.connection)
    gc.disable()
    try:
        await line.goes()
        del line
        assert ended() is None
    finally:
        gc.enable()
