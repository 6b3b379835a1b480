"""The registration access token of a client (RFC 7592 §3): with it the client reads, changes and deletes itself.

Its facts stand in the client's stream. A client has one at most, and those that administrators registered have none.
"""

import hmac
from typing import Any

import msgspec

from domain.decision import NotFound, Outcome, counted, malformed, refuse
from domain.event import Event
from domain.registering.refusals import MEMBERS_MAXIMUM, RegistrationError


class RegistrationTokenIssued(Event, frozen=True, kw_only=True):
    """The client may manage its own registration by this token, and by no former one. `sha256` is its digest."""

    type = "client.registration_token_issued"

    token_id: str
    sha256: str


class RegistrationTokenRevoked(Event, frozen=True, kw_only=True):
    """The client may no longer manage its registration; administrators may."""

    type = "client.registration_token_revoked"
    in_doubt = True

    token_id: str


class ChangeRefused(Event, frozen=True, kw_only=True):
    """What the client wanted to change of its registration was refused, `count` times within `window_seconds` from one
    address, for this `reason`. `members` are those that the first was refused for; what they said is not recorded."""

    type = "client.registration_change_refused"
    in_doubt = True

    reason: RegistrationError
    members: tuple[str, ...] = ()
    count: int = 1
    window_seconds: int = 0


EVENTS: tuple[type[Event], ...] = (RegistrationTokenIssued, RegistrationTokenRevoked, ChangeRefused)


class RegistrationToken(msgspec.Struct, frozen=True):
    """The token by its id, and its digest."""

    token_id: str
    sha256: str


def note_refusal(known: bool, refused: ChangeRefused) -> Outcome:
    """Records a refusal to a client that is known: the first at once (window 0), later ones as a count."""
    if not known:
        return refuse(NotFound.UNKNOWN)
    if len(refused.members) > MEMBERS_MAXIMUM:
        return malformed("members", f"must be at most {MEMBERS_MAXIMUM}")
    return counted(refused)


def fold(event: Any) -> RegistrationToken | None:
    """The client's token after one of `EVENTS`."""
    if isinstance(event, RegistrationTokenIssued):
        return RegistrationToken(event.token_id, event.sha256)
    return None


def matches(token: RegistrationToken | None, sha256: str) -> bool:
    """Whether a digest is the token's, found in a time that tells nothing."""
    return token is not None and hmac.compare_digest(token.sha256, sha256)
