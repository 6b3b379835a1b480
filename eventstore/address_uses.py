"""What was used from an address: where the grants and browser sessions began that events at some positions are about.

Where they began is told by their streams alone. A row may only say that a grant is certainly worth ending; of all
others the log is asked, so that nobody hides one by changing a row.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, select, text

from domain import session
from domain.event import SECOND, Moment, Recorded
from domain.incident import Numbers
from eventstore import search
from eventstore.living import AT_ONCE, Descendant, State, of_grants, states_at
from eventstore.recorder import store
from eventstore.stored import events

T = TypeVar("T")

OF_GRANTS = ("grant.code_issued", "grant.tokens_issued", "grant.tokens_refreshed")
OF_USES = ("usage.token_first_seen", "usage.token_seen")
USING = (*OF_GRANTS, *OF_USES)
"""What says from where a grant is used."""

TOPICS = (*USING, "session.started")
"""What says from where a grant or a browser session is used."""

_GIVEN = {
    "sqlite": "json_each(:positions) AS given CROSS JOIN stored_events AS used ON used.id = given.value",
    "postgresql": (
        "unnest(CAST(:positions AS bigint[])) AS given (value) JOIN stored_events AS used ON used.id = given.value"
    ),
}
_JOIN = {"sqlite": "CROSS JOIN", "postgresql": "JOIN"}
_SESSION = {
    "sqlite": "json_extract(used.state, '$.data.session_id')",
    "postgresql": "(used.state::json -> 'data' ->> 'session_id')",
}
_LISTED = ", ".join(f"'{topic}'" for topic in OF_GRANTS)
_BEGAN = """
SELECT DISTINCT begun.id, begun.originator_id, grants.grant_id
FROM {given} {join} stored_events AS begun
ON begun.originator_id = used.originator_id AND begun.originator_version = 1
LEFT JOIN grants ON grants.grant_id = substr(begun.originator_id, 7)
AND grants.expires_at > :now AND grants.ended_position IS NULL
WHERE used.topic IN ({listed})
"""
_SIGNED_IN = """
SELECT DISTINCT begun.id
FROM {given} {join} stored_events AS begun
ON begun.originator_id = 'session:' || {session} AND begun.originator_version = 1
WHERE used.topic = 'grant.code_issued'
"""
_BEGUN = select(events.c.id).where(
    events.c.originator_id.in_(bindparam("b_streams", expanding=True)), events.c.originator_version == 1
)
_STREAMS = select(events.c.originator_id).where(events.c.id.in_(bindparam("b_positions", expanding=True)))


class Used(NamedTuple):
    """Where grants began that live by their rows, the ids of the others, and where browser sessions began."""

    began: list[int]
    doubted: list[str]
    sessions: list[int]


def at(connection: Connection, positions: Sequence[int], now: Moment) -> Used:
    """What the events at these positions are about, but for those that tell of a use: they are read one by one."""
    dialect = connection.dialect.name
    parts = {"given": _GIVEN[dialect], "join": _JOIN[dialect], "listed": _LISTED, "session": _SESSION[dialect]}
    given: Any = list(positions) if dialect == "postgresql" else json.dumps(positions)
    found = connection.execute(text(_BEGAN.format(**parts)), {"positions": given, "now": now}).all()
    sessions = connection.scalars(text(_SIGNED_IN.format(**parts)), {"positions": given}).all()
    return Used(
        [began for began, _, living in found if living is not None],
        [stream.partition(":")[2] for _, stream, living in found if living is None],
        list(sessions),
    )


def between(connection: Connection, after: int, head: int) -> Iterator[Recorded]:
    """The events of that kind `after` < position ≤ `head`."""
    return store(connection).between(after, head, TOPICS)


def began(connection: Connection, streams: Collection[str]) -> list[int]:
    """Where these streams began."""
    found: list[int] = []
    for portion in portions(sorted(streams)):
        found += connection.scalars(_BEGUN, {"b_streams": portion})
    return found


def living(connection: Connection, grants: Collection[str], now: Moment) -> list[int]:
    """Where those of the grants began of which anything is alive by the log."""
    head = search.newest(connection)
    state = states_at(connection, head)
    found: set[str] = set()
    for portion in portions(sorted(grants)):
        found.update(each.grant_id for each in of_grants(connection, state, portion, head, now) if each.alive)
    return began(connection, [f"grant:{each}" for each in found])


def signed_in(connection: Connection, positions: Collection[int], now: Moment) -> Iterator[int]:
    """Those of the sessions that began there which have not expired."""
    for portion in portions(sorted(positions)):
        for started in search.recorded_forms(connection, portion):
            event = started.event
            if isinstance(event, session.Started) and started.time + event.lifetime * SECOND > now:
                yield started.position


# Afterwards -------------------------------------------------------------------------------------------------------


def counted(connection: Connection, began: Sequence[int], position: int, now: Moment) -> Numbers:
    """What of grants that began there was alive at a position of the log, by the log."""
    state, grants, tokens, people = states_at(connection, position), 0, 0, set[str | None]()
    for portion in portions(began):
        alive = [each for each in _of_grants(connection, state, portion, position, now) if each.alive]
        grants += len({each.grant_id for each in alive})
        tokens += len(alive)
        people.update(each.account_id for each in alive)
    return Numbers(0, grants, tokens, len(people - {None}))


def worth_telling(connection: Connection, began: Sequence[int], position: int, now: Moment) -> list[str]:
    """The streams of the sessions that began there, and of those grants of which anything was alive at a position."""
    streams = connection.scalars(_STREAMS, {"b_positions": began}).all()
    alive = _of_grants(connection, states_at(connection, position), began, position, now)
    found = {f"grant:{each.grant_id}" for each in alive if each.alive}
    return [stream for stream in streams if stream in found or stream.startswith("session:")]


def _of_grants(
    connection: Connection, state: State, began: Sequence[int], position: int, now: Moment
) -> list[Descendant]:
    streams = connection.scalars(_STREAMS, {"b_positions": began})
    named = [stream.partition(":")[2] for stream in streams if stream.startswith("grant:")]
    return of_grants(connection, state, named, position, now)


def portions(found: Sequence[T]) -> Iterator[Sequence[T]]:
    """A thousand at a time."""
    for start in range(0, len(found), AT_ONCE):
        yield found[start : start + AT_ONCE]
