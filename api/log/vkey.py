"""The log's verifier key (`GET /log/vkey`, C2SP signed-note "Verifier keys")."""

from typing import Any

from litestar import Request, Response, get

from api.log.publishing import REVALIDATED, TEXT, admitted, file
from api.problems import Unavailable
from domain import log_key


@get("/log/vkey", tags=["Log"], summary="The key that signs the log's checkpoints", media_type=TEXT)
async def vkey(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The verifier key as text; its name is the checkpoints' origin.

    It comes from the very server that it is meant to check. Pin the key that its operator gave you on another way, and
    use this one to see that they agree.
    """
    here = await admitted(request)
    state: log_key.State = await here.ledger.state(log_key.STREAM)
    if state.verifier_key is None:
        raise Unavailable("The log has no key yet.")
    return file(f"{state.verifier_key}\n".encode(), TEXT, REVALIDATED)


ROUTES: list[Any] = [vkey]
