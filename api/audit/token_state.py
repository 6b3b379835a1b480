"""Was this token valid at that moment, and why (`POST /audit/token-state`)."""

from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta

from api.access import needing
from api.audit.answering import token_state as answering
from api.audit.answering.auditor import Auditor
from api.audit.answering.token_state import TokenState
from api.audit.asking import READ
from api.audit.presented import RawSecret, Sha256
from api.dependencies import Injected


class TokenStateQuestion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Either `token` or `sha256`; `at` and `position` are the point in the past, and without both it is now."""

    token: RawSecret | None = None
    sha256: Sha256 | None = None
    at: Annotated[str, Meta(max_length=64, description="RFC 3339; that very microsecond is included.")] | None = None
    position: (
        Annotated[int, Meta(ge=1, le=2**53 - 1, description="The log as it stood when this was its newest event.")]
        | None
    ) = None


EXAMPLE = {
    "active": False,
    "reason": "revoked",
    "kind": "access",
    "decided_by": [4711],
    "at": "2026-01-31T14:02:07.000000Z",
    "as_of_position": 4725,
}


@post(
    "/audit/token-state",
    status_code=200,
    **needing(
        READ, example={"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}, answer=EXAMPLE
    ),
    tags=["Audit"],
    summary="Whether a token was valid at a moment, and why",
)
async def token_state(asking: Injected[Auditor], data: JSONBody[TokenStateQuestion]) -> TokenState:
    """Judges the token by the log as it stood. At the recorded instant of its revocation it is already revoked."""
    return await answering.token_state(asking, data.token, data.sha256, data.at, data.position)


ROUTES: list[Any] = [token_state]
