"""Whose grants and sessions are, for events that leave it to their stream's first one to say so."""

from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy import Connection

from domain.event import Recorded
from domain.grant import is_alone
from eventstore.recorder import store
from projections import event_index
from projections.event_index import Owners

OWNERS_KEPT = 20_000
"""Streams whose first event is remembered for what it says about the later ones."""


class StreamOwners:
    """Looks each stream up once. A first event never changes, so it is remembered."""

    def __init__(self) -> None:
        self._kept: dict[str, Owners] = {}

    def of(self, connection: Connection, recorded: Sequence[Recorded]) -> Mapping[str, Owners]:
        """Whose the streams are whose later events are among these, by stream."""
        wanted = {each.stream for each in recorded if each.version > 1 and event_index.is_owned(each.stream)}
        if len(self._kept) >= OWNERS_KEPT:
            self._kept.clear()
        for each in recorded:
            # What comes by need not be looked up. Of a lone token hardly anything follows.
            if each.version == 1 and event_index.is_owned(each.stream) and not is_alone(each.event):
                self._kept[each.stream] = event_index.owners(each)
        missing = sorted(wanted - self._kept.keys())
        log = store(connection)
        for row in chain.from_iterable(log.recorder.select_events_of(dict.fromkeys(missing, 0), limit=1).values()):
            self._kept[row.originator_id] = event_index.owners(log.mapper.recorded(row))
        return {stream: self._kept[stream] for stream in wanted if stream in self._kept}
