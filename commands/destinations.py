"""Who is told at once of what happens. Their addresses and keys go into the vault, in the event's own transaction."""

from collections.abc import Container

import msgspec

from domain.decision import Outcome, accept
from domain.notifying import destination
from domain.notifying.destination import DestinationTerms
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.view import View
from projections import outbox
from security.vault import Vault

LAST = 2**53 - 1
"""A position behind every one there will be."""


class DestinationSecrets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where it is, and what signs what it is told: a URL and keys with blanks between, or mailboxes."""

    url: str | None = None
    signing_key: str | None = None
    to: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """A URL may be as good as a secret."""
        return "DestinationSecrets()"


def vault_name(name: str) -> str:
    """Names the address of a destination in the vault."""
    return f"destination:{name}"


def secrets_of(connection: Connection, vault: Vault, name: str) -> DestinationSecrets | None:
    """What the vault has of a destination."""
    kept = vault.get_secret(connection, vault_name(name))
    return None if kept is None else msgspec.json.decode(kept.value, type=DestinationSecrets)


def put(
    name: str, terms: DestinationTerms, secrets: DestinationSecrets, *, vault: Vault, taken: Container[str]
) -> Command[destination.State]:
    """Tells somebody. `taken` are the names that the settings give to others."""

    def decide(state: destination.State, view: View) -> Outcome:
        moved = secrets_of(view.connection, vault, name) != secrets
        return destination.put(state, now=view.now, name=name, destination=terms, taken=taken, moved=moved)

    return Command(destination.STREAM, decide)


def keep(view: View, vault: Vault, name: str, secrets: DestinationSecrets) -> None:
    """Puts the address into the vault, within the transaction of `put`."""
    vault.put_secret(view.connection, vault_name(name), msgspec.json.encode(secrets), view.now)


def remove(name: str) -> Command[destination.State]:
    """Tells somebody no longer. The vault's part is `forget`, within the same transaction."""
    return Command(destination.STREAM, lambda state, view: destination.remove(state, now=view.now, name=name))


def forget(view: View, vault: Vault, name: str) -> None:
    """Removes the address from the vault, and what was still to be told."""
    vault.delete_secret(view.connection, vault_name(name))
    outbox.drop(view.connection, name)


def test(name: str, taken: Container[str]) -> Command[destination.State]:
    """Records what they are to be notified of, to see whether they can be told anything."""
    return Command(
        destination.STREAM, lambda state, view: destination.test(state, now=view.now, name=name, taken=taken)
    )


def tested() -> Command[destination.State]:
    """Records nothing: what came of it is the answer alone."""
    return Command(destination.STREAM, lambda state, view: accept())


def replay(name: str, taken: Container[str], first: int, last: int | None) -> Command[destination.State]:
    """Has dead letters tried once more. The rows' part is `revive`, within the same transaction."""

    def decide(state: destination.State, view: View) -> Outcome:
        count = view.query(outbox.count_dead, name, first, LAST if last is None else last)
        return destination.replay(state, now=view.now, name=name, taken=taken, count=count, first=first, last=last)

    return Command(destination.STREAM, decide)


def revive(view: View, vault: Vault, name: str, first: int, last: int | None) -> int:
    """Begins them anew; how many there were."""
    macs = vault.row_macs(outbox.DELIVERIES.name)
    return outbox.revive(view.connection, macs, [name], first, LAST if last is None else last, view.now)
