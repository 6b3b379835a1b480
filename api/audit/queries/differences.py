"""What an aggregate was at one moment and at another: what changed, from what to what."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from api.audit.queries.auditor import Auditor
from api.audit.queries.search import Point, point, position
from api.audit.rendering import Rendering, sealed_within
from api.http.errors import InvalidRequest, Missing
from domain.events import AGGREGATES, category
from eventstore import time_travel
from eventstore.database import Connection
from security.clock import format_rfc3339

IDS = ("id", "secret_id", "token_id", "key_id", "factor_id", "name")
"""Members that tell one item of a list from the others."""


class Change(msgspec.Struct, frozen=True):
    """One member. Null where there was none, or where it is not shown."""

    path: str
    before: Any
    after: Any


class Diff(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """What changed between two points, each a moment or a position as it was asked for. `sealed` and `erased` name
    personal values that are not shown."""

    stream: str
    since: str | int
    until: str | int
    changes: list[Change]
    sealed: list[str]
    erased: list[str]


class _Side(NamedTuple):
    members: dict[str, Any]
    texts: dict[str, str]
    """Personal values as they are stored: two differ where these do, whether they are shown or not."""
    sealed: list[str]
    erased: list[str]
    unsealed: bool


async def diff(asking: Auditor, stream: str, since: str | None, until: str | None) -> Diff:
    """The changes from one point (the beginning) to the other (now), and the event that they were asked for. Raises
    Missing when the stream has no events at all, and Invalid for what is no point."""
    first = Point(0, 0) if since is None else await _point(asking, "from", since)
    last = await _point(asking, "to", until)
    if first.position > last.position:
        raise InvalidRequest.field("from", "is behind the end")
    sides = await asking.sources.ledger.read(_sides, asking, stream, first, last)
    changes = [] if sides is None else list(_changes(*sides))
    asked = {"stream": "unknown" if sides is None else stream, "from": since, "to": until}
    unsealed = sides is not None and any(side.unsealed for side in sides)
    await asking.record("diff", asked, len(changes), unsealed=unsealed)
    if sides is None:
        raise Missing("There is no such stream.")
    return Diff(
        stream,
        _as_asked(since, first),
        _as_asked(until, last),
        changes,
        sorted({path for side in sides for path in side.sealed}),
        sorted({path for side in sides for path in side.erased}),
    )


async def _point(asking: Auditor, field: str, text: str | None) -> Point:
    if text is None:
        return await point(asking, None, None)
    if text.isascii() and text.isdigit() and 0 < len(text) <= 16:
        return await point(asking, None, position(field, int(text)), field=field)
    return await point(asking, text, None, field=field)


def _as_asked(text: str | None, where: Point) -> str | int:
    if where.position == 0 or (text is not None and text.isdigit()):
        return where.position
    return format_rfc3339(where.at)


def _sides(connection: Connection, asking: Auditor, stream: str, *points: Point) -> tuple[_Side, _Side] | None:
    if category(stream) not in AGGREGATES or not time_travel.exists(connection, stream):
        return None
    first, last = (_side(connection, asking, stream, each) for each in points)
    return first, last


def _side(connection: Connection, asking: Auditor, stream: str, where: Point) -> _Side:
    state = time_travel.folded(connection, stream, where.position).state
    rendering = Rendering(asking.sources.ledger.privacy, connection, personal=asking.personal)
    members, sealed, erased = rendering.state(state)
    texts = {path: f"{each.event_id} {each.text}" for path, each in sealed_within("state", state)}
    return _Side(members, texts, sealed, erased, rendering.shows_personal(state, sealed, erased))


def _changes(first: _Side, last: _Side) -> Iterator[Change]:
    before, after = dict(_leaves("state", first.members)), dict(_leaves("state", last.members))
    for path in dict.fromkeys((*before, *after)):
        differs = first.texts.get(path) != last.texts.get(path) or before.get(path) != after.get(path)
        if differs or (path in before) != (path in after):
            yield Change(path, before.get(path), after.get(path))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its path; items of a list by what tells them from each other, other lists as a whole."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif isinstance(value, list) and value and (name := _told_by(value)) is not None:
        for item in value:
            yield from _leaves(f"{path}.{item[name]}", {each: item[each] for each in item if each != name})
    else:
        yield path, value


def _told_by(items: list[Any]) -> str | None:
    if not all(isinstance(item, Mapping) for item in items):
        return None
    for name in IDS:
        values = [item.get(name) for item in items]
        if all(isinstance(value, str) for value in values) and len(set(values)) == len(values):
            return name
    return None
