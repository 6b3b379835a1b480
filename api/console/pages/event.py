"""One event: what it says, who acted, what changed, what is around it, and the proof that it is in the log."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter

from api.console.frame import ConsolePage, Visit
from api.console.gate import PAGE, handing_on, passed_through, shown
from api.console.masking import sealed, without_ids
from api.console.navigation import url_of
from api.console.own_api import Query, Refused, together
from api.console.shown_events import Event
from api.http.parameters import spelled

EVENT = "/console/events/{position:int}"
MINUTES = 5

Position = Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="Its place in the log.")]
Show = Annotated[str | None, QueryParameter(name="show", max_length=1, description="`1`: with personal values.")]

_LEADS = {
    "client_id": "client",
    "seen_by": "client",
    "account_id": "person",
    "grant_id": "grant",
    "incident_id": "incident",
}
_DIGESTS = frozenset({"access_token", "refresh_token", "code"})
"""Members that hold the SHA-256 of what has a page of its own; so does `sha256` of a client's secret."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Member(NamedTuple):
    """One member of the event. `was` is what it was before where the event tells of a change; `url` leads to what it
    names, `called` is how that is called now."""

    path: str
    value: str
    was: str | None = None
    url: str | None = None
    called: str | None = None
    hidden: str | None = None


class Around(NamedTuple):
    """A way to what is around the event."""

    words: str
    url: str


class EventPage(ConsolePage, frozen=True, kw_only=True):
    """`show_url` leads to the same with personal values, None where there are none to be shown. `receipt` proves the
    event; without one `unproved` says why: `unsigned` or `differs`."""

    template: ClassVar[str] = "console/log/event.html"
    event: Event
    stream: str
    actor: tuple[Member, ...]
    members: tuple[Member, ...]
    changes: tuple[Member, ...]
    around: tuple[Around, ...]
    raw: str
    show_url: str | None
    receipt_url: str
    receipt: str = ""
    unproved: str = ""


async def _event(visit: Visit, position: int, query: Query) -> Event:
    """The event, with what its actor held then. Where that stands in an archive that cannot be read at present, the
    event alone."""
    try:
        return await visit.api.get(f"/audit/events/{position}", Event, {**query, "ground": "1"})
    except Refused as refused:
        if refused.problem.reason != "archive_away":
            raise
        return await visit.api.get(f"/audit/events/{position}", Event, query)


async def receipt_of(visit: Visit, position: int) -> tuple[str, str]:
    """The receipt of an event, or why there is none: `unsigned` or `differs`."""
    try:
        return (await visit.api.call("GET", f"/audit/proofs/{position}")).body.decode(), ""
    except Refused as refused:
        if refused.status == 404:
            return "", "unsigned"
        if refused.problem.reason == "log_diverged":
            return "", "differs"
        raise


def _said(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The members of a value by their paths, those of objects within it too."""
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from flat(each, f"{path}.{name}" if path else name)
    else:
        yield path, value


def changes_in(data: Mapping[str, Any]) -> tuple[Member, ...]:
    """What an event says that something was and is, member by member: those that hold `old` and `new`."""
    old, new = data.get("old"), data.get("new")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return ()
    names = dict.fromkeys([*old, *new])
    return tuple(Member(name, _said(new.get(name)), was=_said(old.get(name))) for name in names)


def _kind_of(type: str, name: str, value: Any) -> str | None:
    """What a member names that has a page of its own, as `url_of` knows it."""
    named = name in _DIGESTS or (name == "sha256" and type.startswith("client.secret_"))
    if named and isinstance(value, str) and _DIGEST.fullmatch(value):
        return "digest"
    return _LEADS.get(name)


def members_of(event: Event) -> tuple[Member, ...]:
    """What the event holds beside its changes."""
    found = []
    plain = {name: value for name, value in event.data.items() if name not in ("old", "new")}
    for path, value in flat(plain):
        at = f"data.{path}"
        hidden = "erased" if at in event.erased else "masked" if at in event.sealed else None
        kind = _kind_of(event.type, path.rpartition(".")[2], value)
        url = url_of(kind, value) if kind is not None and isinstance(value, str) else None
        called = event.name(value) if isinstance(value, str) else None
        found.append(Member(path, _said(value), url=url, called=called, hidden=hidden))
    return tuple(found)


def actor_of(event: Event) -> tuple[Member, ...]:
    """Who acted, with what and from where."""
    found = [Member("kind", event.actor.kind)]
    if event.actor.id is not None:
        kind = event.actor.kind if event.actor.kind in ("person", "client") else None
        url = None if kind is None else url_of(kind, event.actor.id)
        found.append(Member("id", event.actor.id, url=url, called=event.name(event.actor.id)))
    for name, value in (event.actor.credential or {}).items():
        kind = _LEADS.get(name)
        found.append(Member(name, _said(value), url=None if kind is None else url_of(kind, _said(value))))
    for name, said in (("ip", event.ip), ("user_agent", event.user_agent)):
        hidden = "erased" if name in event.erased else "masked" if name in event.sealed else None
        if said is not None or hidden is not None:
            found.append(Member(name.replace("_", " "), _said(said), hidden=hidden))
    return tuple(found)


def masked(members: tuple[Member, ...], people: Sequence[str]) -> tuple[Member, ...]:
    """The same, with no more of these people's ids than their ends."""
    return tuple(
        each._replace(
            value=without_ids(each.value, people), was=None if each.was is None else without_ids(each.was, people)
        )
        for each in members
    )


def around_of(event: Event) -> tuple[Around, ...]:
    """Ways from here. None of it is asked for before somebody goes there: a read is an event."""
    ways = [Around("Next", f"/console/events/{event.position + 1}")]
    if event.position > 1:
        ways.insert(0, Around("Previous", f"/console/events/{event.position - 1}"))
    if event.request_id is not None:
        ways.append(
            Around(
                "All of this request", f"/console/audit?{urlencode({'request_id': event.request_id, 'range': 'all'})}"
            )
        )
    kind, _, id = event.stream.partition(":")
    filter_name = {"client": "client_id", "account": "account_id", "grant": "grant_id", "incident": "incident_id"}.get(
        kind
    )
    if filter_name is not None:
        words = {"account": "person"}.get(kind, kind)
        ways.append(Around(f"All of this {words}", f"/console/audit?{urlencode({filter_name: id, 'range': 'all'})}"))
    if kind == "usage" and _DIGEST.fullmatch(id):
        ways.append(Around("The token", url_of("digest", id)))
    if event.actor.kind == "person" and event.actor.id is not None:
        query = urlencode({"by_account_id": event.actor.id, "range": "all"})
        ways.append(Around("All that this person did", f"/console/audit?{query}"))
    at = datetime.fromisoformat(event.time.replace("Z", "+00:00"))
    since, until = (
        (at + timedelta(minutes=each)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        for each in (-MINUTES, MINUTES)
    )
    ways.append(
        Around(f"\N{PLUS-MINUS SIGN}{MINUTES} min", f"/console/audit?{urlencode({'since': since, 'until': until})}")
    )
    return tuple(ways)


@get(EVENT, **PAGE, summary="An event")
async def console_event(request: Request[Any, Any, Any], position: Position, show: Show = None) -> Response[bytes]:
    """What one event says. Personal values stay sealed, unless somebody wants to see them, which is an event that says
    so."""
    spelled(request.scope["path"], position)

    async def make(visit: Visit) -> ConsolePage:
        event, (receipt, unproved) = await together(
            _event(visit, position, {"names": "1", **sealed(show or "")}), receipt_of(visit, position)
        )
        may_show = show != "1" and event.sealed and "audit:personal" in visit.may
        people = () if show == "1" else event.people
        return EventPage(
            title=f"Event {position}",
            event=event,
            stream=without_ids(event.stream, people),
            actor=masked(actor_of(event), people),
            members=masked(members_of(event), people),
            changes=masked(changes_in(event.data), people),
            around=around_of(event),
            raw=without_ids(json.dumps(event.data, ensure_ascii=False, indent=2), people),
            show_url=f"/console/events/{position}?show=1" if may_show else None,
            receipt_url=f"/console/events/{position}/receipt",
            receipt=receipt,
            unproved=unproved,
        )

    return await shown(request, make)


@get(EVENT + "/receipt", **handing_on("text/plain"), summary="The receipt of an event")
async def console_receipt(request: Request[Any, Any, Any], position: Position) -> Response[bytes]:
    """`GET /audit/proofs/{position}`: what proves the event when this server is gone."""
    spelled(request.scope["path"], position)

    async def make(visit: Visit) -> Response[bytes]:
        return passed_through(visit, f"/audit/proofs/{position}", back=f"/console/events/{position}")

    return await shown(request, make)


ROUTES: list[Any] = [console_event, console_receipt]
THINGS = {"position": "/console/events/{}"}
