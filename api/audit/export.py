"""The log, or what filters leave of it, as a stream of records (`GET /audit/export`)."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from litestar.response import Stream

from api.access import needing
from api.audit import readings
from api.audit.asking import READ, Auditor, auditor
from api.audit.events import find, up_to_date
from api.audit.filters import Filters, filters, only
from api.audit.formats import Format, Writer, writer
from api.starting import running_version
from domain import audit
from eventstore.searching import Criteria

AT_ONCE = 250
"""Events in memory at a time, whatever the length of the export."""

Chosen = Annotated[
    Format,
    QueryParameter(
        name="format", description="JSON Lines, CSV (RFC 4180), CloudEvents 1.0 or OCSF 1.5.0, one record a line."
    ),
]


@get(
    "/audit/export",
    **needing(READ, repeatable=("type",)),
    dependencies={"given": Provide(filters, sync_to_thread=False)},
    tags=["Audit"],
    summary="Export the log",
    media_type="application/octet-stream",
)
async def export(request: Request[Any, Any, Any], given: NamedDependency[Filters], form: Chosen = "jsonl") -> Stream:
    """Every event that matches, up to the log's head when the export began. Any length."""
    only(request, "format")
    asking = auditor(request)
    head = await up_to_date(asking, given)
    criteria = await asking.here.ledger.read(given.criteria, asking.here.ledger.privacy, head)
    writing = writer(form, asking.here.settings.issuer, running_version())
    reading_id, _ = await readings.open_reading(
        asking,
        audit.open_export,
        parameters=asking.words(given.asked | {"format": form}),
        address=given.address,
        unsealed=asking.personal,
    )
    return Stream(
        _records(asking, criteria, writing, reading_id),
        headers={
            "content-type": f"{writing.media_type}; charset=utf-8",
            "content-disposition": f'attachment; filename="grantlog.{writing.extension}"',
        },
    )


async def _records(asking: Auditor, criteria: Criteria, writing: Writer, reading_id: str) -> AsyncIterator[bytes]:
    count, complete = 0, False
    start: int | None = None
    try:
        if writing.head:
            yield writing.head
        while True:
            found = await find(asking, criteria, AT_ONCE, start)
            if found.events:
                yield b"".join(writing.write(event) for event in found.events)
                count += len(found.events)
            start = found.resume
            if start is None:
                complete = True
                return
    finally:
        readings.close_export(asking, reading_id, count, complete=complete)


ROUTES: list[Any] = [export]
