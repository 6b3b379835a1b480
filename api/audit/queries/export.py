"""The log, or what filters leave of it, as records in one of the formats, of any length, with a proof if wanted."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec

from api.audit import ocsf
from api.audit.queries import auditor
from api.audit.queries.auditor import Auditor
from api.audit.queries.search import STEPS_AT_MOST, Filters, find, up_to_date, wanted
from api.audit.rendering import ShownEvent
from api.http.errors import InvalidRequest, TemporarilyUnavailable
from api.http.whole_lists import CSV, JSON_LINES, begun, csv_row, json_line
from api.services import running_version
from eventstore import search
from eventstore.database import Connection
from eventstore.search import Criteria
from eventstore.transparency import published
from eventstore.transparency.merkle import Hashes, ProvenExport
from eventstore.transparency.published import Diverged, StoredCheckpoint

# The formats of an export: each a sequence of records that stand on their own, so any length can be streamed.

ExportFormat = Literal["jsonl", "csv", "cloudevents", "ocsf"]

_encode = msgspec.json.Encoder().encode

COLUMNS = (
    *("position", "id", "type", "stream", "version", "time", "actor_kind", "actor_id", "actor_credential"),
    *("request_id", "ip", "user_agent", "data", "sealed", "erased", "meaning"),
)


class Part(NamedTuple):
    """Some lines of an export, how many records are among them, and at which position it goes on; None at the end."""

    lines: bytes
    records: int
    resume: int | None


class Writer(NamedTuple):
    """Turns events into bytes, of which `head` comes first."""

    media_type: str
    extension: str
    write: Callable[[ShownEvent], bytes]
    head: bytes = b""


def writer(name: ExportFormat, issuer: str, product_version: str) -> Writer:
    """The writer of a format: JSON Lines as the rest of the audit shows events, CSV (RFC 4180) with a header,
    CloudEvents 1.0 in their JSON format, or OCSF 1.5.0, one record a line."""
    match name:
        case "jsonl":
            return Writer(JSON_LINES, "jsonl", json_line)
        case "csv":
            return Writer(CSV, "csv", _csv_record, csv_row(COLUMNS))
        case "cloudevents":
            return Writer(JSON_LINES, "cloudevents.jsonl", lambda event: json_line(_cloud_event(event, issuer)))
        case "ocsf":
            told = partial(ocsf.record, issuer=issuer, product_version=product_version)
            return Writer(JSON_LINES, "ocsf.jsonl", lambda event: json_line(told(event)))


def _csv_record(event: ShownEvent) -> bytes:
    """Structures stand as JSON within a field."""
    actor, credential = event.actor, event.actor.credential
    acted_with = None if credential is None else _encode(credential).decode()
    return csv_row(
        (
            *(event.position, event.id, event.type, event.stream, event.version, event.time),
            *(actor.kind, actor.id, acted_with, event.request_id, event.ip, event.user_agent),
            *(_encode(event.data).decode(), " ".join(event.sealed), " ".join(event.erased), event.meaning),
        )
    )


def _cloud_event(event: ShownEvent, issuer: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": issuer,
        "type": event.type,
        "subject": event.stream,
        "time": event.time,
        "datacontenttype": "application/json",
        # Text as the extension of that name demands, and so padded that its order is the log's.
        "sequence": f"{event.position:020d}",
        "data": event,
    }


# Exports that carry their own proof (`GET /audit/export?proof=1`): who has one needs the server no more.

EXTENSION = "proof.jsonl"


class _Tiles:
    """Reads tiles over whichever connection the next part of the export is given."""

    connection: Connection

    def __call__(self, level: int, number: int, width: int) -> bytes:
        return published.reader(self.connection)(level, number, width)


async def pinned(asking: Auditor, form: str, order: str) -> StoredCheckpoint:
    """The checkpoint that the whole export is proved under; raises Invalid where a proof cannot be had."""
    if form != "jsonl":
        raise InvalidRequest.field("proof", "is for the format jsonl: a proof is about stored forms")
    if order != "asc":
        raise InvalidRequest.field("proof", "needs the order asc: a proof runs along the log")
    newest = await asking.sources.ledger.read(published.newest)
    if newest is None:
        raise TemporarilyUnavailable("The log has no checkpoint yet.", retry_after=1)
    return newest


async def proven(
    asking: Auditor, criteria: Criteria, checkpoint: StoredCheckpoint, at_once: int
) -> AsyncIterator[Part]:
    """Records and gaps from the first position to the checkpoint's last, and the checkpoint."""
    tiles = _Tiles()
    export = ProvenExport(Hashes(tiles, checkpoint.size), checkpoint.note)

    def part(connection: Connection, start: int | None) -> Part:
        tiles.connection = connection
        found = search.search(connection, criteria, at_once, start)
        states = search.evidence(connection, found.positions)
        lines = [
            line
            for position, state in zip(found.positions, states, strict=True)
            for line in export.record(position, state.encode())
        ]
        return Part(b"".join(lines), len(states), found.resume)

    def end(connection: Connection) -> bytes:
        tiles.connection = connection
        return b"".join(export.end())

    start: int | None = None
    while True:
        some: Part = await asking.sources.ledger.read(part, start)
        start = some.resume
        await _proven_told(asking, export)
        yield some
        if start is None:
            break
    yield Part(await asking.sources.ledger.read(end), 0, None)


async def _proven_told(asking: Auditor, export: ProvenExport) -> None:
    """A record that does not fit stays in the export, where anyone who checks will meet it; it is an alarm at once."""
    if export.misfit is not None:
        await asking.sources.transparency.diverge(Diverged.at(export.misfit))


AT_ONCE = 250
"""Events in memory at a time, whatever the length of the export."""


class Export(NamedTuple):
    """What is to be exported, up to the log's head when it was asked for, or to the checkpoint that proves it."""

    asking: Auditor
    given: Filters
    criteria: Criteria
    asked: dict[str, str | None]
    format: ExportFormat
    writing: Writer
    checkpoint: StoredCheckpoint | None

    @property
    def media_type(self) -> str:
        return self.writing.media_type if self.checkpoint is None else JSON_LINES

    @property
    def extension(self) -> str:
        return self.writing.extension if self.checkpoint is None else EXTENSION

    def looked_through(self, part: Part) -> tuple[int, int]:
        """How many positions have been looked at with this part, and how many will be in the end."""
        low, high, descending = self.criteria.low, self.criteria.high, self.criteria.descending
        goal = max(0, high - low + 1)
        if part.resume is None:
            return goal, goal
        return (high - part.resume if descending else part.resume - low), goal

    async def open(
        self, told: str | None = None, parts: AsyncIterator[Part] | None = None
    ) -> AsyncGenerator[Part, None]:
        """Records that the export begins; then its parts. Anyone who does not take them all closes the generator, and
        its end is recorded either way: see `readings.closed`. `parts` take the place of its own, and `told` that of its
        format in the record, where it is packed into something."""
        asked = self.asked | {"format": told or self.format, "proof": None if self.checkpoint is None else "1"}
        reading_id = await auditor.open_export(
            self.asking,
            self.asking.words(asked),
            address=self.given.address,
            unsealed=self.asking.personal and self.checkpoint is None,
        )
        return await begun(_told(self.asking, parts or self.parts(), reading_id))

    def parts(self) -> AsyncIterator[Part]:
        """The parts without a record of them."""
        if self.checkpoint is not None:
            return proven(self.asking, self.criteria, self.checkpoint, AT_ONCE)
        return _written(self.asking, self.criteria, self.writing, self.given.with_names)


async def prepared(
    asking: Auditor, given: Filters, format: ExportFormat, *, proof: bool, steps: int | None = STEPS_AT_MOST
) -> Export:
    """An export that can be opened; raises Invalid or Unavailable where it cannot be had."""
    checkpoint = await pinned(asking, format, given.order) if proof else None
    head = await up_to_date(asking, given, steps)
    criteria, asked = await wanted(asking, given, head)
    if checkpoint is not None:
        criteria = criteria._replace(high=min(criteria.high, checkpoint.size))
    writing = writer(format, asking.sources.settings.issuer, running_version())
    return Export(asking, given, criteria, asked, format, writing, checkpoint)


async def _told(asking: Auditor, parts: AsyncIterator[Part], reading_id: str) -> AsyncGenerator[Part, None]:
    count, complete = 0, False
    try:
        yield Part(b"", 0, None)
        async for part in parts:
            if part.lines:
                yield part
            count += part.records
        complete = True
    finally:
        auditor.close_export(asking, reading_id, count, complete=complete)


async def _written(asking: Auditor, criteria: Criteria, writing: Writer, names: bool) -> AsyncIterator[Part]:
    start: int | None = None
    yield Part(writing.head, 0, criteria.high if criteria.descending else criteria.low)
    while True:
        found = await find(asking, criteria, AT_ONCE, start, names=names)
        start = found.resume
        yield Part(b"".join(writing.write(event) for event in found.events), len(found.events), start)
        if start is None:
            return
