"""Browser sessions: how long they live, and what cuts them off."""

import pytest

from domain import account
from domain import session as session_page
from domain.decision import Conflict, NotFound
from domain.event import SECOND
from domain.session import SessionEnded, SessionStarted, SteppedUp
from tests.domain.history import NOW, given, loosely

session = loosely(session_page)

STARTED = SessionStarted(account_id="a1", realm="platform", sha256="ab" * 32, lifetime=3600)
PERSON = account.State(exists=True, account_id="a1", realm="platform", enabled=True)


def after(*events):
    return given(session, "session:s1", *events)


def test_a_session_starts_once_and_runs_for_its_lifetime() -> None:
    facts = {"now": NOW, "account_id": "a1", "realm": "platform", "sha256": "ab" * 32, "lifetime": 3600}
    assert session.start(session.INITIAL, **facts).events == (STARTED,)
    assert session.start(after(STARTED), **facts).refusal.reason is Conflict.EXISTS
    state = after(STARTED)
    assert session.is_live(state, PERSON, NOW + 3600 * SECOND - 1)
    assert not session.is_live(state, PERSON, NOW + 3600 * SECOND)


def test_an_ended_session_is_over_and_ends_once() -> None:
    assert session.end(after(STARTED), now=NOW, reason="signed_out").events == (SessionEnded(reason="signed_out"),)
    state = after(STARTED, SessionEnded(reason="signed_out"))
    assert not session.is_live(state, PERSON, NOW)
    assert session.end(state, now=NOW, reason="expired").events == ()
    assert session.step_up(state, now=NOW).refusal.reason is Conflict.ENDED


def test_a_fresh_proof_is_recorded_while_the_session_runs() -> None:
    assert session.step_up(after(STARTED), now=NOW).events == (SteppedUp(method="password"),)
    assert after(STARTED, (NOW + 5, SteppedUp(method="password"))).proved_at == NOW + 5
    assert session.step_up(after(STARTED), now=NOW + 3600 * SECOND).refusal.reason is Conflict.ENDED


@pytest.mark.parametrize("change", [{"enabled": False}, {"erased": True}, {"cutoff": 2}, {"password_cutoff": 2}])
def test_what_happens_to_the_account_cuts_it_off(change) -> None:
    person = account.State(**{"exists": True, "enabled": True} | change)
    assert not session.is_live(after(STARTED), person, NOW)


def test_there_is_nothing_to_command_of_an_unknown_session() -> None:
    assert session.end(session.INITIAL, now=NOW, reason="expired").refusal.reason is NotFound.UNKNOWN
    assert session.step_up(session.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN
    assert not session.is_live(session.INITIAL, PERSON, NOW)


@pytest.mark.parametrize(("attempts", "final", "told"), [(1, False, True), (2, False, False), (9, True, True)])
def test_a_failed_notice_is_told_at_first_and_at_last(attempts, final, told) -> None:
    facts = {"client_id": "c1", "attempts": attempts, "reason": "refused", "status": 500, "final": final}
    events = session.note_logout_failed(after(STARTED), now=NOW, **facts).events
    assert events == ((session_page.LogoutFailed(**facts),) if told else ())
    assert session.note_logout_failed(session.INITIAL, now=NOW, **facts).refusal.reason is NotFound.UNKNOWN
    assert session.note_logout_delivered(session.INITIAL, now=NOW, client_id="c1", attempts=1).events == ()


def test_one_that_ended_with_others_tells_of_it_itself_once() -> None:
    over = after(STARTED).over(NOW, 7)
    assert not session.is_live(over, PERSON, NOW)
    told = session.settle(over, now=NOW).events
    assert told == (SessionEnded(reason="secret_leak"),)
    assert session.settle(after(STARTED, *told), now=NOW).events == ()


@pytest.mark.parametrize(("amr", "acr"), [(("pwd",), 1), (("pwd", "otp", "mfa"), 2), (("hwk", "user", "mfa"), 2)])
def test_the_class_of_a_sign_in_follows_from_its_methods(amr, acr) -> None:
    started = session_page.SessionStarted(account_id="a1", realm="platform", sha256="ab", lifetime=9, amr=amr)
    assert session.authentication(after(started)).acr == f"urn:grantlog:acr:{acr}"
    assert session.authentication(after(STARTED, SteppedUp(method="password", amr=amr))).amr == amr
