"""A MAC key that must begin before anything else is written: after an import, and after forged events were removed.

What made it due happens outside the ledger, by the owner of the tables. It is noted in the same transaction, in the
vault, so that whoever opens the log next begins the key, even if the command that was to do so was killed. The note
names the position that comes next: an older one that somebody puts back says nothing.
"""

import msgspec
from sqlalchemy import Connection

from domain import mac_key
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
