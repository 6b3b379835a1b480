"""The keys that authenticate events. What becomes due outside the ledger is noted in the vault, see
`eventstore.mapper`, and settled by whoever opens the log next.
"""

from domain import log, mac_key
from domain.decision import Conflict, Outcome, Refusal
from domain.event import Recorded
from eventstore import mapper
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.mapper import Ring
from eventstore.view import View


async def settle(ledger: Ledger, by: Origin) -> None:
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

    commands: list[Command[mac_key.State] | Command[log.State]] = [begin(ledger.ring, due.reason)]
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


def begin(ring: Ring, reason: mac_key.Reason, origin: str | None = None) -> Command[mac_key.State]:
    """Begins a key with the events of this command, unless the same transaction has begun one. It comes last: what is
    refused behind it would leave a key of which nobody was told.
    """

    def decide(state: mac_key.State, view: View) -> Outcome:
        key = ring.beginning or ring.begin(view.connection, view.head, view.now, origin)
        return mac_key.begin(state, now=view.now, key_id=key.key_id, first=key.first, reason=reason)

    return Command(mac_key.STREAM, decide, alone=True)


def tell_of_first(ring: Ring) -> Command[mac_key.State]:
    """Tells of the key that came with the log's first transaction, before anybody could tell of it."""

    def decide(state: mac_key.State, view: View) -> Outcome:
        first = ring.writing(1)
        return mac_key.tell(state, now=view.now, key_id=first.key_id, first=first.first, reason="begun")

    return Command(mac_key.STREAM, decide)
