"""What a process says of itself to the other nodes, and the feature level that all of them know."""

from commands import servers
from domain import server
from domain.event import Moment
from domain.rules import feature_level
from eventstore.database import Connection, nodes
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.tokens import new_id

SAY_EVERY = 15.0
"""Seconds between two times that a process says that it serves, a quarter of `nodes.GONE_AFTER`; twice as long while
nothing is heard of its log."""


class TooOld(Exception):
    """This version does not know the feature level that the log is at."""

    def __init__(self, level: int) -> None:
        super().__init__(
            f"the log is at feature level {level}, and this version knows {feature_level.FEATURE_LEVEL}: "
            "run the version that the other nodes run"
        )


def require_level(state: server.State) -> None:
    """Raises `TooOld`."""
    if state.feature_level > feature_level.FEATURE_LEVEL:
        raise TooOld(state.feature_level)


class Presence:
    """One per process."""

    def __init__(self, ledger: Ledger, by: Origin) -> None:
        self._ledger = ledger
        self._by = by
        self._node_id = new_id()

    async def say(self) -> None:
        """Says that this process serves, then has the level rise if it can. Raises `TooOld` when it has risen above
        what this version knows."""
        now: Moment = self._ledger.clock.now()
        await self._ledger.tidy(nodes.announce, self._node_id, feature_level.FEATURE_LEVEL, now)
        state: server.State = await self._ledger.state(server.STREAM)
        require_level(state)
        if state.feature_level < feature_level.RAISED_BY_SERVERS:
            raising = servers.raise_feature_level(feature_level.RAISED_BY_SERVERS)
            await self._ledger.execute(raising, origin=self._by)

    async def leave(self) -> None:
        """Says that it serves no more."""

        def work(connection: Connection) -> None:
            nodes.leave(connection, self._node_id)

        await self._ledger.tidy(work)
