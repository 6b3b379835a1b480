"""Who was told of an incident: by notifications, and by hand."""

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.admin.bodies.members import Time
from api.admin.idempotency import Once, commanding
from api.audit.queries.auditor import Auditor
from api.audit.rendering import ShownActor
from api.config.settings import Settings
from api.http import parameters
from api.http.errors import Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor, page
from api.leaks.incidents import (
    EXAMPLE,
    ONE,
    READ,
    TAGS,
    WRITE,
    IncidentBody,
    carried_out,
    masked,
    opening,
    record_one,
)
from api.notifications.channels import destinations as configured
from api.notifications.message import chosen
from api.oauth.bearer import needing
from api.services import Injected
from commands.incidents import inform
from domain import incident
from domain.event import Recorded, sealed
from domain.notifying import destination
from eventstore import time_travel
from eventstore.database import Connection
from projections import incidents, outbox
from security.clock import format_rfc3339

TOLD: dict[str, Any] = {
    "position": 4711,
    "at": "2026-02-01T02:58:00.000000Z",
    "type": "incident.contained",
    "how": "notification",
    "destination": "security-room",
    "whom": None,
    "told_by": None,
    "state": "delivered",
}


class TellingBody(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody was told. By notification: the `destination`, of the event at this position, and how far that came.
    By hand: `whom`, which needs `audit:personal`, and `told_by`, who says so."""

    position: int
    at: Time
    type: str
    how: Literal["notification", "by_hand"]
    destination: str | None
    whom: str | None
    told_by: ShownActor | None
    state: Literal["delivered", "waiting", "dead"]


@get(
    ONE + "/told",
    **needing(READ, answer={"items": [TOLD], "next": None}),
    tags=TAGS,
    summary="Who was told of an incident",
)
async def list_told(
    asking: Injected[Auditor],
    settings: Injected[Settings],
    incident_id: parameters.IncidentId,
    limit: Limit = DEFAULT,
    after: After = None,
) -> Page[TellingBody]:
    """In the order of the log. Of destinations those count that are told now, and were at the time of the event."""
    position, name = decode_cursor("told", after, int, str) or (0, "")
    static = {each.name: each.types for each in configured(settings)}
    rows = await asking.sources.ledger.read(_told, asking, incident_id, static, (position, name), limit + 1)
    if rows is None:
        await record_one(asking, incident_id, None)
        raise Missing("There is no such incident.")
    found = page(rows, limit, kind="told", key=_place, item=lambda each: each)
    asked: dict[str, str | None] = {"incident_id": incident_id, "page": "told"}
    unsealed = any(each.whom is not None for each in found.items)
    await asking.record("incidents", asked, len(found.items), unsealed=unsealed)
    return found


def _place(each: TellingBody) -> tuple[int, str]:
    return each.position, each.destination or ""


def _told(
    connection: Connection,
    asking: Auditor,
    incident_id: str,
    static: Mapping[str, frozenset[str]],
    after: tuple[int, str],
    most: int,
) -> list[TellingBody] | None:
    if incidents.by_id(connection, incident_id) is None:
        return None
    history = list(time_travel.history(connection, incident.stream(incident_id)))
    audience = _audience(connection, static)
    missing = outbox.undelivered_of(connection, [each.position for each in history])
    opened = opening(connection, asking.sources.ledger.privacy, personal=asking.personal)
    found: list[TellingBody] = []
    for each in history:
        found += _notified(each, audience, missing)
        if isinstance(each.event, incident.SomebodyInformed):
            found.append(
                _of(
                    each,
                    how="by_hand",
                    whom=opened(sealed(each, "whom")),
                    told_by=ShownActor(each.actor.kind, each.actor.id, each.actor.credential),
                )
            )
    found.sort(key=_place)
    return list(islice((each for each in found if _place(each) > after), most))


class Audience(NamedTuple):
    """A destination, the types that it is told of, and the positions from which on and before which it is."""

    name: str
    types: frozenset[str]
    since: int = 0
    until: int | None = None


def _audience(connection: Connection, static: Mapping[str, frozenset[str]]) -> list[Audience]:
    """Those of the settings count as if they had always been there, since no event tells of them; of the others, each
    with the types that it was told of at that time."""
    known: dict[str, list[Audience]] = {}
    for each in time_travel.history(connection, destination.STREAM):
        match each.event:
            case destination.DestinationConfigured(name=name, destination=terms):
                before = [past if past.until else past._replace(until=each.position) for past in known.get(name, ())]
                known[name] = [*before, Audience(name, chosen(terms.types), each.position)]
            case destination.DestinationRemoved(name=name):
                known.pop(name, None)
    return [*(Audience(*each) for each in static.items()), *chain.from_iterable(known.values())]


def _notified(
    recorded: Recorded, audience: list[Audience], missing: Mapping[tuple[int, str], bool]
) -> Iterator[TellingBody]:
    waits = (recorded.position, outbox.UNDISTRIBUTED) in missing
    for each in audience:
        over = each.until is not None and recorded.position >= each.until
        if over or recorded.type not in each.types or recorded.position < each.since:
            continue
        dead = missing.get((recorded.position, each.name))
        state: Literal["delivered", "waiting", "dead"] = "dead" if dead else "delivered"
        if waits or dead is False:
            state = "waiting"
        yield _of(recorded, how="notification", destination=each.name, state=state)


def _of(recorded: Recorded, **members: Any) -> TellingBody:
    usual = {"destination": None, "whom": None, "told_by": None, "state": "delivered"}
    at = format_rfc3339(recorded.time)
    return TellingBody(position=recorded.position, at=at, type=recorded.type, **usual | members)


class Informing(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who was told, and how."""

    whom: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=incident.INFORMED_MAXIMUM,
            description="Such as a name and by telephone; kept sealed, secrets in it masked.",
        ),
    ]


@post(
    ONE + "/told",
    status_code=200,
    **commanding(WRITE, example={"whom": "Sam of Photo Prints, by telephone"}, answer=EXAMPLE),
    tags=TAGS,
    summary="Say who was told of an incident",
)
async def tell_of_incident(
    asking: Injected[Auditor], once: Injected[Once], incident_id: parameters.IncidentId, data: JSONBody[Informing]
) -> Response[IncidentBody]:
    """By hand; what notifications tell is known without. What is closed takes no more: 409."""
    return await carried_out(asking, once, incident_id, inform(incident_id, masked(asking, data.whom)))


ROUTES: list[Any] = [list_told, tell_of_incident]
