"""Searching the log (`GET /audit/events`) and looking at one event of it."""

from typing import Annotated, Any

from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter

from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.answering.events import page, show
from api.audit.answering.filters import Filters
from api.audit.asking import READ
from api.audit.filters import WithNames, filters
from api.audit.rendering import ShownEvent, unsealed
from api.dependencies import Injected
from api.pagination import DEFAULT, After, Limit, Page
from api.problems import Missing

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


@get(
    "/audit/events",
    **needing(READ, repeatable=("type",), answer={"items": [EXAMPLE], "next": None}),
    dependencies={"given": Provide(filters, sync_to_thread=False)},
    tags=["Audit"],
    summary="Search the log",
)
async def events(
    asking: Injected[Auditor], given: NamedDependency[Filters], limit: Limit = DEFAULT, after: After = None
) -> Page[ShownEvent]:
    """Events that match every filter. A list covers the log as it stood when its first page was asked for."""
    return await page(asking, given, limit, after)


@get("/audit/events/{position:int}", **needing(READ, answer=EXAMPLE), tags=["Audit"], summary="One event")
async def event(
    asking: Injected[Auditor],
    position: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="Its place in the log.")],
    named: WithNames = "0",
) -> ShownEvent:
    """The event at a position; 404 beyond the head."""
    await asking.here.ledger.settled()
    shown = await asking.here.ledger.read(show, asking, [position], names=named == "1")
    await asking.record(
        "event", {"position": str(position)}, len(shown), unsealed=any(unsealed(each) for each in shown)
    )
    if not shown:
        raise Missing("The log has no event at this position.")
    return shown[0]


ROUTES: list[Any] = [events, event]
