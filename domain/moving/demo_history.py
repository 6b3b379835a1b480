"""A month that the demo plays for anyone who looks around: what follows has played times. Stream `demo`."""

import msgspec

from domain.decision import Conflict, Outcome, accept, refuse
from domain.event import Event, Moment, Recorded

STREAM = "demo"


class DemoHistoryBegins(Event, frozen=True, kw_only=True):
    """The demo plays a history: nothing from here on up to `played_at`, when that was done, has taken place, and the
    times are made up. Later times are real."""

    type = "demo.history_begins"

    played_at: Moment


EVENTS: tuple[type[Event], ...] = (DemoHistoryBegins,)


class State(msgspec.Struct, frozen=True):
    """When a history was played; None where none was."""

    played_at: Moment | None = None


INITIAL = State()


def begin(state: State, *, now: Moment, played_at: Moment, head: int) -> Outcome:
    """Says so before anything else is said: a log that has events tells of what took place."""
    if head:
        return refuse(Conflict.EXISTS, detail="The log has events already.")
    return accept(DemoHistoryBegins(played_at=played_at))


def evolve(state: State, recorded: Recorded) -> State:
    """The demo after one more event."""
    event = recorded.event
    if not isinstance(event, DemoHistoryBegins):
        raise AssertionError(f"{recorded.type} is no event of the demo")
    return State(event.played_at)
