"""A head that is the one before, octet for octet, is not taken apart again, and what comes of it is the very same."""

import re
from typing import Any

import pytest

from api.http.request_context import FIELDS, Receive, Scope
from api.http.responses import RawResponse, raw_response
from api.server.connection import Connection
from api.server.exchange import ENOUGH
from api.server.known_head import LONGEST, KnownHead
from tests.api.server.line import Line, Server, post, request, settle

pytestmark = pytest.mark.anyio

HOT = b"/oauth/hot"
VARYING = re.compile(rb'(x-request-id|date): [^\r]*\r\n|"request_id":"[^"]*"')


class Endpoint:
    """Says what it was asked, and leaves something of its own in the scope."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive) -> RawResponse:
        told = {name: scope[name] for name in ("method", "path", "query_string", "http_version", "client")}
        self.scopes.append(told | {"headers": [*scope["headers"]], FIELDS: {**scope[FIELDS]}})
        scope["headers"].append((b"x-mine", b"1"))
        scope[FIELDS][b"x-mine"] = b"1"
        scope["mine"] = True
        return raw_response(200, (await receive())["body"], None)


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets of heads that were taken apart."""
    found: list[bytes] = []
    complete = Connection.on_headers_complete

    def telling(self: Connection) -> None:
        found.append(self._target)
        complete(self)

    monkeypatch.setattr(Connection, "on_headers_complete", telling)
    return found


def served(endpoint: Endpoint) -> Server:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("everything goes to the endpoint")

    return Server(app, direct={HOT.decode(): endpoint})


def asked(body: bytes, *fields: bytes) -> bytes:
    return post(body, *fields, target=HOT)


def answers(line: Line) -> list[bytes]:
    return re.split(rb"(?=HTTP/1\.1 )", VARYING.sub(b"", line.wire.written))[1:]


async def test_the_same_head_is_taken_apart_once_and_asks_the_same(heads: list[bytes]) -> None:
    endpoint = Endpoint()
    line = Line(served(endpoint))
    for body in (b"aa", b"bb", b"cc"):
        await line.send(asked(body, b"Authorization: Basic Zm9v"))
        assert line.body == body
    assert heads == [HOT]
    assert endpoint.scopes[0] == endpoint.scopes[1] == endpoint.scopes[2]
    assert len(set(re.findall(rb"x-request-id: [^\r]*", line.wire.written))) == 3


@pytest.mark.parametrize(
    "other",
    [
        asked(b"b"),
        asked(b"bb", b"X-Other: 1"),
        asked(b"bb").replace(b"POST", b"PUT "),
        request(HOT, b"Content-Length: 2", method=b"POST", version=b"1.0") + b"bb",
        asked(b"bb").replace(b"Content-Length", b"content-length"),
        b"\r\n" + asked(b"bb"),
        asked(b"bb")[:-1],
        b"x" * len(asked(b"bb")),
    ],
    ids=("length", "field", "method", "version", "spelling", "line", "part", "rubbish"),
)
async def test_any_other_head_is_taken_apart(heads: list[bytes], other: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    knowing, parsing = Line(served(Endpoint())), Line(served(Endpoint()))
    for each in (asked(b"aa"), other, asked(b"cc")):
        await knowing.send(each)
    monkeypatch.setattr(KnownHead, "again", lambda *_: None)
    for each in (asked(b"aa"), other, asked(b"cc")):
        await parsing.send(each)
    assert answers(knowing) == answers(parsing)
    assert knowing.over == parsing.over


@pytest.mark.parametrize(
    "sent",
    [
        [asked(b"aa"), asked(b"aa") + asked(b"bb"), asked(b"cc")],
        [asked(b"aa"), asked(b"aa")[:20], asked(b"aa")[20:], asked(b"cc")],
        [asked(b"aa"), asked(b"aa")[:-1], asked(b"aa")[-1:] + asked(b"bb")],
        [asked(b"aa"), asked(b"aa")[:-2], asked(b"bb")[:2], asked(b"cc")],
        [asked(b"aa"), asked(b"a\r\n\r\na"), asked(b"a\r\n\r\nb"), asked(b"cc")],
        [asked(b""), asked(b""), asked(b"aa")],
        [asked(b"aa"), request(b"/health/live"), asked(b"bb")],
    ],
    ids=("two", "cut_head", "cut_body", "mixed", "line_ends", "empty", "between"),
)
async def test_however_it_comes_the_answers_are_the_same(sent: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    knowing, parsing = Line(served(Endpoint())), Line(served(Endpoint()))
    for each in sent:
        await knowing.send(each)
    monkeypatch.setattr(KnownHead, "again", lambda *_: None)
    for each in sent:
        await parsing.send(each)
    assert answers(knowing) == answers(parsing)
    assert len(answers(knowing)) >= 2
    assert knowing.over == parsing.over


@pytest.mark.parametrize(("size", "times"), [(ENOUGH, 1), (ENOUGH + 1, 2)])
async def test_a_head_before_more_than_may_wait_is_not_kept(heads: list[bytes], size: int, times: int) -> None:
    line = Line(served(Endpoint()))
    for _ in range(2):
        await line.send(asked(b"a" * size))
    assert (heads, line.statuses) == ([HOT] * times, [200, 200])


async def test_what_comes_before_the_answer_waits_for_it(heads: list[bytes]) -> None:
    line = Line(served(Endpoint()))
    await line.send(asked(b"aa"))
    line.connection.data_received(asked(b"bb"))
    line.connection.data_received(asked(b"cc"))
    await settle()
    assert [each[-2:] for each in answers(line)] == [b"aa", b"bb", b"cc"]
    # The third came while the second was under way.
    assert heads == [HOT, HOT]


@pytest.mark.parametrize(("body", "next_one"), [(b"", b""), (b"aaaa", asked(b"bb"))], ids=("no_body", "body"))
async def test_line_ends_behind_a_request_are_no_head(heads: list[bytes], body: bytes, next_one: bytes) -> None:
    line = Line(served(Endpoint()))
    ends = b"\r\n\r\n" + next_one[: len(body)]
    # They come while it is being answered, and once more behind that.
    line.connection.data_received(asked(body))
    line.connection.data_received(ends)
    await settle()
    line.connection.data_received(next_one[len(body) :])
    await settle()
    await line.send(ends)
    found = 2 if next_one else 1
    assert (line.statuses, len(heads)) == ([200] * found, found)


async def test_a_long_head_is_not_kept(heads: list[bytes]) -> None:
    line = Line(served(Endpoint()))
    for _ in range(2):
        await line.send(asked(b"aa", b"X-Long: " + b"x" * LONGEST))
    assert (line.statuses, heads) == ([200, 200], [HOT, HOT])


async def test_a_worker_that_stops_knows_no_head(heads: list[bytes]) -> None:
    line = Line(served(Endpoint()))
    await line.send(asked(b"aa"))
    line._server.shared.stopping = True
    await line.send(asked(b"bb"))
    assert (line.statuses, line.field("connection"), len(heads)) == ([200, 200], "close", 2)


async def test_behind_a_refused_request_nothing_is_known(heads: list[bytes]) -> None:
    line = Line(served(Endpoint()))
    await line.send(asked(b"aa"))
    await line.send(b"rubbish\r\n\r\n")
    await line.send(asked(b"aa"))
    assert (line.statuses, line.over) == ([200, 400], True)
