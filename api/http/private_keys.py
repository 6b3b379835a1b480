"""The private keys that sign tokens, as one process uses them. Which of them signs, the log says each time."""

from api.http.errors import TemporarilyUnavailable
from commands.signing_keys import private_half
from domain.keys import signing_key
from eventstore.ledger import Ledger
from security.jose import PrivateKey


class PrivateKeys:
    """Private keys that are ready to sign, by their ids. One per process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ready: dict[str, PrivateKey] = {}

    async def load(self) -> None:
        """Gets every key that signs or is about to, so that nobody who has been issued something waits for it."""
        state: signing_key.State = await self._ledger.state(signing_key.STREAM)
        for key_id in state.in_standing("introduced", "active"):
            if key_id not in self._ready:
                await self._load(key_id)

    async def signing(self, key_id: str) -> PrivateKey:
        """The key that was chosen to sign, or the one that has taken its place: what was issued for good must not be
        lost because its key was revoked a moment later. Raises 503 where none signs for its algorithm any more.
        """
        found = self._ready.get(key_id)
        if found is not None and self._is_good(key_id):
            return found
        # As of now: anyone who revoked it has the next one sign at once.
        state: signing_key.State = await self._ledger.state(signing_key.STREAM)
        chosen = state.keys.get(key_id)
        if chosen is not None and chosen.standing in ("retired", "revoked"):
            key_id = state.active.get(chosen.algorithm, key_id)
        return await self.ready(key_id)

    def _is_good(self, key_id: str) -> bool:
        state: signing_key.State | None = self._ledger.assumed(signing_key.STREAM)
        key = None if state is None else state.keys.get(key_id)
        return key is not None and key.standing in signing_key.PUBLISHED

    async def ready(self, key_id: str) -> PrivateKey:
        """The key; raises 503 where it was destroyed since the one who asks learnt of it."""
        found = self._ready.get(key_id)
        return await self._load(key_id) if found is None else found

    async def _load(self, key_id: str) -> PrivateKey:
        private = await self._ledger.read(private_half, self._ledger.vault, key_id)
        if private is None:
            raise TemporarilyUnavailable
        state: signing_key.State = await self._ledger.state(signing_key.STREAM)
        published = state.published()
        self._ready = {each: key for each, key in self._ready.items() if each in published}
        found = self._ready[key_id] = PrivateKey(private)
        return found
