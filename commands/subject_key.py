"""The key of pairwise subjects (OpenID Connect Core §8.1): made once, kept in the vault, and never rotated."""

from domain import server
from domain.event import Recorded
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.view import View
from security.subjects import make_subject_key
from security.vault import Vault

NAME = "subject_key"
"""Its name in the vault."""


async def ensure(ledger: Ledger, by: Origin) -> bytes:
    """The key. Of several processes that start at once one makes it."""
    found = await ledger.read(_kept, ledger.vault)
    if found is not None:
        return found
    made = make_subject_key()

    def keep(view: View, recorded: tuple[Recorded, ...]) -> bytes:
        if recorded:
            ledger.vault.put_secret(view.connection, NAME, made, view.now)
            return made
        return _kept(view.connection, ledger.vault) or made

    told = Command[server.State](
        server.STREAM,
        lambda state, view: server.tell_of_subject_key(
            state, now=view.now, kept=_kept(view.connection, ledger.vault) is not None
        ),
    )
    executed = await ledger.execute(told, origin=by, then=keep)
    return executed.value or made


def _kept(connection: Connection, vault: Vault) -> bytes | None:
    stored = vault.get_secret(connection, NAME)
    return None if stored is None else stored.value
