"""Where the log and all that follows it stand, as the database tells at one moment: for `/metrics` and the shell."""

from collections.abc import Mapping

import msgspec

from domain.event import SECOND, Moment
from eventstore import repository
from eventstore.database import Connection
from eventstore.pending import letters
from eventstore.projecting.rebuild import differing
from eventstore.transparency import published
from projections import event_index, incidents, outbox, secrets, sightings
from projections.figures import event_counts

TREE = "log_tree"

SOON: Moment = 14 * 86_400 * SECOND
"""So long before its end a client's last secret counts as one that expires."""


class LogStanding(msgspec.Struct, frozen=True, kw_only=True):
    """`time` is the newest event's, 0 for an empty log; `lag` is in events, by what follows the log; the oldest letter
    has waited so many seconds."""

    position: int
    time: Moment
    lag: Mapping[str, int]
    incidents_open: int
    secrets_expiring: int
    outbox_undistributed: int
    outbox_waiting: int
    outbox_dead: int
    letters_waiting: int
    letters_oldest_seconds: float
    projections_differing: int


def followed(connection: Connection) -> dict[str, int]:
    """How far the read models that follow the log have come, and the tree over it."""
    return (
        dict.fromkeys((event_index.NAME, sightings.NAME, event_counts.NAME), 0)
        | event_index.progress(connection)
        | {TREE: published.size(connection)}
    )


def standing(connection: Connection, now: Moment) -> LogStanding:
    """All of it. What follows is looked at first, so that it is never ahead of the position."""
    reached = followed(connection)
    position, time = repository.newest(connection)
    undelivered, mail = outbox.standing(connection), letters.waiting(connection)
    return LogStanding(
        position=position,
        time=time,
        lag={name: max(0, position - at) for name, at in sorted(reached.items())},
        incidents_open=incidents.count_open(connection),
        secrets_expiring=secrets.count_last(connection, now, now + SOON),
        outbox_undistributed=outbox.undistributed(connection),
        outbox_waiting=sum(each.waiting for each in undelivered),
        outbox_dead=sum(each.dead for each in undelivered),
        letters_waiting=mail.letters,
        letters_oldest_seconds=0.0 if mail.since is None else (now - mail.since) / SECOND,
        projections_differing=len(differing(connection)),
    )
