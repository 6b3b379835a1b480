"""A witness: cosigns a log's checkpoints as long as each extends the one before (C2SP tlog-witness)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from verifier.memory import Held, Memory
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
from verifier.tree import consistent

MOST_PROOF_LINES = 63
LARGEST_REQUEST = 256 * 1024

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class Answer(NamedTuple):
    """An HTTP answer: status, content type, body."""

    status: int
    content_type: str
    body: bytes


class _Request(NamedTuple):
    old: int
    proof: list[bytes]
    note: str


def _plain(status: int, reason: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", reason.encode() + b"\n")


def _conflict(size: int) -> Answer:
    return Answer(409, "text/x.tlog.size", b"%d\n" % size)


class Witness:
    """Knows its own key, the keys of the logs it watches, and what it has cosigned.

    `now` tells the time in whole seconds since 1970.
    """

    def __init__(self, cosigner: Cosigner, logs: Sequence[Key], memory: Memory, now: Callable[[], int]) -> None:
        self._cosigner = cosigner
        self._logs: Mapping[str, list[Key]] = {key.name: [k for k in logs if k.name == key.name] for key in logs}
        self._memory = memory
        self._now = now

    def add_checkpoint(self, body: bytes) -> Answer:
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
            held.put(checkpoint.origin, checkpoint.size, checkpoint.root, request.note)
        return Answer(200, "text/plain; charset=utf-8", self._cosigner.cosign(text, self._now()).encode())


def _refusal(held: Held, request: _Request, checkpoint: Checkpoint) -> Answer | None:
    newest = held.newest(checkpoint.origin)
    if request.old != newest.size:
        return _conflict(newest.size)
    if newest.size == checkpoint.size and newest.root != checkpoint.root:
        held.put_evidence(checkpoint.origin, checkpoint.size, checkpoint.root, request.note)
        return _conflict(newest.size)
    if not consistent(newest.size, newest.root, checkpoint.size, checkpoint.root, request.proof):
        held.put_evidence(checkpoint.origin, checkpoint.size, checkpoint.root, request.note)
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
