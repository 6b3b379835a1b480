"""A person's e-mail address: verified by a link, and changed by links that both addresses are mailed.

The facts stand in the account's stream; a change itself is told by `account.profile_changed` beside them.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, NotFound, Outcome, accept, refuse
from domain.event import Event, Moment, Recorded, Sealed
from domain.rules import people

CONFIRMATION_LASTS = 86_400
"""Seconds for which a link to confirm an address is good."""

ConfirmedAt = Literal["present", "new"]


class VerificationRequested(Event, frozen=True, kw_only=True):
    """The person had a link mailed to their address, to show that it is theirs."""

    type = "account.verification_requested"


class EmailVerified(Event, frozen=True, kw_only=True):
    """The person followed the link that was mailed to their address, so it is theirs."""

    type = "account.email_verified"


class EmailChangeRequested(Event, frozen=True, kw_only=True):
    """The person wants another address. It is mailed a link, and so is the present one if there is one: `both`."""

    type = "account.email_change_requested"
    personal = ("new_email",)

    change_id: str
    new_email: str
    both: bool


class EmailChangeConfirmed(Event, frozen=True, kw_only=True):
    """Somebody who reads the mail of the person's present or new address agreed that it is changed."""

    type = "account.email_change_confirmed"

    change_id: str
    at: ConfirmedAt


EVENTS: tuple[type[Event], ...] = (VerificationRequested, EmailVerified, EmailChangeRequested, EmailChangeConfirmed)


class EmailChange(msgspec.Struct, frozen=True):
    """A change that is under way, and which addresses have agreed to it."""

    change_id: str
    new_email: Sealed
    both: bool
    confirmed: tuple[ConfirmedAt, ...] = ()

    def awaits(self, at: ConfirmedAt) -> bool:
        """Whether it is still to be agreed to there."""
        return at not in self.confirmed and (self.both or at == "new")

    def completed_by(self, at: ConfirmedAt) -> bool:
        """Whether everybody has agreed when this address does."""
        return not any(self.awaits(other) for other in ("present", "new") if other != at)


def request_verification(*, now: Moment, reachable: bool, verified: bool) -> Outcome:
    """Has the person's address mailed a link."""
    if not reachable:
        return refuse(Conflict.UNREACHABLE)
    return refuse(Conflict.EXISTS, detail="this address is verified") if verified else accept(VerificationRequested())


def verify(present: str | None, *, now: Moment, against: str | None) -> Outcome:
    """Takes the present address, which event `present` tells of, for the person's own, if the link was mailed there."""
    if present is None or present != against:
        return refuse(NotFound.UNKNOWN, detail="this link is good no longer")
    return accept(EmailVerified())


def request_change(*, now: Moment, change_id: str, new_email: str, both: bool) -> Outcome:
    """Begins a change, in place of any before. Whether the address is somebody's is looked at when it is confirmed."""
    refused = people.profile(username=None, email=new_email, name=None)
    return refused or accept(EmailChangeRequested(change_id=change_id, new_email=new_email, both=both))


def confirm_change(change: EmailChange | None, *, now: Moment, change_id: str | None, at: ConfirmedAt) -> Outcome:
    """Agrees to the change that is under way. A repeat is refused: its link was used."""
    if change is None or change.change_id != change_id or not change.awaits(at):
        return refuse(NotFound.UNKNOWN, detail="this link is good no longer")
    return accept(EmailChangeConfirmed(change_id=change.change_id, at=at))


def evolve(change: EmailChange | None, recorded: Recorded) -> EmailChange | None:
    """The change under way after one more event of these."""
    match recorded.event:
        case EmailChangeRequested(change_id=change_id, new_email=text, both=both):
            return EmailChange(change_id, Sealed(recorded.id, "new_email", text), both)
        case EmailChangeConfirmed(at=at) if change is not None:
            return replace(change, confirmed=(*change.confirmed, at))
        case _:
            return change
