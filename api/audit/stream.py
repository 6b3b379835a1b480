"""Following the log as it grows: server-sent events (`GET /audit/stream`).

Events are pulled by position whenever the reader has taken what it was sent before, so that a slow reader costs no
memory and none is lost or told twice. The token is judged again before each pull: who lost the right to read loses the
stream.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

import msgspec
from litestar import Request, get

from api.audit.event_search import Email, From, Username, WithNames, filters
from api.audit.exports import LongAnswer, nothing
from api.audit.permission import READ
from api.audit.queries import auditor
from api.audit.queries.auditor import Auditor
from api.audit.queries.filters import position
from api.audit.queries.search import show
from api.audit.rendering import ShownEvent
from api.http.errors import InvalidRequest, TemporarilyUnavailable
from api.http.request_context import header, request_context
from api.oauth.bearer import Bearer, needing
from api.services import Injected
from eventstore import search
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.projecting.catch_up import EventIndexing
from projections import event_index
from projections.event_index import Name, NameKind
from security.clock import SECOND

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


class Reader(NamedTuple):
    """Whoever follows."""

    asking: Auditor
    digest: bytes
    reading_id: str
    names: bool = False
    whose: frozenset[Name] | None = None


@get(
    "/audit/stream",
    **needing(READ),
    tags=["Audit"],
    summary="Follow the log",
    media_type="text/event-stream",
)
async def stream(
    request: Request[Any, Any, Any],
    asking: Injected[Auditor],
    who: Injected[Bearer],
    first: From = None,
    named: WithNames = "0",
    username: Username = None,
    email: Email = None,
) -> LongAnswer:
    """Every event from a position on, none left out, also the one that tells of this reading. Without a position, those
    that come after that one; `Last-Event-ID` goes before `from`. Of a person who is named, the events that name them.
    """
    whose = await _people(request, asking, username, email)
    if len(auditor.FOLLOWING) >= STREAMS_AT_MOST:
        raise TemporarilyUnavailable("Too many streams are open.", retry_after=30)
    last = _last_seen(request)
    if last is None and first is not None:
        last = position("from", first) - 1
    await asking.sources.ledger.settled()
    head = asking.sources.ledger.changes.position
    begin = head if last is None else last
    if request_context(request.scope).head:
        return _answer(nothing())
    reading_id, own = await auditor.open_stream(asking, begin + 1)
    reader = Reader(asking, who.known.digest, reading_id, named == "1", whose)
    return _answer(_messages(reader, own if last is None else begin))


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


async def _messages(reader: Reader, last: int) -> AsyncGenerator[bytes, None]:
    ledger, count = reader.asking.sources.ledger, 0
    if len(auditor.FOLLOWING) >= STREAMS_AT_MOST:
        # Others were faster since the handler looked: the reader is told to come back, with nothing lost.
        auditor.close_stream(reader.asking, reader.reading_id, last, 0)
        yield FULL
        return
    auditor.FOLLOWING.add(reader.reading_id)
    beaten = ledger.clock.now()
    try:
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
        auditor.FOLLOWING.discard(reader.reading_id)
        auditor.close_stream(reader.asking, reader.reading_id, last, count)


async def _may_go_on(reader: Reader) -> bool:
    ledger: Ledger = reader.asking.sources.ledger
    if ledger.arrivals.closed:
        return False
    known = await ledger.validation.find(reader.digest)
    return known is not None and known.reason(ledger.clock.now()) == "active" and READ in known.terms.scope


async def _people(
    request: Request[Any, Any, Any], asking: Auditor, username: str | None, email: str | None
) -> frozenset[Name] | None:
    """What an event has to name, one of them; None where nobody was named."""
    given = filters(request, username=username, email=email)
    if not given.login:
        return None
    found = await asking.sources.ledger.look(given.people, asking.sources.ledger.privacy)
    return frozenset((int(NameKind.ACCOUNT), account_id.encode()) for account_id in found)


def _pull(connection: Connection, reader: Reader, last: int, upto: int) -> list[ShownEvent]:
    positions: Sequence[int] = range(last + 1, upto + 1)
    if reader.whose is not None:
        recorded = search.recorded_forms(connection, positions)
        owners = EventIndexing().owners(connection, recorded)
        positions = [
            each.position
            for each in recorded
            if any(row[:2] in reader.whose for row in event_index.rows(each, None, owners.get(each.stream)))
        ]
    return show(connection, reader.asking, positions, names=reader.names)


def message(event: ShownEvent) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so the data is one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.type.encode(), _encode(event))


ROUTES: list[Any] = [stream]
