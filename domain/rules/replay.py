"""Replay: what a presented refresh token is to its grant (RFC 9700 §4.14.2).

A refresh token that was used may come again within its grace window, as long as no successor of it was used: an answer
got lost, or a second tab was faster. Each time another successor is handed out, and whichever of them the browser kept
goes on. See `domain.succession` for which token is good until when.
"""

from domain import succession
from domain.event import Moment
from domain.grant import State
from domain.succession import Refresh


def accepted(state: State, sha256: str, now: Moment) -> Refresh | None:
    """The token with this digest, where it may be presented; None for any other, which is a replay."""
    token = state.succession.find(sha256)
    return token if succession.good(state.succession, sha256).at(now) else None
