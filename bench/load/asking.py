"""Requests from this process over connections that stay open: the caller decides when each of them is sent.

wrk and oha make the load wherever a load is all that is wanted. Here is what they cannot do: send each request exactly
once, follow one with another, and look at the answers.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import uvloop

T = TypeVar("T")

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Answer(NamedTuple):
    """An answer; status 0 when the connection broke instead."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value."""
        found = re.search(rf"\r\n{name}: *([^\r\n]*)", self.head.decode("latin-1"), re.IGNORECASE)
        return None if found is None else found[1]


BROKEN = Answer(0, b"", b"")


def request(
    port: int, method: str, path: str, *, authorization: str = "", body: str = "", kind: str = FORM, **more: str
) -> bytes:
    """The bytes of a request. Underscores in the names of further headers become hyphens."""
    headers = {"Host": f"127.0.0.1:{port}"}
    if authorization:
        headers["Authorization"] = authorization
    if body or method == "POST":
        headers |= {"Content-Type": kind, "Content-Length": str(len(body.encode()))}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Connection(asyncio.Protocol):
    """One connection with one request on its way at a time. `answered` is called with each answer."""

    def __init__(self) -> None:
        self.answered: Callable[[Answer], None] = lambda answer: None
        self.open = False
        self.busy = False
        self.port = 0
        """The connection's own port."""
        self._transport: Any = None
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        self.open = True

    def send(self, sent: bytes) -> None:
        """Sends a request; `answered` follows."""
        self.busy = True
        self._transport.write(sent)

    async def ask(self, sent: bytes) -> Answer:
        """Sends a request and waits for its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.answered = future.set_result
        self.send(sent)
        return await future

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return
        head = received[:end]
        found = _LENGTH.search(head)
        whole = end + 4 + (int(found[1]) if found else 0)
        if len(received) < whole:
            self._received = received
            return
        self._received = received[whole:]
        self.busy = False
        self.answered(Answer(int(head[9:12]), head, received[end + 4 : whole]))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.busy:
            self.busy = False
            self.answered(BROKEN)

    def close(self) -> None:
        """Ends it."""
        self.busy = False
        if self._transport is not None:
            self._transport.abort()


async def connect(port: int) -> Connection:
    """A new connection to a server of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


@asynccontextmanager
async def connections(port: int, count: int):
    """So many connections, closed at the end."""
    opened = [await connect(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


async def each_once(port: int, requests: Sequence[bytes], at_a_time: int = 32) -> list[Answer]:
    """The answers to requests of which each is sent exactly once, in the order of the requests."""
    answers = [BROKEN] * len(requests)
    waiting = iter(range(len(requests)))

    async def work() -> None:
        connection = await connect(port)
        for place in waiting:
            if not connection.open:
                connection = await connect(port)
            answers[place] = await connection.ask(requests[place])
        connection.close()

    await asyncio.gather(*(work() for _ in range(min(at_a_time, len(requests)))))
    return answers


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on a loop of its own, the fastest there is: what a load costs here, the server's machine lacks."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def statuses(answers: Sequence[Answer]) -> Mapping[int, int]:
    """How many answers there were of each status."""
    found: dict[int, int] = {}
    for each in answers:
        found[each.status] = found.get(each.status, 0) + 1
    return found
