"""Counts events as they follow the log: what `projections.figures.event_counts` is filled with."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from domain.event import SECOND, Recorded
from eventstore.personal_data import Unsealing
from eventstore.projecting.alike import AlikeTokens
from eventstore.projecting.stream_owners import StreamOwners
from projections.event_index import Owners
from projections.figures import event_counts
from projections.figures.event_counts import CountedEvents


def client_of(recorded: Recorded, belongs: Owners | None) -> str | None:
    """The client that an event is about, or else that acted. `belongs` says whose its stream is."""
    if recorded.stream.startswith("client:"):
        return recorded.stream.partition(":")[2]
    named: str | None = getattr(recorded.event, "client_id", None)
    if named is None and belongs is not None:
        named = belongs.client_id
    return recorded.actor.id if named is None and recorded.actor.kind == "client" else named


def grant_type_of(recorded: Recorded) -> str | None:
    """By which kind of grant an event came about."""
    found: str | None = getattr(recorded.event, "grant_type", None)
    return "refresh_token" if found is None and recorded.event.type == "grant.tokens_refreshed" else found


def _minute(recorded: Recorded) -> int:
    """The second with which the event's minute begins."""
    second = recorded.time // SECOND
    return second - second % event_counts.MINUTE


def _by_minute(tokens: Sequence[Recorded]) -> Iterable[tuple[int, int]]:
    """How many of neighbours there are in each minute; as good as ever it is one."""
    first = _minute(tokens[0])
    return [(first, len(tokens))] if first == _minute(tokens[-1]) else Counter(map(_minute, tokens)).items()


class CountedPortion(NamedTuple):
    """What a portion of the log becomes; `newest` is the second of its last event."""

    counts: Counter[CountedEvents]
    newest: int


class EventCounting:
    """The follower's model."""

    name = event_counts.NAME

    def __init__(self, owners: StreamOwners | None = None) -> None:
        self._owners = owners or StreamOwners()

    def prepare(
        self,
        connection: Connection,
        recorded: Sequence[Recorded],
        unsealing: Unsealing,
        alike: Sequence[AlikeTokens] = (),
    ) -> CountedPortion:
        """How many events of a portion there are of each kind."""
        owners = self._owners.of(connection, [each for each in recorded if not hasattr(each.event, "client_id")])
        counts = Counter[CountedEvents]()
        for each in recorded:
            tag, client_id = each.event.type, client_of(each, owners.get(each.stream)) or ""
            counts[CountedEvents(_minute(each), tag, grant_type_of(each) or "", client_id)] += 1
        for tokens, _, _ in alike:
            event = tokens[0].event
            for minute, count in _by_minute(tokens):
                counts[CountedEvents(minute, event.type, event.grant_type, event.client_id)] += count
        lasts = (*recorded[-1:], *(tokens[-1] for tokens, _, _ in alike))
        return CountedPortion(counts, max((each.time for each in lasts), default=0) // SECOND)

    def keep(self, connection: Connection, prepared: Sequence[CountedPortion]) -> None:
        """Writes the counts, and forgets those that are over as of the newest event."""
        counts = Counter[CountedEvents]()
        for each in prepared:
            counts.update(each.counts)
        event_counts.add(connection, counts)
        if prepared:
            event_counts.forget(connection, prepared[-1].newest)
