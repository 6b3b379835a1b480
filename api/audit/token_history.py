"""All that ever happened with a token, code or secret (`POST /audit/token-history`)."""

from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta

from api.access import needing
from api.audit.answering import token_history as answering
from api.audit.answering.auditor import Auditor
from api.audit.answering.token_history import TokenHistory
from api.audit.asking import READ
from api.audit.events import EXAMPLE as EVENT_EXAMPLE
from api.audit.filters import WithNames
from api.audit.presented import RawSecret, Sha256
from api.dependencies import Injected


class TokenHistoryQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of them."""

    token: RawSecret | None = None
    sha256: Sha256 | None = None
    id: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9A-Za-z]{1,32}$",
                max_length=32,
                description="A token's `jti`, or the id of a grant, a session or a client secret version.",
            ),
        ]
        | None
    ) = None


EXAMPLE = {
    "kind": "access",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "state": "grant_ended",
    "client_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "client_name": "Photo Prints",
    "secret": {"id": "8Wq3nBz5MhCy2tLv9RdK7x", "version": 2},
    "account_id": "5Hc9pTn3WfKe7uJx0ZaQ4r",
    "grant_id": "2Yt0kQm4VdLw8sRz1XbN6c",
    "scope": "profile catalog:read",
    "issued_at": "2026-01-31T11:00:00.000000Z",
    "expires_at": "2026-01-31T11:10:00.000000Z",
    "events": [EVENT_EXAMPLE],
}


@post(
    "/audit/token-history",
    status_code=200,
    **needing(READ, example={"sha256": EXAMPLE["sha256"]}, answer=EXAMPLE),
    tags=["Audit"],
    summary="The history of a token, code or secret",
)
async def token_history(
    asking: Injected[Auditor], data: JSONBody[TokenHistoryQuestion], names: WithNames = "0"
) -> TokenHistory:
    """From the ground that it stands on through every event of its grant, and those of others that decided about it, to
    its last use; for tokens long gone too. Unknown: 404.
    """
    return await answering.token_history(asking, data.token, data.sha256, data.id, names=names == "1")


ROUTES: list[Any] = [token_history]
