"""Any aggregate as it was (`GET /audit/state/{stream}`)."""

from typing import Annotated, Any

from litestar import get
from litestar.params import PathParameter, QueryParameter

from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.answering.state import State, state_of
from api.audit.asking import READ
from api.dependencies import Injected

LONGEST_STREAM = 300

At = Annotated[
    str | None, QueryParameter(name="at", max_length=64, description="RFC 3339; that very microsecond is included.")
]
Position = Annotated[
    int | None, QueryParameter(name="position", ge=1, le=2**53 - 1, description="When this was the newest event.")
]
Stream = Annotated[str, PathParameter(max_length=LONGEST_STREAM, description="A stream, as events name it.")]

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
async def state(asking: Injected[Auditor], stream: Stream, at: At = None, position: Position = None) -> State:
    """The fold of a stream at a moment or a position; 404 when the stream has no events at all, before or after."""
    return await state_of(asking, stream.removeprefix("/"), at, position)


ROUTES: list[Any] = [state]
