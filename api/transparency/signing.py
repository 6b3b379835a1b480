"""The log's signing key: made at the first start, rotated by command, each change one event together with the vault."""

from typing import Any
from urllib.parse import urlsplit

import structlog

from api.settings import Settings
from domain import log_key
from domain.decision import Refusal
from domain.event import Recorded
from eventstore.commands import Command, Origin
from eventstore.ledger import Ledger
from eventstore.transparency import log_key as keys
from eventstore.transparency.note import Signer
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
        log.error("the log keeps the name that it began with", name=state.origin, setting=settings.log_origin)
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


async def _change(ledger: Ledger, verb: Any, key: Signer, by: Origin, store: Any, **facts: Any) -> Refusal | None:
    facts |= {"key_id": key.verifier.key_id.hex(), "verifier_key": str(key.verifier)}

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        store(view.connection, ledger.vault, key, view.now)

    return (await ledger.execute(Command(log_key.STREAM, verb, facts), origin=by, then=keep)).refusal
