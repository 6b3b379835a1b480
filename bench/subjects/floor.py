"""The Python floor: a token as one would issue it by hand, on the same HTTP server and with the same rows on disk.

`python -m bench.subjects.floor PORT DATABASE AUTHORIZATION` knows one client from a dictionary, mints, seals the
caller's address, authenticates the event, and commits what came in one turn of the event loop together. It decides,
checks, follows and proves nothing, so nobody should use it. What it takes is what a token costs in Python at the least.
"""

import asyncio
import hmac
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from time import time_ns
from typing import Any
from urllib.parse import parse_qs

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.server.board import Board
from api.server.callers import Callers
from api.server.huge_pages import HugePages
from api.server.processor import Staying
from api.server.worker import Listener, Worker, listen, run
from domain.event import SECOND
from eventstore.stored import events, head
from projections import tokens
from security.clock import format_rfc3339
from security.tokens import Kind, event_id, mint, ordered_id

LIFETIME = 86_400
APART = 8
"""From so many on, a thread waits for their commit, as it does for Grantlog's."""

TOKEN = ("digest", "kind", "grant_id", "client_id", "secret_id", "scope", "alone", "position", "issued_at",
         "expires_at", "prune_at")  # fmt: skip
CLIENT, SECRET, SCOPE, GRANT_TYPE = event_id(), event_id(), "catalog:read orders:write introspect", "client_credentials"


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


INSERTS = (
    _insert(events.name, ("id", "originator_id", "originator_version", "topic", "state")),
    _insert(tokens.TABLE.name, TOKEN),
)
MOVE = f"UPDATE {head.name} SET position = ?, time = ? WHERE id = 1"  # noqa: S608


class Floor:
    """An ASGI app with one endpoint, whatever the path."""

    def __init__(self, database: str, authorization: str) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-6144"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        (self._position,) = self._connection.execute(f"SELECT position FROM {head.name} WHERE id = 1").fetchone()  # noqa: S608
        self._clients = {authorization.encode(): (CLIENT, SECRET)}
        self._sealing, self._key = AESGCM(os.urandom(32)), os.urandom(32)
        self._waiting: list[tuple[str, str, bytes, asyncio.Future[None]]] = []
        self._thread, self._busy = ThreadPoolExecutor(1), False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        body = (await receive())["body"]
        client = self._clients.get(dict(scope["headers"]).get(b"authorization", b""))
        if client is None or parse_qs(body.decode()).get("grant_type") != [GRANT_TYPE]:
            await self._answer(send, 400, b"{}")
            return
        token, done = mint(Kind.ACCESS_TOKEN), asyncio.get_running_loop().create_future()
        self._waiting.append((*client, token.sha256, done))
        if len(self._waiting) == 1 and not self._busy:
            asyncio.get_running_loop().call_soon(self._write)
        await done
        given = {"access_token": token.reveal(), "token_type": "Bearer", "expires_in": LIFETIME, "scope": SCOPE}
        await self._answer(send, 200, msgspec.json.encode(given))

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        now, rows = time_ns() // 1000, ([], [])  # type: tuple[int, tuple[list[Any], list[Any]]]
        for client, secret, digest, _ in waiting:
            self._position += 1
            for table, row in zip(rows, self._rows(client, secret, digest, now), strict=True):
                table.append(row)
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, each in zip(INSERTS, rows, strict=True):
            self._connection.executemany(statement, each)
        self._connection.execute(MOVE, (self._position, now))
        if len(waiting) < APART:
            self._connection.execute("COMMIT")
            self._tell(waiting)
            return
        self._busy, loop = True, asyncio.get_running_loop()
        commit = self._thread.submit(self._connection.execute, "COMMIT")
        commit.add_done_callback(lambda _: loop.call_soon_threadsafe(self._tell, waiting))

    def _rows(self, client: str, secret: str, digest: bytes, now: int) -> tuple[tuple[Any, ...], ...]:
        position, grant_id, until = self._position, ordered_id(now), now + LIFETIME * SECOND
        nonce = os.urandom(12)
        form = msgspec.json.encode({
            "position": position, "id": event_id(), "type": "grant.tokens_issued", "stream": f"grant:{grant_id}",
            "version": 1, "time": format_rfc3339(now),
            "actor": {"kind": "client", "id": client, "credential": {"secret_id": secret}},
            "data": {"grant_type": GRANT_TYPE, "client_id": client, "scope": SCOPE, "secret_id": secret,
                     "access_token": digest.hex(), "lifetime": LIFETIME},
            "request_id": ordered_id(now), "ip": (nonce + self._sealing.encrypt(nonce, b"127.0.0.1", b"ip")).hex(),
        })  # fmt: skip
        form = b'%b,"mac":"%b"}' % (form[:-1], hmac.digest(self._key, form, "sha256").hex()[:32].encode())
        return (
            (position, f"grant:{grant_id}", 1, "grant.tokens_issued", form.decode()),
            (digest, "access", grant_id, client, secret, SCOPE, 1, position, now, until, until),
        )

    def _tell(self, told: list[tuple[str, str, bytes, asyncio.Future[None]]]) -> None:
        self._busy = False
        for *_, done in told:
            done.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._write)


def serve(port: int, database: str, authorization: str) -> int:
    """Serves it until a signal ends that; the exit code."""
    app: Any = Floor(database, authorization)
    listener = Listener(listen("127.0.0.1", port), app, Callers(4096, 1.0, lambda _: True))

    async def serving() -> None:
        each_second = Staying(Board(1).seats, 0).look, HugePages().look
        await Worker(app, [listener], name="floor", stop_within=1, each_second=each_second).serve()

    return run(serving)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), *sys.argv[2:]))
