"""The worst hour: nothing is issued to anybody until it is lifted. Validation goes on."""

from typing import Any

import msgspec
from litestar import Response, get, post

from api.access import needing
from api.admin.members import Time, time_or_null
from api.dependencies import Injected
from api.idempotency import Once, Reply, commanding
from commands import servers
from domain import server
from eventstore.ledger import Ledger
from eventstore.view import View

READ, WRITE = "leaks:read", "leaks:write"
TAGS = ["Leaks"]
EXAMPLE = {"frozen": True, "since": "2026-02-01T02:58:00.000000Z"}


class Freeze(msgspec.Struct, frozen=True):
    """Whether issuance is suspended, and since when."""

    frozen: bool
    since: Time | None


@get("/leaks/freeze", **needing(READ, answer=EXAMPLE), tags=TAGS, summary="Whether issuance is suspended")
async def read_freeze(ledger: Injected[Ledger]) -> Freeze:
    """While it is, whoever asks for a code or token is told `temporarily_unavailable`."""
    return _freeze(await ledger.state(server.STREAM))


@post("/leaks/freeze", status_code=200, **commanding(WRITE, answer=EXAMPLE), tags=TAGS, summary="Suspend all issuance")
async def freeze(once: Injected[Once]) -> Response[Freeze]:
    """No code and no token is issued from now on, to anybody; what was issued is validated as ever. A repeat changes
    nothing.
    """
    return await once.carry_out(servers.suspend_issuance(), reply=_reply)


@post(
    "/leaks/unfreeze",
    status_code=200,
    **commanding(WRITE, answer={"frozen": False, "since": None}),
    tags=TAGS,
    summary="Resume issuance",
)
async def unfreeze(once: Injected[Once]) -> Response[Freeze]:
    """Codes and tokens are issued again. A repeat changes nothing."""
    return await once.carry_out(servers.resume_issuance(), reply=_reply)


def _reply(view: View, _: object) -> Reply[Freeze]:
    return Reply(_freeze(view.state(server.STREAM)))


def _freeze(state: server.State) -> Freeze:
    return Freeze(state.suspended_at is not None, time_or_null(state.suspended_at))


ROUTES: list[Any] = [read_freeze, freeze, unfreeze]
