"""The query line of the search, and the address that it stands for: names in the line, ids in the address."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

FILTERS = (
    *("type", "not_type", "client_id", "account_id", "by_account_id", "about_account_id", "by_client_id"),
    *("grant_id", "secret_id", "incident_id", "request_id", "ip", "outcome"),
)
"""Of the API. Each may be repeated, but for the outcome."""

OUTCOMES = ("failure", "success")

SINGLE = ("since", "until", "from", "order", "after", "range", "reads", "show")
"""What else an address of the search may hold; the last three are the console's own."""

SWITCHES = ("reads", "show")
"""Those of them that are on or not there."""

KEPT = ("range", "order", "reads", "show")
"""What of it a new line of filters leaves as it is."""

WORDS: Mapping[str, str] = {
    "type": "type",
    "client": "client_id",
    "person": "account_id",
    "by": "by_account_id",
    "about": "about_account_id",
    "by_client": "by_client_id",
    "grant": "grant_id",
    "secret": "secret_id",
    "incident": "incident_id",
    "request": "request_id",
    "ip": "ip",
    "outcome": "outcome",
}
"""Words of the line before the colon, and the filters that they mean."""

NAMED: Mapping[str, str] = {
    "client_id": "client",
    "account_id": "person",
    "by_account_id": "person",
    "about_account_id": "person",
    "by_client_id": "client",
}
"""Filters that take a name, and the kind of what has it."""

Given = dict[str, list[str]]
"""The parameters of an address, each with its values."""

RANGES: Mapping[str, int] = {"1h": 3_600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400, "all": 0}
"""Seconds back from now; nothing is everything."""

USUAL = "24h"
OWN_READS = "audit.*"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)
TERMS_AT_MOST = 50
"""Parts of a line: each name in it is a question of its own, and leaves an event."""

_TOKEN = re.compile(r'(-?)(?:([a-z_]+):)?(?:"([^"]*)"|(\S+))')


class UnknownFilter(Exception):
    """The line or the address holds what no filter is called. The words say which there are."""


class Term(NamedTuple):
    """A part of the line: a filter's name and a value as it was typed. `name` is empty for a bare word. What is
    `quoted` is a name, whatever it looks like."""

    name: str
    value: str
    quoted: bool = False


def read_line(line: str) -> list[Term]:
    """The parts of a line; raises `UnknownFilter`."""
    terms: list[Term] = []
    for minus, word, quoted, plain in _TOKEN.findall(line):
        if len(terms) == TERMS_AT_MOST:
            raise UnknownFilter(f"A line has {TERMS_AT_MOST} parts at most.")
        value = quoted or plain
        if not word:
            terms.append(Term("", value, bool(quoted)))
            continue
        name = _filter_of(word, negative=bool(minus))
        if name == "outcome":
            _require_outcome([value, *(each.value for each in terms if each.name == name)])
        terms.append(Term(name, value, bool(quoted)))
    return terms


def _filter_of(word: str, *, negative: bool) -> str:
    if negative and word == "type":
        return "not_type"
    found = word if word in ("since", "until") else WORDS.get(word)
    if found is None or negative:
        known = ", ".join(f"{each}:" for each in (*WORDS, "since", "until"))
        raise UnknownFilter(f"There is no {'-' if negative else ''}{word}: here. Filters are {known} and -type:.")
    return found


def _require_outcome(values: Sequence[str]) -> None:
    if len(values) > 1 or values[0] not in OUTCOMES:
        raise UnknownFilter(f"There is one outcome:, and it is one of {', '.join(OUTCOMES)}.")


def read_address(query: str) -> dict[str, list[str]]:
    """The parameters of an address; raises `UnknownFilter` for what is none, as a misspelt filter would show
    everything."""
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in FILTERS and name not in SINGLE:
            raise UnknownFilter(f"There is no {name[:40]} here. Filters are {', '.join((*FILTERS, *SINGLE))}.")
        # Anyone who writes that nothing is to be shown is shown nothing.
        if value and not (name in SWITCHES and value == "0"):
            given.setdefault(name, []).append(value)
    if "outcome" in given:
        _require_outcome(given["outcome"])
    if given.get("range", [USUAL])[0] not in RANGES:
        raise UnknownFilter(f"A range is one of {', '.join(RANGES)}.")
    for name in SINGLE:
        if len(given.get(name, ())) > 1:
            raise UnknownFilter(f"There can be only one {name}.")
    return given


def address_of(given: Mapping[str, Sequence[str]]) -> str:
    """The address of a search, its parameters always in the same order."""
    pairs = [(name, each) for name in (*FILTERS, *SINGLE) for each in given.get(name, ())]
    return "/console/audit" + (f"?{urlencode(pairs)}" if pairs else "")


def kept_of(given: Mapping[str, Sequence[str]]) -> str:
    """What a new line leaves as it is: how far back, in which order, and what is shown."""
    return urlencode([(name, each) for name in KEPT for each in given.get(name, ())])


def line_of(given: Mapping[str, Sequence[str]], clients: Mapping[str, str] | None = None) -> str:
    """The line that stands for an address: ids, but for the names of `clients`, of which ids no two share one."""
    spelled = {name: word for word, name in WORDS.items()} | {"not_type": "-type"}
    known = clients or {}
    parts = [
        f'{spelled[name]}:"{known[each]}"'
        if NAMED.get(name) == "client" and each in known
        else f"{spelled[name]}:{each}"
        for name in FILTERS
        for each in given.get(name, ())
    ]
    return " ".join(parts)


def nameable(clients: Mapping[str, str]) -> dict[str, str]:
    """Those of these clients, by their ids, that a line can name: no two are called the same, and a name is quoted."""
    often = Counter(clients.values())
    return {id: name for id, name in clients.items() if often[name] == 1 and name and '"' not in name}


NO_TIME = "A time looks like 2026-11-30, or 2026-11-30T10:14:21."
_TYPED = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(\.\d{1,6})?)?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE
)
_UNITS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1), timedelta(0))


def instant(text: str, *, end: bool) -> str:
    """A day, an hour, a minute or a second as typed, as RFC 3339 in UTC, which it is in without an offset. Both ends
    count: with `end` the day, the hour, the minute or the second is over. Raises `UnknownFilter`."""
    match = _TYPED.fullmatch(text.strip().replace(" ", "T"))
    if match is None:
        raise UnknownFilter(NO_TIME)
    day, *time, offset = match.groups()
    hour, minute, second, fraction = time
    spelled = f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}{(offset or 'Z').upper()}"
    try:
        moment = datetime.fromisoformat(spelled)
        return written(moment + _UNITS[sum(each is not None for each in time)] if end else moment)
    except (ValueError, OverflowError):
        raise UnknownFilter(NO_TIME) from None


def written(moment: datetime) -> str:
    """A moment as the API takes it, RFC 3339 in UTC with its microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parsed(time: str) -> datetime:
    """The moment that the API or an address tells. Raises `UnknownFilter`."""
    try:
        moment = datetime.fromisoformat(time.replace("Z", "+00:00"))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnknownFilter("A time looks like 2026-11-30T10:14:21Z.") from None


def to_the_second(time: str, *, end: bool) -> str:
    """The moment as the fields beside the line hold it: the first second of a stretch, or with `end` its last, which
    belongs to it."""
    moment = parsed(time)
    if end and moment > EARLIEST:
        moment -= timedelta(microseconds=1)
    return moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19)


def beside(since: datetime, until: datetime, now: datetime) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """The stretches of the same length before and after, each as its two ends; None where there is no such time."""
    length = until - since
    if length <= timedelta(0):
        return None, None
    earlier = (written(since - length), written(since)) if since - EARLIEST > length else None
    later = (written(until), written(until + length)) if until < now and LATEST - until > length else None
    return earlier, later


def asked_of_api(given: Mapping[str, Sequence[str]], now: datetime) -> dict[str, list[str]]:
    """The filters and the times of an address as the API takes them. Reads of the log are left out, unless they are
    asked for by type or by the chip."""
    asked = {name: list(values) for name, values in given.items() if name in FILTERS}
    if "reads" not in given and not any(each.startswith("audit.") for each in given.get("type", ())):
        asked.setdefault("not_type", []).append(OWN_READS)
    for name in ("since", "until"):
        if name in given:
            asked[name] = list(given[name])
    seconds = RANGES.get(given.get("range", [USUAL])[0], 0)
    if "since" not in given and "from" not in given and seconds:
        # From a whole minute or hour on, by which events are counted: exactly, and at once.
        begins = (now - timedelta(seconds=seconds)).replace(second=0, microsecond=0)
        asked["since"] = [written(begins.replace(minute=0) if seconds > DAY else begins)]
    return asked


STRETCHES = 48
DAY = 86_400
STEPS = (60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800)


def step_for(seconds: float) -> int:
    """The round number of seconds of each bar, so that there are about as many as can be told apart."""
    return next((each for each in STEPS if seconds / each <= STRETCHES), ceil(seconds / STRETCHES / DAY) * DAY)
