"""What people do about all that is stored of them: they have it given to them, and have it erased after a while.

The facts stand in the account's stream.
"""

import msgspec

from domain.decision import Outcome, accept
from domain.event import SECOND, Event, Moment, Recorded
from domain.rules.people import last_administrator


class DataExported(Event, frozen=True, kw_only=True):
    """The person had everything given to them that is stored about them."""

    type = "account.data_exported"


class ErasureRequested(Event, frozen=True, kw_only=True):
    """The person wants to be erased, which is done from `due_at` on unless they withdraw it."""

    type = "account.erasure_requested"

    due_at: Moment


class ErasureWithdrawn(Event, frozen=True, kw_only=True):
    """The person does not want to be erased any more."""

    type = "account.erasure_withdrawn"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (DataExported, ErasureRequested, ErasureWithdrawn)


class OwnData(msgspec.Struct, frozen=True):
    """`erasure_due` is when the person is to be erased; None while they do not want to be."""

    erasure_due: Moment | None = None


def export(*, now: Moment) -> Outcome:
    """Records that the person gets what is stored about them."""
    return accept(DataExported())


def request_erasure(state: OwnData, *, now: Moment, waiting: int, leaves_no_administrator: bool) -> Outcome:
    """Has the person erased after `waiting` seconds. A repeat changes nothing."""
    if state.erasure_due is not None:
        return accept()
    if leaves_no_administrator:
        return last_administrator()
    return accept(ErasureRequested(due_at=now + waiting * SECOND))


def withdraw_erasure(state: OwnData, *, now: Moment) -> Outcome:
    """Has the person stay. Without a request nothing changes."""
    return accept() if state.erasure_due is None else accept(ErasureWithdrawn())


def is_due(state: OwnData, now: Moment) -> bool:
    """Whether the person has waited long enough."""
    return state.erasure_due is not None and state.erasure_due <= now


def evolve(state: OwnData, recorded: Recorded) -> OwnData:
    """What is known after one more of these events."""
    match recorded.event:
        case ErasureRequested():
            return OwnData(recorded.event.due_at)
        case ErasureWithdrawn():
            return OwnData()
        case _:
            return state
