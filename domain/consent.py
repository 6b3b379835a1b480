"""What a person has allowed a client. Stream `consent:<account_id>:<client_id>`."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, counted, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import redirect_uri as uris


def stream(account_id: str, client_id: str) -> str:
    """The stream of this person's consent to this client."""
    return f"consent:{account_id}:{client_id}"


class ConsentGiven(Event, frozen=True, kw_only=True):
    """The person allowed the client this scope, at `origins`: those of the redirect URIs that it was given for."""

    type = "consent.given"

    scope: tuple[str, ...]
    origins: tuple[str, ...] = ()


class ConsentExtended(Event, frozen=True, kw_only=True):
    """The person allowed more than before, `added` to what stood, or the same at one more of the `origins`.

    `scope` and `origins` are the whole now.

    What stood and is not in them any more is what the client had lost meanwhile.
    """

    type = "consent.extended"

    added: tuple[str, ...]
    scope: tuple[str, ...]
    origins: tuple[str, ...] = ()


class ConsentDenied(Event, frozen=True, kw_only=True):
    """The person refused this scope, `count` times within `window_seconds`. What they had allowed before stands."""

    type = "consent.denied"
    in_doubt = True

    scope: tuple[str, ...]
    count: int = 1
    window_seconds: int = 0


class ConsentWithdrawn(Event, frozen=True, kw_only=True):
    """The person took everything back, and with it every token that rested on it."""

    type = "consent.withdrawn"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (ConsentGiven, ConsentExtended, ConsentDenied, ConsentWithdrawn)


class State(msgspec.Struct, frozen=True):
    """What is allowed now. Tokens before the position `cutoff` that rested on this consent are dead."""

    scope: tuple[str, ...] = ()
    cutoff: int = 0
    given: bool = False
    origins: tuple[str, ...] = ()


INITIAL = State()


def give(
    state: State,
    *,
    now: Moment,
    scope: tuple[str, ...],
    redirect_uri: str | None,
    within: tuple[str, ...],
    registered: Sequence[str],
) -> Outcome:
    """Allows this scope as well, for anyone who gets the answer at `redirect_uri`; None for a device, which fetches it.
    What was allowed already is no news.

    With something new, what the client can no longer ask for is forgotten: `within` is all that it may have, and
    `registered` are its redirect URIs. So no consent grows longer than what a client may register, and what the client
    is given anew is asked for anew.
    """
    origins = () if redirect_uri is None else (uris.origin(redirect_uri),)
    if not state.given:
        return accept(ConsentGiven(scope=scope, origins=origins))
    if covers(state, scope, redirect_uri):
        return accept()
    added = tuple(name for name in scope if name not in state.scope)
    kept = (name for name in state.scope if name in within)
    known = {uris.origin(uri) for uri in registered}
    whole = dict.fromkeys((*(each for each in state.origins if each in known), *origins))
    return accept(ConsentExtended(added=added, scope=(*kept, *added), origins=tuple(whole)))


def deny(state: State, *, now: Moment, scope: tuple[str, ...], count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records that the person said no."""
    return counted(ConsentDenied(scope=scope, count=count, window_seconds=window_seconds))


def withdraw(state: State, *, now: Moment) -> Outcome:
    """Takes everything back. A repeat changes nothing."""
    if state.given:
        return accept(ConsentWithdrawn())
    return accept() if state.cutoff else refuse(NotFound.UNKNOWN)


def covers(state: State, scope: tuple[str, ...], redirect_uri: str | None) -> bool:
    """Whether the person has allowed so much, for anyone who gets the answer there. For a device, None, that says only
    that they have: they are asked each time."""
    allowed = state.given and set(scope) <= set(state.scope)
    return allowed and (redirect_uri is None or uris.origin(redirect_uri) in state.origins)


def evolve(state: State, recorded: Recorded) -> State:
    """The consent after one more event."""
    match recorded.event:
        case ConsentGiven(scope=scope, origins=origins):
            return replace(state, scope=scope, given=True, origins=origins)
        case ConsentExtended(scope=scope, origins=origins):
            return replace(state, scope=scope, origins=origins)
        case ConsentWithdrawn():
            return State((), recorded.position, False)
        case ConsentDenied():
            return state
        case _:
            raise AssertionError(f"{recorded.type} is no event of a consent")
