"""The log's signing keys, in the vault: the active one, and during a rotation the one before."""

import os
from collections.abc import Sequence

from sqlalchemy import Connection

from eventstore.transparency.note import Signer
from security.clock import Moment
from security.vault import Vault

SECRET = "log_key"  # noqa: S105 - the name under which the vault keeps it
_SEED_BYTES = 32


def signers(connection: Connection, vault: Vault, origin: str) -> Sequence[Signer]:
    """The keys that sign now, the active one first; none before the first was introduced."""
    stored = vault.get_secret(connection, SECRET)
    seeds = b"" if stored is None else stored.value
    return [Signer(origin, seeds[at : at + _SEED_BYTES]) for at in range(0, len(seeds), _SEED_BYTES)]


def introduce(connection: Connection, vault: Vault, origin: str, now: Moment) -> Signer:
    """Makes a new active key. The key before goes on signing beside it, so that auditors have time to pin the new one.

    Only within a transaction of the ledger, together with the event that tells it: the head's lock keeps a second
    process from making another key at the same time.
    """
    kept = [signer.seed for signer in signers(connection, vault, origin)[:1]]
    fresh = Signer(origin, os.urandom(_SEED_BYTES))
    vault.put_secret(connection, SECRET, b"".join([fresh.seed, *kept]), now)
    return fresh


def retire(connection: Connection, vault: Vault, origin: str, now: Moment) -> None:
    """Ends a rotation: the active key signs alone. What the other signed stays verifiable, for who has pinned it."""
    active = signers(connection, vault, origin)[:1]
    if not active:
        raise AssertionError("there is no active key that could sign alone")
    vault.put_secret(connection, SECRET, active[0].seed, now)
