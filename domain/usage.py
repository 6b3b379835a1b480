"""Uses of a client's secret version that issue no token. Stream `usage:<secret_id>`.

Tokens name the version that authenticated, so their issue is a use already and is not told again here.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded
from domain.rules import grouping

Via = Literal["introspection", "revocation", "other"]


def stream(secret_id: str) -> str:
    """The stream of this secret version's uses."""
    return f"usage:{secret_id}"


# Facts ------------------------------------------------------------------------------------------------------------


class FirstSeen(Event, frozen=True, kw_only=True):
    """The version was used from an address that had not used it lately; one use."""

    type = "usage.first_seen"

    client_id: str
    via: Via


class Seen(Event, frozen=True, kw_only=True):
    """The version was used `count` more times within `window_seconds`."""

    type = "usage.seen"

    client_id: str
    via: Via
    count: int
    window_seconds: int


EVENTS: tuple[type[Event], ...] = (FirstSeen, Seen)

# State ------------------------------------------------------------------------------------------------------------


class State(msgspec.Struct, frozen=True):
    """How often and when last."""

    count: int = 0
    first_at: Moment | None = None
    last_at: Moment | None = None


INITIAL = State()

# Verbs ------------------------------------------------------------------------------------------------------------


def note_first(state: State, *, now: Moment, client_id: str, via: Via) -> Outcome:
    """Records one use from a new address at once."""
    return accept(FirstSeen(client_id=client_id, via=via))


def note_more(state: State, *, now: Moment, client_id: str, via: Via, count: int, window_seconds: int) -> Outcome:
    """Records further uses as a count."""
    return grouping.problem(count, window_seconds) or accept(
        Seen(client_id=client_id, via=via, count=count, window_seconds=window_seconds)
    )


# Fold -------------------------------------------------------------------------------------------------------------


def evolve(state: State, recorded: Recorded) -> State:
    """The uses after one more event."""
    match recorded.event:
        case FirstSeen():
            count = 1
        case Seen(count=count):
            pass
        case _:
            raise AssertionError(f"{recorded.type} is no event of a secret version's uses")
    first = recorded.time if state.first_at is None else state.first_at
    return replace(state, count=state.count + count, first_at=first, last_at=recorded.time)
