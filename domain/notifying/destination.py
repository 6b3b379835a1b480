"""Who is told at once of what happens: webhooks, chat rooms and mailboxes; all in one stream, `destination:all`.

Their addresses are as good as secrets, since many hold one, and of people: the vault has them, and no event.
"""

import re
from collections.abc import Container
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded

STREAM = "destination:all"

DESTINATIONS_MAXIMUM = 50
NAME_MAXIMUM = 64
TYPES_MAXIMUM = 50
TYPE_MAXIMUM = 64

_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_MAXIMUM - 1}}}")

DestinationKind = Literal["webhook", "slack", "mail"]
"""A signed request (Standard Webhooks), a message to a chat room as Slack and its like take it, or a letter."""


class DestinationTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is told, and of which `types`: a type, `noun.*`, or `*`. `host` is whose address it is, None of a mailbox."""

    kind: DestinationKind
    host: str | None = None
    types: tuple[str, ...] = ("*",)


class DestinationConfigured(Event, frozen=True, kw_only=True):
    """Somebody is told from now on, or of other types, or elsewhere than before."""

    type = "destination.configured"

    name: str
    destination: DestinationTerms


class DestinationRemoved(Event, frozen=True, kw_only=True):
    """Somebody is told no longer; what they have not been told yet they never are."""

    type = "destination.removed"
    in_doubt = True

    name: str


class DestinationTested(Event, frozen=True, kw_only=True):
    """Somebody is notified of this very event, to see whether they can be told anything."""

    type = "destination.tested"

    name: str


class DestinationReplayed(Event, frozen=True, kw_only=True):
    """So many dead letters of these positions are tried once more. `last` is null for the end of the log."""

    type = "destination.replayed"
    in_doubt = True

    name: str
    count: int
    first: int = 1
    last: int | None = None


EVENTS: tuple[type[Event], ...] = (
    DestinationConfigured,
    DestinationRemoved,
    DestinationTested,
    DestinationReplayed,
)


class State(msgspec.Struct, frozen=True):
    """Who is told, by the names that administrators gave."""

    destinations: dict[str, DestinationTerms] = {}


INITIAL = State()


def put(
    state: State, *, now: Moment, name: str, destination: DestinationTerms, taken: Container[str], moved: bool
) -> Outcome:
    """Tells somebody. `taken` are the names that the settings give to others, `moved` says that the address or the key
    is another than before, which no event shows."""
    if not _NAME.fullmatch(name):
        return malformed("name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits and inner . _ -")
    if name in taken:
        return malformed("name", "is the name of a destination in the settings")
    if not 1 <= len(destination.types) <= TYPES_MAXIMUM:
        return malformed("types", f"must name 1 to {TYPES_MAXIMUM} types")
    known = state.destinations.get(name)
    if known is None and len(state.destinations) >= DESTINATIONS_MAXIMUM:
        return malformed("name", f"at most {DESTINATIONS_MAXIMUM} destinations are told")
    if known == destination and not moved:
        return accept()
    return accept(DestinationConfigured(name=name, destination=destination))


def remove(state: State, *, now: Moment, name: str) -> Outcome:
    """Tells somebody no longer."""
    return accept(DestinationRemoved(name=name)) if name in state.destinations else refuse(NotFound.UNKNOWN)


def test(state: State, *, now: Moment, name: str, taken: Container[str]) -> Outcome:
    """Tells them of this very event. `taken` are the names that the settings give to others."""
    known = name in state.destinations or name in taken
    return accept(DestinationTested(name=name)) if known else refuse(NotFound.UNKNOWN)


def replay(
    state: State, *, now: Moment, name: str, taken: Container[str], count: int, first: int = 1, last: int | None = None
) -> Outcome:
    """Has `count` dead letters tried once more; none is no news."""
    if name not in state.destinations and name not in taken:
        return refuse(NotFound.UNKNOWN)
    return accept(DestinationReplayed(name=name, count=count, first=first, last=last)) if count else accept()


def evolve(state: State, recorded: Recorded) -> State:
    """Who is told after one more event."""
    match recorded.event:
        case DestinationConfigured(name=name, destination=destination):
            return replace(state, destinations=state.destinations | {name: destination})
        case DestinationRemoved(name=name):
            left = {other: each for other, each in state.destinations.items() if other != name}
            return replace(state, destinations=left)
        case DestinationTested() | DestinationReplayed():
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of destinations")
