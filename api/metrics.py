"""`/metrics`: the server in numbers, in Prometheus' text format, all workers together."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar import Request, Response, get

from api.arrival import Arrival, Proxies, arrival
from api.health import ANSWERS_WITHIN
from api.problems import Missing
from api.server.listeners import is_for_operators
from api.services import services
from api.starting import running_version
from eventstore.asking import Connection
from eventstore.commands import DatabaseAway
from eventstore.transparency import published
from projections import event_index, sightings

TEXT = "text/plain; version=0.0.4"
"""The framework adds the charset."""


TREE = "log_tree"


def _may_see(networks: tuple[str, ...], arrived: Arrival) -> bool:
    return arrived.address is not None and Proxies(networks).trusts(arrived.address)


def _followed(connection: Connection) -> dict[str, int]:
    """How far the read models that follow the log have come, and the tree over it."""
    return (
        dict.fromkeys((event_index.NAME, sightings.NAME), 0)
        | event_index.progress(connection)
        | {TREE: published.size(connection)}
    )


@get("/metrics", tags=["Health"], summary="Numbers for Prometheus", media_type=TEXT)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Requests, seconds, batches, throttling and the log's position, of all workers, as Prometheus reads them.

    On the main port they are told to `GRANTLOG_METRICS_NETWORKS` alone; for all others nothing is there.
    """
    here = services(request)
    if not is_for_operators(request.scope) and not _may_see(here.settings.metrics_networks, arrival(request.scope)):
        raise Missing("Nothing has this address.")
    position, followed = None, None
    with suppress(DatabaseAway, TimeoutError):
        async with asyncio.timeout(ANSWERS_WITHIN):
            followed = await here.ledger.read(_followed)
            position, _ = await here.ledger.head()
    here.metrics.write(here.hasher.waiting)
    here.transparency.measure(here.metrics)
    return Response(here.metrics.text(running_version(), position, followed), media_type=TEXT)
