"""Folds of long streams, kept as rows: a grant that was refreshed for years need not be read from its beginning.

No event explains such a row, so it has a MAC over stream, version, position and state, and over the shape of the state.
It is believed only where the event that it names as its last stands at that version of the stream and has that id:
after a restore, versions are given again to other events. Whatever is not believed is as if it were not there.
"""

from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select

from domain.event import Recorded
from domain.streams import AGGREGATES
from eventstore.recorder import store
from eventstore.stored import folds
from projections.prepared import Prepared
from security.row_macs import Derives, RowMacs

EVERY = 256
"""Events of a stream after which its fold is kept anew. So many, or twice as many, are read at a cold start."""

DEFINITION = 1
"""To be raised when a fold makes another state of the same events without its shape telling: older rows are ignored."""

_THIS = folds.c.stream == bindparam("b_stream")
_FIND = Prepared(select(folds.c.version, folds.c.position, folds.c.state, folds.c.mac).where(_THIS))
_FORGET = Prepared(delete(folds).where(_THIS))
_KEEP = Prepared(insert(folds))

_encode = msgspec.json.Encoder().encode


def _shapes() -> dict[str, bytes]:
    """What each aggregate's state consists of."""
    kinds = {name: type(module.INITIAL) for name, module in AGGREGATES.items()}
    return {name: sha256(_encode((DEFINITION, msgspec.json.schema(kind)))).digest() for name, kind in kinds.items()}


_SHAPES = _shapes()


class Snapshots:
    """The kept folds of one log. Any thread may ask; rows are written in the ledger's transaction."""

    def __init__(self, keyring: Derives) -> None:
        self._macs = RowMacs(keyring, folds.name)

    def keep(self, connection: Connection, state: Any, last: Recorded) -> None:
        """Keeps the fold of a stream as it is after its `last` event, in place of the former one."""
        text = _encode(state)
        mac = self._macs.of(_SHAPES[_kind(last.stream)], last.stream, last.version, last.position, last.id, text)
        row = {"stream": last.stream, "version": last.version, "position": last.position, "state": text, "mac": mac}
        _FORGET.run(connection, ({"b_stream": last.stream},))
        _KEEP.run(connection, (row,))

    def find(self, connection: Connection, stream: str) -> tuple[Any, int] | None:
        """State and version as they were kept; None where nothing was, or nothing that is to be believed.

        Raises `Forged` where the event that the row names is not authentic.
        """
        row = _FIND.first(connection, {"b_stream": stream})
        if row is None:
            return None
        version, position, text, mac = row
        last = next(store(connection).get(stream, gt=version - 1, lte=version), None)
        if last is None:
            return None
        named = (stream, version, last.position, last.id, bytes(text))
        if last.position != position or not self._macs.holds(mac, _SHAPES[_kind(stream)], *named):
            return None
        return msgspec.json.decode(text, type=type(AGGREGATES[_kind(stream)].INITIAL)), version


def _kind(stream: str) -> str:
    return stream.partition(":")[0]
