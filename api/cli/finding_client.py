"""The client that a command names."""

from typing import TYPE_CHECKING

from api.cli.failures import Failure
from api.cli.opening import Here

if TYPE_CHECKING:
    from projections.clients import Client


async def find(here: Here, client_id: str) -> "Client":
    """A client that is there; raises Failure for any other id."""
    from projections import clients

    found = await here.ledger.read(clients.by_id, client_id)
    if found is None or found.state == "deleted":
        raise Failure("client_id: there is no such client")
    return found
