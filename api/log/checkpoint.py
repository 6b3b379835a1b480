"""The log's newest checkpoint (`GET /log/checkpoint`, C2SP tlog-tiles "Checkpoints")."""

from typing import Any

from litestar import Response, get

from api.dependencies import Injected
from api.log.publishing import REVALIDATED, TEXT, admitted, file
from api.problems import Missing
from eventstore.ledger import Ledger
from eventstore.transparency import published


@get("/log/checkpoint", guards=[admitted], tags=["Log"], summary="The newest checkpoint", media_type=TEXT)
async def checkpoint(ledger: Injected[Ledger]) -> Response[bytes]:
    """A signed note (C2SP tlog-checkpoint): origin, size, root, and the signatures of the log and of its witnesses."""
    newest = await ledger.read(published.newest)
    if newest is None:
        raise Missing("The log has no checkpoint yet; it gets one within a second of its first event.")
    return file(newest.note.encode(), TEXT, REVALIDATED)


ROUTES: list[Any] = [checkpoint]
