"""JWT access tokens of ours in whatever somebody pasted: known by our signature, as others are by their checksum."""

from collections.abc import Mapping

from domain.keys import signing_key
from eventstore.ledger import Ledger
from security import jose
from security.tokens import Format

TYP = "at+jwt"
"""What RFC 9068 §2.1 calls them: nothing else that we sign is a secret."""


async def recognise(format: Format, ledger: Ledger) -> None:
    """Has the format know them, by the keys that there are and that there ever were."""
    newest: signing_key.State = await ledger.state(signing_key.STREAM)

    def known(key_id: str) -> Mapping[str, str] | None:
        key = newest.keys.get(key_id)
        return None if key is None else key.jwk

    def is_ours(token: str) -> bool:
        nonlocal newest
        newest = ledger.assumed(signing_key.STREAM) or newest
        try:
            return jose.verify(token, known).typ == TYP
        except jose.BadToken:
            return False

    format.signed = is_ours
