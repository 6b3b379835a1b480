"""When there were how many events: bars over time, each of which leads to the search for its events alone."""

from collections import Counter
from datetime import timedelta
from typing import NamedTuple

import msgspec

from api.console.searching import Given, address_of, parsed

WIDTH, HEIGHT = 960, 64


class Stretch(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """How many events there were between two moments, and `by` type how many of each."""

    since: str
    until: str
    count: int
    by: dict[str, int] = {}


class Counts(msgspec.Struct, frozen=True):
    """How many in each stretch; not `exact` where it was sampled."""

    items: tuple[Stretch, ...]
    exact: bool

    @property
    def by_type(self) -> Counter[str]:
        """How many of each type, all stretches together."""
        found = Counter[str]()
        for each in self.items:
            found.update(each.by)
        return found


class HistogramBar(NamedTuple):
    """A bar of the histogram; `url` is the search for its events alone."""

    x: float
    width: float
    height: float
    words: str
    url: str
    number: int


class Histogram(NamedTuple):
    """How many events there were when; without bars where it is all of them, whenever they were. `axis` are the moments
    below the bars, the first and the last at their ends and the others evenly between."""

    bars: tuple[HistogramBar, ...]
    total: int
    exact: bool
    axis: tuple[str, ...] = ()


def drawn(counts: Counts, given: Given) -> Histogram:
    """The histogram as bars."""
    most = max([1, *(each.count for each in counts.items)])
    wide = WIDTH / max(1, len(counts.items))
    kept = {name: values for name, values in given.items() if name not in ("range", "after", "from")}
    bars = tuple(
        HistogramBar(
            round(number * wide, 2),
            round(max(1.0, wide - 2), 2),
            round(each.count / most * HEIGHT, 1),
            f"{each.since[:19]} to {each.until[:19]}: {each.count}",
            address_of({**kept, "since": [each.since], "until": [each.until]}),
            each.count,
        )
        for number, each in enumerate(counts.items)
    )
    total = sum(each.count for each in counts.items)
    return Histogram(bars, total, counts.exact, _axis(counts)) if len(bars) > 1 else Histogram((), total, counts.exact)


MARKS = 5


def _axis(counts: Counts) -> tuple[str, ...]:
    """Days for what takes days, else the time of day."""
    first, last = parsed(counts.items[0].since), parsed(counts.items[-1].until)
    shape = "%m-%d" if last - first > 3 * timedelta(days=1) else "%m-%d %H:%M"
    return tuple((first + (last - first) * mark / (MARKS - 1)).strftime(shape) for mark in range(MARKS))
