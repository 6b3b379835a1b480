"""Incidents: what leaked, who reported it, what was done and how long it took."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from api.admin.bodies import members
from api.admin.bodies.members import Time, listed
from api.admin.idempotency import Once, Reply, commanding
from api.audit.filters import PERSONAL, WithNames
from api.audit.list_exports import WholeList, whole_list
from api.audit.queries.auditor import Auditor
from api.audit.rendering import NameLookup, ShownActor
from api.http import parameters
from api.http.errors import InvalidRequest, Missing
from api.http.parameters import DEFAULT, LARGEST, After, Limit, Page, decode_cursor, page
from api.http.whole_lists import FILE, AsFormat, LongAnswer
from api.oauth.bearer import needing
from api.services import Injected
from commands.incidents import add_evidence, assign, close
from domain import account, client, ended_grants, incident
from domain.event import SECOND, Recorded, sealed
from domain.incident import Leaked, Numbers
from eventstore import search, time_travel
from eventstore.database import Connection
from eventstore.execution import Single
from eventstore.personal_data import PersonalData
from eventstore.view import View
from projections import incidents
from security.clock import format_rfc3339
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
    "assignee": "5Hc9pTn3WfKe7uJx0ZaQ4r",
}

IncidentState = Annotated[
    Literal["reported", "identified", "contained", "closed"] | None,
    QueryParameter(name="state", description="Only those that have come this far."),
]


class IncidentBody(msgspec.Struct, frozen=True, kw_only=True):
    """An incident. `contained` is null until something was ended; `evidence` and `note` need `audit:personal`.
    `settled` says that each grant has the `ended` event that follows where an address was contained; null until then.
    `evidence` is all that was said of it, one below the other; `assignee` the id of who looks after it. `names` are
    there when they were asked for: what the clients and people in it are called now."""

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
    assignee: str | None
    names: dict[str, str | None] | UnsetType = UNSET


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
    asking: Injected[Auditor],
    stage: IncidentState = None,
    limit: Limit = DEFAULT,
    after: After = None,
    named: WithNames = "0",
) -> Page[IncidentBody]:
    """The newest first."""
    page = await _portion(asking, stage, limit, after, named)
    told = any(_tells(each) for each in page.items)
    await asking.record("incidents", {"state": stage}, len(page.items), unsealed=told)
    return page


@get("/leaks/incidents/export", **needing(READ, **FILE), tags=TAGS, summary="Export the list of incidents")
async def export_incidents(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    stage: IncidentState = None,
    named: WithNames = "0",
    form: AsFormat = "jsonl",
) -> LongAnswer:
    """All of the list, of any length; one incident a line."""
    portion = partial(_portion, asking, stage, LARGEST, named=named)
    also = (PERSONAL,) if asking.personal else ()
    wanted = WholeList("incidents", form, {"state": stage}, unsealed=asking.personal, also=also)
    return await whole_list(request, wanted, IncidentBody, portion)


async def _portion(
    asking: Auditor, stage: incident.Status | None, limit: int, after: str | None, named: str
) -> Page[IncidentBody]:
    (position,) = decode_cursor("incidents", after, int) or (None,)

    def read(connection: Connection) -> Page[IncidentBody]:
        found = incidents.page(connection, state=stage, after=position, limit=limit)
        return listed("incidents", found, _shown(connection, asking, named))

    return await asking.sources.ledger.read(read)


@get(ONE, **needing(READ, answer=EXAMPLE), tags=TAGS, summary="Read an incident")
async def read_incident(
    asking: Injected[Auditor], incident_id: parameters.IncidentId, named: WithNames = "0"
) -> IncidentBody:
    """Its events stand in the audit log, on the stream `incident:` and its id."""

    def read(connection: Connection) -> IncidentBody | None:
        found = incidents.by_id(connection, incident_id)
        return None if found is None else _shown(connection, asking, named)(found)

    body = await asking.sources.ledger.read(read)
    await record_one(asking, incident_id, body)
    if body is None:
        raise Missing("There is no such incident.")
    return body


async def record_one(asking: Auditor, incident_id: str, body: IncidentBody | None) -> None:
    """Records that somebody was shown an incident, or asked for one that there is not."""
    if body is None:
        await asking.record("incidents", {"incident_id": asking.unknown(incident_id)}, 0, unsealed=False)
        return
    await asking.record("incidents", {"incident_id": incident_id}, 1, unsealed=_tells(body))


def _tells(body: IncidentBody) -> bool:
    """Whether somebody who reads it is shown anything personal."""
    named = body.names or {}
    called = any(name is not None for stream, name in named.items() if stream.startswith("account:"))
    return body.evidence is not None or body.note is not None or called


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
    note = None if data.note is None else masked(asking, data.note)
    return await carried_out(asking, once, incident_id, close(incident_id, note, asking.sources.ledger.privacy))


class IncidentPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A JSON merge patch (RFC 7386)."""

    assignee: (
        Annotated[str, Meta(min_length=1, max_length=parameters.LONGEST_ID, description="The id of a person.")]
        | UnsetType
        | None
    ) = UNSET


@patch(
    ONE,
    **commanding(WRITE, example={"assignee": "5Hc9pTn3WfKe7uJx0ZaQ4r"}, answer=EXAMPLE),
    tags=TAGS,
    summary="Say who looks after an incident",
)
async def change_incident(
    asking: Injected[Auditor], once: Injected[Once], incident_id: parameters.IncidentId, data: JSONBody[IncidentPatch]
) -> Response[IncidentBody]:
    """`null` is nobody. What is closed keeps the one who looked after it: 409."""
    if data.assignee is UNSET:
        raise InvalidRequest.field("assignee", "is missing")
    return await carried_out(asking, once, incident_id, assign(incident_id, data.assignee))


class MoreEvidence(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What else is known of it."""

    evidence: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=incident.WRITTEN_MAXIMUM,
            description="Where else it was found, or what was done; kept sealed, secrets in it masked.",
        ),
    ]


@post(
    ONE + "/evidence",
    status_code=200,
    **commanding(WRITE, example={"evidence": "also in a chat"}, answer=EXAMPLE),
    tags=TAGS,
    summary="Say more of an incident",
)
async def add_to_incident(
    asking: Injected[Auditor], once: Injected[Once], incident_id: parameters.IncidentId, data: JSONBody[MoreEvidence]
) -> Response[IncidentBody]:
    """It is kept below what was said before, and is an occurrence of its own. What is closed takes no more: 409."""
    return await carried_out(asking, once, incident_id, add_evidence(incident_id, masked(asking, data.evidence)))


def masked(asking: Auditor, text: str) -> str:
    """Masks secrets in what somebody wrote."""
    return masking(*asking.sources.format.prefixes).text(text)


async def carried_out(asking: Auditor, once: Once, incident_id: str, command: Single) -> Response[IncidentBody]:
    """Carries a command out and answers the incident after it. To be shown it without having changed it is a read."""
    unchanged: list[IncidentBody] = []

    def reply(view: View, recorded: tuple[Recorded, ...]) -> Reply[IncidentBody]:
        found = view.query(incidents.by_id, incident_id)
        if found is None:
            raise AssertionError("what was changed is there")
        body = _shown(view.connection, asking, "0")(found)
        if not recorded:
            unchanged.append(body)
        return Reply(body, personal=("evidence", "note"))

    try:
        answer = await once.carry_out(command, reply=reply)
    except Missing:
        await record_one(asking, incident_id, None)
        raise
    for body in unchanged:
        # Nothing was done, and still somebody was shown an incident.
        await record_one(asking, incident_id, body)
    return answer


# Where it was found: every report of it, with what was said and which secrets came with it.

OCCURRENCE: dict[str, Any] = {
    "position": 4711,
    "at": "2026-02-01T02:58:00.000000Z",
    "source": "github",
    "told_by": {"kind": "system", "id": None, "credential": None},
    "evidence": "https://github.com/partner/prints/blob/4f1a/config.php",
    "secrets": EXAMPLE["secrets"],
}


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """A time that somebody told of it. `source` is there for the first; `evidence` needs `audit:personal`."""

    position: int
    at: Time
    source: incident.Source | None
    told_by: ShownActor
    evidence: str | None
    secrets: list[Leaked]


@get(
    ONE + "/occurrences",
    **needing(READ, answer={"items": [OCCURRENCE], "next": None}),
    tags=TAGS,
    summary="Where what leaked was found",
)
async def list_occurrences(
    asking: Injected[Auditor], incident_id: parameters.IncidentId, limit: Limit = DEFAULT, after: After = None
) -> Page[Occurrence]:
    """Every report of it, the first one first."""
    (position,) = decode_cursor("occurrences", after, int) or (0,)
    rows = await asking.sources.ledger.read(_occurrences, asking, incident_id, position, limit + 1)
    if rows is None:
        await record_one(asking, incident_id, None)
        raise Missing("There is no such incident.")
    found = page(rows, limit, kind="occurrences", key=lambda each: (each.position,), item=lambda each: each)
    told = any(each.evidence is not None for each in found.items)
    asked: dict[str, str | None] = {"incident_id": incident_id, "page": "occurrences"}
    await asking.record("incidents", asked, len(found.items), unsealed=told)
    return found


def _occurrences(
    connection: Connection, asking: Auditor, incident_id: str, after: int, most: int
) -> Sequence[Occurrence] | None:
    if incidents.by_id(connection, incident_id) is None:
        return None
    opened = opening(connection, asking.sources.ledger.privacy, personal=asking.personal)
    told = time_travel.history(connection, incident.stream(incident_id))
    return list(islice((each for each in _told(told, opened) if each.position > after), most))


def _told(history: Iterable[Recorded], opened: Callable[[Any], str | None]) -> Iterator[Occurrence]:
    for each in history:
        event, source, secrets = each.event, None, []
        match event:
            case incident.IncidentReported():
                source = event.source
                secrets = [] if event.sha256 is None else [Leaked(event.sha256, event.kind)]
            case incident.SecretsAdded():
                secrets = list(event.secrets)
            case incident.EvidenceAdded():
                pass
            case _:
                continue
        yield Occurrence(
            position=each.position,
            at=format_rfc3339(each.time),
            source=source,
            told_by=ShownActor(each.actor.kind, each.actor.id, each.actor.credential),
            evidence=None if isinstance(event, incident.SecretsAdded) else opened(sealed(each, "evidence")),
            secrets=secrets,
        )


def opening(connection: Connection, privacy: PersonalData, *, personal: bool) -> Callable[[Any], str | None]:
    """Opens sealed values for one reader; None for what they may not see, or what cannot be opened."""

    def opened(value: Any) -> str | None:
        try:
            return privacy.open(connection, value) if personal else None
        except SealBroken:
            return None

    return opened


def _shown(connection: Connection, asking: Auditor, named: str) -> Callable[[incidents.IncidentRow], IncidentBody]:
    return shown(connection, asking.sources.ledger.privacy, personal=asking.personal, names=named == "1")


def shown(
    connection: Connection, privacy: PersonalData, *, personal: bool, names: bool = False
) -> Callable[[incidents.IncidentRow], IncidentBody]:
    """How one reader sees incidents, with what the clients and people in them are called now where it is wanted."""
    ended: ended_grants.State = time_travel.folded(connection, ended_grants.STREAM, search.newest(connection)).state
    unsettled = {each.incident_id for each in ended.unsettled}

    opened = opening(connection, privacy, personal=personal)
    lookup = NameLookup(privacy, connection, personal=personal) if names else None

    def all_opened(values: Iterable[str]) -> str | None:
        found = [text for value in values if (text := opened(value)) is not None]
        return "\n".join(found) if found else None

    def body(row: incidents.IncidentRow) -> IncidentBody:
        after = None if row.contained_at is None else (row.contained_at - row.reported_at) // SECOND
        return members.shown(
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
            names=UNSET if lookup is None else {each: lookup.name(each) for each in _named_in(row)},
        )

    return body


def _named_in(row: incidents.IncidentRow) -> Iterator[str]:
    """The streams of the clients and people that an incident names, each once."""
    by = row.reported_by
    found = [
        (client.stream, row.client_id),
        (account.stream, row.account_id),
        (account.stream, row.assignee),
        (account.stream, by.id if by.kind == "person" else None),
        (client.stream, by.id if by.kind == "client" else None),
    ]
    yield from dict.fromkeys(stream(each) for stream, each in found if each is not None)


ROUTES: list[Any] = [
    list_incidents,
    export_incidents,
    read_incident,
    change_incident,
    add_to_incident,
    list_occurrences,
    close_incident,
]
