"""The log's signing key: made at the first start, rotated by command, each change one event together with the vault."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from api.settings import Settings
from domain import log_key, server
from domain.decision import Refusal
from domain.event import Recorded
from eventstore import due_key
from eventstore.commands import Command, Origin, Step
from eventstore.ledger import Ledger
from eventstore.transparency import log_key as keys
from eventstore.transparency.checkpoint import parse
from eventstore.transparency.following import holds
from eventstore.transparency.leaves import read_authentic_leaves
from eventstore.transparency.note import Signer, base64_of, signatures_of, text_of
from eventstore.view import View

log = structlog.get_logger("api")


def origin_of(settings: Settings) -> str:
    """The name that a new log gets: as set, or else the address under which it is published, without a scheme."""
    return settings.log_origin or urlsplit(settings.issuer).netloc + "/log"


async def ensure_key(ledger: Ledger, settings: Settings, by: Origin) -> log_key.State:
    """The log's keys, the first one made when there is none. Of several processes that start at once one makes it."""
    state: log_key.State = await ledger.state(log_key.STREAM)
    if state.active is None:
        await _change(ledger, log_key.begin, keys.fresh(origin_of(settings)), by, keys.introduce)
        state = await ledger.state(log_key.STREAM)
    if settings.log_origin and settings.log_origin != state.origin:
        log.error("the log has another name than the settings say", name=state.origin, setting=settings.log_origin)
    return state


async def rotate(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Makes a new active key, which the former one signs beside."""
    return await _change(ledger, log_key.rotate, keys.fresh(origin), by, keys.introduce)


async def retire(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Ends a rotation: the active key signs alone."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        keys.retire(view.connection, ledger.vault, origin, view.now)

    return (await ledger.execute(Command(log_key.STREAM, log_key.retire), origin=by, then=keep)).refusal


async def revoke(ledger: Ledger, origin: str, reason: log_key.RevocationReason, by: Origin) -> Refusal | None:
    """Makes a new key, which signs alone from now on, because the others are not to be trusted."""
    return await _change(ledger, log_key.revoke, keys.fresh(origin), by, keys.replace, reason=reason)


async def succeed(ledger: Ledger, note: str, origin: str, by: Origin) -> Refusal | None:
    """Lets the log go on under another name, naming the head that a lost part of it had.

    `note` is the newest checkpoint known from before the loss. ValueError when it cannot be read, or when none of the
    keys in the vault has signed it.
    """
    head = parse(note)

    def known(connection: Connection) -> bool:
        signers = keys.signers(connection, ledger.vault, head.origin)
        text, signatures = text_of(note), signatures_of(note)
        return any(signer.verifier.verifies(text, each) for signer in signers for each in signatures)

    if not await ledger.read(known):
        raise ValueError("none of the log's keys has signed this checkpoint")

    def under_lock(view: View) -> dict[str, Any]:
        return {"held": view.query(holds, head, read_authentic_leaves)}

    facts = {"predecessor": head.origin, "size": head.size, "root": base64_of(head.root)}
    # Whoever accepts that so much is lost has understood whatever came of it.
    reason = "the database was put back to an older copy"
    accepted = Command(server.STREAM, server.accept_divergence, {"reason": reason})
    authenticate = due_key.begin(ledger.ring, "restored", origin)
    key = keys.fresh(origin)
    return await _change(
        ledger, log_key.succeed, key, by, keys.succeed, under_lock, authenticate, before=(accepted,), **facts
    )


async def _change(
    ledger: Ledger,
    verb: Any,
    key: Signer,
    by: Origin,
    store: Any,
    under_lock: Any = None,
    *further: Step,
    before: Sequence[Step] = (),
    **facts: Any,
) -> Refusal | None:
    facts |= {"key_id": key.verifier.key_id.hex(), "verifier_key": str(key.verifier)}

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        store(view.connection, ledger.vault, key, view.now)

    commands = (*before, Command(log_key.STREAM, verb, facts, under_lock), *further)
    return (await ledger.execute(*commands, origin=by, then=keep)).refusal
