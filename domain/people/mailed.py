"""What is mailed to a person and what comes of it. The facts stand in the account's stream.

A link itself is no fact: it is kept for minutes under its digest, and whoever follows it is told of by the credential
`link_sha256`. It counts once, since what it was made against has changed when it was used.
"""

import msgspec

from domain.decision import NotFound, Outcome, accept, counted, refuse
from domain.event import Event, Moment

RECOVERY_LASTS = 15 * 60
"""Seconds for which a link to a new password is good."""

LINKS_AN_HOUR = 3
"""Links of one purpose that are mailed to a person within an hour."""


class RecoveryRequested(Event, frozen=True, kw_only=True):
    """Somebody who does not know the password asked for a link to set a new one; it is mailed to the person."""

    type = "account.recovery_requested"
    in_doubt = True

    count: int = 1
    window_seconds: int = 0


class Recovered(Event, frozen=True, kw_only=True):
    """The person followed the link that was mailed to them; the new password is told by the event after this one."""

    type = "account.recovered"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (RecoveryRequested, Recovered)


class PasswordStanding(msgspec.Struct, frozen=True):
    """Of a person: whether they may sign in at all, and the event with the hash of their password."""

    usable: bool
    password: str | None


def note_recovery_requested(*, now: Moment, count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records requests: the first at once (window 0), later ones as a count."""
    return counted(RecoveryRequested(count=count, window_seconds=window_seconds))


def recover(standing: PasswordStanding, *, now: Moment, against: str | None) -> Outcome:
    """Lets a person set a new password by a link that was made when the present one was that of event `against`."""
    if not standing.usable or standing.password != against:
        return refuse(NotFound.UNKNOWN, detail="this link is good no longer")
    return accept(Recovered())
