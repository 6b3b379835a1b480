"""What happened to a client or person, told by day, and what they were at two moments: asked of the log, masked."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from api.console.frame import Visit
from api.console.masking import sealed
from api.console.shown_events import Event

STORY_LENGTH = 40
"""Events that a page tells; the search has the others."""


class EventList(msgspec.Struct, frozen=True):
    """Events, and where the list goes on."""

    items: tuple[Event, ...]
    next: str | None = None


class StoryDay(NamedTuple):
    """What happened on a day, `YYYY-MM-DD`, the newest first."""

    day: str
    events: tuple[Event, ...]


async def story(
    visit: Visit, query: Mapping[str, str | list[str]], *, unsealed: bool = False, not_by: str | None = None
) -> tuple[StoryDay, ...]:
    """The newest events that match, by day, without those that somebody caused themselves; one reading of the log.
    Personal values stay sealed unless they are asked for."""
    asked: dict[str, str | int | list[str]] = {"order": "desc", "limit": STORY_LENGTH, "names": "1"}
    found = await visit.api.get("/audit/events", EventList, {**asked, **query, **sealed("1" if unsealed else "")})
    return by_day(each for each in found.items if not_by is None or each.actor.id != not_by)


def by_day(events: Iterable[Event]) -> tuple[StoryDay, ...]:
    """The same events by their days."""
    return tuple(StoryDay(day, tuple(group)) for day, group in groupby(events, key=lambda each: each.time[:10]))


class MemberChange(msgspec.Struct, frozen=True):
    """One member at two moments."""

    path: str
    before: Any = None
    after: Any = None

    @property
    def words(self) -> tuple[str, str]:
        """Before and after, as a page shows them."""
        return in_words(self.before), in_words(self.after)


class Difference(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """What `GET /audit/diff/{stream}` answers."""

    since: Any
    until: Any
    changes: tuple[MemberChange, ...]


class StateThen(msgspec.Struct, frozen=True):
    """What `GET /audit/state/{stream}` answers."""

    version: int
    as_of_position: int
    state: dict[str, Any]
    sealed: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()
    meaning: str | None = None

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """Each member and its value, as a page shows them."""
        hidden = dict.fromkeys(self.sealed, "masked") | dict.fromkeys(self.erased, "erased")
        shown = ((name, hidden.get(f"state.{name}") or in_words(value)) for name, value in self.state.items())
        return tuple((name.replace("_", " "), words) for name, words in shown)


class LookedAt(NamedTuple):
    """A stream at a moment, or between two; what was not asked for is None."""

    then: StateThen | None
    difference: Difference | None


async def looked_at(visit: Visit, stream: str, at: str | None, since: str | None, until: str | None) -> LookedAt:
    """What the aggregate was `at` a moment, and what changed of it from one to another; moments are RFC 3339 or
    positions."""
    masked = sealed()
    then = difference = None
    if at:
        point = {"position": at} if at.isdigit() else {"at": at}
        then = await visit.api.get(f"/audit/state/{stream}", StateThen, {**point, **masked})
    if since or until:
        between = {"from": since or None, "to": until or None}
        difference = await visit.api.get(f"/audit/diff/{stream}", Difference, {**between, **masked})
    return LookedAt(then, difference)


def in_words(value: Any) -> str:
    """A value of a state as a page shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
