"""An app that does what its paths say, and a server around it."""

import asyncio
from typing import Any

import pytest

from api.http.bodies import read_body
from tests.api.server.line import Server


class App:
    """`/echo` gives back what came, `/wait` answers when the test says so, `/early` before the body is there."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self.heads: list[list[tuple[bytes, bytes]]] = []
        self.told: list[str] = []
        self.answer: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.append(scope["path"])
        self.heads.append(scope["headers"])
        await getattr(self, scope["path"].strip("/").replace("/", "_"))(scope, receive, send)

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        await whole(send, await read_body(scope, receive, 10_000_000))

    async def wait(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate.wait()
        await whole(send, b"waited")

    async def read_later(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate.wait()
        await self.echo(scope, receive, send)

    async def early(self, scope: Any, receive: Any, send: Any) -> None:
        await whole(send, b"early")

    async def feed(self, scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        self.told.append((await receive())["type"])
        self.told.append((await receive())["type"])

    async def given(self, scope: Any, receive: Any, send: Any) -> None:
        for message in self.answer:
            await send(message)


def start(status: int, *fields: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(fields)}


async def whole(send: Any, body: bytes) -> None:
    await send(start(200, (b"content-length", b"%d" % len(body))))
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def app() -> App:
    return App()


@pytest.fixture
async def server(app: App) -> Server:
    return Server(app)
