"""Which months' addresses and user agents are due to end, what keeps one longer, and what is left of one that ended."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from domain import client, client_secret, hold, incident
from domain.event import Moment
from domain.origin_month import DAY
from eventstore import present, search
from eventstore.recorder import store
from eventstore.view import View
from projections import event_index, sightings
from projections.named import wide
from security.clock import end_of_month, month_of, parse_rfc3339
from security.sealing import ORIGIN
from security.vault import KEYS

_OF_MONTHS = (KEYS.c.subject >= ORIGIN, KEYS.c.subject < ORIGIN[:-1] + chr(ord(ORIGIN[-1]) + 1))
_KEPT = select(KEYS.c.subject).where(*_OF_MONTHS, KEYS.c.destroyed_at.is_(None)).order_by(KEYS.c.subject)
_DESTROYED = select(KEYS.c.subject).where(*_OF_MONTHS, KEYS.c.destroyed_at.is_not(None)).order_by(KEYS.c.subject)

BEGINNING: Moment = 0
"""Before everything that a log can hold."""


class EndedMonth(NamedTuple):
    """A month whose values nobody can read, and its first and last position; the last is before the first if none."""

    month: str
    first: int
    last: int


def due(connection: Connection, now: Moment, retention_days: int) -> list[str]:
    """The months that have a key although they are over for longer than the retention, the oldest first."""
    months = (subject.removeprefix(ORIGIN) for subject in connection.scalars(_KEPT))
    return [month for month in months if end_of_month(month) + retention_days * DAY <= now]


def destroyed(connection: Connection) -> list[str]:
    """The months whose key was destroyed, the oldest first."""
    return [subject.removeprefix(ORIGIN) for subject in connection.scalars(_DESTROYED)]


def ended(connection: Connection) -> list[EndedMonth]:
    """The same with where each stands in the log."""
    months = destroyed(connection)
    head = search.newest(connection) if months else 0
    return [_stretch(connection, month, head) for month in months]


def _stretch(connection: Connection, month: str, head: int) -> EndedMonth:
    first = search.first_at(connection, parse_rfc3339(f"{month}-01T00:00:00Z"), head)
    return EndedMonth(month, first, search.first_at(connection, end_of_month(month), head) - 1)


# What keeps a month -----------------------------------------------------------------------------------------------


def waits_for(view: View, month: str) -> str | None:
    """What names a month, in words: a hold, or an incident that is not closed; None when nothing does."""
    holds: hold.State = view.state(hold.STREAM)
    held = holds.over(month)
    if held is not None:
        return f"the hold {held} names this month"
    for incident_id, about in view.look(present.unclosed_incidents):
        if month_of(began_at(view, incident_id, about)) <= month:
            return f"the incident {incident_id} is open, and what it is about is as old as this month"
    return None


def began_at(view: View, incident_id: str, about: incident.State) -> Moment:
    """Since when traces of what an incident is about can be in the log: since that came to be. For an address since
    uses from there were contained; without a target since the report.
    """
    connection = view.connection
    if about.target == "address":
        return _contained_since(connection, incident_id)
    if about.secret_id is not None and about.client_id is not None:
        owner: client.State = view.state(client.stream(about.client_id))
        # One that ended so long ago that it is forgotten is as old as its client, to be safe.
        version = client_secret.find(owner.secrets, about.secret_id)
        if version is not None:
            return version.created_at
    for stream in _streams(about):
        for first in store(connection).get(stream, limit=1):
            return first.time
    return BEGINNING if about.reported_at is None else about.reported_at


def _streams(about: incident.State) -> list[str]:
    named = (("grant", about.grant_id), ("account", about.account_id), ("client", about.client_id))
    return [f"{category}:{name}" for category, name in named if name is not None]


def _contained_since(connection: Connection, incident_id: str) -> Moment:
    told = store(connection).get(incident.stream(incident_id))
    since = [each.event.since_at for each in told if isinstance(each.event, incident.IncidentContained)]
    return min((BEGINNING if at is None else at for at in since), default=BEGINNING)


# What is left of a month that ended -------------------------------------------------------------------------------


def forget_addresses(connection: Connection, month: EndedMonth, limit: int) -> int:
    """Takes blind indexes of a month's addresses from the search index, about `limit` rows; how many it took."""
    event_index.hold(connection, event_index.NAME)
    stretch = month.first, month.last, limit
    return event_index.forget_stretch(connection, *stretch) or wide.forget_addresses(connection, *stretch)


def forget_sightings(connection: Connection, month: EndedMonth, limit: int) -> int:
    """Takes them from the uses of client secrets too, which stay as counts; at most `limit` rows, and how many."""
    event_index.hold(connection, sightings.NAME)
    return sightings.forget_month(connection, month.month, limit)
