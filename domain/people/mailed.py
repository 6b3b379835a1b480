"""What is mailed to a person and what comes of it. The facts stand in the account's stream.

A link itself is no fact: it is kept for minutes under its digest, and anyone who follows it is recorded by the
credential `link_sha256`. It counts once, since what it was made against has changed when it was used.
"""

import msgspec

from domain.decision import Conflict, NotFound, Outcome, accept, counted, refuse
from domain.event import Event, Moment

RECOVERY_LASTS = 15 * 60
"""Seconds for which a link to a new password is good."""

INVITATION_LASTS = 7 * 86_400
"""Seconds for which an invitation is good."""

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


class Invited(Event, frozen=True, kw_only=True):
    """The person was mailed a link by which they choose a password."""

    type = "account.invited"


class InvitationAccepted(Event, frozen=True, kw_only=True):
    """The person followed their invitation; the password that they chose is told by the event after this one."""

    type = "account.invitation_accepted"


EVENTS: tuple[type[Event], ...] = (RecoveryRequested, Recovered, Invited, InvitationAccepted)


class PasswordStanding(msgspec.Struct, frozen=True):
    """Of a person: whether they may sign in at all, and the events with the hash of their password and with the address
    to which a link is mailed."""

    usable: bool
    password: str | None
    address: str | None

    def fits(self, against: str | None, address: str | None) -> bool:
        """Whether a link is still good that was made when it was these events that named them. Anyone who reads the
        mail of a former address, which was wrong or is in other hands, must not become the person by it."""
        return self.usable and self.password == against and self.address == address


def note_recovery_requested(*, now: Moment, count: int = 1, window_seconds: int = 0) -> Outcome:
    """Records requests: the first at once (window 0), later ones as a count."""
    return counted(RecoveryRequested(count=count, window_seconds=window_seconds))


def invite(standing: PasswordStanding, *, now: Moment, reachable: bool) -> Outcome:
    """Has a person choose a password by a link. `reachable` says that they have an e-mail address."""
    if not standing.usable:
        return refuse(Conflict.ENDED, detail="this person may not sign in")
    if not reachable:
        return refuse(Conflict.UNREACHABLE)
    return accept(Invited())


def accept_invitation(standing: PasswordStanding, *, now: Moment, against: str | None, address: str | None) -> Outcome:
    """Lets an invited person choose a password, if theirs is still that of event `against`, and their address that of
    event `address`."""
    if not standing.fits(against, address):
        return refuse(NotFound.UNKNOWN, detail="this link is good no longer")
    return accept(InvitationAccepted())


def recover(standing: PasswordStanding, *, now: Moment, against: str | None, address: str | None) -> Outcome:
    """Lets a person set a new password by a link that was made when the present one was that of event `against`, and
    was mailed to the address of event `address`."""
    if not standing.fits(against, address):
        return refuse(NotFound.UNKNOWN, detail="this link is good no longer")
    return accept(Recovered())
