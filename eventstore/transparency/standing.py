"""What stands at a position, and whether somebody has accepted exactly that (`server.divergence_accepted`)."""

import json
from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy import Connection

from eventstore.recorder import LogRecorder

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
