"""`/metrics`: the server in numbers, in Prometheus' text format, all workers together."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar import Request, Response, get
from sqlalchemy import Connection

from api.health import ANSWERS_WITHIN
from api.services import services
from api.starting import running_version
from eventstore.commands import DatabaseAway
from eventstore.transparency import published
from projections import derived, event_index

TEXT = "text/plain; version=0.0.4"
"""The framework adds the charset."""


TREE = "log_tree"


def _followed(connection: Connection) -> dict[str, int]:
    """How far the read models that follow the log have come, and the tree over it."""
    return (
        dict.fromkeys((event_index.NAME, derived.NAME), 0)
        | event_index.progress(connection)
        | {TREE: published.size(connection)}
    )


@get("/metrics", tags=["Health"], summary="Numbers for Prometheus", media_type=TEXT)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Requests, seconds, batches, throttling and the log's position, of all workers, as Prometheus reads them."""
    here = services(request)
    position, followed = None, None
    with suppress(DatabaseAway, TimeoutError):
        async with asyncio.timeout(ANSWERS_WITHIN):
            followed = await here.ledger.read(_followed)
            position, _ = await here.ledger.head()
    here.metrics.write(here.hasher.waiting)
    here.transparency.measure(here.metrics)
    return Response(here.metrics.text(running_version(), position, followed), media_type=TEXT)
