"""What happened to a client or person, told by day, and what they were at two moments: asked of the log, masked."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from api.console.frame import Visit
from api.console.masking import sealed
from api.console.own_api import Refused
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


class Difference(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """What `GET /audit/diff/{stream}` answers."""

    since: Any
    until: Any
    changes: tuple[MemberChange, ...]
    sealed: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[tuple[str, str, str], ...]:
        """Each member that changed, before and after, as a page shows them. One that came to be with nothing in it did
        not change."""
        hidden = _hidden(self.sealed, self.erased)
        changed = ((each, hidden.get(each.path)) for each in self.changes)
        return tuple(
            (each.path, _shown(each.before, secret), _shown(each.after, secret))
            for each, secret in changed
            if secret or each.before is not None or each.after is not None
        )


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
        hidden = _hidden(self.sealed, self.erased)
        shown = ((name, _shown(value, hidden.get(f"state.{name}"))) for name, value in self.state.items())
        return tuple((name.replace("_", " "), words) for name, words in shown)


def _hidden(sealed: Iterable[str], erased: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(sealed, "masked") | dict.fromkeys(erased, "erased")


def _shown(value: Any, instead: str | None) -> str:
    return instead or in_words(value)


class LookedAt(NamedTuple):
    """A stream at a moment, or between two; what was not asked for is None. `refused` says what the API takes for no
    moment."""

    then: StateThen | None
    difference: Difference | None
    refused: str | None = None


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _instant(told: str | None, time: str) -> str | None:
    """A moment as the API takes it: of a day alone the one at that time."""
    moment = (told or "").strip()
    return f"{moment}T{time}Z" if _DAY.fullmatch(moment) else moment or None


async def looked_at(visit: Visit, stream: str, at: str | None, since: str | None, until: str | None) -> LookedAt:
    """What the aggregate was `at` a moment, and what changed of it from one to another. Moments are RFC 3339,
    positions, or days, which belong whole to the time between. What the API refuses of them is told beside the form."""
    try:
        return LookedAt(await _then(visit, stream, at), await _between(visit, stream, since, until))
    except Refused as error:
        if error.status != 400:
            raise
        return LookedAt(None, None, error.words)


async def _then(visit: Visit, stream: str, at: str | None) -> StateThen | None:
    moment = _instant(at, "00:00:00")
    if moment is None:
        return None
    point = {"position": moment} if moment.isdigit() else {"at": moment}
    return await visit.api.get(f"/audit/state/{stream}", StateThen, {**point, **sealed()})


async def _between(visit: Visit, stream: str, since: str | None, until: str | None) -> Difference | None:
    ends = {"from": _instant(since, "00:00:00"), "to": _instant(until, "23:59:59.999999")}
    if not any(ends.values()):
        return None
    return await visit.api.get(f"/audit/diff/{stream}", Difference, {**ends, **sealed()})


def in_words(value: Any) -> str:
    """A value of a state as a page shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
