"""The links of a search to others: the same without a filter, for another time, or by another type."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import UNSET

from api.console.masking import pseudonym
from api.console.searching import (
    FILTERS,
    NAMED,
    RANGES,
    USUAL,
    Given,
    address_of,
    beside,
    parsed,
    to_the_second,
    written,
)
from api.console.shown_events import Event

UNFILTERED = ("range", "order", "after", "reads", "show")
CALLED = {"not_type": "not type", "until": "to", "account_id": "of", "by_account_id": "by", "about_account_id": "about"}
"""Filters that a chip calls otherwise than by their name."""


class Chip(NamedTuple):
    """A filter that is on, and the address without it."""

    words: str
    without: str


class Choice(NamedTuple):
    """One of several, and the address with it."""

    words: str
    url: str
    chosen: bool


class Ways(NamedTuple):
    """Where a search leads by time. `pinned` is itself, whenever it is asked for: the same events in the same place."""

    ranges: tuple[Choice, ...]
    orders: tuple[Choice, ...]
    pinned: str
    earlier: str | None = None
    later: str | None = None


def filters_alone(given: Given) -> Given:
    """What is asked for, whenever it was."""
    return {name: values for name, values in given.items() if name in (*FILTERS, "reads", "show")}


def unnamed_clients(given: Given, events: Iterable[Event]) -> tuple[str, ...]:
    """The clients that are asked for and that no event of this page names, since there is none of theirs."""
    named = {id for id, _ in clients_named(events)}
    asked = (each for name, values in given.items() if NAMED.get(name) == "client" for each in values)
    return tuple(each for each in asked if each not in named)


def chips(given: Given, events: Iterable[Event], clients: Mapping[str, str]) -> tuple[Chip, ...]:
    """What is asked for, by the names that the events of this page say as far as they say any, or by those of
    `clients`."""
    found = []
    for name, values in given.items():
        if name in UNFILTERED:
            continue
        for each in values:
            rest = {**given, name: [other for other in values if other != each]}
            rest.pop("after", None)
            said = clients[each] if NAMED.get(name) == "client" and each in clients else _said(name, each)
            called = next((known for event in events if (known := event.name(each))), said)
            words = CALLED.get(name, name.removesuffix("_id").replace("_", " "))
            found.append(Chip(f"{words} {called}", address_of(rest)))
    return tuple(found)


def _said(name: str, value: str) -> str:
    """What a filter asks for, in words for its chip."""
    if NAMED.get(name) == "person":
        return pseudonym(value)
    if name == "ip":
        return "masked"
    if name in ("since", "until"):
        # The last second that belongs to it, as the fields have it.
        return to_the_second(value, end=name == "until").replace("T", " ")
    return value


def clients_named(events: Iterable[Event]) -> tuple[tuple[str, str], ...]:
    """The clients that these events name, by id and name."""
    found = {}
    for event in events:
        names = {} if event.names is UNSET else event.names
        found.update({id: name for id, name in names.items() if id.startswith("client:") and name})
    return tuple(sorted(((id.partition(":")[2], name) for id, name in found.items()), key=lambda each: each[1]))


def filters_told(given: Given, asked: Given, now: datetime, on: Iterable[Chip]) -> tuple[tuple[str, str], ...]:
    """What a search asked for, as paper has it: its filters, the time that they are of, and what was left out."""
    since = to_the_second(asked["since"][0], end=False) if "since" in asked else "the first event"
    until = to_the_second(asked["until"][0], end=True) if "until" in asked else to_the_second(written(now), end=False)
    times = f"{since} to {until}".replace("T", " ") + ", both included"
    filters = "; ".join(each.words for each in on if not each.words.startswith(("since ", "to "))) or "none"
    hidden = reads(given)
    return (
        ("Filters", filters),
        ("Time (UTC)", times),
        ("Order", "oldest first" if given.get("order") == ["asc"] else "newest first"),
        *((("Left out", "reads of the log"),) if hidden is not None and not hidden.chosen else ()),
        ("Personal values", "shown" if "show" in given else "masked"),
    )


def choices(given: Given, name: str, words: dict[str, str], usual: str) -> tuple[Choice, ...]:
    """The values that a parameter may have."""
    rest = {each: values for each, values in given.items() if each not in (name, "after")}
    chosen = given.get(name, [usual])[0]
    return tuple(
        Choice(said, address_of(rest if value == usual else {**rest, name: [value]}), value == chosen)
        for value, said in words.items()
    )


def switch(given: Given, name: str, off: str, on: str) -> Choice:
    """What is on or off; `off` are the words for turning it off."""
    rest = {each: values for each, values in given.items() if each not in (name, "after")}
    is_on = name in given
    return Choice(off if is_on else on, address_of(rest if is_on else {**rest, name: ["1"]}), is_on)


def reads(given: Given) -> Choice | None:
    """Whether reads of the log are shown; None where the search says so itself."""
    if any(each.startswith("audit.") for each in given.get("type", ())):
        return None
    return switch(given, "reads", "Reads of the log are shown", "Reads of the log are hidden")


def ways(given: Given, asked: Given, now: datetime, reaches: datetime) -> Ways:
    """Where a search leads by time, given what the API was asked for, and the time of the newest event of the list."""
    timeless = {name: values for name, values in given.items() if name not in ("since", "until")}
    own = "since" in given or "until" in given
    ranges = choices(timeless, "range", {each: each for each in RANGES}, USUAL)
    earlier = later = None
    since = asked.get("since")
    if since is not None:
        before, after = beside(parsed(since[0]), parsed(asked["until"][0]) if "until" in asked else now, now)
        rest = {name: values for name, values in timeless.items() if name not in ("range", "after")}
        earlier, later = (
            None if each is None else address_of({**rest, "since": [each[0]], "until": [each[1]]})
            for each in (before, after)
        )
    pinned = {name: values for name, values in given.items() if name != "range" or since is None}
    until = asked.get("until", [written(reaches + timedelta(microseconds=1))])
    return Ways(
        ranges=tuple(each._replace(chosen=each.chosen and not own) for each in ranges),
        orders=choices(given, "order", {"desc": "newest first", "asc": "oldest first"}, "desc"),
        pinned=address_of({**pinned, "until": until} | ({} if since is None else {"since": since})),
        earlier=earlier,
        later=later,
    )
