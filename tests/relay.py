"""A network between a process and PostgreSQL that does what networks do: it stays silent, it breaks, it vanishes."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL, make_url

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""`SO_LINGER` of no seconds: what is closed is reset."""


class Relay:
    """Listens on TCP and passes everything on to a server's socket file, as long as nobody says otherwise.

    `swallows` keeps what either side says and closes nothing; after `forget` it does so for the connections that there
    were. `last_words` are said to a client in the place of the next answer, and the connection is reset with them.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._forgotten: frozenset[socket.socket] = frozenset()
        self.swallows = False
        self.swallowed = threading.Event()
        self.last_words: bytes | None = None
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def _start(self, run: "object", *given: socket.socket) -> None:
        thread = threading.Thread(target=run, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                came, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [came, server]
                server.connect(str(self._server))
                self._start(self._pass_on, came, server)
                self._start(self._say, server, came)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while octets := client.recv(65536):
                if not self._keeps(client):
                    server.sendall(octets)
            if not self._keeps(client):
                server.shutdown(socket.SHUT_WR)

    def _say(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while octets := server.recv(65536):
                if self.last_words is not None:
                    words, self.last_words = self.last_words, None
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                    client.sendall(words)
                    client.shutdown(socket.SHUT_RD)
                    client.close()
                    return
                if not self._keeps(client):
                    client.sendall(octets)
            if not self._keeps(client):
                client.shutdown(socket.SHUT_WR)

    def _keeps(self, client: socket.socket) -> bool:
        keeps = self.swallows or client in self._forgotten
        if keeps:
            self.swallowed.set()
        return keeps

    def forget(self) -> None:
        """Nothing goes over the present connections any more, and everything over new ones."""
        self._forgotten = frozenset(self._open)
        self.swallows = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def relayed(url: str) -> Iterator[tuple[Relay, str]]:
    """A relay to the server of this URL, which listens on its socket file alone, and the URL that leads through it."""
    parsed: URL = make_url(url)
    with Relay(Path(str(parsed.query["host"])) / ".s.PGSQL.5432") as relay:
        through = parsed.set(host="127.0.0.1", port=relay.port).difference_update_query(["host"])
        yield relay, through.render_as_string(hide_password=False)
