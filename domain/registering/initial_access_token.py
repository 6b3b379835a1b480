"""An initial access token (RFC 7591 §1.2): it lets its holders register clients. Stream `initial_access_token:<id>`."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import InvalidToken, NotFound, Outcome, accept, counted, malformed, refuse
from domain.event import SECOND, Event, Moment, Recorded
from domain.registering.refusals import MEMBERS_MAXIMUM, DeadInitialToken, RegistrationError

LIFETIME_MAXIMUM = 366 * 86_400
USES_MAXIMUM = 1_000_000


def stream(token_id: str) -> str:
    """The stream of this token."""
    return f"initial_access_token:{token_id}"


class InitialAccessTokenIssued(Event, frozen=True, kw_only=True):
    """Somebody may register clients with this token: so many, for so many seconds; null has no end. `sha256` is its
    digest."""

    type = "initial_access_token.issued"

    sha256: str
    lifetime: int | None = None
    uses: int | None = None


class InitialAccessTokenUsed(Event, frozen=True, kw_only=True):
    """A client was registered with the token."""

    type = "initial_access_token.used"
    in_doubt = True

    client_id: str


class InitialAccessTokenRevoked(Event, frozen=True, kw_only=True):
    """The token lets nobody register any more. Clients that were registered with it stay."""

    type = "initial_access_token.revoked"
    in_doubt = True


class RegistrationRefused(Event, frozen=True, kw_only=True):
    """Nothing was registered with the token, `count` times within `window_seconds` from one address, for this `reason`.
    `members` are those of the metadata that the first was refused for; what they said is not recorded."""

    type = "initial_access_token.registration_refused"
    in_doubt = True

    reason: RegistrationError | DeadInitialToken
    members: tuple[str, ...] = ()
    count: int = 1
    window_seconds: int = 0


EVENTS: tuple[type[Event], ...] = (
    InitialAccessTokenIssued,
    InitialAccessTokenUsed,
    InitialAccessTokenRevoked,
    RegistrationRefused,
)
ENDING = (InitialAccessTokenUsed, InitialAccessTokenRevoked)
"""Facts after which a token may be good for nothing."""

InitialStanding = Literal["unknown", "active", "expired", "redeemed", "revoked"]


class State(msgspec.Struct, frozen=True):
    """The token as its events tell. `left` is how many clients it still registers; None is any number. `refused` counts
    what was not registered with it."""

    exists: bool = False
    sha256: str = ""
    expires_at: Moment | None = None
    left: int | None = None
    revoked: bool = False
    refused: int = 0


INITIAL = State()


def issue(state: State, *, now: Moment, sha256: str, lifetime: int | None, uses: int | None) -> Outcome:
    """Makes a token; None has no end."""
    if lifetime is not None and not 1 <= lifetime <= LIFETIME_MAXIMUM:
        return malformed("expires_in", f"must be between 1 and {LIFETIME_MAXIMUM} seconds")
    if uses is not None and not 1 <= uses <= USES_MAXIMUM:
        return malformed("uses", f"must be between 1 and {USES_MAXIMUM}")
    return accept(InitialAccessTokenIssued(sha256=sha256, lifetime=lifetime, uses=uses))


def use(state: State, *, now: Moment, client_id: str) -> Outcome:
    """Registers a client with it, as long as it is good."""
    found = standing(state, now)
    return accept(InitialAccessTokenUsed(client_id=client_id)) if found == "active" else refuse(InvalidToken(found))


def revoke(state: State, *, now: Moment) -> Outcome:
    """Ends the token. A repeat changes nothing."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    return accept() if state.revoked else accept(InitialAccessTokenRevoked())


def note_refusal(state: State, *, now: Moment, refused: RegistrationRefused) -> Outcome:
    """Records that nothing was registered: the first at once (window 0), later ones as a count."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if len(refused.members) > MEMBERS_MAXIMUM:
        return malformed("members", f"must be at most {MEMBERS_MAXIMUM}")
    return counted(refused)


def standing(state: State, now: Moment) -> InitialStanding:
    """What the token is worth at a moment."""
    if not state.exists:
        return "unknown"
    if state.revoked:
        return "revoked"
    if state.expires_at is not None and state.expires_at <= now:
        return "expired"
    return "redeemed" if state.left == 0 else "active"


def evolve(state: State, recorded: Recorded) -> State:
    """The token after one more event."""
    event = recorded.event
    match event:
        case InitialAccessTokenIssued():
            ends = None if event.lifetime is None else recorded.time + event.lifetime * SECOND
            return State(True, event.sha256, ends, event.uses)
        case InitialAccessTokenUsed():
            return replace(state, left=None if state.left is None else state.left - 1)
        case InitialAccessTokenRevoked():
            return replace(state, revoked=True)
        case RegistrationRefused():
            return replace(state, refused=state.refused + event.count)
        case _:
            raise AssertionError(f"{recorded.type} is no event of an initial access token")
