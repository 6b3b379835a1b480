"""Browser sessions, found by the digest of their secret: the row says which stream to ask, nothing else."""

from domain import session
from eventstore.present.folds import Folds
from projections import sessions


def by_digest(folds: Folds, sha256: bytes) -> tuple[str, session.State] | None:
    """Id and fold of the session with this secret, over or not; None when there is none or its row was pruned."""
    session_id = sessions.id_by_digest(folds.connection, sha256)
    if session_id is None:
        return None
    state: session.State = folds.state(session.stream(session_id))
    return (session_id, state) if state.exists and state.sha256 == sha256.hex() else None
