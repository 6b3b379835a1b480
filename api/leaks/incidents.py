"""Incidents: what leaked, who reported it, what was done and how long it took."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from api.admin import schemas
from api.admin.idempotency import Once, Reply, commanding
from api.admin.schemas import Time, listed
from api.audit.queries.auditor import Auditor
from api.audit.rendering import ShownActor
from api.http import parameters
from api.http.errors import Missing
from api.http.parameters import DEFAULT, After, Limit, Page, decode_cursor
from api.oauth.bearer import needing
from api.services import Injected
from commands.incidents import close
from domain import ended_grants, incident
from domain.event import SECOND, Recorded
from domain.incident import Leaked, Numbers
from eventstore import search, time_travel
from eventstore.database import Connection
from eventstore.view import View
from projections import incidents
from security.masking import masking
from security.sealing import SealBroken

READ, WRITE = "leaks:read", "leaks:write"
TAGS = ["Leaks"]
ONE = "/leaks/incidents/{incident_id:str}"

EXAMPLE: dict[str, Any] = {
    "incident_id": "7nXq2VbT0cLhR5dKw9PzEs",
    "state": "contained",
    "source": "administrator",
    "evidence": "a public repository, found by Sam",
    "reported_by": {"kind": "client", "id": "2Yt0kQm4VdLw8sRz1XbN6c", "credential": {"grant_id": "…"}},
    "reported_at": "2026-02-01T02:58:00.000000Z",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "kind": "client_secret",
    "secrets": [
        {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "kind": "client_secret"}
    ],
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "account_id": None,
    "secret_id": "8Wq3nBz5MhCy2tLv9RdK7x",
    "grant_id": None,
    "contained": {"secrets_ended": 1, "grants_ended": 311, "tokens_ended": 631, "people_affected": 298},
    "contained_at": "2026-02-01T02:59:10.000000Z",
    "settled": True,
    "seconds_to_containment": 70,
    "closed_at": None,
    "note": None,
}

IncidentState = Annotated[
    Literal["reported", "identified", "contained", "closed"] | None,
    QueryParameter(name="state", description="Only those that have come this far."),
]


class IncidentBody(msgspec.Struct, frozen=True, kw_only=True):
    """An incident. `contained` is null until something was ended; `evidence` and `note` need `audit:personal`.
    `settled` says that each grant has the `ended` event that follows where an address was contained; null until then.
    `evidence` is all that was said of it, one below the other."""

    incident_id: str
    state: incident.Status
    source: incident.Source
    evidence: str | None
    reported_by: ShownActor
    reported_at: Time
    sha256: str | None
    kind: str | None
    secrets: Annotated[list[Leaked], Meta(description="All that leaked, that one included.")]
    client_id: str | None
    account_id: str | None
    secret_id: str | None
    grant_id: str | None
    contained: Numbers | None
    contained_at: Time | None
    settled: bool | None
    seconds_to_containment: int | None
    closed_at: Time | None
    note: str | None


class Closing(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is left to be said."""

    note: (
        Annotated[str, Meta(max_length=incident.NOTE_MAXIMUM, description="Kept sealed; secrets in it are masked.")]
        | None
    ) = None


@get(
    "/leaks/incidents", **needing(READ, answer={"items": [EXAMPLE], "next": None}), tags=TAGS, summary="List incidents"
)
async def list_incidents(
    asking: Injected[Auditor], stage: IncidentState = None, limit: Limit = DEFAULT, after: After = None
) -> Page[IncidentBody]:
    """The newest first."""
    (position,) = decode_cursor("incidents", after, int) or (None,)

    def read(connection: Connection) -> Page[IncidentBody]:
        found = incidents.page(connection, state=stage, after=position, limit=limit)
        return listed("incidents", found, shown(connection, asking.sources.ledger.privacy, personal=asking.personal))

    page = await asking.sources.ledger.read(read)
    told = any(each.evidence or each.note for each in page.items)
    await asking.record("incidents", {"state": stage}, len(page.items), unsealed=told)
    return page


@get(ONE, **needing(READ, answer=EXAMPLE), tags=TAGS, summary="Read an incident")
async def read_incident(asking: Injected[Auditor], incident_id: parameters.IncidentId) -> IncidentBody:
    """Its events stand in the audit log, on the stream `incident:` and its id."""

    def read(connection: Connection) -> IncidentBody | None:
        found = incidents.by_id(connection, incident_id)
        return (
            None if found is None else shown(connection, asking.sources.ledger.privacy, personal=asking.personal)(found)
        )

    body = await asking.sources.ledger.read(read)
    await _record_one(asking, incident_id, body)
    if body is None:
        raise Missing("There is no such incident.")
    return body


async def _record_one(asking: Auditor, incident_id: str, body: IncidentBody | None) -> None:
    if body is None:
        await asking.record("incidents", {"incident_id": asking.unknown(incident_id)}, 0, unsealed=False)
        return
    told = body.evidence is not None or body.note is not None
    await asking.record("incidents", {"incident_id": incident_id}, 1, unsealed=told)


@post(
    ONE + "/close",
    status_code=200,
    **commanding(WRITE, example={"note": "rotated by the partner"}, answer=EXAMPLE),
    tags=TAGS,
    summary="Close an incident",
)
async def close_incident(
    asking: Injected[Auditor],
    once: Injected[Once],
    incident_id: parameters.IncidentId,
    data: JSONBody[Closing] = Closing(),  # noqa: B008 - nothing in it is ever changed.
) -> Response[IncidentBody]:
    """Contained or not: it may have been a false alarm. A repeat changes nothing; with another note it is 409."""
    services, unchanged = asking.sources, []

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[IncidentBody]:
        found = view.query(incidents.by_id, incident_id)
        if found is None:
            raise AssertionError("what was closed is there")
        body = shown(view.connection, services.ledger.privacy, personal=asking.personal)(found)
        if not recorded:
            unchanged.append(body)
        return Reply(body, personal=("evidence", "note"))

    note = None if data.note is None else masking(*services.format.prefixes).text(data.note)
    try:
        answer = await once.carry_out(close(incident_id, note, services.ledger.privacy), reply=reply)
    except Missing:
        await _record_one(asking, incident_id, None)
        raise
    for body in unchanged:
        # Nothing was closed, and still somebody was shown an incident.
        await _record_one(asking, incident_id, body)
    return answer


def shown(connection: Connection, privacy: Any, *, personal: bool) -> Callable[[incidents.IncidentRow], IncidentBody]:
    """How one reader sees incidents."""
    ended: ended_grants.State = time_travel.folded(connection, ended_grants.STREAM, search.newest(connection)).state
    unsettled = {each.incident_id for each in ended.unsettled}

    def opened(value: str | None) -> str | None:
        try:
            return privacy.open(connection, value) if personal else None
        except SealBroken:
            return None

    def all_opened(values: Iterable[str]) -> str | None:
        found = [text for value in values if (text := opened(value)) is not None]
        return "\n".join(found) if found else None

    def body(row: incidents.IncidentRow) -> IncidentBody:
        after = None if row.contained_at is None else (row.contained_at - row.reported_at) // SECOND
        return schemas.shown(
            IncidentBody,
            row,
            *("reported_at", "contained_at", "closed_at"),
            evidence=all_opened(row.evidence),
            reported_by=ShownActor(row.reported_by.kind, row.reported_by.id, row.reported_by.credential),
            secrets=incidents.secrets_of(connection, row.incident_id),
            contained=None if row.contained_at is None else row.numbers,
            settled=None if row.contained_at is None else row.incident_id not in unsettled,
            seconds_to_containment=after,
            note=opened(row.note),
        )

    return body


ROUTES: list[Any] = [list_incidents, read_incident, close_incident]
