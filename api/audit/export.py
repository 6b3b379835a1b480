"""The log, or what filters leave of it, as a stream of records (`GET /audit/export`)."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from api.access import needing
from api.arrival import arrival
from api.audit import readings
from api.audit.asking import READ, Auditor, auditor
from api.audit.events import find, up_to_date, wanted
from api.audit.filters import Filters, filters
from api.audit.formats import MEDIA_TYPES, Format, Writer, writer
from api.audit.long_answers import LongAnswer, nothing
from api.audit.proven_export import EXTENSION, MEDIA_TYPE, Part, pinned, proven
from api.starting import running_version
from domain import audit
from eventstore.searching import Criteria

AT_ONCE = 250
"""Events in memory at a time, whatever the length of the export."""

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
    given: NamedDependency[Filters],
    format: Chosen = "jsonl",
    proof: WithProof = "0",
) -> LongAnswer:
    """Every event that matches, up to the log's head when the export began. Any length.

    With `proof=1` it goes up to the newest checkpoint, and ends in it.
    """
    asking = auditor(request)
    checkpoint = await pinned(asking, format, given.order) if proof == "1" else None
    head = await up_to_date(asking, given)
    criteria, asked = await wanted(asking, given, head)
    if checkpoint is None:
        writing = writer(format, asking.here.settings.issuer, running_version())
        media_type, extension = writing.media_type, writing.extension
        parts = _written(asking, criteria, writing, given.with_names)
    else:
        media_type, extension = MEDIA_TYPE, EXTENSION
        parts = proven(asking, criteria, checkpoint, AT_ONCE)
    headers = {
        "content-type": f"{media_type}; charset=utf-8",
        "content-disposition": f'attachment; filename="grantlog.{extension}"',
    }
    if arrival(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    reading_id, _ = await readings.open_reading(
        asking,
        audit.open_export,
        parameters=asking.words(asked | {"format": format} | ({} if checkpoint is None else {"proof": proof})),
        address=given.address,
        unsealed=asking.personal and checkpoint is None,
    )
    return LongAnswer(_told(asking, parts, reading_id), headers=headers)


async def _told(asking: Auditor, parts: AsyncIterator[Part], reading_id: str) -> AsyncGenerator[bytes, None]:
    count, complete = 0, False
    try:
        async for part in parts:
            if part.lines:
                yield part.lines
            count += part.records
        complete = True
    finally:
        readings.close_export(asking, reading_id, count, complete=complete)


async def _written(asking: Auditor, criteria: Criteria, writing: Writer, names: bool) -> AsyncIterator[Part]:
    yield Part(writing.head, 0)
    start: int | None = None
    while True:
        found = await find(asking, criteria, AT_ONCE, start, names=names)
        yield Part(b"".join(writing.write(event) for event in found.events), len(found.events))
        start = found.resume
        if start is None:
            return


ROUTES: list[Any] = [export]
