"""Holds: months whose addresses and user agents are kept beyond their retention. Stream `hold`: all of them.

Somebody who looks into what happened, or who was told to keep the traces, names the months and says why. What they say
is sealed, since it may name people.
"""

import re

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded, Sealed, sealed

STREAM = "hold"
REASON_MAXIMUM = 1_000
"""Characters of a reason."""

HELD_AT_ONCE = 100
"""Holds that there can be at a time: all of them are in the state."""

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class HoldPlaced(Event, frozen=True, kw_only=True):
    """From now on the addresses and user agents of the months `first` to `last`, both included, are not destroyed."""

    type = "hold.placed"
    in_doubt = True
    personal = ("reason",)

    hold_id: str
    first: str
    last: str
    reason: str


class HoldReleased(Event, frozen=True, kw_only=True):
    """A hold is over: what it alone kept beyond its retention is destroyed."""

    type = "hold.released"

    hold_id: str


EVENTS: tuple[type[Event], ...] = (HoldPlaced, HoldReleased)


class Hold(msgspec.Struct, frozen=True):
    """One hold, over the months `first` to `last`."""

    first: str
    last: str
    reason: Sealed | None
    placed_at: Moment


class State(msgspec.Struct, frozen=True):
    """The holds that were not released, by id in the order they were placed."""

    holds: dict[str, Hold] = {}

    def over(self, month: str) -> str | None:
        """The first hold that keeps a month `YYYY-MM`; None when none does."""
        return next((hold_id for hold_id, hold in self.holds.items() if hold.first <= month <= hold.last), None)


INITIAL = State()


def place(state: State, *, now: Moment, hold_id: str, first: str, last: str, reason: str) -> Outcome:
    """Keeps the months `first` to `last`, `YYYY-MM` in UTC; they may be still to come."""
    for name, month in (("first", first), ("last", last)):
        if not _MONTH.fullmatch(month):
            return malformed(name, "must be a month such as 2026-01")
    if last < first:
        return malformed("last", "must not be before the first month")
    if not 1 <= len(reason) <= REASON_MAXIMUM:
        return malformed("reason", f"must have 1 to {REASON_MAXIMUM} characters")
    if len(state.holds) >= HELD_AT_ONCE:
        return malformed("hold", f"is one too many: there can be {HELD_AT_ONCE} at a time")
    return accept(HoldPlaced(hold_id=hold_id, first=first, last=last, reason=reason))


def release(state: State, *, now: Moment, hold_id: str) -> Outcome:
    """Ends a hold."""
    if hold_id not in state.holds:
        return refuse(NotFound.UNKNOWN)
    return accept(HoldReleased(hold_id=hold_id))


def evolve(state: State, recorded: Recorded) -> State:
    """The holds after one more event."""
    match recorded.event:
        case HoldPlaced(hold_id=hold_id, first=first, last=last):
            placed = Hold(first, last, sealed(recorded, "reason"), recorded.time)
            return replace(state, holds=state.holds | {hold_id: placed})
        case HoldReleased(hold_id=hold_id):
            return replace(state, holds={each: hold for each, hold in state.holds.items() if each != hold_id})
        case _:
            raise AssertionError(f"{recorded.type} is no event of holds")
