"""The types of events as one chooses among them: by what they are about, each with its sentence and its count."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from api.console.searching import Given, address_of

SEARCH = address_of({})


class EventKind(msgspec.Struct, frozen=True):
    """A type, and what any event of it says."""

    type: str
    meaning: str


class EventKinds(msgspec.Struct, frozen=True):
    """What `GET /audit/event-types` answers."""

    items: tuple[EventKind, ...]


class KindChoice(NamedTuple):
    """A type as it is offered. `events` is None where they were not counted; `url` is the search with it, or without it
    where it is `chosen`, and `without` that for all others."""

    type: str
    meaning: str
    events: int | None
    chosen: bool
    url: str
    without: str


class KindGroup(NamedTuple):
    """The types of one kind of thing. `url` is the search for all of them."""

    name: str
    events: int | None
    url: str
    chosen: bool
    kinds: tuple[KindChoice, ...]


def groups_of(kinds: Sequence[EventKind], given: Given, counted: Mapping[str, int] | None) -> tuple[KindGroup, ...]:
    """All types, to be added to a search or left out of it."""
    named = sorted(kinds, key=lambda each: each.type.partition(".")[0])
    found = groupby(named, key=lambda each: each.type.partition(".")[0])
    return tuple(_group(name, tuple(_choices(tuple(each), given, counted)), given) for name, each in found)


def _group(name: str, kinds: tuple[KindChoice, ...], given: Given) -> KindGroup:
    count = sum(each.events or 0 for each in kinds) if kinds and kinds[0].events is not None else None
    every = f"{name}.*"
    return KindGroup(name, count, _turned(given, "type", every), every in given.get("type", ()), kinds)


def _choices(kinds: Sequence[EventKind], given: Given, counted: Mapping[str, int] | None) -> Iterator[KindChoice]:
    with_it, without = _adding(given, "type"), _adding(given, "not_type")
    for each in kinds:
        count = None if counted is None else counted.get(each.type, 0)
        chosen = each.type in given.get("type", ())
        url = _turned(given, "type", each.type) if chosen else each.type.join(with_it)
        yield KindChoice(each.type, each.meaning, count, chosen, url, each.type.join(without))


def _adding(given: Given, name: str) -> tuple[str, str]:
    """What stands before and after a type in the address of the search to whose filter it is added. Types are the first
    filters of an address, and hold nothing that is encoded there: hundreds of addresses take no time."""
    first = ("type",) if name == "type" else ("type", "not_type")
    pairs = [(each, value) for each in first for value in given.get(each, ())]
    rest = address_of({each: given[each] for each in given if each not in (*first, "after")}).partition("?")[2]
    return f"{SEARCH}?{urlencode([*pairs, (name, '')])}", f"&{rest}" if rest else ""


def _turned(given: Given, name: str, type: str) -> str:
    """The search with a type added to a filter, or taken out of it."""
    values = given.get(name, [])
    changed = [each for each in values if each != type] if type in values else [*values, type]
    return address_of({**{each: given[each] for each in given if each != "after"}, name: changed})
