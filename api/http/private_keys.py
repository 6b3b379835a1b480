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

    async def ready(self, key_id: str) -> PrivateKey:
        """The key; raises 503 where it was destroyed since whoever asks learnt of it."""
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
