"""The log's signing keys: each change is one event, in one transaction with the vault."""

from collections.abc import Callable, Sequence

from commands.mac_keys import begin
from commands.servers import accept_divergence
from domain import log_key
from domain.decision import Outcome, Refusal
from domain.event import Moment, Recorded
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.transparency import log_key as keys
from eventstore.transparency.note import Signer, base64_of, parse_checkpoint, signatures_of, text_of
from eventstore.transparency.published import read_authentic_leaves
from eventstore.transparency.tree import holds
from eventstore.view import View
from security.vault import Vault

_Decide = Callable[[log_key.State, View], Outcome]
_Store = Callable[[Connection, Vault, Signer, Moment], None]


async def ensure(ledger: Ledger, origin: str, by: Origin) -> log_key.State:
    """The log's keys, the first one made when there is none. Of several processes that start at once one makes it."""
    state: log_key.State = await ledger.state(log_key.STREAM)
    if state.active is None:
        key = keys.fresh(origin)
        key_id, verifier_key = _names(key)

        def decide(state: log_key.State, view: View) -> Outcome:
            return log_key.begin(state, now=view.now, key_id=key_id, verifier_key=verifier_key)

        await _change(ledger, key, decide, keys.introduce, by)
        state = await ledger.state(log_key.STREAM)
    return state


async def rotate(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Makes a new active key, which the former one signs beside."""
    key = keys.fresh(origin)
    key_id, verifier_key = _names(key)

    def decide(state: log_key.State, view: View) -> Outcome:
        return log_key.rotate(state, now=view.now, key_id=key_id, verifier_key=verifier_key)

    return await _change(ledger, key, decide, keys.introduce, by)


async def retire(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Ends a rotation: the active key signs alone."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        keys.retire(view.connection, ledger.vault, origin, view.now)

    retired = Command[log_key.State](log_key.STREAM, lambda state, view: log_key.retire(state, now=view.now))
    return (await ledger.execute(retired, origin=by, then=keep)).refusal


async def revoke(ledger: Ledger, origin: str, reason: log_key.RevocationReason, by: Origin) -> Refusal | None:
    """Makes a new key, which signs alone from now on, because the others are not to be trusted."""
    key = keys.fresh(origin)
    key_id, verifier_key = _names(key)

    def decide(state: log_key.State, view: View) -> Outcome:
        return log_key.revoke(state, now=view.now, key_id=key_id, verifier_key=verifier_key, reason=reason)

    return await _change(ledger, key, decide, keys.replace, by)


async def succeed(ledger: Ledger, note: str, origin: str, by: Origin) -> Refusal | None:
    """Lets the log go on under another name, naming the head that a lost part of it had.

    `note` is the newest checkpoint known from before the loss. ValueError when it cannot be read, or when none of the
    keys in the vault has signed it.
    """
    head = parse_checkpoint(note)

    def known(connection: Connection) -> bool:
        signers = keys.signers(connection, ledger.vault, head.origin)
        text, signatures = text_of(note), signatures_of(note)
        return any(signer.verifier.verifies(text, each) for signer in signers for each in signatures)

    if not await ledger.read(known):
        raise ValueError("none of the log's keys has signed this checkpoint")
    key = keys.fresh(origin)
    key_id, verifier_key = _names(key)

    def decide(state: log_key.State, view: View) -> Outcome:
        return log_key.succeed(
            state,
            now=view.now,
            key_id=key_id,
            verifier_key=verifier_key,
            predecessor=head.origin,
            size=head.size,
            root=base64_of(head.root),
            held=view.query(holds, head, read_authentic_leaves),
        )

    # Whoever accepts that so much is lost has understood whatever came of it.
    accepted = accept_divergence("the database was put back to an older copy")
    authenticate = begin(ledger.ring, "restored", origin)
    return await _change(ledger, key, decide, keys.succeed, by, before=(accepted,), after=(authenticate,))


def _names(key: Signer) -> tuple[str, str]:
    return key.verifier.key_id.hex(), str(key.verifier)


async def _change(
    ledger: Ledger,
    key: Signer,
    decide: _Decide,
    store: _Store,
    by: Origin,
    *,
    before: Sequence[Step] = (),
    after: Sequence[Step] = (),
) -> Refusal | None:
    """Records what `decide` says, and has the vault keep the key as `store` does it."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        store(view.connection, ledger.vault, key, view.now)

    commands = (*before, Command(log_key.STREAM, decide), *after)
    return (await ledger.execute(*commands, origin=by, then=keep)).refusal
