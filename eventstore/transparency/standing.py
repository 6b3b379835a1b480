"""What stands at a position, and whether somebody has accepted exactly that (`server.divergence_accepted`)."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, cast, select

from eventstore.stored import events
from projections.prepared import Prepared

Accepted = Mapping[str, str]
"""By position, in digits, the digest of what stands there."""

NOTHING: Accepted = {}


def _row(state: Any) -> Prepared:
    at = events.c.id == bindparam("b_position", type_=BigInteger)
    return Prepared(select(events.c.originator_id, events.c.originator_version, events.c.topic, state).where(at))


_ROW = {"postgresql": _row(events.c.state), "sqlite": _row(cast(events.c.state, LargeBinary))}


def standing(connection: Connection, position: int) -> str:
    """SHA-256, in hex, over the columns of the event there and its bytes; empty where there is none."""
    row = _ROW[connection.dialect.name].first(connection, {"b_position": position})
    if row is None:
        return ""
    *columns, state = row
    leaf = state.encode() if isinstance(state, str) else state or b""
    return sha256(json.dumps(columns).encode() + b"\n" + leaf).hexdigest()


def is_accepted(connection: Connection, position: int | None, accepted: Accepted) -> bool:
    """Whether somebody has accepted what stands there now, or that nothing does."""
    known = accepted.get(str(position))
    return known is not None and position is not None and known == standing(connection, position)
