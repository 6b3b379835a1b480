"""Requests to the byte, which no client library would send."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Headers = Iterable[tuple[bytes, bytes]]

WITHIN = 60
"""Seconds until an answer that does not end is given up."""


@dataclass(frozen=True)
class Raw:
    """An answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The last value of a field."""
        values = [value.decode("latin-1") for field, value in self.headers if field.lower() == name.encode()]
        return values[-1] if values else None

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)


async def send(app: Any, method: str, target: bytes, headers: Headers = (), body: bytes = b"") -> Raw:
    """Hands the app one HTTP request as a server would after it read these octets."""
    path, _, query = target.partition(b"?")
    given = [(b"host", b"127.0.0.1:8400"), *headers]
    if body and not any(name == b"content-length" for name, _ in given):
        given.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1"), errors="replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": given,
        "client": ("192.0.2.7", 50_000),
        "server": ("127.0.0.1", 8400),
        "state": {},
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    status, fields, chunks = 0, (), []

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def answer(message: Any) -> None:
        nonlocal status, fields
        if message["type"] == "http.response.start":
            status, fields = message["status"], tuple(message.get("headers", ()))
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, answer)
    return Raw(status, fields, b"".join(chunks))
