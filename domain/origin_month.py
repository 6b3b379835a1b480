"""Where requests came from, month by month. Stream `origin:<YYYY-MM>`: how the addresses and user agents of one ended.

They are sealed under a key of their month besides their subject's. The ledger destroys it, which bears the stream's
name, in the transaction of the event that says so; from then on nobody can read them, and every proof stays what it is.
"""

from typing import Literal

import msgspec

from domain.decision import Conflict, Outcome, accept, refuse
from domain.event import SECOND, Event, Moment, Recorded

DAY: Moment = 86_400 * SECOND

DestructionReason = Literal["retention"]


def stream(month: str) -> str:
    """The stream of a month `YYYY-MM`, in UTC; its key in the vault has the same name."""
    return f"origin:{month}"


class MonthDestroyed(Event, frozen=True, kw_only=True):
    """The addresses and user agents of a month can be read by nobody any more: its key was destroyed.

    `reason` is why, and `retention_days` for how many days such values were to be kept.
    """

    type = "origin.month_destroyed"
    destroys_key = True

    month: str
    reason: DestructionReason
    retention_days: int


EVENTS: tuple[type[Event], ...] = (MonthDestroyed,)


class State(msgspec.Struct, frozen=True):
    """Whether the month's key is gone, and since when."""

    destroyed_at: Moment | None = None


INITIAL = State()


def destroy(
    state: State, *, now: Moment, month: str, ended_at: Moment, retention_days: int, waits_for: str | None
) -> Outcome:
    """Ends what the month's requests said of where they came from; once more changes nothing.

    `ended_at` is the month's own end: its newest value is kept for the whole retention. `waits_for` says, in words,
    what names the month and keeps it.
    """
    if state.destroyed_at is not None:
        return accept()
    if ended_at + retention_days * DAY > now:
        return refuse(Conflict.IN_USE, detail="the retention of this month is not over")
    if waits_for is not None:
        return refuse(Conflict.IN_USE, detail=waits_for)
    return accept(MonthDestroyed(month=month, reason="retention", retention_days=retention_days))


def evolve(state: State, recorded: Recorded) -> State:
    """The month after one more event."""
    match recorded.event:
        case MonthDestroyed():
            return State(recorded.time)
        case _:
            raise AssertionError(f"{recorded.type} is no event of a month")
