"""How far the log was signed: up to there somebody who has the keys verified every event."""

from sqlalchemy import Connection

from eventstore.transparency import log_key, published
from eventstore.transparency.checkpoint import parse
from eventstore.transparency.note import signatures_of, text_of
from security.vault import Vault


def signed_size(connection: Connection, vault: Vault) -> int:
    """The size that the newest checkpoint states, if one of the log's own keys signed it; else 0."""
    newest = published.newest_signed(connection)
    if newest is None:
        return 0
    try:
        head = parse(newest.note)
        text, signatures = text_of(newest.note), signatures_of(newest.note)
    except ValueError:
        return 0
    signers = log_key.signers(connection, vault, head.origin)
    genuine = any(signer.verifier.verifies(text, each) for signer in signers for each in signatures)
    return head.size if genuine else 0
