"""Incidents: how far each has come, how long that took, where it was found, who looks after it, and its end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, posted, shown
from api.console.leak_reports import Ended, FoundSecret, called
from api.console.masking import Show, pseudonym, sealed
from api.console.navigation import NavigationEntry, url_of
from api.console.own_api import Query, together
from api.console.pages.event import receipt_of
from api.console.shown_events import Event, EventActor
from api.http.templates import see_other

LIST = "/console/incidents"
ASSIGN = "/console/incidents/assign"
EVIDENCE = "/console/incidents/evidence"
TELL = "/console/incidents/tell"
CLOSE = "/console/incidents/close"
STATES = ("reported", "identified", "contained", "closed")
SOURCES = {
    "administrator": "an administrator",
    "command_line": "the command line",
    "github": "GitHub",
    "gitlab": "GitLab",
    "public_revocation": "somebody who held it",
    "policy": "this server: it was used after its end",
}
TO_DO = (
    "Everything that leaked is in the text that was contained, also older commits and copies.",
    "Whoever uses the secret has the new one, by a way of its own.",
    "What was done with it while it was out has been looked at.",
    "Who was concerned has been told.",
    "The way by which it leaked is closed.",
)
"""What is left to do, in the order of `docs/leaks.md`."""

WATCHED_EVERY = 10
"""Seconds after which a page that is watched looks again."""

LOOKED_AT = 20
"""Secrets of an incident whose later uses are asked for."""

PROVED_AT_MOST = 20
"""Events of an incident's own whose receipts a report has."""


class Leaked(msgspec.Struct, frozen=True):
    """A secret that leaked."""

    sha256: str
    kind: str | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as the API tells it."""

    incident_id: str
    state: str
    source: str
    reported_by: EventActor
    reported_at: str
    evidence: str | None = None
    kind: str | None = None
    secrets: tuple[Leaked, ...] = ()
    client_id: str | None = None
    account_id: str | None = None
    contained: Ended | None = None
    contained_at: str | None = None
    settled: bool | None = None
    seconds_to_containment: int | None = None
    closed_at: str | None = None
    note: str | None = None
    assignee: str | None = None
    names: dict[str, str | None] | UnsetType = UNSET

    @property
    def url(self) -> str:
        """Its page."""
        return f"{LIST}/{self.incident_id}"

    @property
    def leaked(self) -> str:
        """What leaked, in words."""
        return "not known" if self.kind is None else called(self.kind)

    @property
    def about(self) -> str:
        """The client or person that it is about, by name where there is one."""
        if self.client_id is not None:
            return self.name("client", self.client_id)
        return "nobody known" if self.account_id is None else self.name("account", self.account_id)

    @property
    def looked_after_by(self) -> str:
        """Who looks after it."""
        return "nobody" if self.assignee is None else self.name("account", self.assignee)

    @property
    def told_by(self) -> str:
        """Who reported it."""
        kind = "account" if self.reported_by.kind == "person" else self.reported_by.kind
        return self.reported_by.kind if self.reported_by.id is None else self.name(kind, self.reported_by.id)

    def name(self, kind: str, id: str) -> str:
        """What somebody is called now, as far as that is told."""
        names = {} if self.names is UNSET else self.names
        return names.get(f"{kind}:{id}") or (pseudonym(id) if kind == "account" else id)


class IncidentList(msgspec.Struct, frozen=True):
    """A page of incidents."""

    items: tuple[Incident, ...]
    next: str | None = None


class IncidentsPage(ConsolePage, frozen=True, kw_only=True):
    """All of them, or those that have come so far."""

    template: ClassVar[str] = "console/leaks/incidents.html"
    found: IncidentList
    state: str | None
    me: str
    states: tuple[str, ...] = STATES


Stage = Annotated[str | None, QueryParameter(name="state", max_length=20, description="Only those in this state.")]
Further = Annotated[str | None, QueryParameter(name="after", max_length=2_048, description="Where the list goes on.")]
IncidentId = Annotated[str, PathParameter(max_length=128, description="The incident's id.")]
Watch = Annotated[
    Literal["", "1"], QueryParameter(name="watch", description="Has the page look again every ten seconds.")
]
Receipts = Annotated[Literal["", "1"], QueryParameter(name="receipts", description="With the receipts of its events.")]
Pasted = Annotated[str | None, QueryParameter(name="pasted", max_length=40, description="When it was pasted.")]


@get(LIST, **PAGE, summary="Incidents")
async def console_incidents(
    request: Request[Any, Any, Any], stage: Stage = None, after: Further = None, show: Show = ""
) -> Response[bytes]:
    """The newest first."""

    async def make(visit: Visit) -> ConsolePage:
        query = {"state": stage or None, "after": after, "names": "1", **sealed(show)}
        found = await visit.api.get("/leaks/incidents", IncidentList, query)
        me = visit.who.session.account_id
        return IncidentsPage(
            title="Incidents",
            filters=(("State", stage or "any"),),
            found=found,
            state=stage or None,
            me=me,
            personal=show == "1",
        )

    return await shown(request, make)


# One of them.


class Occurrence(msgspec.Struct, frozen=True):
    """A time that somebody told of it."""

    position: int
    at: str
    told_by: EventActor
    source: str | None = None
    evidence: str | None = None
    secrets: tuple[Leaked, ...] = ()

    @property
    def words(self) -> str:
        """From where it was told, or by whom."""
        by = self.told_by
        who = pseudonym(by.id) if by.kind == "person" and by.id else by.kind
        return SOURCES.get(self.source or "", who)


class OccurrenceList(msgspec.Struct, frozen=True):
    """A page of occurrences."""

    items: tuple[Occurrence, ...]
    next: str | None = None


class Informed(msgspec.Struct, frozen=True):
    """That somebody was told of it, by notification or by hand."""

    position: int
    at: str
    type: str
    state: str
    destination: str | None = None
    whom: str | None = None


class InformedList(msgspec.Struct, frozen=True):
    """Who was told, in the order of the log."""

    items: tuple[Informed, ...]
    next: str | None = None


class IncidentEventList(msgspec.Struct, frozen=True):
    """A page of events."""

    items: tuple[Event, ...]
    next: str | None = None


class Reports(msgspec.Struct, frozen=True):
    """What is known of several secrets."""

    items: tuple[FoundSecret, ...]


class Step(NamedTuple):
    """How far it has come: `at` is None for what is still to come, `took` the time since the step before."""

    name: str
    at: str | None
    took: str


class Proved(NamedTuple):
    """An event of the incident's own with the receipt that proves it; empty until it is signed."""

    position: int
    type: str
    receipt: str


class IncidentPage(ConsolePage, frozen=True, kw_only=True):
    """An incident. The forms' tokens are None for who may only look. `receipts` are there when they were asked for, and
    `receipts_url` leads to the page with them; None for who may not read the log."""

    template: ClassVar[str] = "console/leaks/incident.html"
    incident: Incident
    steps: tuple[Step, ...]
    after_paste: str | None
    occurrences: OccurrenceList
    informed: InformedList
    events: IncidentEventList | None
    later: tuple[FoundSecret, ...]
    me: str
    watched: bool
    receipts: tuple[Proved, ...]
    receipts_url: str | None
    assign_csrf: str | None = None
    evidence_csrf: str | None = None
    tell_csrf: str | None = None
    close_csrf: str | None = None
    to_do: tuple[str, ...] = TO_DO


@get(LIST + "/{incident_id:str}", **PAGE, summary="An incident")
async def console_incident(
    request: Request[Any, Any, Any],
    incident_id: IncidentId,
    pasted: Pasted = None,
    watch: Watch = "",
    show: Show = "",
    receipts: Receipts = "",
) -> Response[bytes]:
    """Its clock, what was ended, where it was found, whether anybody tried since, and what is left to do."""

    async def make(visit: Visit) -> ConsolePage:
        page = await _page(visit, incident_id, pasted, watch=watch or None, show=show)
        return page if not receipts else replace(page, receipts=await _receipts(visit, page), receipts_url=None)

    return await shown(request, make)


async def _receipts(visit: Visit, page: IncidentPage) -> tuple[Proved, ...]:
    """What proves each of the incident's own events, for its report."""
    events = () if page.events is None else page.events.items
    own = [each for each in events if each.type.startswith("incident.")][:PROVED_AT_MOST]
    return tuple([Proved(each.position, each.type, (await receipt_of(visit, each.position))[0]) for each in own])


async def _page(visit: Visit, incident_id: str, pasted: str | None, *, watch: str | None, show: str) -> IncidentPage:
    where, how = f"/leaks/incidents/{incident_id}", {"watch": watch, **sealed(show)}
    query: Query = {"incident_id": incident_id, "names": "1", "order": "asc", "limit": 100, **how}
    incident, occurrences, informed, events = await together(
        visit.api.get(where, Incident, {"names": "1", **how}),
        visit.api.get(f"{where}/occurrences", OccurrenceList, {"limit": 100, **how}),
        visit.api.get(f"{where}/told", InformedList, {"limit": 100, **how}),
        _events(visit, query),
    )
    writes = "leaks:write" in visit.may and incident.state != "closed"
    return IncidentPage(
        title=f"Incident: {incident.about}",
        incident=incident,
        steps=_steps(incident, () if events is None else events.items),
        after_paste=_took(pasted, incident.contained_at) if pasted and incident.contained_at else None,
        occurrences=occurrences,
        informed=informed,
        events=events,
        later=await _later(visit, incident, watch),
        personal=show == "1",
        me=visit.who.session.account_id,
        watched=watch is not None,
        receipts=(),
        receipts_url=None if events is None else f"{incident.url}?receipts=1{'&show=1' if show == '1' else ''}",
        refresh=None if watch is None else WATCHED_EVERY,
        assign_csrf=visit.token(ASSIGN) if writes else None,
        evidence_csrf=visit.token(EVIDENCE) if writes else None,
        tell_csrf=visit.token(TELL) if writes else None,
        close_csrf=visit.token(CLOSE) if writes else None,
    )


async def _events(visit: Visit, query: Query) -> IncidentEventList | None:
    if "audit:read" not in visit.may:
        return None
    return await visit.api.get("/audit/events", IncidentEventList, query)


async def _later(visit: Visit, incident: Incident, watch: str | None) -> tuple[FoundSecret, ...]:
    """What leaked, with its uses after its end, those first that were tried most."""
    if not incident.secrets:
        return ()
    asked = {"items": [{"sha256": each.sha256} for each in incident.secrets[:LOOKED_AT]]}
    query: Query = {"counts": "0", "watch": watch, **sealed()}
    found = await visit.api.send("POST", "/leaks/investigate", Reports, asked, query=query, tell=True)
    return tuple(sorted(found.items, key=lambda each: -each.uses_after_end))


def _steps(incident: Incident, events: Sequence[Event]) -> tuple[Step, ...]:
    identified = next((each.time for each in events if each.type == "incident.identified"), None)
    reached = (incident.reported_at, identified, incident.contained_at, incident.closed_at)
    steps: list[Step] = []
    before: str | None = None
    for name, at in zip(STATES, reached, strict=True):
        steps.append(Step(name, at, _took(before, at) if before and at else ""))
        before = at or before
    return tuple(steps)


def _took(since: str, until: str) -> str:
    """The time between two moments, in words; nothing for what is no moment, or the wrong way round."""
    try:
        seconds = (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 0:
        return ""
    if seconds < 0.05:
        return "no time"
    whole = round(seconds)
    if whole < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, hours = whole // 60, whole // 3_600
    return f"{minutes:,} min" if minutes < 120 else f"{hours:,} h" if hours < 72 else f"{hours // 24:,} days"


# What is done with it.


class AssignForm(ConsoleForm, frozen=True):
    """Who looks after it; nobody for an empty id."""

    incident_id: Annotated[str, Meta(max_length=128)] = ""
    assignee: Annotated[str, Meta(max_length=128)] = ""


class EvidenceForm(ConsoleForm, frozen=True):
    """What else is known of it."""

    incident_id: Annotated[str, Meta(max_length=128)] = ""
    evidence: Annotated[str, Meta(max_length=8_000)] = ""


class TellForm(ConsoleForm, frozen=True):
    """Who was told of it, and how."""

    incident_id: Annotated[str, Meta(max_length=128)] = ""
    whom: Annotated[str, Meta(max_length=500)] = ""


class CloseForm(ConsoleForm, frozen=True):
    """What is left to be said."""

    incident_id: Annotated[str, Meta(max_length=128)] = ""
    note: Annotated[str, Meta(max_length=2_000)] = ""


@post(ASSIGN, **FORM, summary="Says who looks after an incident")
async def console_incident_assigned(request: Request[Any, Any, Any], data: JSONBody[AssignForm]) -> Response[bytes]:
    """A person, by id, or nobody."""
    return await _changed(request, data, "PATCH", "", {"assignee": data.assignee.strip() or None})


@post(EVIDENCE, **FORM, summary="Says more of an incident")
async def console_incident_told(request: Request[Any, Any, Any], data: JSONBody[EvidenceForm]) -> Response[bytes]:
    """Another occurrence."""
    return await _changed(request, data, "POST", "/evidence", {"evidence": data.evidence})


@post(TELL, **FORM, summary="Says who was told of an incident")
async def console_incident_somebody_told(request: Request[Any, Any, Any], data: JSONBody[TellForm]) -> Response[bytes]:
    """By hand."""
    return await _changed(request, data, "POST", "/told", {"whom": data.whom})


@post(CLOSE, **FORM, summary="Closes an incident")
async def console_incident_closed(request: Request[Any, Any, Any], data: JSONBody[CloseForm]) -> Response[bytes]:
    """Contained or not."""
    return await _changed(request, data, "POST", "/close", {"note": data.note} if data.note.strip() else {})


async def _changed(
    request: Request[Any, Any, Any],
    form: AssignForm | EvidenceForm | TellForm | CloseForm,
    method: str,
    verb: str,
    body: dict[str, Any],
) -> Response[bytes]:
    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        await visit.api.send(method, f"/leaks/incidents/{form.incident_id}{verb}", Incident, body)
        return see_other(url_of("incident", form.incident_id))

    return await posted(request, form, make, back=LIST)


ROUTES: list[Any] = [
    console_incidents,
    console_incident,
    console_incident_assigned,
    console_incident_told,
    console_incident_somebody_told,
    console_incident_closed,
]
NAVIGATION = (NavigationEntry(50, "Incidents", LIST, ("leaks:read",)),)
THINGS = {"incident": LIST + "/{}"}
