"""Credentials that a process remembers: of clients that authenticated just now, and those that dashboards act with."""

import hashlib
from typing import NamedTuple

from api.http.errors import TemporarilyUnavailable
from commands.clients import vault_name
from domain import client
from domain.client_secret import SecretVersion
from domain.event import Actor, Moment
from eventstore import present
from eventstore.database import Connection
from eventstore.ledger import Ledger
from security.lru import Lru
from security.tokens import digest

KEPT = 4_096
"""Credentials that are remembered at a time. Beyond it the one that was judged first is judged anew."""


class Caller(NamedTuple):
    """An authenticated client, by a secret version or by a key, of which `key_id` is the thumbprint; a public one has
    neither. `actor` is who it is for the log."""

    client: client.State
    secret_id: str | None
    actor: Actor
    stream: str
    key_id: str | None = None


def caller(state: client.State, secret_id: str | None, key_id: str | None = None) -> Caller:
    """The client as it acts with that secret version or key."""
    means = {"secret_id": secret_id, "key_id": key_id}
    credential = {name: value for name, value in means.items() if value is not None} or None
    stream = client.stream(state.client_id)
    return Caller(state, secret_id, Actor("client", state.client_id, credential), stream, key_id)


class _Kept(NamedTuple):
    caller: Caller
    until: Moment | None


class CredentialCache:
    """Credentials that were found right a moment ago: who authenticates again need not be taken apart again.

    What is remembered is the SHA-256 of the Authorization header, never the text itself, and it counts only while the
    client's state is the very one that the credentials were judged by.
    """

    def __init__(self) -> None:
        self._kept: Lru[bytes, _Kept] = Lru(KEPT)

    def find(self, authorization: bytes, now: Moment) -> Caller | None:
        """Whom the header authenticated when it was judged last; None when it has to be judged.

        The caller's state must be compared with the client's present one.
        """
        kept = self._kept.get(hashlib.sha256(authorization).digest())
        if kept is None or (kept.until is not None and now >= kept.until):
            return None
        return kept.caller

    def keep(self, authorization: bytes, found: Caller) -> None:
        """Remembers a header that authenticated; it stays right until the secret version's own end."""
        until = next((each.expires_at for each in found.client.secrets if each.secret_id == found.secret_id), None)
        self._kept.put(hashlib.sha256(authorization).digest(), _Kept(found, until))


# The secret with which a dashboard authenticates towards this very server (RFC 6749 §2.3.1). It lives in the vault and
# never leaves the process. What is kept here is its digest alone, for as long as the log has no newer version: a
# rotation by any worker shows in the client's state, and the vault is asked again.

DASHBOARDS_KEPT = 256
"""Dashboards whose digest and slug are kept. There are two in an ordinary installation."""

TRIES = 2


class NoLiveSecret(TemporarilyUnavailable):
    """503: every version that the vault could show has ended. It says so to everybody, before credentials are read."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody can sign in here just now: the dashboard's secret has ended. An administrator has to rotate it.",
            retry_after=60,
        )


class DashboardSecrets:
    """Which dashboard has a slug, and which secret version it acts with. One per process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._digests: Lru[str, tuple[str, str]] = Lru(DASHBOARDS_KEPT)
        self._slugs: Lru[str, str] = Lru(DASHBOARDS_KEPT)

    async def dashboard(self, slug: str) -> client.State | None:
        """The dashboard of this slug, enabled or not. The one that had it is asked first, whose stream tells whether it
        has it still."""
        client_id = self._slugs.used(slug)
        if client_id is not None:
            state: client.State = await self._ledger.state(client.stream(client_id))
            if client.alive(state) and state.slug == slug:
                return state
        found = await self._ledger.look(present.dashboard_by_slug, slug)
        if found is not None:
            self._slugs.put(slug, found.client_id)
        return found

    async def version(self, client_id: str) -> SecretVersion:
        """The live version that the vault's secret authenticates now; raises `NoLiveSecret`.

        Anyone who issues something hands its id in to be checked again under the lock.
        """
        for _ in range(TRIES):
            state: client.State = await self._ledger.state(client.stream(client_id))
            newest = state.secrets[-1].secret_id if state.secrets else ""
            sha256 = await self._digest(client_id, newest)
            if sha256 is not None:
                found = client.authenticate(state, sha256, self._ledger.clock.now())
                if isinstance(found, SecretVersion):
                    if found.secret_id == newest:
                        self._digests.put(client_id, (newest, sha256))
                    return found
            # A rotation between the two reads leaves a vault that is newer than the state: both are read once more.
            self._digests.pop(client_id, None)
        raise NoLiveSecret()

    async def _digest(self, client_id: str, newest: str) -> str | None:
        kept = self._digests.used(client_id)
        if kept is not None and kept[0] == newest:
            return kept[1]
        return await self._ledger.read(self._in_vault, client_id)

    def _in_vault(self, connection: Connection, client_id: str) -> str | None:
        stored = self._ledger.vault.get_secret(connection, vault_name(client_id))
        return None if stored is None else digest(stored.value.decode("ascii")).hex()
