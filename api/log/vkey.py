"""The log's verifier key (`GET /log/vkey`, C2SP signed-note "Verifier keys")."""

from typing import Any

from litestar import Response, get

from api.dependencies import Injected
from api.log.publishing import REVALIDATED, TEXT, admitted, file
from api.problems import Unavailable
from domain import log_key
from eventstore.ledger import Ledger


@get("/log/vkey", guards=[admitted], tags=["Log"], summary="The key that signs the log's checkpoints", media_type=TEXT)
async def vkey(ledger: Injected[Ledger]) -> Response[bytes]:
    """The verifier key as text; its name is the checkpoints' origin.

    It comes from the very server that it is meant to check. Pin the key that its operator gave you on another way, and
    use this one to see that they agree.
    """
    state: log_key.State = await ledger.state(log_key.STREAM)
    if state.verifier_key is None:
        raise Unavailable("The log has no key yet.")
    return file(f"{state.verifier_key}\n".encode(), TEXT, REVALIDATED)


ROUTES: list[Any] = [vkey]
