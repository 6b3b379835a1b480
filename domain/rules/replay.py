"""Replay: what a presented refresh token is to its grant (RFC 9700 §4.14.2).

A grant has one current refresh token. Its predecessor may come again within the grace window that was set when it was
used: an answer got lost, or a second tab was faster. That only works while nobody has used the successor, and it takes
no check: once the successor is used, the predecessor is another one.
"""

from domain.event import Moment
from domain.grant import Refresh, State


def accepted(state: State, sha256: str, now: Moment) -> Refresh | None:
    """The current token, or its predecessor in grace, with this digest; None for any other, which is a replay."""
    current, predecessor = state.refresh, state.predecessor
    if current is not None and current.sha256 == sha256:
        return current
    in_grace = state.grace_ends_at is not None and now < state.grace_ends_at
    return predecessor if in_grace and predecessor is not None and predecessor.sha256 == sha256 else None
