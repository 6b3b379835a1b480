"""The MAC keys of a log: the ring of them, as the vault keeps it.

Each key is a named secret of the vault that also holds the name under which it authenticates and the first position for
which it is good. All of it is wrapped together and never written again, so that nobody without the master key can say
anything about it, and an older copy of it says the same. A key is good up to where the next one begins: the event that
introduces a key is itself authenticated by it, and without that key it does not verify.
"""

import os
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from security.clock import Moment
from security.keyring import KEY_BYTES, MasterKeyError, WrapBroken
from security.mac import Authenticator
from security.vault import Vault

PREFIX = "mac_key:"
"""How the vault's names of these keys begin; the key's id follows."""

WRONG_KEY = "the master key does not open this database's vault: start with the key that it was made with"

_ID_HEX = 16


class _Kept(msgspec.Struct):
    """What is wrapped: the key in base64, the log's name, and the first position."""

    key: str
    origin: str
    first: int


class MacKey(NamedTuple):
    """A key as it is used. `first` is the first position for which it is good."""

    key_id: str
    origin: str
    first: int
    authenticator: Authenticator

    def __repr__(self) -> str:
        return f"MacKey({self.key_id}, first={self.first})"


class Ring:
    """The MAC keys of one log, in the order of their ranges. One per process; any thread may ask."""

    def __init__(self, vault: Vault, origin: str = "") -> None:
        """`origin` is the name of a log that has no key yet."""
        self._vault = vault
        self._origin = origin
        self._keys: tuple[MacKey, ...] = ()
        self._firsts: tuple[int, ...] = ()
        self._beginning: MacKey | None = None
        self._stale = True

    @property
    def keys(self) -> tuple[MacKey, ...]:
        """As the vault had them when it was asked last."""
        return self._keys

    @property
    def origin(self) -> str:
        """The name under which events are authenticated now."""
        return self._keys[-1].origin if self._keys else self._origin

    @property
    def beginning(self) -> MacKey | None:
        """The key that this very transaction begins."""
        return self._beginning

    def load(self, connection: Connection) -> None:
        """Reads the keys as this connection sees them. Raises MasterKeyError."""
        found = []
        try:
            secrets = self._vault.secrets_like(connection, PREFIX)
        except WrapBroken:
            raise MasterKeyError(WRONG_KEY) from None
        for name, stored in secrets.items():
            kept = msgspec.json.decode(stored.value, type=_Kept)
            authenticator = Authenticator(b64decode(kept.key), kept.origin)
            found.append(MacKey(name.removeprefix(PREFIX), kept.origin, kept.first, authenticator))
        found.sort(key=lambda key: key.first)
        # Whoever asks meanwhile has the older keys or the newer ones, never half of each.
        self._keys, self._firsts = tuple(found), tuple(key.first for key in found)

    def of(self, position: int) -> MacKey | None:
        """The key that is good for a position; None for one before the first key."""
        keys = self._keys
        if keys and position >= keys[-1].first:
            return keys[-1]
        at = bisect_right(self._firsts, position)
        return keys[at - 1] if at else None

    def writing(self, position: int) -> MacKey:
        """The key for an event that is written there, a key that this very transaction begins included."""
        beginning = self._beginning
        key = beginning if beginning is not None and position >= beginning.first else self.of(position)
        if key is None:
            raise AssertionError(f"no key is good for position {position}")
        return key

    def settle(self, connection: Connection, head: int, now: Callable[[], Moment]) -> None:
        """At the beginning of a transaction with the log's lock: knows the keys, and makes the first of an empty log.

        Costs nothing as long as no key began and no transaction broke.
        """
        if not self._stale:
            return
        self._beginning = None
        self.load(connection)
        self._stale = False
        if not self._keys and head == 0:
            self.begin(connection, 0, now())

    def begin(self, connection: Connection, head: int, now: Moment, origin: str | None = None) -> MacKey:
        """Makes a key for everything behind `head`, in the ledger's transaction, which no other command may share.

        With a new `origin` it authenticates under that name. Every process learns of it by the first event that does
        not verify under the key before.
        """
        secret, name = os.urandom(KEY_BYTES), self.origin if origin is None else origin
        key_id = sha256(secret).hexdigest()[:_ID_HEX]
        kept = _Kept(b64encode(secret).decode(), name, head + 1)
        self._vault.put_secret(connection, PREFIX + key_id, msgspec.json.encode(kept), now)
        self._beginning = MacKey(key_id, name, head + 1, Authenticator(secret, name))
        self._stale = True
        return self._beginning

    def unsettle(self) -> None:
        """A transaction broke, and with it perhaps the beginning of a key: the vault is asked again."""
        self._stale = True
