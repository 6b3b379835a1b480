"""A client's secret versions as bars over time, with what each was used for and whether anybody would miss it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from security.clock import DAY, SECOND, Moment, format_rfc3339, parse_rfc3339

WIDTH, ROW, LABEL = 720, 30, 90


class SecretVersion(msgspec.Struct, frozen=True):
    """A version as `GET /admin/clients/{id}/secrets` tells it."""

    id: str
    version: int
    state: str
    created_at: str
    use_count: int
    safe_to_retire: bool
    safe_to_retire_reason: str
    expires_at: str | None = None
    revoked_at: str | None = None
    last_used_at: str | None = None

    @property
    def until(self) -> str | None:
        """When it ended, or ends; None where it has no end."""
        return self.revoked_at or self.expires_at

    @property
    def alive(self) -> bool:
        """Whether somebody can still authenticate with it."""
        return self.state in ("active", "expiring")


class SecretVersions(msgspec.Struct, frozen=True):
    """Versions, the oldest first."""

    items: tuple[SecretVersion, ...]
    next: str | None = None


class SecretBar(NamedTuple):
    """One version as it is drawn, from `x` on for `width`, with a tick where it was used last. `words` says it too."""

    version: int
    y: int
    x: float
    width: float
    alive: bool
    last_used: float | None
    words: str


class SecretBars(NamedTuple):
    """The drawing. `now` is where this moment stands, `first` and `last` are its ends: days, or times of one day."""

    height: int
    now: float
    bars: tuple[SecretBar, ...]
    first: str
    last: str
    left: int = LABEL


def drawn(versions: Sequence[SecretVersion], now: Moment) -> SecretBars | None:
    """The bars of all versions on one scale; None where there are none."""
    if not versions:
        return None
    first = min(parse_rfc3339(each.created_at) for each in versions)
    until = [parse_rfc3339(each.until) for each in versions if each.until is not None]
    # A secret that lives for years would leave nothing to be seen of the others.
    last = min(max([now, *until]), now + max(now - first, 30 * DAY))
    scale = (WIDTH - LABEL) / max(1, last - first)

    def place(moment: Moment) -> float:
        return round(LABEL + (min(max(moment, first), last) - first) * scale, 1)

    bars = []
    for number, each in enumerate(versions):
        start = place(parse_rfc3339(each.created_at))
        end = place(last if each.until is None else parse_rfc3339(each.until))
        used = None if each.last_used_at is None else place(parse_rfc3339(each.last_used_at))
        words = f"version {each.version}, {each.state}, from {each.created_at} to {each.until or 'no end'}"
        width = max(2.0, round(end - start, 1))
        bars.append(SecretBar(each.version, number * ROW + 4, start, width, each.alive, used, words))
    height, begins, ends = len(versions) * ROW + 4, format_rfc3339(first), format_rfc3339(last)
    # Within a day it is the time that tells both ends apart.
    told = slice(10) if begins[:10] != ends[:10] else slice(11, 16)
    return SecretBars(height, place(now), tuple(bars), begins[told], ends[told])


def seconds_of(text: str) -> int | None:
    """A number of days in a form as seconds; None for none."""
    return int(text) * DAY // SECOND if text.isascii() and text.isdigit() and len(text) <= 4 else None
