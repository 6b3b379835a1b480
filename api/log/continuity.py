"""Whether the database is the one that this node knew, asked before a start obeys it or writes to it."""

import contextlib
from functools import partial

import structlog

from api.config.settings import Settings
from domain import log_key, server
from eventstore.changes import Newest, state_at
from eventstore.database import Connection
from eventstore.execution import Forged
from eventstore.ledger import Ledger
from eventstore.transparency import published
from eventstore.transparency.divergence import Diverged
from eventstore.transparency.kept import Kept, Lost, digest, head_of
from eventstore.transparency.note import VerifierKey, signatures_of, text_of
from eventstore.transparency.published import read_authentic_leaves
from eventstore.transparency.tree import holds

log = structlog.get_logger("api")


class NotContinued(Exception):
    """The database is older than what this node has seen of the log, or another one; says which, and what to do."""


def kept_of(settings: Settings) -> Kept:
    """The files that this node keeps outside the database."""
    if settings.checkpoint_file is None:
        raise AssertionError("an unset file follows from the data directory")
    return Kept(settings.checkpoint_file.absolute())


async def require_continuation(ledger: Ledger, settings: Settings) -> None:
    """Raises `NotContinued`. Where no checkpoint was kept that is no more than a warning: a node has a first start.

    A log that is forged is not looked at: what it says of its own keys cannot be believed, and nothing will be written.
    """
    kept = kept_of(settings)
    with contextlib.suppress(Forged):
        note = kept.read()
        if note is None:
            if await ledger.read(published.newest_signed) is not None:
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
            kept_of(settings).write_lost(Lost(reason, known.position, sha256, ledger.clock.now()))
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


async def _require_accepted(ledger: Ledger, kept: Kept) -> None:
    try:
        lost = kept.read_lost()
    except ValueError:
        lost = Lost("it cannot be read how", 0, None, ledger.clock.now())
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
