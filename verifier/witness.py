"""A witness: cosigns a log's checkpoints as long as each extends the one before (C2SP tlog-witness)."""

import os
import re
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from verifier.note import (
    BadSignature,
    Checkpoint,
    Cosigner,
    Key,
    Malformed,
    Note,
    decode64,
    open_note,
    parse_checkpoint,
)
from verifier.tree import EMPTY_ROOT, consistent

# What a witness must never forget: the newest checkpoint it has cosigned, for each log.

_WAIT_S = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS evidence (
    origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (origin, size, root)
);
"""


class Memory:
    """A file that survives the process, the power and a second process on the same file. One transaction holds the
    file's write lock from reading the newest checkpoint to replacing it, and it is on disk before the answer is sent
    (tlog-witness: "must be performed atomically")."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._connect()) as connection:
            connection.executescript(_TABLES)

    @contextmanager
    def hold(self) -> Iterator["Held"]:
        """The lock; what was put while it was held is on disk once the block is left without an exception."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Held(connection)
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection


class Held:
    """The memory while its lock is held."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest(self, origin: str) -> Checkpoint:
        """The newest cosigned checkpoint of a log: the empty tree before the first."""
        row = self._connection.execute("SELECT size, root FROM cosigned WHERE origin = ?", (origin,)).fetchone()
        return Checkpoint(origin, *((0, EMPTY_ROOT) if row is None else row))

    def put(self, checkpoint: Checkpoint, note: str) -> None:
        """Takes the place of the log's newest checkpoint."""
        self._connection.execute("INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?)", (*astuple(checkpoint), note))

    def put_evidence(self, checkpoint: Checkpoint, note: str) -> None:
        """Keeps a checkpoint that the log has signed and that was not shown to extend the newest one."""
        self._connection.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?)", (*astuple(checkpoint), note))

    def evidence(self, origin: str) -> list[str]:
        """The notes that were kept as evidence against a log."""
        rows = self._connection.execute("SELECT note FROM evidence WHERE origin = ? ORDER BY size, root", (origin,))
        return [note for (note,) in rows]


MOST_PROOF_LINES = 63
LARGEST_REQUEST = 256 * 1024

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class WitnessReply(NamedTuple):
    """An HTTP answer: status, content type, body."""

    status: int
    content_type: str
    body: bytes


class _Request(NamedTuple):
    old: int
    proof: list[bytes]
    note: str


def _plain(status: int, reason: str) -> WitnessReply:
    return WitnessReply(status, "text/plain; charset=utf-8", reason.encode() + b"\n")


def _conflict(size: int) -> WitnessReply:
    return WitnessReply(409, "text/x.tlog.size", b"%d\n" % size)


class Witness:
    """Knows its own key, the keys of the logs it watches, and what it has cosigned. `now` tells the time in whole
    seconds since 1970."""

    def __init__(self, cosigner: Cosigner, logs: Sequence[Key], memory: Memory, now: Callable[[], int]) -> None:
        self._cosigner = cosigner
        self._logs: Mapping[str, list[Key]] = {key.name: [k for k in logs if k.name == key.name] for key in logs}
        self._memory = memory
        self._now = now

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Answers POST …/add-checkpoint: 200, 400, 403, 404, 409 or 422, in the specification's order of checks."""
        try:
            request = _parse(body)
            text = open_note(request.note, ()).text
            checkpoint = parse_checkpoint(text)
        except Malformed as error:
            return _plain(400, str(error))
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            return _plain(404, "this witness does not know the log")
        if not _verified(request.note, keys):
            return _plain(403, "the checkpoint is not signed by a key that this witness trusts for the log")
        if request.old > checkpoint.size:
            return _plain(400, "the old size is larger than the checkpoint's")
        with self._memory.hold() as held:
            refusal = _refusal(held, request, checkpoint)
            if refusal is not None:
                return refusal
            held.put(checkpoint, request.note)
        return WitnessReply(200, "text/plain; charset=utf-8", self._cosigner.cosign(text, self._now()).encode())


def _refusal(held: Held, request: _Request, checkpoint: Checkpoint) -> WitnessReply | None:
    newest = held.newest(checkpoint.origin)
    if request.old != newest.size:
        return _conflict(newest.size)
    if newest.size == checkpoint.size and newest.root != checkpoint.root:
        held.put_evidence(checkpoint, request.note)
        return _conflict(newest.size)
    if not consistent(newest.size, newest.root, checkpoint.size, checkpoint.root, request.proof):
        held.put_evidence(checkpoint, request.note)
        return _plain(422, "the proof does not show that the checkpoint extends the one cosigned before")
    return None


def _verified(note: str, keys: Sequence[Key]) -> bool:
    """Whether any signature verifies against a trusted key. A wrong one beside it does not matter here."""
    for key in keys:
        try:
            opened: Note = open_note(note, [key])
        except BadSignature:
            continue
        if opened.verified:
            return True
    return False


def _parse(body: bytes) -> _Request:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Malformed("the request is not UTF-8") from None
    head, separator, note = text.partition("\n\n")
    first, *proof = head.split("\n")
    old = _OLD.fullmatch(first)
    if old is None or not separator:
        raise Malformed("the request does not begin with the old size, or has no empty line")
    if len(proof) > MOST_PROOF_LINES:
        raise Malformed(f"the proof has more than {MOST_PROOF_LINES} lines")
    hashes = [decode64(line) for line in proof]
    if any(len(hash_) != 32 for hash_ in hashes):
        raise Malformed("a proof line is not the base64 of 32 bytes")
    return _Request(int(old[1]), hashes, note)


# The witness over HTTP, with nothing but Python's own library, so that anyone can run one anywhere.

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
            self._answer(
                WitnessReply(400, "text/plain; charset=utf-8", b"a body of known and reasonable length is needed\n")
            )
        elif self.path.split("?")[0].endswith("/add-checkpoint"):
            self._answer(self.witness.add_checkpoint(body))
        else:
            self._answer(WitnessReply(404, "text/plain; charset=utf-8", b"only add-checkpoint is here\n"))

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_REQUEST:
            return None
        return self.rfile.read(int(length))

    def _answer(self, answer: WitnessReply) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: anyone who runs a witness sees what it cosigned in its memory."""


def server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """A bound server that does not serve yet: `serve_forever()` runs it, `shutdown()` from another thread ends it."""
    handler = type("Handler", (_Handler,), {"witness": witness})
    return ThreadingHTTPServer((host, port), handler)


def stop_on_signals(listening: ThreadingHTTPServer) -> None:
    """Lets an interrupt or SIGTERM end `serve_forever`, also one that comes before it was called."""

    def stop(*_: object) -> None:
        # `shutdown` waits for the loop that this very thread runs.
        threading.Thread(target=listening.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def load_or_create_key(path: Path, name: str) -> Cosigner:
    """The witness's private key from its file, which only its owner may read; made when there is none. Raises
    `Malformed` when the file holds something else, and ValueError when it holds the key of another name."""
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
