"""The log's tree beside the requests of one process: started with the app, stopped before its ledger closes."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import structlog

from api.settings import Settings
from api.transparency.signing import ensure_key
from api.transparency.witnesses import configured
from eventstore.commands import Origin
from eventstore.ledger import Ledger
from eventstore.transparency import log_key as keys
from eventstore.transparency.following import Tree
from eventstore.transparency.keeping import STEP, Keeper
from eventstore.transparency.witnesses import Witnesses

if TYPE_CHECKING:
    from api.measures import Metrics

AGAIN_AFTER = 5.0
"""Seconds until the tree is tried again after something unforeseen."""

log = structlog.get_logger("api")


class Transparency:
    """Has the log followed and signed. `keeper` is None until `start`."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None
        self.keeper: Keeper | None = None

    @property
    def problem(self) -> str | None:
        """Why the log cannot be signed any more, in words; None when all is well."""
        return None if self.keeper is None else self.keeper.diverged

    def measure(self, metrics: "Metrics") -> None:
        """Tells what is wrong, for `/metrics`."""
        keeper = self.keeper
        if keeper is not None:
            metrics.alarms(
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
        self.keeper = Keeper(ledger, tree, ledger.clock, witnesses=asked, quorum=quorum)
        self._task = asyncio.create_task(self._run(self.keeper))

    async def stop(self) -> None:
        """Ends it, whatever it is doing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._client is not None:
            await self._client.aclose()

    async def _run(self, keeper: Keeper) -> None:
        while keeper.diverged is None:
            try:
                await keeper.run()
            except Exception:
                log.exception("the log's tree has stopped for a moment")
                await asyncio.sleep(AGAIN_AFTER)
