"""What was found: a number, and the bound that it is to keep."""

from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple


class Bound(NamedTuple):
    """What is aimed at."""

    relation: Literal["≥", "≤"]
    value: float

    def keeps(self, number: float) -> bool:
        """Whether a number is within it."""
        return number >= self.value if self.relation == "≥" else number <= self.value


def at_least(value: float) -> Bound:
    return Bound("≥", value)


def at_most(value: float) -> Bound:
    return Bound("≤", value)


class Finding(NamedTuple):
    """One number of one database. `digits` after the point are shown; `spread` is the lowest and the highest."""

    what: str
    database: str
    value: float
    unit: str = ""
    bound: Bound | None = None
    spread: tuple[float, float] | None = None
    digits: int = 2

    @property
    def met(self) -> bool | None:
        """Whether it keeps its bound; None where it has none."""
        return None if self.bound is None else self.bound.keeps(self.value)

    @property
    def shown(self) -> str:
        """The number as people read it."""
        text = f"{_number(self.value, self.digits)}{self.unit and ' ' + self.unit}"
        if self.spread is not None:
            low, high = (_number(each, self.digits) for each in self.spread)
            text += f" ({low}–{high})"
        return text

    @property
    def aim(self) -> str:
        """The bound as people read it; empty where there is none."""
        if self.bound is None:
            return ""
        return f"{self.bound.relation} {self.bound.value:g}{self.unit and ' ' + self.unit}"


def undisturbed(database: str, others: float, most: float, which: str = "") -> Finding:
    """What others had of the machine while something was measured; it stands out where that was too much."""
    return Finding(f"{which}share of the machine that others had", database, others, bound=at_most(most))


def of_rounds(what: str, database: str, values: Sequence[float], **more: object) -> Finding:
    """The median of several rounds with their spread."""
    return Finding(what, database, median(values), spread=(min(values), max(values)), **more)  # type: ignore[arg-type]


class Detail(NamedTuple):
    """A table of its own, below the findings: a title, the names of its columns, and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Found(NamedTuple):
    """What a part of the benchmark gives. `faults` are answers or facts that must not be."""

    findings: list[Finding]
    details: list[Detail] = []  # noqa: RUF012 - never changed
    faults: list[str] = []  # noqa: RUF012


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def share(values: list[float], part: float) -> float:
    """The value below which that part of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
