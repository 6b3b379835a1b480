"""The keys that authenticate every event. Stream `mac_key`: all of them, one after the other.

The keys themselves are in the vault, each with the position from which it is good, and that alone decides: what is told
here is for people. A key ends where the next begins, and is kept for ever to verify what was written under it.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded

STREAM = "mac_key"

MacKeyReason = Literal["begun", "rotated", "restored", "imported", "forged"]
"""Why a key began: with the log, by command, after an accepted restore, an import, or a removal of forged events."""


class MacKeyIntroduced(Event, frozen=True, kw_only=True):
    """A key authenticates the events from `first` on. `key_id` is the beginning of its digest."""

    type = "mac_key.introduced"
    in_doubt = True

    key_id: str
    first: int
    reason: MacKeyReason


class MacKeyRetired(Event, frozen=True, kw_only=True):
    """A key authenticates nothing behind `last`. It is kept: what it has authenticated stays verifiable."""

    type = "mac_key.retired"
    in_doubt = True

    key_id: str
    last: int


EVENTS: tuple[type[Event], ...] = (MacKeyIntroduced, MacKeyRetired)


class State(msgspec.Struct, frozen=True):
    """Every key there was with the position from which it was good, in their order, and which is the present one."""

    keys: dict[str, int] = {}
    active: str | None = None


INITIAL = State()


def tell(state: State, *, now: Moment, key_id: str, first: int, reason: MacKeyReason) -> Outcome:
    """Tells of the key that the log began with, once."""
    return accept() if state.active is not None else begin(state, now=now, key_id=key_id, first=first, reason=reason)


def begin(state: State, *, now: Moment, key_id: str, first: int, reason: MacKeyReason) -> Outcome:
    """A key takes over, and the one before retires. Never refused: the vault has it, and what follows is under it."""
    introduced = MacKeyIntroduced(key_id=key_id, first=first, reason=reason)
    if state.active is None:
        return accept(introduced)
    return accept(introduced, MacKeyRetired(key_id=state.active, last=first - 1))


def evolve(state: State, recorded: Recorded) -> State:
    """The log's MAC keys after one more event."""
    match recorded.event:
        case MacKeyIntroduced(key_id=key_id, first=first):
            return replace(state, keys=state.keys | {key_id: first}, active=key_id)
        case MacKeyRetired():
            # The one that took over was recorded before.
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of the log's MAC keys")
