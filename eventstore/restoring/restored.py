"""What a restored log holds of the one that it is a copy of, and which erasures it does not know."""

from typing import NamedTuple

from sqlalchemy import Connection, Engine, select

from domain.events import DESTROYING
from eventstore.export_import import BATCH
from eventstore.projecting.rebuild import Progress
from eventstore.recorder import LogRecorder
from eventstore.sealed.short_names import as_kept
from eventstore.search import time_of
from eventstore.stored import events
from security.clock import Moment
from security.vault import Vault


class HeldAgainst(NamedTuple):
    """The restored log beside the one that runs. `differs_at` is the first position at which they are not the same,
    None when everything that the copy holds is what the other one holds; `first_lost_at` is the time of the first event
    that the copy lacks, and `unknown_erasures` names the streams whose keys were destroyed after it."""

    differs_at: int | None
    lost: int
    first_lost_at: Moment | None
    unknown_erasures: tuple[str, ...]


def hold_against(
    copy: Connection, running: Connection, size: int, newest: int, progress: Progress = lambda done, goal: None
) -> HeldAgainst:
    """Compares, byte by byte, the first `size` events; what is between these and `newest` is lost."""
    ours, theirs = LogRecorder.over(copy), LogRecorder.over(running)
    differs_at = None
    for done in range(0, min(size, newest), BATCH):
        until = min(done + BATCH, size, newest)
        pairs = zip(ours.rows_between(done, until), theirs.rows_between(done, until), strict=False)
        same = sum(1 for one, other in pairs if (one.id, one.state) == (other.id, other.state))
        if same != until - done:
            differs_at = done + 1 + _same_at_first(ours, theirs, done, until)
            break
        progress(until, min(size, newest))
    first = next(iter(theirs.rows_between(size, size + 1)), None) if newest > size else None
    later = select(events.c.originator_id).where(events.c.id > size, events.c.topic.in_(as_kept(DESTROYING)))
    erased = tuple(dict.fromkeys(running.scalars(later.order_by(events.c.id))))
    lost_at = None if first is None else time_of(first.state.decode())
    return HeldAgainst(differs_at, max(0, newest - size), lost_at, erased)


def _same_at_first(ours: LogRecorder, theirs: LogRecorder, done: int, until: int) -> int:
    count = 0
    for one, other in zip(ours.rows_between(done, until), theirs.rows_between(done, until), strict=False):
        if (one.id, one.state) != (other.id, other.state):
            break
        count += 1
    return count


def erase_again(engine: Engine, vault: Vault, now: Moment) -> int:
    """Destroys the keys that the restored log says were destroyed and that its vault still has; how many.

    None, where log and vault are a copy of one moment.
    """
    with engine.begin() as connection:
        named = select(events.c.originator_id).where(events.c.topic.in_(as_kept(DESTROYING))).distinct()
        # With each there may be one to destroy: a subject without a row could otherwise be given a key once more.
        found = {stream: vault.destroy(connection, stream, now) for stream in list(connection.scalars(named))}
    for stream in found:
        vault.forget(stream)
    return sum(found.values())
