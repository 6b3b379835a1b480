"""Somebody who takes webhooks: an HTTP server of its own that checks every signature with the published library."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Keeps what it took. `answers` are the statuses of its next answers; after them it always says 204."""

    def __init__(self, secret: str = SECRET) -> None:
        self._webhook = Webhook(secret)
        self.taken: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.forged = 0
        self.answers: list[int] = []
        self._server: http.server.ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    def start(self) -> None:
        """Listens, after a restart on the same port."""
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Lets go of the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.take(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.requests.append((path, headers))
        try:
            payload = self._webhook.verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return 401
        status = self.answers.pop(0) if self.answers else 204
        if status == 204:
            self.taken.append(payload)
            self.ids.append(headers["webhook-id"])
        return status


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    # More than ever call at a time: with the usual five, a sixth can find its connection reset.
    request_queue_size = 128


@contextmanager
def receiving(secret: str = SECRET) -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(secret)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
