"""A reader of server-sent events that takes messages one by one, as fast or as slowly as a test wants."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.scenarios.world import ADDRESS, World

WITHIN = 60
"""Seconds until a test gives a message up."""


class Message(NamedTuple):
    """One event of the stream; `data` is decoded."""

    id: int
    event: str
    data: dict[str, Any]


class EventSource:
    """One connection, driven as a server drives the app: `async with` opens it and breaks it off."""

    def __init__(
        self, world: World, target: str, token: str, last_event_id: str | None = None, *, origin: str | None = None
    ) -> None:
        path, _, query = target.partition("?")
        headers = [
            (b"host", urlsplit(world.settings.issuer).netloc.encode()),
            (b"authorization", f"Bearer {token}".encode()),
        ]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode()))
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": (ADDRESS, 50_000),
            "server": ("127.0.0.1", 8400),
            "state": {},
        }
        self._app: Callable[..., Awaitable[None]] = world.app
        # What the network would hold. A reader who takes nothing makes the server wait.
        self._chunks: asyncio.Queue[Any] = asyncio.Queue(1)
        self._gone = asyncio.Event()
        self._text = ""
        self.started: dict[str, Any] = {}
        self.blocks: list[str] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._app(self.scope, self._receive, self._send))
        self.started = await self._next()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        for _turn in range(20):
            # What was not taken by then is never taken: the server learns that nobody is there.
            await asyncio.sleep(0)
        while not self._task.done():
            while not self._chunks.empty():
                self._chunks.get_nowait()
            await asyncio.sleep(0)
        await self._task

    async def _receive(self) -> dict[str, Any]:
        if not self.started:
            self.started = {"asked": True}
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._chunks.put(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            # As ASGI has it: once an answer is whole, a server says that the connection is over.
            self._gone.set()

    async def _next(self) -> Any:
        return await asyncio.wait_for(self._chunks.get(), WITHIN)

    async def rest(self) -> bytes:
        """What comes until the server ends the answer, or breaks it off; `__aexit__` raises of that."""
        found, more = b"", True
        while more and not (self._task.done() and self._chunks.empty()):
            if self._chunks.empty():
                await asyncio.sleep(0)
            else:
                message = self._chunks.get_nowait()
                found, more = found + message.get("body", b""), message.get("more_body", False)
        return found

    @property
    def header(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.started["headers"]}

    async def block(self) -> str | None:
        """The next block of lines, comments included; None when the server has ended the stream."""
        while "\n\n" not in self._text:
            message = await self._next()
            self._text += message.get("body", b"").decode()
            if not message.get("more_body", False):
                return None
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def message(self) -> Message | None:
        """The next event; None at the end of the stream."""
        while (block := await self.block()) is not None:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            if "data" in fields:
                return Message(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        return None

    async def messages(self, count: int) -> list[Message]:
        """So many events."""
        found = [await self.message() for _ in range(count)]
        assert None not in found
        return [each for each in found if each is not None]
