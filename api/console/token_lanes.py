"""How a token, its secret, its client and its person stood over time, drawn as lanes below one another.

Minutes of a token and years of its client stand on one line, so it is no ruler: each moment at which something changed
has the same distance from the next, and between two of them time runs evenly.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from security.clock import Moment, format_rfc3339, parse_rfc3339

LEFT, WIDTH, ROW = 90, 800, 40
MOST = 24
"""Moments that are drawn; of more, those that ended or began nothing in a lane are left out."""

ALIVE = ("active", "enabled")
WAITING = ("not_yet_issued",)


class LaneStretch(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """A stretch of time in one state, and the event that began it; `until` is None where it lasts."""

    state: str
    since: str
    until: str | None
    position: int


class LaneHistory(msgspec.Struct, frozen=True):
    """What `POST /audit/token-history` tells of how each stood."""

    token: tuple[LaneStretch, ...] = ()
    secret: tuple[LaneStretch, ...] = ()
    client: tuple[LaneStretch, ...] = ()
    person: tuple[LaneStretch, ...] = ()

    @property
    def lanes(self) -> tuple[tuple[str, tuple[LaneStretch, ...]], ...]:
        """Those that there are, by name."""
        every = (("token", self.token), ("secret", self.secret), ("client", self.client), ("person", self.person))
        return tuple((name, stretches) for name, stretches in every if stretches)


class DrawnStretch(NamedTuple):
    """A stretch from `x` on. `kind` is `alive`, `waiting` or `over`, said by a shape and a word too."""

    x: float
    width: float
    kind: str
    words: str
    url: str


class Lane(NamedTuple):
    """One lane, and the sentence that says the same."""

    name: str
    y: int
    stretches: tuple[DrawnStretch, ...]


class Tick(NamedTuple):
    """A moment at which something changed. `micros` are microseconds since 1970, for the slider."""

    x: float
    at: str
    micros: Moment


class DrawnLanes(NamedTuple):
    """The drawing. `mark` is where the moment stands that is asked about, `left` where the line begins."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    mark: float
    height: int
    left: int = LEFT


def moments_of(standing: LaneHistory, others: Iterable[str | None]) -> tuple[Moment, ...]:
    """The moments of the line: those at which a lane changed, and as many others as there is room for."""
    changes = {
        each for _, lane in standing.lanes for stretch in lane for each in (stretch.since, stretch.until) if each
    }
    found = {parse_rfc3339(each) for each in changes}
    for other in others:
        if other is not None and len(found) < MOST:
            found.add(parse_rfc3339(other))
    return tuple(sorted(found))


def place(moments: Sequence[Moment], at: Moment) -> float:
    """How far along the line a moment stands, 0 to 1."""
    if len(moments) < 2 or at <= moments[0]:
        return 0.0
    if at >= moments[-1]:
        return 1.0
    number = bisect_right(moments, at) - 1
    within = (at - moments[number]) / (moments[number + 1] - moments[number])
    return (number + within) / (len(moments) - 1)


def drawn(standing: LaneHistory, moments: Sequence[Moment], at: Moment, *, called: str = "token") -> DrawnLanes:
    """The lanes, and where `at` stands. `called` is what the first of them is the lane of."""

    def x(moment: Moment) -> float:
        return round(LEFT + place(moments, moment) * WIDTH, 1)

    named = ((called if name == "token" else name, stretches) for name, stretches in standing.lanes)
    lanes = tuple(
        Lane(name, number * ROW, tuple(_drawn(name, stretch, x) for stretch in stretches))
        for number, (name, stretches) in enumerate(named)
    )
    ticks = tuple(Tick(x(moment), format_rfc3339(moment), moment) for moment in moments)
    return DrawnLanes(lanes, ticks, x(at), len(lanes) * ROW)


def _drawn(name: str, stretch: LaneStretch, x: Callable[[Moment], float]) -> DrawnStretch:
    begin = x(parse_rfc3339(stretch.since))
    end = LEFT + WIDTH if stretch.until is None else x(parse_rfc3339(stretch.until))
    state = stretch.state.replace("_", " ")
    until = "" if stretch.until is None else f" until {stretch.until}"
    kind = "alive" if stretch.state in ALIVE else "waiting" if stretch.state in WAITING else "over"
    words = f"{name} {state} from {stretch.since}{until}"
    return DrawnStretch(begin, round(max(2.0, end - begin), 1), kind, words, f"/console/events/{stretch.position}")
