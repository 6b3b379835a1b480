"""Links that are mailed to a person: good for the password and the address that they were made for, and no other."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.decision import Conflict, InvalidRequest, NotFound, Outcome
from domain.people import mailed
from domain.people.mailed import InvitationAccepted, Invited, PasswordStanding, Recovered, RecoveryRequested
from tests.domain.history import NOW

STANDING = PasswordStanding(usable=True, password="event-1", address="event-2")
LINK: dict[str, Any] = {"now": NOW, "against": "event-1", "address": "event-2"}
BY_LINK = [(mailed.recover, Recovered()), (mailed.accept_invitation, InvitationAccepted())]


def reason(outcome: Outcome) -> Any:
    return None if outcome.refusal is None else outcome.refusal.reason


@pytest.mark.parametrize(("follow", "event"), BY_LINK)
def test_a_link_is_good_for_what_it_was_made_for(follow: Any, event: Any) -> None:
    assert follow(STANDING, **LINK).events == (event,)
    # Whoever is invited has no password yet.
    fresh = replace(STANDING, password=None)
    assert follow(fresh, **LINK | {"against": None}).events == (event,)


@pytest.mark.parametrize(("follow", "event"), BY_LINK)
@pytest.mark.parametrize(
    "since",
    [
        {"usable": False},
        {"password": "event-9"},
        {"password": None},
        {"address": "event-9"},
        {"address": None},
    ],
)
def test_it_is_good_no_longer_once_any_of_it_changed(follow: Any, event: Any, since: Any) -> None:
    outcome = follow(replace(STANDING, **since), **LINK)
    assert (reason(outcome), outcome.events) == (NotFound.UNKNOWN, ())


def test_only_who_may_sign_in_and_can_be_reached_is_invited() -> None:
    assert mailed.invite(STANDING, now=NOW, reachable=True).events == (Invited(),)
    assert reason(mailed.invite(STANDING, now=NOW, reachable=False)) is Conflict.UNREACHABLE
    assert reason(mailed.invite(replace(STANDING, usable=False), now=NOW, reachable=True)) is Conflict.ENDED


def test_requests_are_counts() -> None:
    assert mailed.note_recovery_requested(now=NOW).events == (RecoveryRequested(),)
    assert reason(mailed.note_recovery_requested(now=NOW, count=0)) is InvalidRequest.MALFORMED
