"""Grants and browser sessions that ended together: one fact about any number of them. Stream `grants:ended`.

Each is named by the position at which it began. The fact takes effect at once, with whatever had been issued; `applied`
is the rule by which every look at such a grant or session obeys it. Their own streams tell of it a little later, event
by event, and once all of them do, the set is settled and need not be looked at any more.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from domain import grant, session
from domain.decision import Outcome, accept
from domain.event import Event, Moment, Recorded

STREAM = "grants:ended"

TOGETHER = 4_000
"""So many does one event name: what keeps it within the length of a stored form."""


class EndedTogether(Event, frozen=True, kw_only=True):
    """Grants and browser sessions are over, with all that had come of them: those that began at these positions.

    `began` has the first position and then the distance of each to the one before. Each gets an `ended` event of its
    own, and `grants.settled` follows.
    """

    type = "grants.ended_together"
    in_doubt = True

    incident_id: str
    began: tuple[int, ...]


class Settled(Event, frozen=True, kw_only=True):
    """Every grant and session that this incident ended has an `ended` event of its own."""

    type = "grants.settled"
    in_doubt = True

    incident_id: str


EVENTS: tuple[type[Event], ...] = (EndedTogether, Settled)


def concerns(stream: str) -> bool:
    """Whether what ended together may tell of the end of such a stream's grant or session."""
    return stream.startswith(("grant:", "session:"))


class Together(msgspec.Struct, frozen=True):
    """What one event ended, at its position and time."""

    position: int
    time: Moment
    incident_id: str
    began: frozenset[int]


class State(msgspec.Struct, frozen=True):
    """What is not settled yet."""

    unsettled: tuple[Together, ...] = ()


INITIAL = State()

Ending = TypeVar("Ending", grant.State, session.State)


def applied(state: State, to: Ending) -> Ending:
    """A grant or session as it stands after what ended together; what has ended by itself stays as it is."""
    if not state.unsettled or to.is_over:
        return to
    began = to.position
    for each in state.unsettled:
        if began in each.began:
            return to.over(each.time, each.position)
    return to


def end_together(state: State, *, now: Moment, incident_id: str, began: Iterable[int]) -> Outcome:
    """Ends them, in as many events as it takes. What ended so before is not told again."""
    positions = sorted(set(began).difference(*(each.began for each in state.unsettled)))
    parts = (positions[at : at + TOGETHER] for at in range(0, len(positions), TOGETHER))
    return accept(*(EndedTogether(incident_id=incident_id, began=tuple(_distances(part))) for part in parts))


def settle(state: State, *, now: Moment, incident_id: str) -> Outcome:
    """Records that nothing is left to be told. A repeat records nothing."""
    unsettled = any(each.incident_id == incident_id for each in state.unsettled)
    return accept(Settled(incident_id=incident_id)) if unsettled else accept()


def _distances(positions: Sequence[int]) -> Iterator[int]:
    before = 0
    for position in positions:
        yield position - before
        before = position


def evolve(state: State, recorded: Recorded) -> State:
    """What is unsettled after one more event."""
    event = recorded.event
    match event:
        case EndedTogether():
            began = frozenset(accumulate(event.began))
            found = Together(recorded.position, recorded.time, event.incident_id, began)
            return replace(state, unsettled=(*state.unsettled, found))
        case Settled():
            return State(tuple(each for each in state.unsettled if each.incident_id != event.incident_id))
        case _:
            raise AssertionError(f"{recorded.type} is no event of what ended together")
