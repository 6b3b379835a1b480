"""One request on a connection and its answer: the two ends that an ASGI app is given."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol
from urllib.parse import unquote

import httptools
import msgspec
import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.http.errors import HTTPError
from api.http.log_lines import trace
from api.http.request_context import FIELDS, App, Message, Scope
from api.http.responses import WrittenResponse

ENOUGH = 65_536
"""Bytes of a body that wait for the app until no more are read from the connection."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"
FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"content-type"))
"""Fields of an answer that say how long it is and what comes after it."""

AnswerWhole = Callable[[Scope, bytes], Awaitable[WrittenResponse]]
"""How an app answers a request that has come to its end."""

GONE: Message = {"type": "http.disconnect"}

log = structlog.get_logger("server")


class Carrier(Protocol):
    """The connection, as far as what is exchanged over it needs one."""

    flow: FlowControl

    @property
    def own_fields(self) -> bytes:
        """The last fields of every answer, with the empty line behind them."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""

    def read_on(self) -> None:
        """Takes more from the client, unless there is something to be done first."""

    def answered(self, exchange: "Exchange") -> None:
        """The answer is complete."""

    def on_body(self, body: bytes) -> None:
        """Takes a part of a request's body."""

    def on_message_complete(self) -> None:
        """The request is whole."""

    def break_off(self, exchange: "Exchange") -> None:
        """Ends the connection in the middle of an answer."""


# The body of a request that offers another protocol beside it (RFC 9110 §7.8), such as h2c: nobody has to take it up.

BODY_FRAMING = (b"content-length", b"transfer-encoding")


class _Behind:
    """The parser's callbacks behind the head: no other one is to be had."""

    def __init__(self, connection: Carrier) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def has_body(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether something follows a head with these fields, names in lower case."""
    return any(name in BODY_FRAMING and value.strip(b"0") != b"" for name, value in fields)


def behind(fields: Iterable[tuple[bytes, bytes]], connection: Carrier) -> httptools.HttpRequestParser:
    """A parser of what follows such a head, up to the end of its body; what comes then is an error."""
    parser = httptools.HttpRequestParser(_Behind(connection))
    framing = b"".join(b"%b: %b\r\n" % field for field in fields if field[0] in BODY_FRAMING)
    parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\n" + framing + b"\r\n")
    return parser


# One request and its answer.

ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def name_host(scope: Scope, target: bytes) -> None:
    """Has `Host` say what an absolute target says, as a proxy that reads that one would have it (RFC 9112 §3.2.2)."""
    named = ABSOLUTE.match(target)
    if named is not None:
        scope["headers"][:] = [(name, named[1] if name == b"host" else value) for name, value in scope["headers"]]
        scope[FIELDS] = dict(scope["headers"])


def locate(scope: Scope, target: bytes) -> bool:
    """Puts path and query of a target into the scope; False for a target that is none."""
    if target[:1] == b"/" and b"#" not in target:
        raw, _, query = target.partition(b"?")
    else:
        try:
            parsed = httptools.parse_url(target)
        except httptools.HttpParserError:
            return False
        raw, query = parsed.path or b"/", parsed.query or b""
        name_host(scope, target)
    if not raw.isascii() or raw[:1] != b"/":
        return False
    path = raw.decode("ascii")
    scope["path"] = unquote(path) if "%" in path else path
    scope["raw_path"], scope["query_string"] = raw, query
    return True


UNUSUAL = frozenset((b"expect", b"origin", b"transfer-encoding"))


def is_plain(scope: Scope) -> bool:
    """Whether nothing in a head asks for more than an answer to a body of known length."""
    given = scope[FIELDS]
    return scope["method"] == "POST" and len(given) == len(scope["headers"]) and UNUSUAL.isdisjoint(given)


class Exchange(msgspec.Struct, eq=False):
    """`receive` and `send` are the app's; the connection puts the body in, by `take` and `end`. `keep_alive` says
    whether the connection goes on behind the answer, `endless` that the answer goes on until somebody leaves. One that
    `is_short` may be handed over as a whole once it is (`run_whole`), without a message for each part."""

    _connection: Carrier
    scope: Scope
    keep_alive: bool
    _expects: bool = False
    _pieces: list[bytes] = msgspec.field(default_factory=list)
    _size: int = 0
    _told: bool = False
    _fault: HTTPError | None = None
    _waiter: asyncio.Future[None] | None = None
    _head: bytes = b""
    _bodyless: bool = False
    _chunked: bool = False
    _missing: int | None = None
    is_short: bool = False
    whole: bool = False
    begun: bool = False
    answered: bool = False
    gone: bool = False
    endless: bool = False

    def __post_init__(self) -> None:
        # The outermost layer of the app makes a GET of HEAD.
        self._bodyless = self.scope["method"] == "HEAD"

    @classmethod
    def come(cls, connection: Carrier, scope: Scope, body: bytes) -> "Exchange":
        """One that has come to its end, and may be handed over as a whole."""
        pieces = [body] if body else []
        return cls(connection, scope, keep_alive=True, _pieces=pieces, _size=len(body), is_short=True, whole=True)

    # --- What the connection tells ---

    def take(self, piece: bytes) -> None:
        """A part of the body has come."""
        if self.answered:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > ENOUGH:
            self._connection.flow.pause_reading()
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self.whole = True
        self._wake()

    def fail(self, problem: HTTPError) -> None:
        """No more of the body comes, or nothing that could be read. Anyone who waits for it is told."""
        self._fault = problem
        self.keep_alive = False
        self._wake()

    def leave(self) -> None:
        """The client has gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- The app's ends ---

    async def run(self, app: App) -> None:
        """Has the app answer. One that it does not finish ends the connection: nobody is to take it for a whole one."""
        try:
            await app(self.scope, self.receive, self.send)
        except ConnectionAbortedError:
            # The app's way to say just that, which has told the log why.
            pass
        except Exception as error:
            log.error("request failed", **trace(error))
        finally:
            if not self.answered and not self.gone:
                self._connection.break_off(self)

    async def run_whole(self, answer: AnswerWhole) -> None:
        """The same of a request whose body has come."""
        try:
            self._send_whole(await answer(self.scope, self._given()["body"]))
        except Exception as error:
            log.error("request failed", **trace(error))
        finally:
            if not self.answered and not self.gone:
                self._connection.break_off(self)

    def _send_whole(self, given: WrittenResponse) -> None:
        if self.gone:
            return
        self.begun = self.answered = True
        self.keep_alive = self.keep_alive and not given.closes
        close = b"" if self.keep_alive else CLOSE
        connection = self._connection
        connection.write(STATUS_LINE[given.status] + given.head + close + connection.own_fields + given.body)
        connection.answered(self)

    async def receive(self) -> Message:
        """ASGI's `http.request` with what has come since the last, then `http.disconnect`. Raises what `fail` was
        given."""
        if self._expects:
            self._expects = False
            if not self.begun:
                self._connection.write(CONTINUE)
        while True:
            if self.gone or self.answered:
                return GONE
            if self._pieces or (self.whole and not self._told):
                return self._given()
            if self._fault is not None:
                raise self._fault
            self._connection.read_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _given(self) -> Message:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces, self._size = [], 0
        self._told = self.whole
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """ASGI's `http.response.start` and `http.response.body`. Raises RuntimeError for any other order or length."""
        if self._connection.flow.write_paused and not self.gone:
            await self._connection.flow.drain()
        if self.gone:
            return
        if not self.begun:
            if message["type"] != "http.response.start":
                raise RuntimeError("an answer begins with its status")
            self._begin(message)
        elif self.answered or message["type"] != "http.response.body":
            raise RuntimeError("an answer has one status and one end")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, message: Message) -> None:
        self.begun = True
        self._expects = False
        status: int = message["status"]
        fields = message.get("headers", ())
        parts = [STATUS_LINE[status]]
        closes = framed = False
        for name, value in fields:
            parts += (name, b": ", value, b"\r\n")
            if name.lower() in FRAMING:
                closes, framed = self._frame(name.lower(), value, closes, framed)
        written = len(fields)
        self._bodyless = self._bodyless or status in (204, 304)
        if not framed and not self._bodyless:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                parts.append(CHUNKED)
                written += 1
            else:
                # Only the end of the connection tells where this one ends (RFC 9112 §6.3).
                self.keep_alive = False
        if not self.keep_alive and not closes:
            parts.append(CLOSE)
            written += 1
        head = b"".join(parts)
        # Anyone who could put a line break into a value could add fields, or a second answer (RFC 9110 §5.5).
        if head.count(b"\n") != written + 1 or head.count(b"\r") != written + 1 or b"\0" in head:
            raise RuntimeError("a line break in a header field")
        # Sent together with the beginning of the body.
        self._head = head + self._connection.own_fields

    def _frame(self, name: bytes, value: bytes, closes: bool, framed: bool) -> tuple[bool, bool]:
        if name == b"content-length":
            self._missing = int(value)
            return closes, True
        if name == b"transfer-encoding":
            self._chunked = value.lower() == b"chunked"
            return closes, True
        if name == b"content-type":
            self.endless = value.startswith(b"text/event-stream")
            return closes, framed
        if b"close" in value.lower():
            self.keep_alive = False
            closes = True
        return closes, framed

    def _go_on(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        if self._bodyless:
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += LAST_CHUNK
        elif self._missing is not None:
            self._missing -= len(body)
            if self._missing < 0 or (self._missing and not more):
                raise RuntimeError("an answer of another length than it says")
        if data := head + body:
            self._connection.write(data)
        if not more:
            self.answered = True
            self._wake()
            self._connection.answered(self)
