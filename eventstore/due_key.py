"""A MAC key that must begin before anything else is written: after an import, and after forged events were removed.

What made it due happens outside the ledger, by the owner of the tables. It is noted in the same transaction, in the
vault, so that whoever opens the log next begins the key, even if the command that was to do so was killed. The note
names the position that comes next: an older one that somebody puts back says nothing.
"""

import msgspec
from sqlalchemy import Connection

from domain import log, mac_key
from domain.decision import Outcome, Refusal
from domain.event import Recorded
from domain.refusal import Conflict
from eventstore.command import Command
from eventstore.commands import Origin
from eventstore.ledger import Ledger
from eventstore.mac_keys import Ring
from eventstore.view import View
from security.clock import Moment
from security.vault import Vault

NAME = "mac_key_due"
"""Under which the vault keeps the note."""


class Removal(msgspec.Struct, frozen=True):
    """What was taken away: from which position on, how many rows, and the digest of the file that has them, in hex."""

    first: int
    count: int
    sha256: str


class Due(msgspec.Struct, frozen=True):
    """Why a key must begin, and at which position."""

    reason: mac_key.Reason
    first: int
    removal: Removal | None = None


def put(connection: Connection, vault: Vault, due: Due, now: Moment) -> None:
    """Notes it, in the transaction of what made it due."""
    vault.put_secret(connection, NAME, msgspec.json.encode(due), now)


def get(connection: Connection, vault: Vault) -> Due | None:
    """What is due; None when nothing is."""
    noted = vault.get_secret(connection, NAME)
    return None if noted is None else msgspec.json.decode(noted.value, type=Due)


async def settle(ledger: Ledger, by: Origin) -> None:
    """Begins the key that is due, if one is, and tells of it. Of several processes one does."""
    due = await ledger.read(get, ledger.vault)
    if due is None:
        return

    def still_due(view: View) -> Refusal | None:
        if get(view.connection, ledger.vault) == due and due.first == view.head + 1:
            return None
        return Refusal(Conflict.EXISTS, "the log has gone on since")

    def over(view: View, _: tuple[Recorded, ...]) -> None:
        ledger.vault.delete_secret(view.connection, NAME)

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
        await ledger.maintain(ledger.vault.delete_secret, NAME)


def _removed(removal: Removal) -> Command[log.State]:
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
