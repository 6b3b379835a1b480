"""Ends of grants and of single tokens."""

from domain import grant
from domain.event import Moment
from eventstore.command import Command


def end(grant_id: str, reason: grant.EndReason, *, client_id: str | None = None) -> Command[grant.State]:
    """Ends a grant with every token of it. With `client_id` it must be that client's."""
    return Command(
        f"grant:{grant_id}", lambda state, view: grant.end(state, now=view.now, reason=reason, client_id=client_id)
    )


def revoke_token(
    grant_id: str, *, kind: str, sha256: str, expires_at: Moment, by: grant.By, client_id: str | None = None
) -> Command[grant.State]:
    """Revokes an access token alone, anything else with its grant (RFC 7009 §2.1); `client_id` is the client that asks,
    None where somebody with authority over every client does.
    """
    return Command(
        f"grant:{grant_id}",
        lambda state, view: grant.revoke_token(
            state, now=view.now, client_id=client_id, kind=kind, sha256=sha256, expires_at=expires_at, by=by
        ),
    )
