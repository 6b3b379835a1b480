"""The outermost layer: every answer has a request id and safe headers, every request one log line, nothing escapes."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from urllib.parse import unquote_to_bytes

import structlog

from api.access_log import AccessLog
from api.answers import App, Message, Receive, Scope, Send, send_answer
from api.arrival import KEY, Arrival, Proxies
from api.body_arrival import Arriving
from api.error_answers import ErrorAnswers
from api.log_lines import REQUEST_ID, Masker, trace
from api.problems import Invalid, Problem, Unavailable
from security.clock import SystemClock
from security.ids import ordered_id

HOST = re.compile(rb"(?:[0-9A-Za-z._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
TOKEN_IN_QUERY = re.compile(rb"(?:^|&)access_token=", re.IGNORECASE)

SINGLE = frozenset((b"host", b"origin"))
"""Fields of which a request has one at most, and which decide what it may do (RFC 9112 §3.2, RFC 6454 §7.3)."""

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
"""What an answer carries unless its handler says otherwise: nothing is stored, framed, sniffed or loaded."""

CLOSE = (b"connection", b"close")
SMALL_BODY = 4096
"""Bodies up to this size have arrived with the head of the request: the server can go on to the next one after them."""

STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

log = structlog.get_logger("api")
_CLOCK = SystemClock()


class Wrapper:
    """An ASGI app around an ASGI app.

    `in_flight` bounds the requests that wait for the start of their answer; a further one gets 503 with `Retry-After`.
    A stream that has begun is not counted, nor is a request whose body is still to come, nor the liveness probe, which
    an overloaded server must still pass. Requests to a path in `direct` go to that app instead, which has the same
    scope to work with.
    """

    def __init__(
        self,
        app: App,
        errors: ErrorAnswers,
        *,
        proxies: Proxies | None = None,
        in_flight: int = 1024,
        secure: bool = False,
        log_requests: bool = True,
        prefix: str = "glog",
        make_id: Callable[[], str] = lambda: ordered_id(_CLOCK.now()),
        direct: Mapping[str, App] | None = None,
        measure: Callable[[str | None, str, int | None, float], None] = lambda *_: None,
    ) -> None:
        self.app = app
        self.errors = errors
        self.proxies = proxies or Proxies()
        self.in_flight = in_flight
        self.headers = (*HEADERS, STRICT_TRANSPORT) if secure else HEADERS
        self.log_requests = log_requests
        self.access = AccessLog(Masker(prefix))
        self.make_id = make_id
        self.direct = direct or {}
        self.measure = measure
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = self.proxies.arrive(scope, self.make_id())
        scope[KEY] = arrived
        outgoing = Outgoing(send, arrived, self.headers, scope=scope, count=self._count)
        if outgoing.head:
            scope["method"] = "GET"
        token = REQUEST_ID.set(arrived.request_id)
        began = perf_counter()
        path: str = scope["path"]
        outgoing.come_back()
        try:
            if (problem := self._refuse(scope)) is not None:
                await send_answer(outgoing, self.errors.answer(scope, problem))
            else:
                given = Arriving(receive, outgoing) if _has_body(scope) else receive
                await self.direct.get(path, self.app)(scope, given, outgoing)
        except Exception as error:
            await self._rescue(scope, outgoing, error)
        finally:
            outgoing.started_or_over()
            REQUEST_ID.reset(token)
            method = "HEAD" if outgoing.head else scope["method"]
            seconds = perf_counter() - began
            self.measure(scope.get("path_template"), method, outgoing.status, seconds)
            if self.log_requests:
                self.access.line(arrived.request_id, method, path, outgoing.status, seconds)

    def _count(self, change: int) -> None:
        self.waiting += change

    def _refuse(self, scope: Scope) -> Problem | None:
        if self.waiting > self.in_flight and scope["path"] != "/health/live":
            return Unavailable()
        return malformed(scope)

    async def _rescue(self, scope: Scope, outgoing: "Outgoing", error: Exception) -> None:
        if outgoing.status is None:
            await send_answer(outgoing, self.errors.answer(scope, error))
            return
        log.error("answer broken off", **trace(error))
        # The server has to cut the connection, or the client takes half an answer for a whole one. Its own words about
        # the cause stay here, since the server would print them.
        raise ConnectionAbortedError("the answer was broken off") from None


class Outgoing:
    """The `send` of one request: adds the headers, keeps the status, and drops the body of an answer to HEAD."""

    __slots__ = ("_arrived", "_count", "_counted", "_headers", "_over", "_scope", "_send", "head", "status")

    def __init__(
        self,
        send: Send,
        arrived: Arrival,
        headers: tuple[tuple[bytes, bytes], ...],
        *,
        scope: Scope,
        count: Callable[[int], None],
    ) -> None:
        self._send = send
        self._arrived = arrived
        self._headers = headers
        self._count = count
        self._counted = self._over = False
        self._scope = scope
        self.head = scope["method"] == "HEAD"
        self.status: int | None = None

    def leave(self) -> None:
        """Gives the place among the waiting requests back."""
        if self._counted:
            self._counted = False
            self._count(-1)

    def come_back(self) -> None:
        """Takes a place, unless the answer has begun."""
        if not self._counted and not self._over:
            self._counted = True
            self._count(1)

    def started_or_over(self) -> None:
        """Gives the place back for good."""
        self._over = True
        self.leave()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started_or_over()
            given = tuple(message.get("headers", ()))
            added = _missing(tuple([name for name, _ in given]), self._headers)
            own = (b"x-request-id", self._arrived.request_id.encode("ascii"))
            closing = (CLOSE,) if self.status is not None and _closes(self._scope, self.status) else ()
            await self._send({**message, "headers": [*given, *added, own, *closing]})
        elif self.head:
            await self._send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})
        else:
            await self._send(message)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _closes(scope: Scope, status: int) -> bool:
    """Whether the connection ends with this answer. HTTP/2 has no field to say so."""
    if status < 400 or not scope.get("http_version", "1.1").startswith("1"):
        return False
    return status == HTTPStatus.REQUEST_TIMEOUT or _leaves_body(scope)


def _leaves_body(scope: Scope) -> bool:
    """Whether a refusal may leave a part of the request's body unread, so that the connection ends with the answer.

    A client has to be told (RFC 9112 §9.6), or its next request on the connection is lost.
    """
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not (value.isdigit() and len(value) < 15 and int(value) <= SMALL_BODY)
    return False


@lru_cache(maxsize=256)
def _missing(names: tuple[bytes, ...], fields: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Those fields that an answer with these header names does not set itself. Few sets of names are ever in use."""
    own = {name.lower() for name in names}
    return tuple(field for field in fields if field[0] not in own)


def malformed(scope: Scope) -> Problem | None:
    """What is so malformed that the framework would stumble over it or a database refuse it, as a 400; else None."""
    if fault := _path_fault(scope) or _query_fault(scope["query_string"]) or _doubled(scope):
        return Invalid(fault)
    lengths = None
    for name, value in scope["headers"]:
        if name == b"host":
            match = HOST.fullmatch(value)
            if match is None or int(match[1] or b"0") > 65535:
                return Invalid("The Host header is not valid.")
        elif name == b"content-length":
            if not value.isdigit() or len(value) > 15 or (lengths is not None and lengths != value):
                return Invalid("The Content-Length header is not valid.")
            lengths = value
        elif name == b"content-type" and not value.isascii():
            return Invalid("The Content-Type header is not valid.")
    return None


def _doubled(scope: Scope) -> str | None:
    # Whoever read the first one and whoever read the last would not mean the same request.
    names = [name for name, _ in scope["headers"] if name in SINGLE]
    return None if len(names) < 2 or len(names) == len(set(names)) else "Host or Origin stands there twice."


def _path_fault(scope: Scope) -> str | None:
    path: str = scope["path"]
    if path.isascii():
        return None if path.isprintable() else "The path holds a control character."
    raw: bytes = scope.get("raw_path") or path.encode("utf-8", "surrogatepass")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return "The path is not UTF-8."
    return None if text.isprintable() else "The path holds a control character."


def _query_fault(query: bytes) -> str | None:
    if not query:
        return None
    octets = unquote_to_bytes(query) if b"%" in query else query
    if CONTROL.search(octets):
        return "The query holds a control character."
    if not octets.isascii():
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError:
            return "The query is not UTF-8."
    if b"access_token" in query.lower() and TOKEN_IN_QUERY.search(query):
        return "An access token must not stand in the query: it would be kept in histories and logs."
    return None
