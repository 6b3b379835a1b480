"""How many tokens a client may obtain for itself. A part of the client's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.decision import Outcome, accept, refuse
from domain.event import Event, Moment
from domain.refusal import NotFound
from domain.rules import grouping

if TYPE_CHECKING:
    from domain.client import State

# Facts ------------------------------------------------------------------------------------------------------------


class TokenLimitReached(Event, frozen=True, kw_only=True):
    """The client asked for more tokens than `limit` a minute, and was refused `count` times within `window_seconds`
    from one address.
    """

    type = "client.token_limit_reached"
    in_doubt = True

    limit: int
    count: int = 1
    window_seconds: int = 0


EVENTS: tuple[type[Event], ...] = (TokenLimitReached,)

# Verbs ------------------------------------------------------------------------------------------------------------


def note_limit_reached(state: State, *, now: Moment, limit: int, count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records refusals: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return grouping.problem(count, window_seconds) or accept(
        TokenLimitReached(limit=limit, count=count, window_seconds=window_seconds)
    )
