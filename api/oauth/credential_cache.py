"""Client credentials that were found right a moment ago: who authenticates again need not be taken apart again.

What is remembered is the SHA-256 of what was presented, never the text itself, and it counts only while the client's
state is the very one that the credentials were judged by.
"""

from hashlib import sha256
from typing import NamedTuple

from domain import client
from domain.event import Actor, Moment
from security.lru import Lru

KEPT = 4_096
"""Credentials that are remembered at a time. Beyond it the one that was judged first is judged anew."""


class Caller(NamedTuple):
    """An authenticated client; `secret_id` is None for a public one. `actor` is who it is for the log."""

    client: client.State
    secret_id: str | None
    actor: Actor
    stream: str


def caller(state: client.State, secret_id: str | None) -> Caller:
    """The client as it acts with that secret version."""
    credential = None if secret_id is None else {"secret_id": secret_id}
    return Caller(state, secret_id, Actor("client", state.client_id, credential), client.stream(state.client_id))


class _Kept(NamedTuple):
    caller: Caller
    until: Moment | None


class CredentialCache:
    """By the digest of an Authorization header: the caller whom it authenticated."""

    def __init__(self) -> None:
        self._kept: Lru[bytes, _Kept] = Lru(KEPT)

    def find(self, authorization: bytes, now: Moment) -> Caller | None:
        """Whom the header authenticated when it was judged last; None when it has to be judged.

        The caller's state must be compared with the client's present one.
        """
        kept = self._kept.get(sha256(authorization).digest())
        if kept is None or (kept.until is not None and now >= kept.until):
            return None
        return kept.caller

    def keep(self, authorization: bytes, found: Caller) -> None:
        """Remembers a header that authenticated; it stays right until the secret version's own end."""
        until = next((each.expires_at for each in found.client.secrets if each.secret_id == found.secret_id), None)
        self._kept.put(sha256(authorization).digest(), _Kept(found, until))
