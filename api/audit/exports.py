"""Exports the log (`GET /audit/export`), and receipts of single events (`GET /audit/proofs/{position}`)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream
from litestar.response.streaming import ASGIStreamingResponse

from api.audit.event_search import filters
from api.audit.permission import READ
from api.audit.queries.auditor import Auditor
from api.audit.queries.export import MEDIA_TYPE, MEDIA_TYPES, Format, Part, prepared
from api.audit.queries.filters import Filters
from api.http.errors import Missing, TemporarilyUnavailable
from api.http.request_context import request_context
from api.oauth.bearer import needing
from api.services import Injected
from eventstore.transparency import published
from eventstore.transparency.published import Diverged, read_authentic_leaves

# Answers that take a while. Whatever becomes of the reader, the code that makes them comes to its end.


async def nothing() -> AsyncGenerator[bytes, None]:
    """The body of an answer to HEAD: nobody gets what the answer to GET tells, so none of it is put together."""
    yield b""


class LongAnswer(Stream):
    """A stream of bytes out of a generator, which is closed as soon as nobody listens any more.

    The framework would leave that to the garbage collector, and what the generator does at its end with it.
    """

    def __init__(self, parts: AsyncGenerator[bytes, None], **given: Any) -> None:
        super().__init__(parts, **given)
        self._parts = parts

    def to_asgi_response(self, *_: Any, **given: Any) -> ASGIStreamingResponse:
        """The answer with its own headers before those of the route."""
        return _Closing(
            iterator=self._parts,
            headers={**(given.get("headers") or {}), **self.headers},
            encoded_headers=given.get("encoded_headers"),
            cookies=given.get("cookies"),
            is_head_response=given.get("is_head_response", False),
            media_type=self.media_type,
            status_code=self.status_code or given.get("status_code"),
        )


class _Closing(ASGIStreamingResponse):
    __slots__ = ()

    async def send_body(self, send: Any, receive: Any) -> None:
        try:
            await super().send_body(send, receive)
        finally:
            if isinstance(self.iterator, AsyncGenerator):
                await self.iterator.aclose()


# The log, or what filters leave of it, as a stream of records (`GET /audit/export`).

TYPES = tuple(dict.fromkeys((*MEDIA_TYPES, MEDIA_TYPE)))
"""Media types that the answer may have: the format's, or the proven export's."""

Chosen = Annotated[
    Format,
    QueryParameter(
        name="format", description="JSON Lines, CSV (RFC 4180), CloudEvents 1.0 or OCSF 1.5.0, one record a line."
    ),
]


WithProof = Annotated[
    Literal["0", "1"],
    QueryParameter(
        name="proof",
        description="`1`: stored forms, byte for byte, with everything that proves them to be in the log and complete.",
    ),
]


@get(
    "/audit/export",
    **needing(READ, repeatable=("type",), media_types=TYPES),
    dependencies={"given": Provide(filters, sync_to_thread=False)},
    tags=["Audit"],
    summary="Export the log",
)
async def export(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    given: NamedDependency[Filters],
    format: Chosen = "jsonl",
    proof: WithProof = "0",
) -> LongAnswer:
    """Every event that matches, up to the log's head when the export began. Any length.

    With `proof=1` it goes up to the newest checkpoint, and ends in it.
    """
    wanted = await prepared(asking, given, format, proof=proof == "1")
    headers = {
        "content-type": f"{wanted.media_type}; charset=utf-8",
        "content-disposition": f'attachment; filename="grantlog.{wanted.extension}"',
    }
    if request_context(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    return LongAnswer(_lines(await wanted.open()), headers=headers)


async def _lines(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        async for part in parts:
            yield part.lines


# Receipts (`GET /audit/proofs/{position}`): that an event is in the log, to be checked when the server is gone.

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
        receipt = await asking.sources.ledger.read(published.receipt, position, read_authentic_leaves)
    except Diverged as found:
        diverged = found
        await asking.sources.transparency.diverge(found)
    await asking.record("proof", {"position": str(position)}, 0 if receipt is None else 1, unsealed=False)
    if diverged is not None:
        raise TemporarilyUnavailable(
            f"No receipt can be given: {diverged}.", retry_after=UNTIL_MENDED, reason="log_diverged"
        )
    if receipt is None:
        raise Missing("No checkpoint covers this position yet.")
    return Response(receipt.encode(), media_type=TEXT)


ROUTES: list[Any] = [export, proof]
