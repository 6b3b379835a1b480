"""One connection: reads requests, hands them on in their order, and sees to it that nobody holds it for nothing.

Bytes are read as they come, requests are begun as soon as their head is there, and answered in the order in which they
came (RFC 9112 §9.3.2). What is no HTTP, or too much of it, is answered by the app like everything else (`REFUSED`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.http.errors import (
    HeadTooLarge,
    HTTPError,
    InvalidRequest,
    ServerError,
    TargetTooLong,
    TemporarilyUnavailable,
    TooSlow,
)
from api.http.log_lines import trace
from api.http.request_context import FIELDS, REFUSED, App, Scope
from api.server import exchange
from api.server.callers import Callers
from api.server.exchange import AnswerWhole, Exchange
from api.server.known_head import KnownHead

KEEP_ALIVE = 75.0
"""Seconds for which an idle connection stays open behind an answer: proxies reuse theirs for 60."""

HEAD_WITHIN = 15.0
"""Seconds for the head of a request, from its first byte on, and for the first byte on a new connection."""

BODY_WITHIN = 30.0
"""Seconds for the rest of a body that nobody waits for any more. `api.http.load_shedding` has the time for others."""

TAKEN_WITHIN = 60.0
"""Seconds in which a client has to take some of an answer that waits for it."""

LAST_CHANCE = 0.2
"""Seconds for which a worker that stops keeps a connection on which nothing is going on: a request may be on its way
already, and who sent it would not know whether it was carried out."""

LINGER = 2.0
"""Seconds for which a refused client's bytes are read on: closing at once may take its answer away (RFC 9112 §9.6)."""

LINGER_BYTES = 4 * 1024 * 1024
"""So many at most: more than proxies let through by our samples, which tell of a broken gateway if cut off."""

TARGET_LONGEST = 32_768
FIELDS_LONGEST = 32_768
"""Bytes of all header fields of a request together, and of a trailer's."""

FIELDS_MOST = 100
SLICE = 4096
"""Bytes that are read before it is asked whether requests wait already: a packet may hold thousands of small ones."""

log = structlog.get_logger("server")


class Shared(ServerState):
    """What all connections of a worker have in common. `own_fields` are the last of every answer's and the empty
    line."""

    def __init__(self, callers: Callers, clock: Callable[[], float]) -> None:
        super().__init__()
        self.callers = callers
        self.clock = clock
        self.own_fields = b"\r\n"
        self.stopping = False
        self.on_change: Callable[[], None] = lambda: None
        self.answer_whole: AnswerWhole | None = None
        self.short: Collection[bytes] = ()
        """The targets whose whole requests `answer_whole` takes."""

    def serve(self, app: Any) -> None:
        """Has this app answer whole requests, as far as it takes any (`Middleware.answer_whole`)."""
        if hasattr(app, "answer_whole"):
            self.answer_whole, self.short = app.answer_whole, app.whole

    def sweep(self) -> None:
        """Ends what has taken too long. To be called about once a second."""
        now = self.clock()
        for connection in tuple(self.connections):
            if isinstance(connection, Connection):
                connection.look(now)
        self.callers.sweep()


class Connection(HttpToolsProtocol):
    """A client's connection. `begin` is where the work on a request begins, and `answered` where it has ended."""

    server_state: Shared

    def __init__(
        self,
        config: Config,
        server_state: Shared,
        app_state: dict[str, Any] | None = None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state or {}, _loop)
        self.shared = server_state
        self.handler: Any = self.app
        # The newest request, the one that is being answered, and those that wait for that.
        self._newest: Exchange | None = None
        self._answering: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._deferred: Exchange | None = None
        """One to be begun as a whole, if its body comes along with its head."""
        self._held = b""
        self._feeding = self._deaf = self._served = False
        self._known: KnownHead | None = None
        # The request that is being read.
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._fields_size = self._unread = 0
        self._partial = self._in_head = self._offers = self._expects = False
        self._problem: HTTPError | None = None
        # Since when something has been so, by the worker's clock.
        self._half_since: float | None = None
        self._quiet_since = 0.0
        self._full_since: float | None = None
        self._leaving_since: float | None = None
        self._lingered: int | None = None

    # --- The transport's side ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.flow = FlowControl(transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self.server = (str(own[0]), int(own[1])) if isinstance(own, tuple) else None
        self._quiet_since = self.shared.clock()
        self.connections.add(self)
        self.shared.on_change()
        if self.shared.stopping:
            self.shutdown()
        elif not self.shared.callers.enter(self):
            self._refuse(TemporarilyUnavailable("Too many connections are open. Try again."))
            # Nothing is kept for those who are too many, not even for a moment.
            self._problem = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self.shared.callers.leave(self)
        for each in (self._answering, *self._waiting):
            if each is not None:
                each.leave()
        self._waiting.clear()
        self._held, self._deaf = b"", True
        # Both refer back to here. Without them this goes at once, and is not left to a collection, which takes longer.
        self.parser, self._newest = None, None  # type: ignore[assignment]
        self.flow.resume_writing()
        self.shared.on_change()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._throw_away(len(data))
        elif self._held:
            self._held += data
        else:
            self._feed(data)

    def pause_writing(self) -> None:
        self._full_since = self.shared.clock()
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self._full_since = None
        self.flow.resume_writing()

    def _throw_away(self, size: int) -> None:
        if self._lingered is None:
            self.flow.pause_reading()
            return
        self._lingered += size
        if self._lingered > LINGER_BYTES:
            self.transport.abort()

    # --- Reading requests ---

    def _feed(self, data: bytes) -> None:
        is_first = not self._partial and self._answering is None
        if is_first and self._known is not None and not self.shared.stopping:
            again = self._known.again(self, data)
            if again is not None:
                self._newest = self._answering = again
                self.begin(again)
                return
        self._feeding = True
        if len(data) <= SLICE:
            self._parse(data)
        else:
            view, at = memoryview(data), 0
            while at < len(data) and not self._deaf:
                if self._waiting:
                    self._held = data[at:]
                    self.flow.pause_reading()
                    break
                self._parse(view[at : at + SLICE])
                at += SLICE
        if self._deferred is not None:
            self._begin_deferred()
        self._feeding = False
        if not self._deaf:
            if self._waiting:
                self.flow.pause_reading()
            self._note_half()
            newest = self._newest
            # With another one before it, or of an earlier packet, it is not what these octets say.
            alone = is_first and newest is self._answering
            if alone and newest is not None and newest.is_short and newest.whole and not newest.begun:
                self._known = KnownHead.of(data, newest.scope)

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We know no other protocol. The request is answered as what it is, and what follows it is not HTTP.
            if self._newest is not None:
                self._newest.keep_alive = False
            if self._offers:
                self._offers = False
                self.parser = exchange.behind(self._fields, self)
                self._parse(data[upgrade.args[0] :])
            else:
                self._deaf = True
            return
        except httptools.HttpParserError as error:
            if self._deaf:
                return
            problem = self._problem
            if problem is None and isinstance(error, httptools.HttpParserCallbackError):
                log.error("request failed", **trace(error))
                problem = ServerError()
            self._give_up(problem or InvalidRequest("The request is not valid HTTP."))
            return
        if self._partial:
            # One field is kept by the parser until it is complete, of a trailer too.
            self._unread += len(data)
            if self._unread > TARGET_LONGEST + FIELDS_LONGEST + SLICE:
                self._give_up(HeadTooLarge())

    def _give_up(self, problem: HTTPError) -> None:
        """Nothing more that comes on this connection can be understood."""
        newest = self._newest
        if self._in_head or not self._partial or newest is None:
            self._refuse(problem)
        elif newest.answered:
            self._linger()
        else:
            self._deaf = True
            newest.fail(problem)

    def _stop_parsing(self, problem: HTTPError) -> Exception:
        self._problem = problem
        return ValueError(problem.detail)

    def on_message_begin(self) -> None:
        self._partial = self._in_head = True
        self._target = b""
        self._fields = []
        self._fields_size = self._unread = 0
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > TARGET_LONGEST:
            raise self._stop_parsing(TargetTooLong(TARGET_LONGEST))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields_size += len(name) + len(value)
        if self._fields_size > FIELDS_LONGEST:
            raise self._stop_parsing(HeadTooLarge())
        if not self._in_head:
            # A trailer. Nobody may add to the head what was looked at before (RFC 9110 §6.5.1).
            return
        if len(self._fields) == FIELDS_MOST:
            raise self._stop_parsing(HeadTooLarge())
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"expect":
            self._expects = value.lower() == b"100-continue"
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        scope = self._scope(self.parser.get_method().decode("ascii"), version)
        given = scope[FIELDS] = dict(self._fields)
        if version == "1.1" and b"host" not in given:
            raise self._stop_parsing(InvalidRequest("The Host header is missing."))
        if not exchange.locate(scope, self._target):
            raise self._stop_parsing(InvalidRequest("The target of the request is not valid."))
        self._in_head = False
        self._fields_size = self._unread = 0
        self._offers = bool(self.parser.should_upgrade()) and exchange.has_body(self._fields)
        if self._half_since is not None:
            self._half_since = self.shared.clock()
        keep_alive = version == "1.1" and self.parser.should_keep_alive() and not self.shared.stopping
        is_short = keep_alive and self._target in self.shared.short and not self._offers and exchange.is_plain(scope)
        self._accept(Exchange(self, scope, keep_alive, self._expects, is_short=is_short))

    def _scope(self, method: str, version: str = "1.1") -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": method,
            "scheme": "http",
            "root_path": "",
            "server": self.server,
            "client": self.client,
            "headers": self._fields,
            "query_string": b"",
        }

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self._newest is not None:
            self._newest.take(body)

    def on_message_complete(self) -> None:
        if self._offers:
            # Only the head is.
            return
        self._partial = False
        if self._newest is not None:
            self._newest.end()
        if self._deferred is not None:
            self._begin_deferred()

    # --- Answering them in order ---

    def _accept(self, exchange: Exchange) -> None:
        self._newest = exchange
        if self._answering is not None:
            self._waiting.append(exchange)
            return
        self._answering = exchange
        if exchange.is_short:
            self._deferred = exchange
        else:
            self.begin(exchange)

    def _begin_deferred(self) -> None:
        exchange, self._deferred = self._deferred, None
        if exchange is not None:
            self.begin(exchange)

    def begin(self, exchange: Exchange) -> None:
        """Has the app work on a request, whose body may still be on its way; one after the other on a connection."""
        app: App = self.handler
        answer = self.shared.answer_whole
        if answer is not None and exchange.is_short and exchange.whole and not self.flow.write_paused:
            task = self.loop.create_task(exchange.run_whole(answer))
        else:
            task = self.loop.create_task(exchange.run(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def answered(self, exchange: Exchange) -> None:
        """The answer is complete. Goes on with what waits, or leaves."""
        self.server_state.total_requests += 1
        self._served = True
        self._answering = None
        if not exchange.keep_alive:
            if self._partial or self._waiting or self._held or self._problem is not None:
                self._linger()
            else:
                self._leave()
            return
        self._quiet_since = self.shared.clock()
        if self._waiting:
            self._answering = self._waiting.popleft()
            self.begin(self._answering)
        if self._held and not self._waiting and not self._feeding:
            held, self._held = self._held, b""
            self._feed(held)
        if not self._waiting:
            self.read_on()

    def _refuse(self, problem: HTTPError) -> None:
        """Answers what cannot be read, after everything before it, and reads no more."""
        self._deaf = True
        self._problem = problem
        self.shared.callers.sent(self)
        self._half_since = None
        scope = self._scope(self.parser.get_method().decode("ascii") if self._target else "GET")
        path = self._target.partition(b"?")[0][:256]
        path = path if path.isascii() and path[:1] == b"/" else b"/"
        scope |= {"path": path.decode("ascii"), "raw_path": path, REFUSED: problem}
        refusal = Exchange(self, scope, keep_alive=False)
        refusal.end()
        self._accept(refusal)

    # --- Writing, and the end ---

    @property
    def own_fields(self) -> bytes:
        return self.shared.own_fields

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def read_on(self) -> None:
        """Takes more from the client, unless there is something to be done first."""
        if not self._held and not self._deaf and not self.transport.is_closing():
            self.flow.resume_reading()

    def break_off(self, exchange: Exchange) -> None:
        """Ends the connection in the middle of an answer."""
        if exchange.scope["http_version"] == "1.1":
            self._leave()
        else:
            # There an orderly end would make half an answer a whole one.
            self.transport.abort()

    def shutdown(self) -> None:
        """The worker stops: what is being answered is the last, which `Connection: close` tells (RFC 9112 §9.6)."""
        answering = self._answering
        if answering is not None:
            answering.keep_alive = False
            self._waiting.clear()
            if answering.endless:
                answering.leave()
                self._leave()
        elif not self._partial:
            self.loop.call_later(LAST_CHANCE, self._leave_idle)

    def _leave_idle(self) -> None:
        if self._answering is None and not self._partial:
            self._leave()

    def cut(self) -> None:
        """Ends a request that is half sent."""
        self._half_since = None
        if self._deaf:
            return
        if self._in_head:
            self._refuse(TooSlow("The head of the request did not come in time."))
        else:
            self._give_up(TooSlow())

    def look(self, now: float) -> None:
        """Ends what has taken too long."""
        if self._leaving_since is not None:
            if now - self._leaving_since >= (TAKEN_WITHIN if self._lingered is None else LINGER):
                self.transport.abort()
        elif self._full_since is not None:
            if now - self._full_since >= TAKEN_WITHIN:
                self.transport.abort()
        elif self._half_since is not None and not self.flow.read_paused:
            if self._is_late(now - self._half_since):
                self.cut()
        elif self._answering is None and now - self._quiet_since >= (KEEP_ALIVE if self._served else HEAD_WITHIN):
            self._leave()

    def _is_late(self, seconds: float) -> bool:
        if self._in_head:
            return seconds >= HEAD_WITHIN
        return seconds >= BODY_WITHIN and (self._newest is None or self._newest.answered)

    def _note_half(self) -> None:
        if self._partial:
            if self._half_since is None:
                self._half_since = self.shared.clock()
                self.shared.callers.half_sent(self)
        elif self._half_since is not None:
            self._half_since = None
            self.shared.callers.sent(self)

    def _leave(self) -> None:
        self._deaf = True
        if self._leaving_since is None:
            self._leaving_since = self.shared.clock()
            self.transport.close()

    def _linger(self) -> None:
        """Tells the client that this was all, and lets it finish what it is sending."""
        self._waiting.clear()
        self._held, self._deaf = b"", True
        if self._leaving_since is not None or self.transport.is_closing():
            return
        self._leaving_since = self.shared.clock()
        self._lingered = 0
        self.transport.write_eof()
        self.flow.resume_reading()
