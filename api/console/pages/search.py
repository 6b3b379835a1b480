"""Searching the log: a line of filters, how many events there are when, and each of them as a sentence."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.console.event_kinds import EventKinds, KindGroup, groups_of
from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, handing_on, passed_through, posted, shown
from api.console.histogram import Counts, Histogram, drawn
from api.console.masking import sealed
from api.console.navigation import NavigationEntry
from api.console.own_api import together
from api.console.pages.clients import client_names
from api.console.pages.find import FoundThings
from api.console.pages.search_names import NAMES
from api.console.ready_searches import READY, ReadySearch
from api.console.sealed_addresses import is_bare, opened_addresses, sealed_addresses
from api.console.search_links import (
    Chip,
    Choice,
    Ways,
    chips,
    clients_named,
    filters_alone,
    filters_told,
    reads,
    switch,
    unnamed_clients,
    ways,
)
from api.console.searching import (
    EARLIEST,
    FILTERS,
    KEPT,
    NAMED,
    Given,
    UnknownFilter,
    address_of,
    asked_of_api,
    instant,
    kept_of,
    line_of,
    nameable,
    parsed,
    read_address,
    read_line,
    step_for,
    to_the_second,
    written,
)
from api.console.shown_events import Event
from api.http.templates import see_other

SEARCH = "/console/audit"
LINE = "/console/audit/line"
EXPORT = "/console/audit/export"
LIMIT = "100"
LONGEST_LINE = 4_000
LONGEST_CALLED = 4 * LONGEST_LINE
ID_LENGTH = 22
FILTERED: dict[str, Any] = {**PAGE, "opt": {**PAGE["opt"], "repeatable": FILTERS}}
EXPORTED = ("application/jsonl", "text/csv", "application/zip", "text/html")
"""A page where what was asked for is no search."""

FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "proof": "with proof", "package": "to take away"}


class Events(msgspec.Struct, frozen=True):
    """A page of the list."""

    items: tuple[Event, ...]
    next: str | None = None


class SearchPage(ConsolePage, frozen=True, kw_only=True):
    """`fault` says what is wrong with what was asked; then nothing is shown, never everything. `called` are the clients
    that the line names, by their ids."""

    template: ClassVar[str] = "console/log/search.html"
    line: str
    csrf: str
    fault: str | None = None
    kept: str = ""
    called: str = ""
    since: str = ""
    until: str = ""
    chips: tuple[Chip, ...] = ()
    ways: Ways | None = None
    kinds: tuple[KindGroup, ...] = ()
    ready: tuple[ReadySearch, ...] = READY
    names_csrf: str = ""
    named: tuple[tuple[str, str], ...] = ()
    reads: Choice | None = None
    show: Choice | None = None
    histogram: Histogram | None = None
    events: tuple[Event, ...] = ()
    next_url: str | None = None
    first_url: str | None = None
    exports: tuple[Choice, ...] = ()
    live_url: str | None = None


def _read(visit: Visit, query: str) -> tuple[Given, Given]:
    """The search of an address, and the same as the API takes it. Raises `UnknownFilter`."""
    given = read_address(query)
    for each in (*given.get("since", ()), *given.get("until", ())):
        parsed(each)
    return given, opened_addresses(visit.services.keyring, given)


async def _search(visit: Visit, query: str) -> ConsolePage | Response[bytes]:
    csrf = visit.token(LINE)
    try:
        given, plain = _read(visit, query)
        if is_bare(given):
            return see_other(address_of(sealed_addresses(visit.services.keyring, given)))
    except UnknownFilter as unknown:
        return SearchPage(title="Search the log", line="", csrf=csrf, names_csrf=visit.token(NAMES), fault=str(unknown))
    now = datetime.fromtimestamp(visit.services.ledger.clock.now() / 1_000_000, UTC)
    asked = asked_of_api(plain, now)
    personal = sealed("1" if "show" in given else "")
    order = given.get("order", ["desc"])
    listed = {"from": given.get("from", []), "after": given.get("after", []), "order": order, "limit": [LIMIT]}
    found, kinds, counts = await together(
        visit.api.get("/audit/events", Events, {**asked, **listed, **personal, "names": "1"}),
        visit.api.get("/audit/event-types", EventKinds),
        _counted(visit, given, asked, now),
    )
    clients = await client_names(visit, unnamed_clients(given, found.items))
    # The next page is of the same stretch of time, whenever it is asked for.
    pinned = {name: values for name, values in given.items() if name != "range"}
    pinned |= {"since": asked["since"]} if "since" in asked else {}
    on = chips(given, found.items, clients)
    line, called = _line(given, dict(clients_named(found.items)) | clients)
    return SearchPage(
        title="Search the log",
        filters=filters_told(given, asked, now, on),
        line=line,
        csrf=csrf,
        kept=kept_of(given),
        called=urlencode(called),
        since=to_the_second(given["since"][0], end=False) if "since" in given else "",
        until=to_the_second(given["until"][0], end=True) if "until" in given else "",
        chips=on,
        ways=ways(given, asked, now, _reaches(found, order, now)),
        reads=reads(given),
        show=switch(given, "show", "Hide personal values", "Show personal values")
        if "audit:personal" in visit.may
        else None,
        kinds=groups_of(kinds.items, given, None if counts is None else counts.by_type),
        names_csrf=visit.token(NAMES),
        named=clients_named(found.items),
        histogram=None if counts is None else drawn(counts, given),
        events=found.items,
        next_url=None if found.next is None else address_of({**pinned, "after": [found.next]}),
        first_url=address_of({n: v for n, v in given.items() if n != "after"}) if "after" in given else None,
        exports=tuple(
            Choice(words, f"{EXPORT}?{address_of(pinned).partition('?')[2]}&format={name}".replace("?&", "?"), False)
            for name, words in FORMATS.items()
        ),
        live_url="/console/live" + address_of(filters_alone(given)).removeprefix(SEARCH),
    )


def _line(given: Given, clients: Mapping[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """The line, by names as its chips are, and which clients those are."""
    asked = {each for name, values in given.items() if NAMED.get(name) == "client" for each in values}
    known = nameable({id: name for id, name in clients.items() if id in asked})
    line, called = line_of(given, known), list(known.items())
    # What the page's own form could not send back is told by ids.
    fits = len(line) <= LONGEST_LINE and len(urlencode(called)) <= LONGEST_CALLED
    return (line, called) if fits else (line_of(given), [])


def _reaches(found: Events, order: Sequence[str], now: datetime) -> datetime:
    """The time of the newest event of a list: what came since then, however short before `now`, is none of it. Anyone
    who begins with the oldest and has not seen all yet goes on to what there is now."""
    newest = max((parsed(each.time) for each in found.items), default=now)
    return max(newest, now) if found.next is not None and order == ["asc"] else newest


async def _counted(visit: Visit, given: Given, asked: Given, now: datetime) -> Counts | None:
    """How many events there were when, or all together where no time begins it. What shows another page of the same
    list need not count it once more, and each count is an event."""
    if "after" in given or "from" in given:
        return None
    if "since" not in asked:
        return await visit.api.get("/audit/counts", Counts, {**asked, "since": written(EARLIEST), "by": "type"})
    since, until = parsed(asked["since"][0]), parsed(asked["until"][0]) if "until" in asked else now
    step = step_for(max(60.0, (until - since).total_seconds()))
    return await visit.api.get("/audit/counts", Counts, {**asked, "step": str(step), "by": "type"})


@get(SEARCH, **FILTERED, summary="Searching the log")
async def console_search(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Events by filters. The parameters are those of `GET /audit/events`; one that there is not shows nothing."""
    query = request.scope["query_string"].decode("latin-1")
    return await shown(request, lambda visit: _search(visit, query))


class LineForm(ConsoleForm, frozen=True):
    """The line, and the times beside it; `kept` is what the address before said beside filters and times, and `called`
    which clients the line of the page named."""

    line: Annotated[str, Meta(max_length=LONGEST_LINE)] = ""
    called: Annotated[str, Meta(max_length=LONGEST_CALLED)] = ""
    since: Annotated[str, Meta(max_length=40)] = ""
    until: Annotated[str, Meta(max_length=40)] = ""
    kept: Annotated[str, Meta(max_length=200)] = ""


@post(LINE, **FORM, summary="What a line of filters stands for")
async def console_search_line(request: Request[Any, Any, Any], data: JSONBody[LineForm]) -> Response[bytes]:
    """To the search that the line asks for; names become ids, so that none stands in an address."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        try:
            return see_other(address_of(await _resolved(visit, data)))
        except UnknownFilter as unknown:
            return SearchPage(
                title="Search the log",
                line=data.line,
                csrf=visit.token(LINE),
                names_csrf=visit.token(NAMES),
                fault=str(unknown),
                kept=data.kept,
                called=data.called,
                since=data.since,
                until=data.until,
            )

    return await posted(request, data, make, back=SEARCH)


async def _resolved(visit: Visit, data: LineForm) -> Given:
    given = {name: values for name, values in read_address(data.kept).items() if name in KEPT}
    known = {name: id for id, name in parse_qsl(data.called)}
    for name, value, quoted in read_line(data.line):
        if quoted and NAMED.get(name) == "client" and value in known:
            given.setdefault(name, []).append(known[value])
        elif name in ("since", "until"):
            given[name] = [instant(value, end=name == "until")]
        elif not name or name in NAMED:
            for filter_name, each in await _named(visit, name, value, quoted=quoted):
                given.setdefault(filter_name, []).append(each)
        else:
            given.setdefault(name, []).append(value)
    # What the line says goes before what the fields still hold of the search before.
    if data.since and "since" not in given:
        given["since"] = [instant(data.since, end=False)]
    if data.until and "until" not in given:
        # Browsers leave seconds out where they are none (HTML §4.10.5.1.11).
        seconds = ":00" if len(data.until) == 16 else ""
        given["until"] = [instant(data.until + seconds, end=True)]
    if "since" in given or "until" in given:
        given.pop("range", None)
    return sealed_addresses(visit.services.keyring, given)


_OF_KIND = {"client": "client_id", "person": "account_id", "grant": "grant_id", "request": "request_id"}
_OF_KIND |= {"incident": "incident_id", "position": "from"}


async def _named(visit: Visit, name: str, value: str, *, quoted: bool) -> list[tuple[str, str]]:
    """The ids of what is called so; raises `UnknownFilter` where nothing is. What looks like an id is one, unless it is
    quoted as a name."""
    if name and not quoted and len(value) == ID_LENGTH and value.isalnum():
        return [(name, value)]
    # Who looks for a client hears of no person who is called so.
    personal = sealed() if NAMED.get(name) == "client" else None
    found = await visit.api.send("POST", "/audit/find", FoundThings, {"text": value}, query=personal)
    if name:
        alike = [each for each in found.items if each.kind == NAMED[name]]
        # Who names a client wholly means that one, and not the others whose names hold it.
        whole = [each for each in alike if each.kind == "client" and each.label == value]
        # Anyone may call themselves by another's id.
        itself = [each for each in alike if each.id == value and not quoted]
        ids = [(name, each.id) for each in itself or whole or alike]
    else:
        ids = [(_OF_KIND[each.kind], each.id) for each in found.items if each.kind in _OF_KIND]
    if not ids:
        what = f"No {NAMED[name]}" if name else "Nothing"
        whole_names = "" if personal else " Names of people are whole."
        raise UnknownFilter(f"{what} of this server is named so.{whole_names}")
    return ids


@get(EXPORT, **handing_on(*EXPORTED, repeatable=FILTERS), summary="What was searched for, as a file")
async def console_export(request: Request[Any, Any, Any]) -> Response[bytes]:
    """`GET /audit/export` with the search's filters; `format` is csv, jsonl or proof."""
    query = request.scope["query_string"].decode("latin-1")

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        format = next((each for each in FORMATS if f"format={each}" in query), "jsonl")
        try:
            without = "&".join(each for each in query.split("&") if not each.startswith("format="))
            given, plain = _read(visit, without)
        except UnknownFilter as unknown:
            csrf, names_csrf = visit.token(LINE), visit.token(NAMES)
            return SearchPage(title="Search the log", line="", csrf=csrf, names_csrf=names_csrf, fault=str(unknown))
        now = datetime.fromtimestamp(visit.services.ledger.clock.now() / 1_000_000, UTC)
        asked: dict[str, list[str]] = asked_of_api(plain, now)
        if "show" not in given:
            asked["personal"] = ["0"]
        if format == "package":
            return passed_through(visit, "/audit/package", asked, back=address_of(given))
        asked |= {"order": given.get("order", ["desc"])} if "order" in given else {}
        asked |= {"proof": ["1"]} if format == "proof" else {"format": [format]}
        return passed_through(visit, "/audit/export", asked, back=address_of(given))

    return await shown(request, make)


ROUTES: list[Any] = [console_search, console_search_line, console_export]
NAVIGATION = (NavigationEntry(20, "Search", SEARCH, ("audit:read",)),)
