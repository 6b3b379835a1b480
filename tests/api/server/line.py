"""A connection without a network: what the client sends goes in as bytes, what the server writes can be looked at."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.config import Config

from api.http.middleware import Direct, Middleware
from api.server.callers import Callers
from api.server.connection import Connection, Shared

HOST = b"Host: grantlog.test\r\n"
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Clock:
    """Seconds, which pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Wire(asyncio.Transport):
    """The server's end of a connection from `address`."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.written = b""
        self.closed = self.aborted = self.ended = self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self._address, 50_000), "sockname": ("192.0.2.1", 8400)}.get(name, default)

    def write(self, data: Any) -> None:
        assert not self.ended
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_read(self) -> bool:
        return not self.paused

    def is_cut(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


class Line:
    """A client's connection to a server with this app."""

    def __init__(self, server: "Server", address: str = "198.51.100.7") -> None:
        self._server = server
        self.wire = Wire(address)
        self.connection = Connection(server.config, server.shared, _loop=asyncio.get_running_loop())
        self.connection.connection_made(self.wire)

    async def send(self, data: bytes) -> None:
        """Some bytes come, and the server does what it can do with them."""
        self.connection.data_received(data)
        await settle()

    async def goes(self) -> None:
        """The client closes its end, or its network is gone."""
        self.connection.connection_lost(None)
        await settle()

    @property
    def statuses(self) -> list[int]:
        """Of all that was answered until now."""
        return [int(found) for found in ANSWER.findall(self.wire.written)]

    @property
    def over(self) -> bool:
        """Whether the server has ended it, in one way or another."""
        return self.wire.closed or self.wire.aborted or self.wire.ended

    @property
    def request_id(self) -> str:
        """Of the newest answer; fails when it has none."""
        found = self.field("x-request-id")
        assert found is not None
        return found

    def field(self, name: str) -> str | None:
        """A header field of the newest answer."""
        head = self.wire.written.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")[0]
        found = re.search(rb"^" + name.encode() + rb": (.*?)\r?$", head, re.MULTILINE | re.IGNORECASE)
        return found[1].decode() if found else None

    @property
    def body(self) -> bytes:
        """What stands behind the newest answer's head."""
        return self.wire.written.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")[2]


class Server:
    """What connections have in common: an app behind the outermost layer, a clock, and how many there may be. `direct`
    are endpoints that take whole requests, `in_flight` of which may be waited for."""

    def __init__(
        self,
        app: Any,
        *,
        connections: int = 64,
        share: float = 1.0,
        trusts: Callable[[str], bool] = lambda _: False,
        direct: Mapping[str, Direct] | None = None,
        in_flight: int = 256,
    ) -> None:
        self.clock = Clock()
        self.shared = Shared(Callers(connections, share, trusts, self.clock), self.clock)
        paths = direct or {}
        wrapper: Any = Middleware(app, log_requests=False, direct=paths, whole=paths, in_flight=in_flight)
        self.shared.serve(wrapper)
        self.config = Config(
            wrapper, http=Connection, ws="none", loop="none", interface="asgi3", proxy_headers=False, log_config=None
        )
        self.config.load()

    async def pass_time(self, seconds: float) -> None:
        """Time passes, and the server looks at who is late."""
        self.clock.seconds += seconds
        self.shared.sweep()
        await settle()


async def settle() -> None:
    """Has everything that can be done now be done."""
    for _ in range(20):
        await asyncio.sleep(0)


def request(target: bytes = b"/echo", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """The head of a request."""
    head = method + b" " + target + b" HTTP/" + version + b"\r\n" + HOST
    return head + b"".join(each + b"\r\n" for each in fields) + b"\r\n"


def post(body: bytes, *fields: bytes, target: bytes = b"/echo") -> bytes:
    """A request with a body of known length."""
    return request(target, b"Content-Length: %d" % len(body), *fields, method=b"POST") + body
