"""Searching the log: a line of filters, how many events there are when, and each of them as a sentence."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from msgspec import Meta

from api.console.frame import ConsolePage, Visit
from api.console.gate import FORM, PAGE, ConsoleForm, passed_through, posted, shown
from api.console.masking import pseudonym, sealed
from api.console.navigation import Place
from api.console.pages.find import Found
from api.console.searching import (
    FILTERS,
    NAMED,
    RANGES,
    USUAL,
    UnknownFilter,
    address_of,
    asked_of_api,
    instant,
    line_of,
    read_address,
    read_line,
    step_for,
)
from api.console.shown_events import Event
from api.http.templates import see_other

SEARCH = "/console/audit"
LINE = "/console/audit/line"
EXPORT = "/console/audit/export"
LIMIT = "100"
ID_LENGTH = 22
FILTERED: dict[str, Any] = {**PAGE, "opt": {**PAGE["opt"], "repeatable": FILTERS}}
FORMATS = {"csv": "CSV", "jsonl": "JSON Lines", "proof": "with proof", "package": "to take away"}


class Events(msgspec.Struct, frozen=True):
    """A page of the list."""

    items: tuple[Event, ...]
    next: str | None = None


class Stretch(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """How many events there were between two moments."""

    since: str
    until: str
    count: int


class Counts(msgspec.Struct, frozen=True):
    """How many in each stretch; not `exact` where it was sampled."""

    items: tuple[Stretch, ...]
    exact: bool


class Chip(NamedTuple):
    """A filter that is on, and the address without it."""

    words: str
    without: str


class Choice(NamedTuple):
    """One of several, and the address with it."""

    words: str
    url: str
    chosen: bool


class HistogramBar(NamedTuple):
    """A bar of the histogram; `url` is the search for its events alone."""

    x: float
    width: float
    height: float
    words: str
    url: str
    number: int


class Histogram(NamedTuple):
    """How many events there were when."""

    bars: tuple[HistogramBar, ...]
    total: int
    exact: bool


class SearchPage(ConsolePage, frozen=True, kw_only=True):
    """`fault` says what is wrong with what was asked; then nothing is shown, never everything."""

    template: ClassVar[str] = "console/search.html"
    line: str
    csrf: str
    fault: str | None = None
    chips: tuple[Chip, ...] = ()
    ranges: tuple[Choice, ...] = ()
    orders: tuple[Choice, ...] = ()
    reads: Choice | None = None
    show: Choice | None = None
    histogram: Histogram | None = None
    events: tuple[Event, ...] = ()
    next_url: str | None = None
    first_url: str | None = None
    exports: tuple[Choice, ...] = ()
    live_url: str | None = None


WIDTH, HEIGHT = 960, 64

Given = dict[str, list[str]]


def drawn(counts: Counts, given: Given) -> Histogram:
    """The histogram as bars."""
    most = max([1, *(each.count for each in counts.items)])
    wide = WIDTH / max(1, len(counts.items))
    kept = {name: values for name, values in given.items() if name not in ("range", "after", "from")}
    bars = tuple(
        HistogramBar(
            round(number * wide, 2),
            round(max(1.0, wide - 2), 2),
            round(each.count / most * HEIGHT, 1),
            f"{each.since[:19]} to {each.until[:19]}: {each.count}",
            address_of({**kept, "since": [each.since], "until": [each.until]}),
            each.count,
        )
        for number, each in enumerate(counts.items)
    )
    return Histogram(bars, sum(each.count for each in counts.items), counts.exact)


def _parsed(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00"))


async def _search(visit: Visit, query: str) -> ConsolePage:
    csrf = visit.token(LINE)
    try:
        given = read_address(query)
    except UnknownFilter as unknown:
        return SearchPage(title="Search the log", line="", csrf=csrf, fault=str(unknown))
    now = datetime.fromtimestamp(visit.services.ledger.clock.now() / 1_000_000, UTC)
    asked = asked_of_api(given, now)
    personal = sealed("1" if "show" in given else "")
    order = given.get("order", ["desc"])
    listed = {"from": given.get("from", []), "after": given.get("after", []), "order": order, "limit": [LIMIT]}
    found = await visit.api.get("/audit/events", Events, {**asked, **listed, **personal, "names": "1"})
    histogram = None
    # What shows another page of the same list need not count it once more, and each count is an event.
    if "since" in asked and "after" not in given:
        since, until = _parsed(asked["since"][0]), _parsed(asked["until"][0]) if "until" in asked else now
        step = step_for(max(60.0, (until - since).total_seconds()))
        counts = await visit.api.get("/audit/counts", Counts, {**asked, "step": str(step)})
        histogram = drawn(counts, given)
    # The next page is of the same stretch of time, whenever it is asked for.
    pinned = {name: values for name, values in given.items() if name != "range"}
    pinned |= {"since": asked["since"]} if "since" in asked else {}
    return SearchPage(
        title="Search the log",
        line=line_of(given),
        csrf=csrf,
        chips=_chips(given, found.items),
        ranges=_ranges(given),
        orders=_choices(given, "order", {"desc": "newest first", "asc": "oldest first"}, "desc"),
        reads=_reads(given),
        show=_switch(given, "show", "Hide personal values", "Show personal values")
        if "audit:personal" in visit.may
        else None,
        histogram=histogram,
        events=found.items,
        next_url=None if found.next is None else address_of({**pinned, "after": [found.next]}),
        first_url=address_of({n: v for n, v in given.items() if n != "after"}) if "after" in given else None,
        exports=tuple(
            Choice(words, f"{EXPORT}?{address_of(pinned).partition('?')[2]}&format={name}".replace("?&", "?"), False)
            for name, words in FORMATS.items()
        ),
        live_url="/console/live" + address_of(_filters_alone(given)).removeprefix(SEARCH),
    )


def _filters_alone(given: Given) -> Given:
    return {
        name: values for name, values in given.items() if name in ("reads", "show") or name in NAMED or "type" in name
    }


def _chips(given: Given, events: tuple[Event, ...]) -> tuple[Chip, ...]:
    """What is asked for, by the names that the events of this page say as far as they say any."""
    chips = []
    for name, values in given.items():
        if name in ("range", "order", "after", "reads", "show"):
            continue
        for each in values:
            rest = {**given, name: [other for other in values if other != each]}
            rest.pop("after", None)
            unnamed = pseudonym(each) if NAMED.get(name) == "person" else each
            called = next((known for event in events if (known := event.name(each))), unnamed)
            chips.append(Chip(f"{name.removesuffix('_id').replace('_', ' ')} {called}", address_of(rest)))
    return tuple(chips)


def _choices(given: Given, name: str, words: dict[str, str], usual: str) -> tuple[Choice, ...]:
    rest = {each: values for each, values in given.items() if each not in (name, "after")}
    chosen = given.get(name, [usual])[0]
    return tuple(
        Choice(said, address_of(rest if value == usual else {**rest, name: [value]}), value == chosen)
        for value, said in words.items()
    )


def _ranges(given: Given) -> tuple[Choice, ...]:
    timeless = {name: values for name, values in given.items() if name not in ("since", "until")}
    choices = _choices(timeless, "range", {each: each for each in RANGES}, USUAL)
    own = "since" in given or "until" in given
    return tuple(each._replace(chosen=each.chosen and not own) for each in choices)


def _switch(given: Given, name: str, off: str, on: str) -> Choice:
    rest = {each: values for each, values in given.items() if each not in (name, "after")}
    is_on = name in given
    return Choice(off if is_on else on, address_of(rest if is_on else {**rest, name: ["1"]}), is_on)


def _reads(given: Given) -> Choice | None:
    if any(each.startswith("audit.") for each in given.get("type", ())):
        return None
    return _switch(given, "reads", "Reads of the log are shown", "Reads of the log are hidden")


@get(SEARCH, **FILTERED, summary="Searching the log")
async def console_search(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Events by filters. The parameters are those of `GET /audit/events`; one that there is not shows nothing."""
    query = request.scope["query_string"].decode("latin-1")
    return await shown(request, lambda visit: _search(visit, query))


class LineForm(ConsoleForm, frozen=True):
    """The line, and the times beside it; `kept` is the address that it changes."""

    line: Annotated[str, Meta(max_length=4_000)] = ""
    since: Annotated[str, Meta(max_length=40)] = ""
    until: Annotated[str, Meta(max_length=40)] = ""


@post(LINE, **FORM, summary="What a line of filters stands for")
async def console_search_line(request: Request[Any, Any, Any], data: JSONBody[LineForm]) -> Response[bytes]:
    """To the search that the line asks for; names become ids, so that none stands in an address."""

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        try:
            return see_other(address_of(await _resolved(visit, data)))
        except UnknownFilter as unknown:
            return SearchPage(title="Search the log", line=data.line, csrf=visit.token(LINE), fault=str(unknown))

    return await posted(request, data, make, back=SEARCH)


async def _resolved(visit: Visit, data: LineForm) -> Given:
    given: Given = {}
    for name, value in read_line(data.line):
        if name in ("since", "until"):
            given[name] = [instant(value, end=name == "until")]
        elif not name or name in NAMED:
            for filter_name, each in await _named(visit, name, value):
                given.setdefault(filter_name, []).append(each)
        else:
            given.setdefault(name, []).append(value)
    if data.since:
        given["since"] = [instant(data.since, end=False)]
    if data.until:
        given["until"] = [instant(data.until, end=True)]
    return given


_OF_KIND = {"client": "client_id", "person": "account_id", "grant": "grant_id", "request": "request_id"}
_OF_KIND |= {"incident": "incident_id", "position": "from"}


async def _named(visit: Visit, name: str, value: str) -> list[tuple[str, str]]:
    """The ids of what is called so; raises `UnknownFilter` where nothing is."""
    if name and len(value) == ID_LENGTH and value.isalnum():
        return [(name, value)]
    found = await visit.api.send("POST", "/audit/find", Found, {"text": value})
    if name:
        ids = [(name, each.id) for each in found.items if each.kind == NAMED[name]]
    else:
        ids = [(_OF_KIND[each.kind], each.id) for each in found.items if each.kind in _OF_KIND]
    if not ids:
        raise UnknownFilter(f"No {NAMED.get(name, 'thing')} of this server is named so. Names of people are whole.")
    return ids


@get(EXPORT, **FILTERED, summary="What was searched for, as a file")
async def console_export(request: Request[Any, Any, Any]) -> Response[bytes]:
    """`GET /audit/export` with the search's filters; `format` is csv, jsonl or proof."""
    query = request.scope["query_string"].decode("latin-1")

    async def make(visit: Visit) -> ConsolePage | Response[bytes]:
        format = next((each for each in FORMATS if f"format={each}" in query), "jsonl")
        try:
            given = read_address("&".join(each for each in query.split("&") if not each.startswith("format=")))
        except UnknownFilter as unknown:
            return SearchPage(title="Search the log", line="", csrf=visit.token(LINE), fault=str(unknown))
        now = datetime.fromtimestamp(visit.services.ledger.clock.now() / 1_000_000, UTC)
        asked: dict[str, list[str]] = asked_of_api(given, now)
        if "show" not in given:
            asked["personal"] = ["0"]
        if format == "package":
            return passed_through(visit, "/audit/package", asked, back=address_of(given))
        asked |= {"order": given.get("order", ["desc"])} if "order" in given else {}
        asked |= {"proof": ["1"]} if format == "proof" else {"format": [format]}
        return passed_through(visit, "/audit/export", asked, back=address_of(given))

    return await shown(request, make)


ROUTES: list[Any] = [console_search, console_search_line, console_export]
NAVIGATION = (Place(20, "Search", SEARCH, ("audit:read",)),)
