"""The way out when rows were put into the table of events that nobody of ours wrote: they are saved and taken away.

For the owner of the tables, with the servers stopped. Only what stands behind the newest signed checkpoint is looked
at: further back an event that does not verify was altered, and taking away what follows would be no cure.
"""

import json
import os
from base64 import b64encode
from hashlib import sha256
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, delete, func, select, update

from eventstore import mapper
from eventstore.database.append_only import lifted
from eventstore.mapper import DueKey, Removal
from eventstore.projecting.rebuild import set_unmade
from eventstore.recorder import LogRecorder, store
from eventstore.repository import Changes, newest
from eventstore.sealed import packed_rows
from eventstore.stored import events, head
from eventstore.transparency.signing_keys import signed_size
from projections import PROJECTIONS
from security.clock import Moment
from security.vault import Vault

_EVERY = 2**63 - 1


def first_forged(connection: Connection, vault: Vault) -> int | None:
    """The first position whose event does not verify or is missing; None when there is none."""
    last = max(newest(connection)[0], connection.scalar(select(func.max(events.c.id))) or 0)
    changes = Changes(min(signed_size(connection, vault), last), lambda stream: None)
    changes.catch_up(connection, last)
    return changes.forged


def remove(engine: Engine, vault: Vault, file: BinaryIO, now: Moment) -> Removal | None:
    """Writes the forged rows to the file and deletes them, in one transaction, after which projections are to be
    rebuilt and a new MAC key is due. None when nothing is forged.
    """
    with engine.begin() as connection:
        connection.execute(select(head.c.position).where(head.c.id == 1).with_for_update())
        first = first_forged(connection, vault)
        if first is None:
            return None
        digest, count = sha256(), 0
        for row in LogRecorder.over(connection).select_notifications(first, _EVERY):
            line = _line(row)
            digest.update(line)
            file.write(line)
            count += 1
        file.flush()
        # Before they are gone from the database: what a power failure took from both would be gone for ever.
        os.fsync(file.fileno())
        with lifted(connection, "delete"):
            connection.execute(delete(events).where(events.c.id >= first))
        packed_rows.forget_from(connection, first)
        moved = {"position": first - 1, "time": _time_at(connection, first - 1)}
        connection.execute(update(head).where(head.c.id == 1).values(moved))
        set_unmade(connection, PROJECTIONS)
        removal = Removal(first, count, digest.hexdigest())
        mapper.put_due_key(connection, vault, DueKey("forged", first, removal), now)
    return removal


def _line(row: Any) -> bytes:
    """A row as a line of JSON; a form that is no text in base64."""
    position, stream, version, topic, state = row
    told: dict[str, Any] = {"id": position, "originator_id": stream, "originator_version": version, "topic": topic}
    try:
        told["state"] = state.decode()
    except UnicodeDecodeError:
        told["state_base64"] = b64encode(state).decode()
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _time_at(connection: Connection, position: int) -> Moment:
    return next((each.time for each in store(connection).between(position - 1, position)), 0)
