"""The log in numbers: how many events there were, and what is going on."""

from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from api.audit.filters import CHOSEN, READ, REPEATABLE, Since, Until
from api.audit.queries import counts as counting
from api.audit.queries import overview as looking
from api.audit.queries.auditor import Auditor
from api.audit.queries.counts import BUCKETS_AT_MOST, CountedBy, Counts
from api.audit.queries.overview import Overview
from api.audit.queries.search import Filters
from api.audit.rendering import BY_TAG, general_meaning
from api.oauth.bearer import needing
from api.services import Injected

Step = Annotated[
    int | None,
    QueryParameter(
        name="step",
        ge=1,
        le=2**31,
        description=f"Seconds of each stretch, of which there may be {BUCKETS_AT_MOST}; one of all without it.",
    ),
]
By = Annotated[
    CountedBy | None, QueryParameter(name="by", description="Say of how many types, kinds of grant or clients each is.")
]


def counted(chosen: NamedDependency[Filters], since: Since = None, until: Until = None) -> Filters:
    """Which events are counted. Raises Invalid with the parameter at fault."""
    return chosen.between(since, until, None)


COUNTS_EXAMPLE = {
    "items": [
        {
            "from": "2026-01-31T11:00:00.000000Z",
            "to": "2026-01-31T12:00:00.000000Z",
            "count": 1204,
            "by": {"grant.tokens_issued": 1200, "grant.ended": 4},
        }
    ],
    "exact": True,
}


@get(
    "/audit/counts",
    **needing(READ, repeatable=REPEATABLE, answer=COUNTS_EXAMPLE),
    dependencies=CHOSEN | {"given": Provide(counted, sync_to_thread=False)},
    tags=["Audit"],
    summary="How many events there were",
)
async def counts(
    asking: Injected[Auditor], given: NamedDependency[Filters], step: Step = None, by: By = None
) -> Counts:
    """The events that match every filter, from `since` (a day before) until `until` (now), in stretches of `step`
    seconds. Types alone are counted exactly, in whole minutes however many there are. Where more than ten thousand
    would have to be looked at, what was seen stands for the rest, and `exact` is false."""
    return await counting.counts(asking, given, step, by)


OVERVIEW_EXAMPLE = {
    "at": "2026-01-31T12:00:00.000000Z",
    "as_of_position": 4725,
    "frozen_since": None,
    "incidents": {"count": 0, "items": []},
    "secrets_near_expiry": {"count": 0, "items": []},
    "since": "2026-01-30T13:00:00.000000Z",
    "lines": [{"name": "replays", "types": ["grant.code_replayed"], "hours": [0] * 24, "week_before": [0] * 24}],
    "administrative_acts": [],
    "lag": {"event_index": 0, "sightings": 0, "event_counts": 0, "log_tree": 12},
    "signed_size": 4713,
}


@get(
    "/audit/overview",
    **needing(READ, answer=OVERVIEW_EXAMPLE),
    tags=["Audit"],
    summary="What is going on",
)
async def overview(asking: Injected[Auditor]) -> Overview:
    """Open incidents, secrets that end within two weeks, a day of what counts with the same day a week before, the
    newest administrative acts, and how far behind the log is what follows it. One reading, whatever it shows."""
    return await looking.overview(asking)


# Which types of events there are (`GET /audit/event-types`).


class EventType(msgspec.Struct, frozen=True):
    """A type, and a sentence of what any event of it says."""

    type: str
    meaning: str


class EventTypes(msgspec.Struct, frozen=True):
    """All that this version writes, in the order of the catalogue."""

    items: list[EventType]


TYPES = EventTypes([EventType(tag, general_meaning(tag)) for tag in BY_TAG])
TYPES_EXAMPLE = {"items": [{"type": "client.registered", "meaning": "A client came into being."}]}


@get(
    "/audit/event-types",
    **needing(READ, answer=TYPES_EXAMPLE),
    tags=["Audit"],
    summary="Which types of events there are",
)
async def event_types() -> EventTypes:
    """Each type with its sentence, whether or not the log has one. Nothing of the log is read, so no event tells of
    it."""
    return TYPES


ROUTES: list[Any] = [counts, overview, event_types]
