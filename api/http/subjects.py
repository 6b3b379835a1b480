"""By which name a client knows a person (OpenID Connect Core §8): the account's id, or one that is its sector's."""

from commands import subject_key
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from security.subjects import pairwise_subject


class Subjects:
    """The names of people, once `load` has been awaited. One per process."""

    def __init__(self) -> None:
        self._key: bytes | None = None

    async def load(self, ledger: Ledger, by: Origin) -> None:
        """Gets the key from the vault, or makes it where there is none yet."""
        self._key = await subject_key.ensure(ledger, by)

    def of(self, account_id: str, sector: str | None) -> str:
        """`sub` of a person for the clients of a sector; None is that of all who know people by the same name."""
        if sector is None:
            return account_id
        if self._key is None:
            raise AssertionError("the server has started without the key of pairwise subjects")
        return pairwise_subject(self._key, sector, account_id)
