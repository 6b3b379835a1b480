"""`/metrics`: the server in numbers, in Prometheus' text format, all workers together."""

from typing import Any

from litestar import Request, Response, get

from api.services import services
from api.starting import running_version
from eventstore.commands import DatabaseAway

TEXT = "text/plain; version=0.0.4"
"""The framework adds the charset."""


@get("/metrics", tags=["Health"], summary="Numbers for Prometheus", media_type=TEXT)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Requests, seconds, batches, throttling and the log's position, of all workers, as Prometheus reads them."""
    here = services(request)
    try:
        position, _ = await here.ledger.head()
    except DatabaseAway:
        position = None
    here.metrics.write(here.hasher.waiting)
    here.transparency.measure(here.metrics)
    return Response(here.metrics.text(running_version(), position), media_type=TEXT)
