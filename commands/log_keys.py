"""The log's keys, those that sign it and those that authenticate its events: each change is one event."""

from collections.abc import Callable, Sequence

from commands.servers import accept_divergence
from domain import log
from domain.decision import Conflict, Outcome, Refusal
from domain.event import Moment, Recorded
from domain.keys import log_key, mac_key
from eventstore import mapper
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Origin, Step
from eventstore.ledger import Ledger
from eventstore.mapper import Ring
from eventstore.transparency import signing_keys as keys
from eventstore.transparency.note import Signer, base64_of, parse_checkpoint, signatures_of, text_of
from eventstore.transparency.published import read_authentic_leaves
from eventstore.transparency.tree import holds
from eventstore.view import View
from security.vault import Vault

# Signing keys, changed in one transaction with the vault.

_Decide = Callable[[log_key.State, View, str, str], Outcome]
"""Says what becomes of the keys, told the id and the verifier key of the new one."""
_Store = Callable[[Connection, Vault, Signer, Moment], None]


async def ensure(ledger: Ledger, origin: str, by: Origin) -> log_key.State:
    """The log's keys, the first one made when there is none. Of several processes that start at once one makes it."""
    state: log_key.State = await ledger.state(log_key.STREAM)
    if state.active is None:
        await _change(
            ledger,
            origin,
            lambda state, view, key_id, key: log_key.begin(state, now=view.now, key_id=key_id, verifier_key=key),
            keys.introduce,
            by,
        )
        state = await ledger.state(log_key.STREAM)
    return state


async def rotate(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Makes a new active key, which the former one signs beside."""
    return await _change(
        ledger,
        origin,
        lambda state, view, key_id, key: log_key.rotate(state, now=view.now, key_id=key_id, verifier_key=key),
        keys.introduce,
        by,
    )


async def retire(ledger: Ledger, origin: str, by: Origin) -> Refusal | None:
    """Ends a rotation: the active key signs alone."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        keys.retire(view.connection, ledger.vault, origin, view.now)

    retired = Command[log_key.State](log_key.STREAM, lambda state, view: log_key.retire(state, now=view.now))
    return (await ledger.execute(retired, origin=by, then=keep)).refusal


async def revoke(ledger: Ledger, origin: str, reason: log_key.RevocationReason, by: Origin) -> Refusal | None:
    """Makes a new key, which signs alone from now on, because the others are not to be trusted."""

    def decide(state: log_key.State, view: View, key_id: str, verifier_key: str) -> Outcome:
        return log_key.revoke(state, now=view.now, key_id=key_id, verifier_key=verifier_key, reason=reason)

    return await _change(ledger, origin, decide, keys.replace, by)


async def succeed(ledger: Ledger, note: str, origin: str, by: Origin) -> Refusal | None:
    """Lets the log go on under another name, naming the head that a lost part of it had. `note` is the newest
    checkpoint known from before the loss. ValueError when it cannot be read, or when none of the keys in the vault has
    signed it."""
    head = parse_checkpoint(note)

    def known(connection: Connection) -> bool:
        signers = keys.signers(connection, ledger.vault, head.origin)
        text, signatures = text_of(note), signatures_of(note)
        return any(signer.verifier.verifies(text, each) for signer in signers for each in signatures)

    if not await ledger.read(known):
        raise ValueError("none of the log's keys has signed this checkpoint")

    def decide(state: log_key.State, view: View, key_id: str, verifier_key: str) -> Outcome:
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

    # Anyone who accepts that so much is lost has understood whatever came of it.
    accepted = accept_divergence("the database was put back to an older copy")
    authenticate = begin_mac_key(ledger.ring, "restored", origin)
    return await _change(ledger, origin, decide, keys.succeed, by, before=(accepted,), after=(authenticate,))


async def _change(
    ledger: Ledger,
    origin: str,
    decide: _Decide,
    store: _Store,
    by: Origin,
    *,
    before: Sequence[Step] = (),
    after: Sequence[Step] = (),
) -> Refusal | None:
    """Makes a key, records what `decide` says of it, and has the vault keep it as `store` does."""
    key = keys.fresh(origin)
    key_id, verifier_key = key.verifier.key_id.hex(), str(key.verifier)

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        store(view.connection, ledger.vault, key, view.now)

    decided = Command[log_key.State](log_key.STREAM, lambda state, view: decide(state, view, key_id, verifier_key))
    return (await ledger.execute(*before, decided, *after, origin=by, then=keep)).refusal


# Keys that authenticate events. What becomes due outside the ledger is noted in the vault, see `eventstore.mapper`, and
# settled by the next one who opens the log.


async def settle_mac_key(ledger: Ledger, by: Origin) -> None:
    """Begins the key that is due, if one is, and tells of it. Of several processes one does."""
    due = await ledger.read(mapper.get_due_key, ledger.vault)
    if due is None:
        return

    def still_due(view: View) -> Refusal | None:
        if mapper.get_due_key(view.connection, ledger.vault) == due and due.first == view.head + 1:
            return None
        return Refusal(Conflict.EXISTS, "the log has gone on since")

    def over(view: View, _: tuple[Recorded, ...]) -> None:
        ledger.vault.delete_secret(view.connection, mapper.DUE_KEY)

    def begun(view: View) -> Refusal | None:
        refused = still_due(view)
        if refused is None:
            # The very next event is under the new key, whichever it is.
            ledger.ring.begin(view.connection, view.head, view.now)
        return refused

    commands: list[Command[mac_key.State] | Command[log.State]] = [begin_mac_key(ledger.ring, due.reason)]
    if due.removal is not None:
        commands.insert(0, _removed(due.removal))
    executed = await ledger.execute(commands[0].guarded(begun), *commands[1:], origin=by, then=over)
    if executed.refusal is not None:
        await ledger.maintain(ledger.vault.delete_secret, mapper.DUE_KEY)


def _removed(removal: mapper.Removal) -> Command[log.State]:
    return Command(
        log.STREAM,
        lambda state, view: log.remove_forged(
            state, now=view.now, first=removal.first, count=removal.count, sha256=removal.sha256
        ),
    )


def begin_mac_key(ring: Ring, reason: mac_key.MacKeyReason, origin: str | None = None) -> Command[mac_key.State]:
    """Begins a key with the events of this command, unless the same transaction has begun one. It comes last: what is
    refused behind it would leave a key of which nobody was told."""

    def decide(state: mac_key.State, view: View) -> Outcome:
        key = ring.beginning or ring.begin(view.connection, view.head, view.now, origin)
        return mac_key.begin(state, now=view.now, key_id=key.key_id, first=key.first, reason=reason)

    return Command(mac_key.STREAM, decide, alone=True)


def tell_of_first_mac_key(ring: Ring) -> Command[mac_key.State]:
    """Tells of the key that came with the log's first transaction, before anybody could tell of it."""

    def decide(state: mac_key.State, view: View) -> Outcome:
        first = ring.writing(1)
        return mac_key.tell(state, now=view.now, key_id=first.key_id, first=first.first, reason="begun")

    return Command(mac_key.STREAM, decide)
