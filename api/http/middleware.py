"""The outermost layer: every answer has a request id and safe headers, every request one log line, nothing escapes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter, time_ns
from typing import Any

import msgspec
import structlog

from api.http.bodies import WholeBody
from api.http.cors import NO_PAGE, OriginPolicy, is_preflight
from api.http.error_responses import error_response
from api.http.errors import TOLD, TemporarilyUnavailable
from api.http.load_shedding import KEY as SLOT
from api.http.load_shedding import Arriving, BodyPatience, HeldBack, LoadShedding, Slot
from api.http.log_lines import REQUEST_ID, as_json, trace
from api.http.request_context import (
    FOR_OPERATORS,
    KEY,
    App,
    Message,
    Proxies,
    Receive,
    RequestContext,
    Scope,
    Send,
    check,
    closes,
    header,
)
from api.http.responses import Fields, RawResponse, WrittenResponse
from security.clock import SECOND, format_rfc3339
from security.masking import Masker
from security.tokens import ordered_id

Traced = Callable[[Scope, str, int | None, float], None]
"""Hears of an answered request: its scope, method, status (None for an answer that was never begun) and seconds."""

Direct = Callable[[Scope, Receive], Awaitable[RawResponse]]
"""An endpoint that is asked for its whole answer and sends nothing itself."""

HEADERS: Fields = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
"""What an answer carries unless its handler says otherwise: nothing is stored, framed, sniffed or loaded."""

CLOSE = (b"connection", b"close")
LIVE = "/health/live"
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

log = structlog.get_logger("api")


# The access log: one line for each request, written without the general machinery, which costs more than a token.

GATHERED_FOR = 0.01
"""Seconds for which lines are gathered before they are written together."""

_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes no query, header, address or name: an erased person leaves nothing in a log file. Lines are gathered for a
    moment and written together: a write for each would hand the interpreter to other threads and back, which costs more
    than the rest of the line. `hot` are the paths that are asked for most."""

    def __init__(self, masker: Masker, hot: Iterable[str] = ()) -> None:
        self._masker = masker
        self._logger: Any = None
        self._write: Callable[[str], None] | None = None
        self._lines: list[str] = []
        self._second = (-1, "")
        # Other paths hold what people and clients wrote there, which is not kept.
        self._ready = {("POST", path): self._tell("POST", path) for path in hot}

    def line(self, request_id: str, method: str, path: str, status: int | None, seconds: float) -> None:
        """One answered request; `status` is None for an answer that was never begun."""
        if self._logger is None:
            self._open()
        told = self._ready.get((method, path)) or self._tell(method, path[:200])
        if self._write is None:
            method, path, _ = told
            ms = round(seconds * 1000, 2)
            self._logger.info("request", request_id=request_id, method=method, path=path, status=status, ms=ms)
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHERED_FOR, self.flush)
        # Names and order of what any other JSON line has too. A request id has no character that JSON would escape.
        now = self._now()
        code = "null" if status is None else status
        self._lines.append(
            f'{{"request_id":"{request_id}",{told[2]},"status":{code},"ms":{seconds * 1000:.2f},'
            f'"event":"request","level":"info","timestamp":"{now}"}}'
        )

    def _tell(self, method: str, path: str) -> tuple[str, str, str]:
        """Method and path as they may be told, and both as members of a JSON object."""
        if not path.isprintable():
            path = "(unprintable)"
        if not (method.isalpha() and len(method) < 20):
            method = "(other)"
        path = self._masker.text(path)
        return method, path, _encode({"method": method, "path": path}).decode()[1:-1]

    def _now(self) -> str:
        """The time as RFC 3339 has it; all of it but the fraction is put together once a second."""
        second, fraction = divmod(time_ns() // 1000, SECOND)
        if second != self._second[0]:
            self._second = second, format_rfc3339(second * SECOND)[: -len("000000Z")]
        return f"{self._second[1]}{fraction:06d}Z"

    def flush(self) -> None:
        """Writes what was gathered."""
        lines, self._lines = self._lines, []
        if lines and self._write is not None:
            self._write("\n".join(lines))

    def _open(self) -> None:
        """Binds once, after logging was configured. Only JSON lines, as production writes them, go the short way."""
        self._logger = structlog.get_logger("access").bind()
        settings = structlog.get_config()
        if settings["processors"][-1] is as_json and self._logger.is_enabled_for(20):
            self._write = settings["logger_factory"]().msg


class Middleware:
    """An ASGI app around an ASGI app: outside of the framework, since requests to a path in `direct` go to that
    endpoint past its routing. `in_flight` bounds the requests that wait for the start of their answer; a further one
    gets 503, and so does one that would wait too long (`load_shedding`), up to `held` of them half a second later. A
    stream that has begun is not counted, nor is a request whose body is still to come. The liveness probe and those who
    look after the server are always let in.
    The paths in `whole` are among those in `direct`: a POST there may be handed over with its body and nothing else.
    `usual` finds what answers some further requests past the routing, as long as nothing is unusual about them."""

    def __init__(
        self,
        app: App,
        *,
        proxies: Proxies | None = None,
        in_flight: int = 256,
        held: HeldBack | None = None,
        secure: bool = False,
        log_requests: bool = True,
        prefixes: Sequence[str] = ("glog",),
        make_id: Callable[[], str] = lambda: ordered_id(time_ns() // 1000),
        direct: Mapping[str, Direct] | None = None,
        measure: Callable[[str | None, str, int | None, float], None] = lambda *_: None,
        refused: Callable[[str, str | None], None] = lambda *_: None,
        pages: OriginPolicy | None = None,
        whole: Iterable[str] = (),
        usual: Callable[[Scope], Direct | None] = lambda _: None,
    ) -> None:
        self.app = app
        self.usual = usual
        self.proxies = proxies or Proxies()
        self._always = (*HEADERS, STRICT_TRANSPORT) if secure else HEADERS
        # Few sets of names are ever in use. Values are not kept: a cookie among them is a secret.
        self.missing = lru_cache(maxsize=256)(self._missing)
        self.log_requests = log_requests
        self.direct = direct or {}
        self.access = AccessLog(Masker(*prefixes), self.direct)
        self.make_id = make_id
        self.measure = measure
        self.refused = refused
        self.traced: Traced | None = None
        """Hears of every answered request, where somebody wants to know."""
        self.pages = pages
        self.load = LoadShedding(in_flight, self.direct, held=held)
        self._busy: dict[str, tuple[Fields, bytes]] = {}
        self._patience = BodyPatience()
        self.whole: Mapping[bytes, str] = {path.encode("ascii"): path for path in whole}
        """The targets of requests that `answer_whole` takes, with their paths."""
        # Answers of those paths have few sets of fields, and none of them is a secret.
        self._head = lru_cache(maxsize=256)(self._written_head)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        return self._other(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                self.access.flush()
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        slot = self.load.enter(path, always=path == LIVE or FOR_OPERATORS in scope)
        if slot is None:
            await self._send_away(scope, send, path)
            return
        scope[SLOT] = slot
        context = scope[KEY] = self.proxies.arrive(scope, self.make_id())
        response = SentResponse(send, context, self.missing, scope, slot, self._pages(path))
        if response.head:
            scope["method"] = "GET"
        token = REQUEST_ID.set(context.request_id)
        began = perf_counter()
        try:
            await self._answer(scope, receive, response)
        except Exception as error:
            await self._rescue(scope, response, error)
        finally:
            if response.status is None:
                slot.end()
            REQUEST_ID.reset(token)
            method = "HEAD" if response.head else scope["method"]
            seconds = perf_counter() - began
            self.measure(scope.get("path_template"), method, response.status, seconds)
            if TOLD in scope:
                self.refused(*scope[TOLD])
            if self.traced is not None:
                self.traced(scope, method, response.status, seconds)
            if self.log_requests:
                self.access.line(context.request_id, method, path, response.status, seconds)

    async def answer_whole(self, scope: Scope, body: bytes) -> WrittenResponse:
        """Answers a POST to a path in `whole` that has come to its end, and from no page of another origin: as a call
        would, without a message for each part. To be run as a task of its own."""
        path: str = scope["path"]
        slot = self.load.enter(path, always=False)
        context = scope[KEY] = self.proxies.arrive(scope, self.make_id())
        REQUEST_ID.set(context.request_id)
        began, status = perf_counter(), None
        try:
            if slot is None:
                await self.load.hold_back()
                scope["path_template"] = path
                given = RawResponse(503, *self._busy_answer(scope, path))
            else:
                scope[SLOT] = slot
                given = await self._handle_whole(scope, path, body)
            status = given.status
        finally:
            if slot is not None:
                slot.end()
            seconds = perf_counter() - began
            self.measure(scope.get("path_template"), "POST", status, seconds)
            if TOLD in scope:
                self.refused(*scope[TOLD])
            if self.traced is not None:
                self.traced(scope, "POST", status, seconds)
            if self.log_requests:
                self.access.line(context.request_id, "POST", path, status, seconds)
        head, length = self._head(given.headers)
        if length != len(given.body):
            raise RuntimeError("an answer of another length than it says")
        head += context.request_id.encode("ascii") + b"\r\n"
        return WrittenResponse(status, head, given.body, status >= 400 and closes(scope, status))

    async def _handle_whole(self, scope: Scope, path: str, body: bytes) -> RawResponse:
        try:
            check(scope)
            return await self.direct[path](scope, WholeBody(body))
        except Exception as error:
            return error_response(scope, error)

    def _written_head(self, given: Fields) -> tuple[bytes, int | None]:
        """The header fields up to the request's id as they go over the wire, and how long they say that the body is."""
        missing = self._missing(tuple([name for name, _ in given]))
        fields = (*given, *missing, *(() if self.pages is None else NO_PAGE))
        written = b"".join(b"%b: %b\r\n" % each for each in fields)
        # Anyone who could put a line break into a value could add fields, or a second answer (RFC 9110 §5.5).
        if written.count(b"\n") != len(fields) or written.count(b"\r") != len(fields) or b"\0" in written:
            raise RuntimeError("a line break in a header field")
        length = dict(given).get(b"content-length")
        return written + b"x-request-id: ", None if length is None else int(length)

    async def _answer(self, scope: Scope, receive: Receive, response: "SentResponse") -> None:
        """Has the request checked and handled; raises whatever it is refused with."""
        length = check(scope)
        if response.pages is not None and scope["method"] == "OPTIONS" and is_preflight(scope):
            preflight = await response.pages.preflight(scope)
            # It says of pages what there is to say.
            response.pages = None
            await response.answer(preflight)
            return
        given = Arriving(receive, scope[SLOT], self._patience, length) if length != 0 else receive
        endpoint = self.direct.get(scope["path"]) or self.usual(scope)
        if endpoint is None:
            await self.app(scope, given, response)
        else:
            await response.answer(await endpoint(scope, given))

    def _missing(self, names: tuple[bytes, ...]) -> Fields:
        """What every answer has, as far as one with these header names does not set it itself."""
        own = {name.lower() for name in names}
        return tuple(field for field in self._always if field[0] not in own)

    def _pages(self, path: str) -> OriginPolicy | None:
        return self.pages if self.pages is not None and (path in self.direct or self.pages.concern(path)) else None

    async def _send_away(self, scope: Scope, send: Send, path: str) -> None:
        """503, as cheaply as can be, and not at once: what it costs is taken from those who were let in."""
        began = perf_counter()
        context = scope[KEY] = self.proxies.arrive(scope, self.make_id())
        await self.load.hold_back()
        method: str = scope["method"]
        given, body = self._busy_answer(scope, path)
        headers = [*given, (b"x-request-id", context.request_id.encode("ascii"))]
        if (pages := self._pages(path)) is not None:
            headers += await pages.fields(scope, 503)
        if closes(scope, 503):
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        seconds = perf_counter() - began
        self.measure(path if path in self.direct else None, method, 503, seconds)
        if self.log_requests:
            self.access.line(context.request_id, method, path, 503, seconds)

    def _busy_answer(self, scope: Scope, path: str) -> tuple[Fields, bytes]:
        found = self._busy.get(path)
        if found is None:
            given = error_response(scope, TemporarilyUnavailable())
            found = (*given.headers, *self.missing(tuple([name for name, _ in given.headers]))), given.body
            # Answers to OAuth's endpoints say nothing of the request, so one does for all.
            if path in self.direct:
                self._busy[path] = found
        return found

    async def _rescue(self, scope: Scope, response: "SentResponse", error: Exception) -> None:
        if response.status is None:
            await response.answer(error_response(scope, error))
            return
        log.error("answer broken off", **trace(error))
        # The server has to cut the connection, or the client takes half an answer for a whole one. Its own words about
        # the cause stay here, since the server would print them.
        raise ConnectionAbortedError("the answer was broken off") from None


@dataclass(slots=True, eq=False)
class SentResponse:
    """The `send` of one request: adds the headers, keeps the status, and drops the body of an answer to HEAD. `pages`
    are asked which pages may read the answer, where that is not for the endpoint to say."""

    _send: Send
    _context: RequestContext
    _missing: Callable[[tuple[bytes, ...]], Fields]
    _scope: Scope
    _slot: Slot
    pages: OriginPolicy | None = None
    status: int | None = None

    @property
    def head(self) -> bool:
        """Whether the body is dropped."""
        return self._context.head

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message["status"], tuple(message.get("headers", ())), message)
        elif self.head:
            await self._send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})
        else:
            await self._send(message)

    async def answer(self, given: RawResponse) -> None:
        """Sends a whole answer."""
        await self._start(given.status, given.headers, {"type": "http.response.start"})
        await self._send({"type": "http.response.body", "body": b"" if self.head else given.body})

    async def _start(self, status: int, given: Fields, message: Message) -> None:
        self.status = status
        self._slot.end()
        missing = self._missing(tuple([name for name, _ in given]))
        headers = [*given, *missing, (b"x-request-id", self._context.request_id.encode("ascii"))]
        if self.pages is not None:
            headers += (
                NO_PAGE if header(self._scope, b"origin") is None else await self.pages.fields(self._scope, status)
            )
        if status >= 400 and closes(self._scope, status):
            headers.append(CLOSE)
        await self._send({**message, "status": status, "headers": headers})
