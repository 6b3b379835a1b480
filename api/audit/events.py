"""Searching the log (`GET /audit/events`) and looking at one event of it."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter
from sqlalchemy import Connection

from api.access import needing
from api.audit.asking import READ, Auditor, auditor
from api.audit.filters import Filters, WithNames, filters
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.pagination import DEFAULT, After, Limit, Page, decode_cursor, encode_cursor
from api.problems import Missing, Unavailable
from eventstore import searching
from eventstore.searching import Criteria

CURSOR = "events"
STEPS_AT_MOST = 200
"""Stretches of the log that a question waits for. An index that is further behind is being built."""

EXAMPLE = {
    "position": 4711,
    "id": "6Qd0xwzq7Zy1mYw8sVbN2c",
    "type": "grant.ended",
    "stream": "grant:2Yt0kQm4VdLw8sRz1XbN6c",
    "version": 4,
    "time": "2026-01-31T12:00:00.000000Z",
    "actor": {"kind": "person", "id": "5Hc9pTn3WfKe7uJx0ZaQ4r", "credential": {"grant_id": "2Yt0kQm4VdLw8sRz1XbN6c"}},
    "request_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "ip": None,
    "user_agent": None,
    "data": {"reason": "person"},
    "sealed": ["ip", "user_agent"],
    "erased": [],
    "meaning": "The grant ended with all its tokens: the person withdrew it.",
}


class Stretch(NamedTuple):
    """Events that were found, and where to go on; None at the end."""

    events: list[ShownEvent]
    resume: int | None


async def up_to_date(asking: Auditor, given: Filters) -> int:
    """The log's head, once the index that the filters need has come to it: whoever asks sees all that was committed."""
    ledger = asking.here.ledger
    if given.needs_index and not await asking.here.search_index.follow(steps=STEPS_AT_MOST):
        raise Unavailable("The search index is being built. Ask for positions, or try again later.", retry_after=30)
    await ledger.settled()
    return ledger.changes.position


async def wanted(asking: Auditor, given: Filters, head: int) -> tuple[Criteria, dict[str, str | None]]:
    """What is looked for in the log up to `head`, and how the record tells it: people by their ids, not their names."""
    ledger, whose = asking.here.ledger, None
    asked = dict(given.asked)
    if given.login:
        whose = await ledger.look(given.people, ledger.privacy)
        asked |= {"named_by": " ".join(given.login), "account_id": " ".join(whose) or asked["account_id"]}
    return await ledger.read(given.criteria, ledger.privacy, head, whose), asked


async def find(asking: Auditor, criteria: Criteria, limit: int, start: int | None, *, names: bool = False) -> Stretch:
    """Up to `limit` events from `start` on. A long search is done in turns, so that nobody else waits for all of it."""
    events: list[ShownEvent] = []
    resume: int | None = start
    while True:
        stretch = await asking.here.ledger.read(_find, asking, criteria, limit - len(events), resume, names)
        events += stretch.events
        resume = stretch.resume
        if resume is None or len(events) >= limit:
            return Stretch(events, resume)


def _find(
    connection: Connection, asking: Auditor, criteria: Criteria, limit: int, start: int | None, names: bool
) -> Stretch:
    found = searching.search(connection, criteria, limit, start)
    return Stretch(show(connection, asking, found.positions, names=names), found.resume)


def show(connection: Connection, asking: Auditor, positions: Sequence[int], *, names: bool = False) -> list[ShownEvent]:
    """The events at these positions as this auditor may see them."""
    rendering = Rendering(asking.here.ledger.privacy, connection, personal=asking.personal, names=names)
    return [rendering.event(state) for state in searching.stored_forms(connection, positions)]


@get(
    "/audit/events",
    **needing(READ, repeatable=("type",), answer={"items": [EXAMPLE], "next": None}),
    dependencies={"given": Provide(filters, sync_to_thread=False)},
    tags=["Audit"],
    summary="Search the log",
)
async def events(
    request: Request[Any, Any, Any], given: NamedDependency[Filters], limit: Limit = DEFAULT, after: After = None
) -> Page[ShownEvent]:
    """Events that match every filter. A list covers the log as it stood when its first page was asked for."""
    asking = auditor(request)
    head = await up_to_date(asking, given)
    start: int | None = None
    if after is not None:
        start, bound = decode_cursor(CURSOR, after, int, int)
        head = min(head, bound)
    criteria, asked = await wanted(asking, given, head)
    found = await find(asking, criteria, limit + 1, start, names=given.with_names)
    shown = found.events[:limit]
    more = len(found.events) > limit
    await asking.record(
        "events",
        asked | {"limit": str(limit), "after": after},
        len(shown),
        unsealed=any(unsealed(event) for event in shown),
        address=given.address,
    )
    return Page(shown, encode_cursor(CURSOR, (found.events[limit].position, head)) if more else None)


@get("/audit/events/{position:int}", **needing(READ, answer=EXAMPLE), tags=["Audit"], summary="One event")
async def event(
    request: Request[Any, Any, Any],
    position: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="Its place in the log.")],
    named: WithNames = "0",
) -> ShownEvent:
    """The event at a position; 404 beyond the head."""
    asking = auditor(request)
    await asking.here.ledger.settled()
    shown = await asking.here.ledger.read(show, asking, [position], names=named == "1")
    await asking.record(
        "event", {"position": str(position)}, len(shown), unsealed=any(unsealed(each) for each in shown)
    )
    if not shown:
        raise Missing("The log has no event at this position.")
    return shown[0]


ROUTES: list[Any] = [events, event]
