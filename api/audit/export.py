"""The log, or what filters leave of it, as a stream of records (`GET /audit/export`)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from api.access import needing
from api.arrival import arrival
from api.audit.answering.auditor import Auditor
from api.audit.answering.export import prepared
from api.audit.answering.filters import Filters
from api.audit.answering.proven_export import MEDIA_TYPE
from api.audit.asking import READ
from api.audit.filters import filters
from api.audit.formats import MEDIA_TYPES, Format, Part
from api.audit.long_answers import LongAnswer, nothing
from api.dependencies import Injected

TYPES = tuple(dict.fromkeys((*MEDIA_TYPES, MEDIA_TYPE)))
"""Media types that the answer may have: the format's, or the proven export's."""

Chosen = Annotated[
    Format,
    QueryParameter(
        name="format", description="JSON Lines, CSV (RFC 4180), CloudEvents 1.0 or OCSF 1.5.0, one record a line."
    ),
]


WithProof = Annotated[
    Literal["0", "1"],
    QueryParameter(
        name="proof",
        description="`1`: stored forms, byte for byte, with everything that proves them to be in the log and complete.",
    ),
]


@get(
    "/audit/export",
    **needing(READ, repeatable=("type",), media_types=TYPES),
    dependencies={"given": Provide(filters, sync_to_thread=False)},
    tags=["Audit"],
    summary="Export the log",
)
async def export(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    given: NamedDependency[Filters],
    format: Chosen = "jsonl",
    proof: WithProof = "0",
) -> LongAnswer:
    """Every event that matches, up to the log's head when the export began. Any length.

    With `proof=1` it goes up to the newest checkpoint, and ends in it.
    """
    wanted = await prepared(asking, given, format, proof=proof == "1")
    headers = {
        "content-type": f"{wanted.media_type}; charset=utf-8",
        "content-disposition": f'attachment; filename="grantlog.{wanted.extension}"',
    }
    if arrival(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    return LongAnswer(_lines(await wanted.open()), headers=headers)


async def _lines(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        async for part in parts:
            yield part.lines


ROUTES: list[Any] = [export]
