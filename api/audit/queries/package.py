"""What an auditor takes away: one zip file of what was asked for, the export with its proof, receipts, the checkpoint
and the page that checks them."""

import io
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec

from api.audit.offline_verifier import CONTENT, NAME
from api.audit.queries.auditor import Auditor
from api.audit.queries.export import EXTENSION, Export, Part, prepared
from api.audit.queries.search import STEPS_AT_MOST, Filters
from api.http.errors import InvalidRequest
from eventstore import search
from eventstore.database import Connection
from eventstore.search import Criteria
from eventstore.transparency import published
from eventstore.transparency.note import parse_checkpoint
from eventstore.transparency.published import Diverged, StoredCheckpoint, read_authentic_leaves
from security.clock import SECOND, format_rfc3339

MEDIA_TYPE = "application/zip"
TOLD = "package"
"""What the event says in the place of a format."""

RECEIPTS_AT_MOST = 1_000
"""Of the first records; the export proves the others."""

AT_ONCE = 25
"""Receipts that are made in one read."""

_README = """\
This package holds what {issuer} has recorded and filters.json asks for, up to the {size} events of the file checkpoint:
{export} has every record as it is stored with all that proves it, and receipts/ a proof of each of the first {most}
alone. To check it, open verify.html (better one that you kept, or whose SHA-256 is that of the release) in a browser
and give it these files and the log's verifier key, or run, where KEY is that key or a file with it:

    python3 grantlog-verify.pyz verify {export} --key KEY
    python3 grantlog-verify.pyz check-receipt receipts/POSITION.txt --key KEY

The key is not in here, because whoever could change this package could change a key in it as well: get that of {origin}
from its operator by other means.
"""


class _Sink(io.RawIOBase):
    """Takes what a zip file is written into, and gives it away bit by bit."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, some: object) -> int:
        taken = memoryview(some)  # type: ignore[arg-type]
        self._written += taken
        return taken.nbytes

    def take(self) -> bytes:
        """What was written since it was last asked."""
        taken, self._written = bytes(self._written), bytearray()
        return taken


class Package(msgspec.Struct, frozen=True):
    """A package that can be opened. `checkpoint` is the one that proves all of it."""

    export: Export
    checkpoint: StoredCheckpoint

    @property
    def file_name(self) -> str:
        return f"grantlog-package-{self.checkpoint.size}.zip"

    def looked_through(self, part: Part) -> tuple[int, int]:
        """The same as of the export in it."""
        return self.export.looked_through(part)

    async def open(self) -> AsyncGenerator[Part, None]:
        """Records that the export begins; then parts of the zip file. What `Export.open` demands holds here too."""
        return await self.export.open(TOLD, self._parts())

    async def _parts(self) -> AsyncIterator[Part]:
        sink = _Sink()
        with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in self._files().items():
                archive.writestr(self._entry(name), content)
            async for name, content in self._receipts():
                archive.writestr(self._entry(name), content)
                yield Part(sink.take(), 0, self.export.criteria.low)
            with archive.open(self._entry(f"export.{EXTENSION}"), "w", force_zip64=True) as file:
                async for part in self.export.parts():
                    file.write(part.lines)
                    yield part._replace(lines=sink.take())
        yield Part(sink.take(), 0, None)

    def _files(self) -> dict[str, str | bytes]:
        settings, origin = self.export.asking.sources.settings, parse_checkpoint(self.checkpoint.note).origin
        asked = {name: value for name, value in self.export.asked.items() if value is not None}
        if self.export.given.addresses:
            # Personal values leave only where somebody asked to see them.
            asked["ip"] = "(an address)"
        told = {
            "issuer": settings.issuer,
            "log": origin,
            "filters": asked,
            "first": self.export.criteria.low,
            "last": self.export.criteria.high,
            "size": self.checkpoint.size,
            "signed_at": format_rfc3339(self.checkpoint.time),
        }
        readme = _README.format(
            issuer=settings.issuer,
            size=self.checkpoint.size,
            export=f"export.{EXTENSION}",
            most=f"{RECEIPTS_AT_MOST:,}",
            origin=origin,
        )
        return {
            "README.txt": readme,
            "filters.json": msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n",
            "checkpoint": self.checkpoint.note,
            NAME: CONTENT,
        }

    def _entry(self, name: str) -> ZipInfo:
        """A file of the package, of the time at which its checkpoint was signed, in UTC."""
        entry = ZipInfo(name, time.gmtime(self.checkpoint.time // SECOND)[:6])
        entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, ZIP_DEFLATED
        return entry

    async def _receipts(self) -> AsyncIterator[tuple[str, str]]:
        """A receipt for each of the first records, by its name. One that would prove nothing is left out, and the
        export, which has the record all the same, raises the alarm."""
        left, start = RECEIPTS_AT_MOST, None
        while left > 0:
            ledger = self.export.asking.sources.ledger
            made, start = await ledger.read(_receipts, self.export.criteria, self.checkpoint, min(left, AT_ONCE), start)
            for position, receipt in made:
                yield f"receipts/{position}.txt", receipt
            left -= len(made)
            if start is None:
                return


def _receipts(
    connection: Connection, criteria: Criteria, checkpoint: StoredCheckpoint, at_once: int, start: int | None
) -> tuple[list[tuple[int, str]], int | None]:
    found, made = search.search(connection, criteria, at_once, start), []
    for position in found.positions:
        with suppress(Diverged):
            receipt = published.receipt_under(connection, checkpoint, position, read_authentic_leaves)
            if receipt is not None:
                made.append((position, receipt))
    return made, found.resume


async def packaged(asking: Auditor, given: Filters, *, steps: int | None = STEPS_AT_MOST) -> Package:
    """A package that can be opened; raises Invalid or Unavailable where it cannot be had."""
    if given.order != "asc":
        raise InvalidRequest.field("order", "must be asc: a proof runs along the log")
    export = await prepared(asking, given, "jsonl", proof=True, steps=steps)
    if export.checkpoint is None:
        raise AssertionError("an export with proof has the checkpoint that proves it")
    return Package(export, export.checkpoint)
