"""The witness over HTTP, with nothing but Python's own library, so that anyone can run one anywhere."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from verifier.note import Cosigner
from verifier.witness import LARGEST_REQUEST, Answer, Witness

_PATIENCE_S = 10.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_S
    server_version = "grantlog-witness"
    sys_version = ""
    witness: Witness

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            self._answer(Answer(400, "text/plain; charset=utf-8", b"a body of known and reasonable length is needed\n"))
        elif self.path.split("?")[0].endswith("/add-checkpoint"):
            self._answer(self.witness.add_checkpoint(body))
        else:
            self._answer(Answer(404, "text/plain; charset=utf-8", b"only add-checkpoint is here\n"))

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_REQUEST:
            return None
        return self.rfile.read(int(length))

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: whoever runs a witness sees what it cosigned in its memory."""


def server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """A bound server that does not serve yet: `serve_forever()` runs it, `shutdown()` from another thread ends it."""
    handler = type("Handler", (_Handler,), {"witness": witness})
    return ThreadingHTTPServer((host, port), handler)


def load_or_create_key(path: Path, name: str) -> Cosigner:
    """The witness's private key from its file, which only its owner may read; made when there is none.

    Raises `Malformed` when the file holds something else, and ValueError when it holds the key of another name.
    """
    if path.exists():
        cosigner = Cosigner.parse(path.read_text(encoding="utf-8"))
        if cosigner.name != name:
            raise ValueError(f"the key in that file is of {cosigner.name}")
        return cosigner
    cosigner = Cosigner(name, os.urandom(32))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(cosigner.reveal() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return cosigner
