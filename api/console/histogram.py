"""When there were how many events: bars over time, each of which leads to the search for its events alone."""

from collections import Counter
from typing import NamedTuple

import msgspec

from api.console.searching import Given, address_of

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
    """How many events there were when; without bars where it is all of them, whenever they were."""

    bars: tuple[HistogramBar, ...]
    total: int
    exact: bool


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
    return Histogram(bars if len(bars) > 1 else (), sum(each.count for each in counts.items), counts.exact)
