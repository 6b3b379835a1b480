"""The parts that a transaction of the log is made of, put together once for a process."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

from sqlalchemy import Connection

from domain.event import Recorded
from eventstore.changes import Changes
from eventstore.mac_keys import Ring
from eventstore.privacy import Privacy
from eventstore.recent import Recent
from eventstore.recorder import store
from eventstore.rows import Rows
from eventstore.states import States
from projections import ONCE, PROJECTIONS
from security.vault import Vault


def handlers(projections: Iterable[ModuleType] = PROJECTIONS) -> Mapping[str, tuple[ModuleType, ...]]:
    """Which projections want an event of a type."""
    wanted: dict[str, list[ModuleType]] = {}
    for projection in projections:
        for event in projection.HANDLES:
            wanted.setdefault(event.type, []).append(projection)
    return {tag: tuple(modules) for tag, modules in wanted.items()}


class Writing:
    """What every batch shares: caches, sealing, the vault, and the projections."""

    def __init__(
        self,
        changes: Changes,
        states: States,
        privacy: Privacy,
        vault: Vault,
        recent: Recent,
        indexed_by: str,
        ring: Ring,
    ) -> None:
        self.ring = ring
        self.changes = changes
        self.states = states
        self.privacy = privacy
        self.vault = vault
        self.recent = recent
        self.indexed_by = indexed_by
        self._handlers = handlers((*PROJECTIONS, *ONCE))

    def append(
        self, connection: Connection, recorded: Sequence[Recorded], indexes: Sequence[Mapping[str, bytes]]
    ) -> str:
        """Appends the events and writes their projection rows; the stored form of the last."""
        newest = store(connection).append(recorded)
        rows = Rows()
        for r, index in zip(recorded, indexes, strict=True):
            for projection in self._handlers.get(r.event.type, ()):
                for write in projection.project(r, index):
                    rows.add(write)
        rows.flush(connection)
        return newest
