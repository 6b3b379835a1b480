"""The log, or what filters leave of it, as records in one of the formats, of any length."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from api.audit import readings
from api.audit.answering.auditor import Auditor
from api.audit.answering.events import STEPS_AT_MOST, find, up_to_date, wanted
from api.audit.answering.filters import Filters
from api.audit.answering.proven_export import EXTENSION, MEDIA_TYPE, pinned, proven
from api.audit.formats import Format, Part, Writer, writer
from api.starting import running_version
from eventstore.searching import Criteria
from eventstore.transparency.published import StoredCheckpoint

AT_ONCE = 250
"""Events in memory at a time, whatever the length of the export."""


class Export(NamedTuple):
    """What is to be exported, up to the log's head when it was asked for, or to the checkpoint that proves it."""

    asking: Auditor
    given: Filters
    criteria: Criteria
    asked: dict[str, str | None]
    format: Format
    writing: Writer
    checkpoint: StoredCheckpoint | None

    @property
    def media_type(self) -> str:
        return self.writing.media_type if self.checkpoint is None else MEDIA_TYPE

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

    async def open(self) -> AsyncGenerator[Part, None]:
        """Records that the export begins; then its parts. Whoever does not take them all closes the generator, and its
        end is recorded either way: see `readings.closed`.
        """
        asked = self.asked | {"format": self.format, "proof": None if self.checkpoint is None else "1"}
        reading_id = await readings.open_export(
            self.asking,
            self.asking.words(asked),
            address=self.given.address,
            unsealed=self.asking.personal and self.checkpoint is None,
        )
        return _told(self.asking, self._parts(), reading_id)

    def _parts(self) -> AsyncIterator[Part]:
        if self.checkpoint is not None:
            return proven(self.asking, self.criteria, self.checkpoint, AT_ONCE)
        return _written(self.asking, self.criteria, self.writing, self.given.with_names)


async def prepared(
    asking: Auditor, given: Filters, format: Format, *, proof: bool, steps: int | None = STEPS_AT_MOST
) -> Export:
    """An export that can be opened; raises Invalid or Unavailable where it cannot be had."""
    checkpoint = await pinned(asking, format, given.order) if proof else None
    head = await up_to_date(asking, given, steps)
    criteria, asked = await wanted(asking, given, head)
    if checkpoint is not None:
        criteria = criteria._replace(high=min(criteria.high, checkpoint.size))
    writing = writer(format, asking.here.settings.issuer, running_version())
    return Export(asking, given, criteria, asked, format, writing, checkpoint)


async def _told(asking: Auditor, parts: AsyncIterator[Part], reading_id: str) -> AsyncGenerator[Part, None]:
    count, complete = 0, False
    try:
        async for part in parts:
            if part.lines:
                yield part
            count += part.records
        complete = True
    finally:
        readings.close_export(asking, reading_id, count, complete=complete)


async def _written(asking: Auditor, criteria: Criteria, writing: Writer, names: bool) -> AsyncIterator[Part]:
    start: int | None = None
    yield Part(writing.head, 0, criteria.high if criteria.descending else criteria.low)
    while True:
        found = await find(asking, criteria, AT_ONCE, start, names=names)
        start = found.resume
        yield Part(b"".join(writing.write(event) for event in found.events), len(found.events), start)
        if start is None:
            return
