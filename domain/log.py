"""The log itself: what was done to it that the log cannot do. Stream `log`."""

import msgspec

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded

STREAM = "log"
STATELESS = True


class ForgedRemoved(Event, frozen=True, kw_only=True):
    """Somebody had put rows into the table of events. They were saved to a file and taken away, from `first` on.

    `count` is how many, and `sha256` the digest of the file in hex.
    """

    type = "log.forged_removed"
    in_doubt = True

    first: int
    count: int
    sha256: str


EVENTS: tuple[type[Event], ...] = (ForgedRemoved,)


class State(msgspec.Struct, frozen=True):
    """No verb looks back."""


INITIAL = State()


def remove_forged(state: State, *, now: Moment, first: int, count: int, sha256: str) -> Outcome:
    """Tells of a removal. It has happened, so nothing can refuse it."""
    return accept(ForgedRemoved(first=first, count=count, sha256=sha256))


def evolve(state: State, recorded: Recorded) -> State:
    """Always the same."""
    if not isinstance(recorded.event, ForgedRemoved):
        raise AssertionError(f"{recorded.type} is no event of the log itself")
    return state
