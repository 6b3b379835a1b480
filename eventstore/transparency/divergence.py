"""Whether the log is the one that its tree was built over, or somebody has accepted what differs."""

import json
from collections.abc import Mapping
from hashlib import sha256

import msgspec
from sqlalchemy import Connection

from eventstore.recorder import LogRecorder

# That the log is not the one that its tree was built over.


class Diverged(Exception):
    """The log is not the one that the stored tree was built over: an alarm. Nothing is signed any more.

    `position` is the event's that was looked at, where it was one.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position

    @classmethod
    def at(cls, position: int) -> "Diverged":
        """The event there is another one, or has gone."""
        return cls(f"the event at position {position} is not the one that the tree holds", position)


# The columns beside the stored form: what is looked for finds by them, and the tree says nothing of them.


class _Form(msgspec.Struct):
    """Those members of the stored form that stand in columns as well."""

    position: int
    stream: str
    version: int
    type: str


_decode = msgspec.json.Decoder(_Form).decode


def misplaced(connection: Connection, start: int, end: int) -> int | None:
    """The first position from index `start` to before `end` whose row is filed under something else than its event.

    An event that is moved to another stream, or gets another type there, is as good as removed for whoever reads by
    stream or type, though its bytes and therefore its leaf are what they were. What is not an event at all is left to
    the comparison of leaves.
    """
    for position, stream, version, topic, state in LogRecorder.over(connection).rows_between(start, end):
        try:
            form = _decode(state)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if (form.position, form.stream, form.version, form.type) != (position, stream, version, topic):
            return int(position)
    return None


# What stands at a position, and whether somebody has accepted exactly that (`server.divergence_accepted`).

Accepted = Mapping[str, str]
"""By position, in digits, the digest of what stands there."""

NOTHING: Accepted = {}


def standing(connection: Connection, position: int) -> str:
    """SHA-256, in hex, over the columns of the event there and its bytes; empty where there is none."""
    for _, *columns, state in LogRecorder.over(connection).rows_between(position - 1, position):
        return sha256(json.dumps(columns).encode() + b"\n" + state).hexdigest()
    return ""


def is_accepted(connection: Connection, position: int | None, accepted: Accepted) -> bool:
    """Whether somebody has accepted what stands there now, or that nothing does."""
    known = accepted.get(str(position))
    return known is not None and position is not None and known == standing(connection, position)
