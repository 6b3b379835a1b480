"""Given some events of one stream, when a verb is called, then these events follow: the parts that such tests share."""

from types import ModuleType
from typing import Any

import msgspec

from domain.event import ANONYMOUS, SECOND, Event, Moment, Recorded

NOW: Moment = 1_795_000_000 * SECOND


def record(event: Event, stream: str, position: int, at: Moment = NOW) -> Recorded:
    """The event as the ledger would record it, its personal values sealed for show."""
    sealed = {
        name: f"sealed:{getattr(event, name)}" for name in event.personal if isinstance(getattr(event, name), str)
    }
    return Recorded(
        position,
        f"event-{position}",
        stream,
        position,
        at,
        ANONYMOUS,
        None,
        None,
        None,
        msgspec.structs.replace(event, **sealed) if sealed else event,
    )


def loosely(page: ModuleType) -> Any:
    """The page for a test that hands in anything and picks outcomes apart, without a word about types at each step."""
    return page


def given(page: ModuleType, stream: str, *events: Event | tuple[Moment, Event]) -> Any:
    """The state after the events, at positions 1, 2, …; a pair says when, everything else happens at `NOW`."""
    state = page.INITIAL
    for position, told in enumerate(events, 1):
        at, event = told if isinstance(told, tuple) else (NOW, told)
        state = page.evolve(state, record(event, stream, position, at))
    return state
