"""A client's secret versions as bars over time, with what each was used for and whether anybody would miss it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from security.clock import DAY, SECOND, Moment, parse_rfc3339

WIDTH, ROW, LABEL = 720, 30, 90
SOON: Moment = 14 * DAY
IDLE: Moment = 30 * DAY
OLD: Moment = 365 * DAY


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
    """The drawing. `now` is where this moment stands."""

    height: int
    now: float
    bars: tuple[SecretBar, ...]


def drawn(versions: Sequence[SecretVersion], now: Moment) -> SecretBars | None:
    """The bars of all versions on one scale; None where there are none."""
    if not versions:
        return None
    first = min(parse_rfc3339(each.created_at) for each in versions)
    ends = [parse_rfc3339(each.until) for each in versions if each.until is not None]
    # A secret that lives for years would leave nothing to be seen of the others.
    last = min(max([now, *ends]), now + max(now - first, 30 * DAY))
    scale = (WIDTH - LABEL) / max(1, last - first)

    def place(moment: Moment) -> float:
        return round(LABEL + (min(max(moment, first), last) - first) * scale, 1)

    bars = []
    for number, each in enumerate(versions):
        begins = place(parse_rfc3339(each.created_at))
        end = place(last if each.until is None else parse_rfc3339(each.until))
        used = None if each.last_used_at is None else place(parse_rfc3339(each.last_used_at))
        words = f"version {each.version}, {each.state}, from {each.created_at} to {each.until or 'no end'}"
        width = max(2.0, round(end - begins, 1))
        bars.append(SecretBar(each.version, number * ROW + 4, begins, width, each.alive, used, words))
    return SecretBars(len(versions) * ROW + 4, place(now), tuple(bars))


def risks(versions: Sequence[SecretVersion], now: Moment) -> tuple[str, ...]:
    """What should be looked at, in words, the most pressing first."""
    alive = [each for each in versions if each.alive]
    if not versions:
        return ()
    if not alive:
        return ("no secret works any more",)
    found = []
    newest = alive[-1]
    if newest.expires_at is not None and parse_rfc3339(newest.expires_at) - now < SOON:
        found.append(f"its newest secret ends {newest.expires_at[:10]}")
    if now - parse_rfc3339(newest.created_at) > OLD:
        found.append("its newest secret is over a year old")
    if len(alive) > 1:
        found.append(f"{len(alive)} secrets work")
    used = [parse_rfc3339(each.last_used_at) for each in alive if each.last_used_at is not None]
    if not used:
        found.append("no secret was ever used")
    elif now - max(used) > IDLE:
        found.append(f"unused for {(now - max(used)) // DAY} days")
    if newest.expires_at is None:
        found.append("no rotation")
    return tuple(found)


def seconds_of(text: str) -> int | None:
    """A number of days in a form as seconds; None for none."""
    return int(text) * DAY // SECOND if text.isascii() and text.isdigit() and len(text) <= 4 else None
