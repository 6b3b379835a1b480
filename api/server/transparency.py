"""The log's tree beside the requests of one process, and whether the log is the one that this node knew."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx
import structlog

from api.config.settings import Settings, log_origin
from commands import log_keys
from commands.servers import note_divergence
from domain import server
from domain.event import Moment
from domain.keys import log_key
from eventstore.database import Connection
from eventstore.database.engines import is_sqlite
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.repository import Newest, state_at
from eventstore.sealed import dropped
from eventstore.transparency import published
from eventstore.transparency import signing_keys as keys
from eventstore.transparency.comparison import STRETCH, STRETCH_IN_THREADS, TreeRounds
from eventstore.transparency.keeper import STEP, Keeper, Witnesses, configured_witnesses
from eventstore.transparency.kept import Kept, LostHead, digest
from eventstore.transparency.note import VerifierKey, head_of, signatures_of, text_of
from eventstore.transparency.published import Diverged, knowing, read_authentic_leaves
from eventstore.transparency.tree import Tree, holds
from eventstore.unavailable import DatabaseAway, Forged, LedgerOverloaded

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
                archive_away=dropped.away(self._ledger.ring),
                witness_alarms=len(keeper.alarms),
                witnesses_short=keeper.short,
            )

    async def start(self, by: Origin) -> None:
        """Makes the log's first key if it has none, and follows from now on."""
        keeper = self.keeper = await self._begun(by, kept_of(self._settings))
        stretch = STRETCH if is_sqlite(self._settings.database_url) else STRETCH_IN_THREADS
        rounds = TreeRounds(self._ledger, keeper, leaves=read_authentic_leaves, stretch=stretch)
        follow = partial(self._follow, keeper)
        works: tuple[Callable[[], Awaitable[None]], ...] = (follow, rounds.run, self._watch)
        self._tasks = [asyncio.create_task(self._run(work)) for work in works]

    async def sign(self, by: Origin) -> None:
        """Signs once what is there, for a command that no server may run beside. The files of this node are left alone:
        they are the server's user's."""
        keeper = await self._begun(by, None)
        while await keeper.step():
            pass
        # Where a server took the last step before this one, it may have begun it with the keys of before.
        await keeper.step()

    async def _begun(self, by: Origin, kept: Kept | None) -> Keeper:
        settings, ledger = self._settings, self._ledger
        state = await ensure_key(ledger, settings, by)
        if state.origin is None:
            raise AssertionError("a log with a key has a name")
        witnesses = configured_witnesses(settings.witnesses)
        signers = keys.from_vault(ledger.vault, state.origin)
        asked: Witnesses | None = None
        if witnesses:
            self._client = httpx.AsyncClient(timeout=settings.witness_timeout, trust_env=False)
            asked = Witnesses(witnesses, self._client, settings.witness_timeout)
        tree = Tree(state.origin, signers, ledger.clock, witnessed=bool(witnesses), largest_step=STEP)
        quorum = settings.witness_quorum if witnesses else 0
        return Keeper(
            ledger,
            tree,
            ledger.clock,
            note_divergence,
            witnesses=asked,
            quorum=quorum,
            by=by,
            kept=kept,
            leaves=knowing(ledger.recent),
            wakefulness=ledger.wakefulness,
        )

    async def stop(self) -> None:
        """Ends it, whatever it is doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _watch(self) -> None:
        """Has what was put into the log noticed where nobody asks for anything, be it past the head."""
        ledger = self._ledger
        rung = ledger.changes.position
        while ledger.changes.forged is None:
            with suppress(DatabaseAway):
                await ledger.settled()
                await ledger.read(ledger.changes.look_beyond)
                if ledger.changes.position != rung:
                    # Nobody heard of it, or has not yet, though a request may have come upon it.
                    rung = ledger.changes.position
                    ledger.arrivals.ring()
            await (asyncio.sleep(LOOK_EVERY) if ledger.unlike is None else ledger.unlike(rung))

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                # It returns when the log has diverged, and goes on when somebody has accepted that.
                await work()
                await asyncio.sleep(RECONSIDER_EVERY)
            except (DatabaseAway, LedgerOverloaded) as error:
                log.warning("transparency.waiting", reason=type(error).__name__)
                await asyncio.sleep(RECONSIDER_EVERY)
            except Exception:
                log.exception("the log's tree has stopped for a moment")
                await asyncio.sleep(AGAIN_AFTER)

    async def _follow(self, keeper: Keeper) -> None:
        if keeper.diverged is not None:
            await keeper.reconsider()
        await keeper.run()


# Whether the database is the one that this node knew, asked before a start obeys it or writes to it.


class NotContinued(Exception):
    """The database is older than what this node has seen of the log, or another one; says which, and what to do."""


def kept_of(settings: Settings) -> Kept:
    """The files that this node keeps outside the database."""
    if settings.checkpoint_file is None:
        raise AssertionError("an unset file follows from the data directory")
    return Kept(settings.checkpoint_file.absolute())


async def require_continuation(ledger: Ledger, settings: Settings, *, first: bool = False) -> None:
    """Raises `NotContinued`; where no checkpoint was kept only a warning, since a node has a first start. A log that is
    forged is not looked at: what it says of its own keys cannot be believed, and nothing will be written.

    Only the `first` process of a start warns: another one may come upon what the one beside it has just signed, and not
    put into the file yet."""
    kept = kept_of(settings)
    with suppress(Forged):
        note = kept.read()
        if note is None:
            if first and await ledger.read(published.newest_signed) is not None:
                log.warning("transparency.no_checkpoint_kept", file=str(kept.path))
        else:
            state: log_key.State = await ledger.state(log_key.STREAM)
            problem = await ledger.read(_contradiction, state, note, kept)
            if problem is not None:
                raise NotContinued(problem)
        await _require_accepted(ledger, kept)


def watch(ledger: Ledger, settings: Settings) -> None:
    """From now on this node remembers it when the log goes back under this process."""

    def note(reason: str, known: Newest) -> None:
        sha256 = None if known.state is None else digest(known.state)
        log.critical("log.went_back", reason=reason)
        try:
            kept_of(settings).write_lost(LostHead(reason, known.position, sha256, ledger.clock.now()))
        except OSError as error:
            log.error("log.went_back_not_kept", error=type(error).__name__)

    ledger.changes.on_going_back = note


def _contradiction(connection: Connection, state: log_key.State, note: str, kept: Kept) -> str | None:
    """Why the log is not the continuation of what the note says; None when it is, or may be as far as one can tell."""
    head = head_of(note)
    another = f"If another log is meant, remove {kept.path}"
    if head is None:
        return f"{kept.path} holds no checkpoint. Put back what it held; only if that is lost remove it"
    keys = [VerifierKey.parse(key.verifier_key) for key in state.keys.values()]
    if head.origin not in {key.name for key in keys}:
        return f"this database is another log than {head.origin}, which this node knew. {another}"
    text, signatures = text_of(note), signatures_of(note)
    if not any(key.verifies(text, each) for key in keys for each in signatures):
        return f"no key of this log has signed the checkpoint that this node kept. {another}"
    if head.origin != state.origin:
        # It succeeded the log that this node knew, which somebody has accepted and the log tells.
        return None
    try:
        if holds(connection, head, read_authentic_leaves):
            return None
    except Diverged:
        # The tree itself is damaged: servers start, notice it, and give nothing to anybody.
        return None
    succeed = f"`grantlog log succeed --checkpoint {kept.path} --origin NAME`"
    return (
        f"this database is older than what this node knew of the log, or another history: it does not hold the "
        f"{head.size} events of the checkpoint in {kept.path} (its tree has {published.size(connection)}). If it was "
        f"put back on purpose: {succeed}, with a new name for the log"
    )


def lost_of(kept: Kept, now: Moment) -> LostHead | None:
    """That the log went back, if it did and nobody has accepted it, also where it cannot be read any more how."""
    try:
        return kept.read_lost()
    except ValueError:
        return LostHead("the log went back, and what was noted of that cannot be read", 0, None, now)


async def _require_accepted(ledger: Ledger, kept: Kept) -> None:
    lost = lost_of(kept, ledger.clock.now())
    if lost is None:
        return
    state: server.State = await ledger.state(server.STREAM)
    is_back = lost.is_there(await ledger.read(partial(state_at, position=lost.position)))
    if is_back or (state.accepted_at is not None and state.accepted_at >= lost.at):
        kept.forget_lost()
        log.warning("log.went_back_is_over", is_back=is_back)
        return
    words = "under a server of this node. If you know why and what is lost: `grantlog log accept-divergence`"
    raise NotContinued(f"{lost.reason}, {words}")
