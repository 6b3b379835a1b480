"""The log's tree beside the requests of one process: started with the app, stopped before its ledger closes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx
import structlog

from api.config.setting_rules import configured
from api.config.settings import Settings, log_origin
from api.log.continuity import kept_of
from commands import log_keys
from commands.servers import note_divergence
from domain import log_key
from eventstore.database.engines import is_sqlite
from eventstore.execution import DatabaseAway, Origin, Overloaded
from eventstore.ledger import Ledger
from eventstore.transparency import log_key as keys
from eventstore.transparency.comparison import STRETCH, STRETCH_IN_THREADS, Rounds
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.keeper import STEP, Keeper
from eventstore.transparency.published import read_authentic_leaves
from eventstore.transparency.tree import Tree
from eventstore.transparency.witnesses import Witnesses

if TYPE_CHECKING:
    from api.server.metrics import Metrics

RECONSIDER_EVERY = 0.5
"""Seconds in which a process notices that a divergence was accepted."""

AGAIN_AFTER = 5.0
"""Seconds until the tree is tried again after something unforeseen."""

LOOK_EVERY = 1.0
"""Seconds between two looks for events that no server wrote."""

log = structlog.get_logger("api")


async def ensure_key(ledger: Ledger, settings: Settings, by: Origin) -> log_key.State:
    """The log's keys, the first one made when there is none; another name than the settings say is told."""
    state = await log_keys.ensure(ledger, log_origin(settings), by)
    if settings.log_origin and settings.log_origin != state.origin:
        log.error("the log has another name than the settings say", name=state.origin, setting=settings.log_origin)
    return state


class Transparency:
    """Has the log followed, signed, and compared with its tree. `keeper` is None until `start`."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.keeper: Keeper | None = None

    @property
    def problem(self) -> str | None:
        """Why the log cannot be signed or written any more, in words; None when all is well."""
        changes = self._ledger.changes
        if changes.went_back or changes.forged is None:
            return changes.went_back or (None if self.keeper is None else self.keeper.diverged)
        return f"forged at position {changes.forged}"

    async def diverge(self, found: Diverged) -> None:
        """Tells the keeper what a request came upon."""
        if self.keeper is not None:
            await self.keeper.diverge(found)

    def measure(self, metrics: "Metrics") -> None:
        """Tells what is wrong, for `/metrics`."""
        keeper = self.keeper
        if keeper is not None:
            metrics.alarms(
                forged=self._ledger.changes.forged is not None,
                diverged=keeper.diverged is not None,
                witness_alarms=len(keeper.alarms),
                witnesses_short=keeper.short,
            )

    async def start(self, by: Origin) -> None:
        """Makes the log's first key if it has none, and follows from now on."""
        settings, ledger = self._settings, self._ledger
        state = await ensure_key(ledger, settings, by)
        if state.origin is None:
            raise AssertionError("a log with a key has a name")
        witnesses = configured(settings.witnesses)
        signers = keys.from_vault(ledger.vault, state.origin)
        asked: Witnesses | None = None
        if witnesses:
            self._client = httpx.AsyncClient(timeout=settings.witness_timeout, trust_env=False)
            asked = Witnesses(witnesses, self._client, settings.witness_timeout)
        tree = Tree(state.origin, signers, ledger.clock, witnessed=bool(witnesses), largest_step=STEP)
        quorum = settings.witness_quorum if witnesses else 0
        self.keeper = Keeper(
            ledger,
            tree,
            ledger.clock,
            note_divergence,
            witnesses=asked,
            quorum=quorum,
            by=by,
            kept=kept_of(settings),
            leaves=read_authentic_leaves,
        )
        stretch = STRETCH if is_sqlite(settings.database_url) else STRETCH_IN_THREADS
        rounds = Rounds(ledger, self.keeper, leaves=read_authentic_leaves, stretch=stretch)
        works: tuple[Callable[[], Awaitable[None]], ...] = (partial(self._follow, self.keeper), rounds.run)
        self._tasks = [asyncio.create_task(self._run(work)) for work in works]
        self._tasks.append(asyncio.create_task(self._watch()))

    async def stop(self) -> None:
        """Ends it, whatever it is doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _watch(self) -> None:
        """Has what was put into the log noticed where nobody asks for anything, be it past the head."""
        while self._ledger.changes.forged is None:
            with suppress(DatabaseAway):
                await self._ledger.settled()
                await self._ledger.read(self._ledger.changes.look_beyond)
            await asyncio.sleep(LOOK_EVERY)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                # It returns when the log has diverged, and goes on when somebody has accepted that.
                await work()
                await asyncio.sleep(RECONSIDER_EVERY)
            except (DatabaseAway, Overloaded) as error:
                log.warning("transparency.waiting", reason=type(error).__name__)
                await asyncio.sleep(RECONSIDER_EVERY)
            except Exception:
                log.exception("the log's tree has stopped for a moment")
                await asyncio.sleep(AGAIN_AFTER)

    async def _follow(self, keeper: Keeper) -> None:
        if keeper.diverged is not None:
            await keeper.reconsider()
        await keeper.run()
