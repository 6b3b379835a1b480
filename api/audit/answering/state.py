"""Any aggregate as it was."""

from typing import Any, NamedTuple

import msgspec

from api.audit.answering.auditor import Auditor
from api.audit.moments import Point, point
from api.audit.rendering import Rendering
from api.problems import Missing
from domain.streams import AGGREGATES, category
from eventstore import past
from eventstore.asking import Connection


class State(msgspec.Struct, frozen=True):
    """The aggregate after `version` events. `sealed` and `erased` name personal values that are not shown."""

    stream: str
    version: int
    as_of_position: int
    state: dict[str, Any]
    sealed: list[str]
    erased: list[str]


class _Shown(NamedTuple):
    state: State
    unsealed: bool


async def state_of(asking: Auditor, name: str, at: str | None, position: int | None) -> State:
    """The fold of a stream at a moment or a position, and the event that it was asked for. Raises Missing when the
    stream has no events at all, before or after.
    """
    where = await point(asking, at, position)
    shown = await asking.here.ledger.read(_shown, asking, name, where)
    asked = {
        # A name that is none may be anything, such as what somebody pasted by mistake.
        "stream": "unknown" if shown is None else name,
        "at": at,
        "position": None if position is None else str(position),
    }
    await asking.record("state", asked, int(shown is not None), unsealed=shown is not None and shown.unsealed)
    if shown is None:
        raise Missing("There is no such stream.")
    return shown.state


def _shown(connection: Connection, asking: Auditor, stream: str, where: Point) -> _Shown | None:
    if category(stream) not in AGGREGATES or not past.exists(connection, stream):
        return None
    folded = past.folded(connection, stream, where.position)
    rendering = Rendering(asking.here.ledger.privacy, connection, personal=asking.personal)
    members, sealed, erased = rendering.state(folded.state)
    return _Shown(
        State(stream, folded.version, where.position, members, sealed, erased),
        rendering.shows_personal(folded.state, sealed, erased),
    )
