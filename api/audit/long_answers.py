"""Answers of any length: the log exported, with receipts of single events, and followed as it grows."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from api.audit.filters import CHOSEN, FILTERED, READ, REPEATABLE, From, WithNames, shown_to
from api.audit.queries import auditor
from api.audit.queries.auditor import Auditor
from api.audit.queries.event_conditions import EventConditions
from api.audit.queries.export import ExportFormat, Part, prepared
from api.audit.queries.package import MEDIA_TYPE, packaged
from api.audit.queries.search import Filters, people_of, position, show
from api.audit.rendering import ShownEvent
from api.http.errors import InvalidRequest, Missing, TemporarilyUnavailable
from api.http.parameters import spelled
from api.http.request_context import header, request_context
from api.http.whole_lists import CSV, JSON_LINES, LongAnswer, begun, nothing
from api.oauth.bearer import Bearer, caller, go_on, needing, require_recent
from api.services import Injected, services_of
from eventstore import search
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.personal_data import Unsealing
from eventstore.projecting.catch_up import EventIndexing
from eventstore.projecting.stream_owners import StreamOwners
from eventstore.transparency import published
from eventstore.transparency.published import Diverged, read_authentic_leaves
from projections.event_index import IndexName
from security.clock import SECOND

# The log, or what filters leave of it, as a stream of records (`GET /audit/export`).

Chosen = Annotated[
    ExportFormat,
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
    **needing(READ, repeatable=REPEATABLE, media_types=(JSON_LINES, CSV)),
    dependencies=FILTERED,
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

    With `proof=1` it goes up to the newest checkpoint, and ends in it."""
    if asking.personal and proof != "1":
        # What leaves here unsealed is beyond the reach of an erasure.
        await require_recent(services_of(request), caller(request))
    wanted = await prepared(asking, given, format, proof=proof == "1")
    headers = {
        "content-type": f"{wanted.media_type}; charset=utf-8",
        "content-disposition": f'attachment; filename="grantlog.{wanted.extension}"',
    }
    if request_context(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    return LongAnswer(await begun(_lines(request, await wanted.open(), shown_to(asking))), headers=headers)


# The same packed with what it takes to check it (`GET /audit/package`).


@get(
    "/audit/package",
    **needing(READ, repeatable=REPEATABLE, media_types=(MEDIA_TYPE,)),
    dependencies=FILTERED,
    tags=["Audit"],
    summary="Take the log away with its proof",
)
async def package(
    request: Request[Any, Any, Any], asking: Injected[Auditor], given: NamedDependency[Filters]
) -> LongAnswer:
    """One zip file: the filters, the export with its proof, a receipt for each of its first 1,000 events, the
    checkpoint with its witnesses' cosignatures, `verify.html` to check all of it offline, and how.

    Events are in it as they are stored: nothing is unsealed."""
    wanted = await packaged(asking, given)
    headers = {
        "content-type": MEDIA_TYPE,
        "content-disposition": f'attachment; filename="{wanted.file_name}"',
    }
    if request_context(request.scope).head:
        return LongAnswer(nothing(), headers=headers)
    return LongAnswer(await begun(_lines(request, await wanted.open(), (READ,))), headers=headers)


async def _lines(
    request: Request[Any, Any, Any], parts: AsyncGenerator[Part, None], needed: Sequence[str]
) -> AsyncGenerator[bytes, None]:
    services, who = services_of(request), caller(request)
    async with aclosing(parts):
        yield b""
        async for part in parts:
            # Breaks off with the right to see this: the event that ended it may be among what comes.
            await go_on(services, who, *needed)
            yield part.lines


# Receipts (`GET /audit/proofs/{position}`): that an event is in the log, to be checked when the server is gone.

TEXT = "text/plain"
"""The framework adds the charset."""

UNTIL_MENDED = 60
"""Seconds after which to ask again: nothing but an operator ends it."""


@get(
    "/audit/proofs/{position:int}", **needing(READ), tags=["Audit"], summary="A receipt for one event", media_type=TEXT
)
async def proof(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    position: Annotated[int, PathParameter(ge=1, le=2**53 - 1, description="The event's place in the log.")],
) -> Response[bytes]:
    """A C2SP tlog-proof: the event's stored form, its path through the tree, and the newest checkpoint.

    `grantlog audit check-receipt` checks it with nothing but the log's verifier key. 404 beyond the newest checkpoint,
    which follows the log within a second. 503 when event and tree do not fit together any more: the receipt would prove
    nothing, and the log is signed no more."""
    spelled(request.scope["path"], position)
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


# Following the log: server-sent events (`GET /audit/stream`). Events are pulled by position whenever the reader has
# taken what it was sent before, so that a slow reader costs no memory and none is lost or told twice. The token is
# judged again before each pull: who lost the right to read loses the stream.

AT_ONCE = 100
"""Events pulled at a time."""

HEART_BEAT = b": heart-beat\n\n"
BEAT_EVERY = 15 * SECOND
RECONNECT_AFTER = b"retry: 2000\n\n"
"""Milliseconds that a browser waits before it comes back with the id that it saw last."""

FULL = b"retry: 30000\n\n"
STREAMS_AT_MOST = 200
"""In one process. A further reader is asked to come later."""

_encode = msgspec.json.Encoder().encode


class StreamFollower(NamedTuple):
    """One who follows, and what an event has to name for them, one of each; `conditions` tells what names do not."""

    asking: Auditor
    digest: bytes
    reading_id: str
    names: bool
    wanted: tuple[frozenset[IndexName], ...]
    conditions: EventConditions


@get(
    "/audit/stream",
    **needing(READ, repeatable=REPEATABLE),
    dependencies=CHOSEN,
    tags=["Audit"],
    summary="Follow the log",
    media_type="text/event-stream",
)
async def stream(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    who: Injected[Bearer],
    chosen: NamedDependency[Filters],
    first: From = None,
    named: WithNames = "0",
) -> LongAnswer:
    """Every event from a position on, none left out, also the one that tells of this reading. Without a position, those
    that come after that one; `Last-Event-ID` goes before `from`. With filters, the events that match each of them.
    """
    ledger = asking.sources.ledger
    if auditor.following(ledger) >= STREAMS_AT_MOST:
        raise TemporarilyUnavailable("Too many streams are open.", retry_after=30)
    last = _last_seen(request)
    if last is None and first is not None:
        last = position("from", first) - 1
    whose, asked = await people_of(asking, chosen)
    await ledger.settled()
    head = ledger.changes.position
    begin = head if last is None else last
    if request_context(request.scope).head:
        return _answer(nothing())
    reading_id, own = await auditor.open_stream(asking, begin + 1, asked, address=chosen.address)
    wanted = tuple(frozenset((int(kind), key) for kind, key in each) for each in chosen.names(ledger.privacy, whose))
    reader = StreamFollower(asking, who.known.digest, reading_id, named == "1", wanted, chosen.conditions)
    return _answer(await begun(_messages(reader, own if last is None else begin)))


def _answer(parts: AsyncGenerator[bytes, None]) -> LongAnswer:
    return LongAnswer(
        parts,
        media_type="text/event-stream",
        # Proxies that gather an answer before they pass it on would hold a stream back for ever.
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


def _last_seen(request: Request[Any, Any, Any]) -> int | None:
    text = header(request.scope, b"last-event-id")
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise InvalidRequest.field("Last-Event-ID", "must be the position of an event")
    return int(text)


async def _messages(reader: StreamFollower, last: int) -> AsyncGenerator[bytes, None]:
    ledger, count = reader.asking.sources.ledger, 0
    try:
        yield b""
        if auditor.following(ledger) >= STREAMS_AT_MOST:
            # Others were faster since the handler looked: the reader is told to come back, with nothing lost.
            yield FULL
            return
        auditor.FOLLOWING[reader.reading_id] = ledger
        beaten = ledger.clock.now()
        yield RECONNECT_AFTER
        while await _may_go_on(reader):
            since = ledger.arrivals.count
            await ledger.settled()
            known = ledger.changes.position
            if last < known:
                # Only what the caches have followed: a person erased up to there is erased here.
                upto = min(known, last + AT_ONCE)
                events = await ledger.read(_pull, reader, last, upto)
                if not await _may_go_on(reader):
                    # The right ended while this was read; the event that ended it may be among what was.
                    break
                last, count = upto, count + len(events)
                if events:
                    beaten = ledger.clock.now()
                    yield b"".join(message(event) for event in events)
                continue
            if ledger.clock.now() - beaten >= BEAT_EVERY:
                beaten = ledger.clock.now()
                yield HEART_BEAT
            await ledger.arrivals.wait(since)
    finally:
        auditor.FOLLOWING.pop(reader.reading_id, None)
        auditor.close_stream(reader.asking, reader.reading_id, last, count)


async def _may_go_on(reader: StreamFollower) -> bool:
    ledger: Ledger = reader.asking.sources.ledger
    if ledger.arrivals.closed or ledger.arrivals.dismissed:
        return False
    known = await ledger.validation.find(reader.digest)
    if known is None or known.reason(ledger.clock.now()) != "active":
        return False
    # Where only names may be seen no longer, the reader comes back with the id that it saw last, to sealed ones.
    return set(shown_to(reader.asking)).issubset(known.terms.scope)


def _pull(connection: Connection, reader: StreamFollower, last: int, upto: int) -> list[ShownEvent]:
    positions: Sequence[int] = range(last + 1, upto + 1)
    if reader.wanted or reader.conditions:
        positions = _matching(connection, reader, positions)
    return show(connection, reader.asking, positions, names=reader.names)


def _matching(connection: Connection, reader: StreamFollower, positions: Sequence[int]) -> list[int]:
    """Computed from each event, since the index may not have come so far."""
    indexing, unsealing = EventIndexing(), Unsealing(reader.asking.sources.ledger.privacy)
    recorded = search.recorded_forms(connection, positions)
    owners = StreamOwners().of(connection, recorded)
    found = []
    for each in recorded:
        belongs = owners.get(each.stream)
        named = {row[:2] for row in indexing.named(connection, each, belongs, unsealing)}
        named |= search.own_grant(each.stream)
        if not any(one.isdisjoint(named) for one in reader.wanted) and reader.conditions.passes(each, belongs):
            found.append(each.position)
    return found


def message(event: ShownEvent) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so the data is one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.type.encode(), _encode(event))


ROUTES: list[Any] = [export, package, proof, stream]
