"""Goes on with moves of schemas to another node of Citus whose command was killed, or lost the coordinator.

Until then the log has no head and nobody is served. Each process tries; the one that is at it holds a lock of the
coordinator.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from api.config.settings import Settings
from api.http.log_lines import trace
from api.issuers.registry import IssuerEntry, IssuerRegistry, RegistryError, settings_of
from eventstore.database import citus
from eventstore.database.citus import CitusNode, MoveUnderWay
from eventstore.database.moving import NotMovable
from security.clock import SECOND, Moment, Timer

LEFT_TO_THE_COMMAND = 30 * SECOND
"""How long one that begins is its command's alone."""

LOOK_EVERY = 10.0

log = structlog.get_logger("api")


def owner_of(settings: Settings) -> str:
    """The URL as the role that owns the tables."""
    return settings.migration_database_url or settings.database_url


def moves_to_node(entry: IssuerEntry) -> bool:
    """Whether its schema is on the way to another node of Citus."""
    return entry.moving_to is not None and entry.moving_to.citus and entry.moving_to.node is not None


def go_on(settings: Settings, registry: IssuerRegistry, entry: IssuerEntry) -> None:
    """Finishes the move, or takes it back where Citus refuses it, and says so in the file. Raises `NotMovable` then,
    `MoveUnderWay`, and SQLAlchemy's errors when nobody knows how far it came."""
    target, schema = entry.moving_to, entry.place.schema
    node = None if target is None else CitusNode.of(target.node or "")
    if target is None or schema is None or node is None:
        raise AssertionError("nothing is on its way to a node")
    try:
        citus.move(owner_of(settings_of(settings, entry)), schema, node)
    except NotMovable:
        _end(registry, entry, moving_to=None)
        raise
    _end(registry, entry, place=target, moving_to=None)


def _end(registry: IssuerRegistry, entry: IssuerEntry, **changes: Any) -> None:
    """Notes the end of this move, unless another one was begun by now, and leaves what else was changed meanwhile."""

    def ended(now: IssuerEntry) -> IssuerEntry:
        return msgspec.structs.replace(now, **changes) if now.moving_to == entry.moving_to else now

    registry.change(entry.id, ended)


class UnfinishedMoves:
    """Those that nobody ends. It lives on one event loop."""

    def __init__(
        self, settings: Settings, registry: IssuerRegistry, entries: Callable[[], Sequence[IssuerEntry]], timer: Timer
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._entries = entries
        self._timer = timer
        self._seen: dict[IssuerEntry, Moment] = {}

    async def run(self) -> None:
        """Looks again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Goes on with those that have been on their way for a while."""
        now = self._timer.now()
        moving = [each for each in self._entries() if moves_to_node(each)]
        self._seen = {each: self._seen.get(each, now) for each in moving}
        for entry, since in list(self._seen.items()):
            if now - since < LEFT_TO_THE_COMMAND or entry not in self._registry.entries():
                continue
            try:
                await asyncio.to_thread(go_on, self._settings, self._registry, entry)
            except MoveUnderWay:
                continue
            except NotMovable:
                del self._seen[entry]
                log.warning("a move was taken back", issuer=entry.issuer)
            except RegistryError as error:
                log.error("a move was not noted", issuer=entry.issuer, **trace(error))
            except Exception as error:
                log.warning("a move was not finished", issuer=entry.issuer, error=type(error).__name__)
            else:
                del self._seen[entry]
                log.info("a move was finished", issuer=entry.issuer)
