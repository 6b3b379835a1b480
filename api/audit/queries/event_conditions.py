"""What is asked of an event beyond the index: which types are left out, who did it, in which request, about whom."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from domain.event import ANONYMOUS, Recorded
from eventstore import search
from eventstore.database import Connection
from eventstore.projecting import requests
from eventstore.projecting.stream_owners import StreamOwners
from projections import event_index
from projections.event_index import NameKind, Owners


class EventConditions(NamedTuple):
    """Events of none of `not_types`, that one of each of the others caused, or that concern one of them.

    Of requests the index may know no more than their moment.
    """

    not_types: frozenset[str] = frozenset()
    by_people: frozenset[str] = frozenset()
    about_people: frozenset[str] = frozenset()
    by_clients: frozenset[str] = frozenset()
    of_requests: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any(self)

    def passing(self, connection: Connection, positions: Sequence[int]) -> list[int]:
        """Those of these positions whose events pass, in the same order."""
        if not any(self[1:]):
            # Nothing needs to be decoded.
            return search.not_of_types(connection, positions, self.not_types)
        if self.of_requests:
            positions = requests.naming(connection, positions, self.of_requests)
        recorded = search.recorded_forms(connection, positions)
        owners = StreamOwners().of(connection, recorded) if self.about_people else {}
        return [each.position for each in recorded if self.passes(each, owners.get(each.stream))]

    def passes(self, recorded: Recorded, belongs: Owners | None) -> bool:
        """Whether one event does. `belongs` says whose its stream is, where the event itself does not."""
        return (
            recorded.event.type not in self.not_types
            and _acted(self.by_people, "person", recorded)
            and _acted(self.by_clients, "client", recorded)
            and (not self.of_requests or recorded.request_id in self.of_requests)
            and (not self.about_people or not self.about_people.isdisjoint(_concerned(recorded, belongs)))
        )


def _acted(wanted: frozenset[str], kind: str, recorded: Recorded) -> bool:
    return not wanted or (recorded.actor.kind == kind and recorded.actor.id in wanted)


def _concerned(recorded: Recorded, belongs: Owners | None) -> frozenset[str]:
    """The people whom an event would name if nobody had caused it."""
    rows = event_index.rows(replace(recorded, actor=ANONYMOUS), None, belongs)
    return frozenset(key.decode() for kind, key, _ in rows if kind == NameKind.ACCOUNT)
