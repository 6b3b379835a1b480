"""Any aggregate as it was (`GET /audit/state/{stream}`)."""

from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, get
from litestar.params import PathParameter, QueryParameter
from sqlalchemy import Connection

from api.access import needing
from api.audit.asking import READ, Auditor, auditor
from api.audit.moments import Point, point
from api.audit.rendering import Rendering
from api.problems import Missing
from domain.streams import AGGREGATES, category
from eventstore import past

LONGEST_STREAM = 300

At = Annotated[
    str | None, QueryParameter(name="at", max_length=64, description="RFC 3339; that very microsecond is included.")
]
Position = Annotated[
    int | None, QueryParameter(name="position", ge=1, le=2**53 - 1, description="When this was the newest event.")
]
Stream = Annotated[str, PathParameter(max_length=LONGEST_STREAM, description="A stream, as events name it.")]


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


EXAMPLE = {
    "stream": "scope:profile",
    "version": 1,
    "as_of_position": 4725,
    "state": {"exists": True, "name": "profile", "description": "See your name"},
    "sealed": [],
    "erased": [],
}


@get(
    "/audit/state/{stream:path}",
    **needing(READ, answer=EXAMPLE),
    tags=["Audit"],
    summary="An aggregate as it was",
)
async def state(request: Request[Any, Any, Any], stream: Stream, at: At = None, position: Position = None) -> State:
    """The fold of a stream at a moment or a position; 404 when the stream has no events at all, before or after."""
    asking = auditor(request)
    name = stream.removeprefix("/")
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


ROUTES: list[Any] = [state]
