"""Receipts (`GET /audit/proofs/{position}`): that an event is in the log, to be checked when the server is gone."""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter

from api.access import needing
from api.audit.answering.auditor import Auditor
from api.audit.asking import READ
from api.dependencies import Injected
from api.problems import Missing, Unavailable
from eventstore.transparency import published
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.leaves import read_authentic_leaves

TEXT = "text/plain"
"""The framework adds the charset."""

UNTIL_MENDED = 60
"""Seconds after which to ask again: nothing but an operator ends it."""


@get(
    "/audit/proofs/{position:int}",
    **needing(READ),
    tags=["Audit"],
    summary="A receipt for one event",
    media_type=TEXT,
)
async def proof(
    asking: Injected[Auditor],
    position: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="The event's place in the log.")],
) -> Response[bytes]:
    """A C2SP tlog-proof: the event's stored form, its path through the tree, and the newest checkpoint.

    `grantlog audit check-receipt` checks it with nothing but the log's verifier key. 404 beyond the newest checkpoint,
    which follows the log within a second. 503 when event and tree do not fit together any more: the receipt would prove
    nothing, and the log is signed no more.
    """
    receipt, diverged = None, None
    try:
        receipt = await asking.here.ledger.read(published.receipt, position, read_authentic_leaves)
    except Diverged as found:
        diverged = found
        await asking.here.transparency.diverge(found)
    await asking.record("proof", {"position": str(position)}, 0 if receipt is None else 1, unsealed=False)
    if diverged is not None:
        raise Unavailable(f"No receipt can be given: {diverged}.", retry_after=UNTIL_MENDED, reason="log_diverged")
    if receipt is None:
        raise Missing("No checkpoint covers this position yet.")
    return Response(receipt.encode(), media_type=TEXT)


ROUTES: list[Any] = [proof]
