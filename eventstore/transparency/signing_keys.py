"""The log's signing keys, in the vault: the active one, and during a rotation the one before."""

import os
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from eventstore.transparency import published
from eventstore.transparency.note import Signer, head_of, is_signed_by
from security.clock import Moment
from security.vault import Vault

SECRET = "log_key"  # noqa: S105 - the name under which the vault keeps it
NAME = "log_origin"
"""The log's name in the vault, once it is another than the one that it began with."""

_SEED_BYTES = 32


def fresh(origin: str) -> Signer:
    """A new key, which is nowhere yet. ValueError when a key cannot have that name."""
    return Signer(origin, os.urandom(_SEED_BYTES))


def signers(connection: Connection, vault: Vault, origin: str) -> Sequence[Signer]:
    """The keys that sign now, the active one first; none before the first was introduced.

    `origin` is the name that the log began with. They bear its present one, so that a process which was running when
    the log succeeded another goes on under the right name.
    """
    succeeding = vault.get_secret(connection, NAME)
    if succeeding is not None:
        origin = succeeding.value.decode()
    stored = vault.get_secret(connection, SECRET)
    seeds = b"" if stored is None else stored.value
    return [Signer(origin, seeds[at : at + _SEED_BYTES]) for at in range(0, len(seeds), _SEED_BYTES)]


def from_vault(vault: Vault, origin: str) -> Callable[[Connection], Sequence[Signer]]:
    """What `tree.Tree` asks in every transaction that signs: a rotation holds for every process at once."""
    return lambda connection: signers(connection, vault, origin)


def introduce(connection: Connection, vault: Vault, key: Signer, now: Moment) -> None:
    """Makes it the active key; the one before signs on, so that auditors can pin the new one. With its event."""
    kept = [signer.seed for signer in signers(connection, vault, key.name)[:1]]
    vault.put_secret(connection, SECRET, b"".join([key.seed, *kept]), now)


def retire(connection: Connection, vault: Vault, origin: str, now: Moment) -> None:
    """Ends a rotation: the active key signs alone. What the other signed stays verifiable, for who has pinned it."""
    active = signers(connection, vault, origin)[:1]
    if not active:
        raise AssertionError("there is no active key that could sign alone")
    replace(connection, vault, active[0], now)


def replace(connection: Connection, vault: Vault, key: Signer, now: Moment) -> None:
    """Makes it the only key: whatever signed until now is gone for ever."""
    vault.put_secret(connection, SECRET, key.seed, now)


def succeed(connection: Connection, vault: Vault, key: Signer, now: Moment) -> None:
    """Makes it the only key, and its name the log's."""
    replace(connection, vault, key, now)
    vault.put_secret(connection, NAME, key.name.encode(), now)


def signed_size(connection: Connection, vault: Vault) -> int:
    """How far the log was signed, and so verified, with one of its own keys; 0 when nothing was."""
    newest = published.newest_signed(connection)
    head = None if newest is None else head_of(newest.note)
    if newest is None or head is None:
        return 0
    return head.size if is_signed_by(newest.note, signers(connection, vault, head.origin)) else 0


def is_shown_signed(connection: Connection, vault: Vault, origin: str) -> bool:
    """Whether the checkpoint that is shown, if one is, bears a signature of a key that signs now: an auditor
    who verifies the log by that key takes every other for somebody else's."""
    newest = published.newest(connection)
    return newest is None or is_signed_by(newest.note, signers(connection, vault, origin))
