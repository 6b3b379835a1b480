"""Searching the log, page by page, and looking at some events of it."""

from collections.abc import Sequence
from typing import NamedTuple

from api.audit.queries.auditor import Auditor
from api.audit.queries.filters import Filters
from api.audit.rendering import Rendering, ShownEvent, unsealed
from api.http.errors import TemporarilyUnavailable
from api.http.parameters import Page, decode_cursor, encode_cursor
from eventstore import search
from eventstore.database import Connection
from eventstore.search import Criteria

CURSOR = "events"
STEPS_AT_MOST = 200
"""Stretches of the log that a question waits for. An index that is further behind is being built."""


class Stretch(NamedTuple):
    """Events that were found, and where to go on; None at the end."""

    events: list[ShownEvent]
    resume: int | None


async def up_to_date(asking: Auditor, given: Filters, steps: int | None) -> int:
    """The log's head, once the index that the filters need has come to it: whoever asks sees all that was committed.

    Raises Unavailable when that takes more than so many steps.
    """
    ledger = asking.sources.ledger
    if given.needs_index and not await asking.sources.search_index.follow(steps=steps):
        raise TemporarilyUnavailable(
            "The search index is being built. Ask for positions, or try again later.", retry_after=30
        )
    await ledger.settled()
    return ledger.changes.position


async def wanted(asking: Auditor, given: Filters, head: int) -> tuple[Criteria, dict[str, str | None]]:
    """What is looked for in the log up to `head`, and how the record tells it: people by their ids, not their names."""
    ledger, whose = asking.sources.ledger, None
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
        stretch = await asking.sources.ledger.read(_find, asking, criteria, limit - len(events), resume, names)
        events += stretch.events
        resume = stretch.resume
        if resume is None or len(events) >= limit:
            return Stretch(events, resume)


def _find(
    connection: Connection, asking: Auditor, criteria: Criteria, limit: int, start: int | None, names: bool
) -> Stretch:
    found = search.search(connection, criteria, limit, start)
    return Stretch(show(connection, asking, found.positions, names=names), found.resume)


def show(connection: Connection, asking: Auditor, positions: Sequence[int], *, names: bool = False) -> list[ShownEvent]:
    """The events at these positions as this auditor may see them."""
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal, names=names)
    return [rendering.event(state) for state in search.stored_forms(connection, positions)]


async def page(
    asking: Auditor, given: Filters, limit: int, after: str | None = None, *, steps: int | None = STEPS_AT_MOST
) -> Page[ShownEvent]:
    """A page of the events that match, and the event that it was asked for. `after` is the `next` of the page before;
    a list covers the log as it stood when its first page was asked for.
    """
    head = await up_to_date(asking, given, steps)
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
