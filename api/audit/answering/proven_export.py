"""Exports that carry their own proof (`GET /audit/export?proof=1`): who has one needs the server no more.

Records are the stored forms, byte for byte, because only these are what the log's tree was built over; what is sealed
in them stays sealed. `docs/audit.md` describes the lines between them, and `grantlog audit verify` checks them all.
"""

from collections.abc import AsyncIterator

from api.audit.answering.auditor import Auditor
from api.audit.formats import Part
from api.problems import Invalid, Unavailable
from eventstore import searching
from eventstore.asking import Connection
from eventstore.searching import Criteria
from eventstore.transparency import published
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.exporting import ProvenExport
from eventstore.transparency.proof import Hashes
from eventstore.transparency.published import StoredCheckpoint

MEDIA_TYPE = "application/jsonl"
EXTENSION = "proof.jsonl"


class _Tiles:
    """Reads tiles over whichever connection the next part of the export is given."""

    connection: Connection

    def __call__(self, level: int, number: int, width: int) -> bytes:
        return published.reader(self.connection)(level, number, width)


async def pinned(asking: Auditor, form: str, order: str) -> StoredCheckpoint:
    """The checkpoint that the whole export is proved under; raises Invalid where a proof cannot be had."""
    if form != "jsonl":
        raise Invalid.field("proof", "is for the format jsonl: a proof is about stored forms")
    if order != "asc":
        raise Invalid.field("proof", "needs the order asc: a proof runs along the log")
    newest = await asking.here.ledger.read(published.newest)
    if newest is None:
        raise Unavailable("The log has no checkpoint yet.", retry_after=1)
    return newest


async def proven(
    asking: Auditor, criteria: Criteria, checkpoint: StoredCheckpoint, at_once: int
) -> AsyncIterator[Part]:
    """Records and gaps from the first position to the checkpoint's last, and the checkpoint."""
    tiles = _Tiles()
    export = ProvenExport(Hashes(tiles, checkpoint.size), checkpoint.note)

    def part(connection: Connection, start: int | None) -> Part:
        tiles.connection = connection
        found = searching.search(connection, criteria, at_once, start)
        states = searching.evidence(connection, found.positions)
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
        some: Part = await asking.here.ledger.read(part, start)
        start = some.resume
        await _told(asking, export)
        yield some
        if start is None:
            break
    yield Part(await asking.here.ledger.read(end), 0, None)


async def _told(asking: Auditor, export: ProvenExport) -> None:
    """A record that does not fit stays in the export, where whoever checks will meet it; it is an alarm at once."""
    if export.misfit is not None:
        await asking.here.transparency.diverge(Diverged.at(export.misfit))
