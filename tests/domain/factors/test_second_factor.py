"""A person's second factor: each code counts once, failures are few, and an erased person has none."""

import pytest

from domain import account
from domain.account import AccountErased, AccountRegistered
from domain.decision import Conflict, FactorRefused, InvalidRequest, NotFound
from domain.event import SECOND
from domain.factors import second_factor
from domain.factors.second_factor import (
    FactorFailed,
    FactorRemoved,
    FactorsReset,
    FactorVerified,
    RecoveryCodesIssued,
    ShownFactor,
    TotpEnrolled,
)
from tests.domain.history import NOW, given, loosely

page = loosely(account)
CODES = tuple(f"digest-{number}" for number in range(10))
ENROLLED = (
    AccountRegistered(realm="platform", username="paul"),
    TotpEnrolled(factor_id="f1", step=100),
    RecoveryCodesIssued(codes=CODES),
)


def factors(*events):
    return given(page, "account:a1", *(events or ENROLLED)).factors


def shown(step=None, session="s1", **changes):
    return ShownFactor(**{"factor": "totp", "auth_session": session, "factor_id": "f1", "step": step} | changes)


def recovery(code, session="s1"):
    return ShownFactor(factor="recovery_code", auth_session=session, recovery_code=code)


def failed(times, session="s1"):
    return (FactorFailed(factor="totp", reason="wrong", auth_session=session),) * times


def test_a_generator_is_enrolled_with_recovery_codes() -> None:
    outcome = second_factor.enrol_totp(second_factor.Factors(), now=NOW, factor_id="f1", step=9, recovery_codes=CODES)
    assert outcome.events == (TotpEnrolled(factor_id="f1", step=9), RecoveryCodesIssued(codes=CODES))


def test_there_is_one_generator() -> None:
    outcome = second_factor.enrol_totp(factors(), now=NOW, factor_id="f2", step=9, recovery_codes=CODES)
    assert outcome.refusal.reason is Conflict.EXISTS


@pytest.mark.parametrize(("step", "codes"), [(None, CODES), (9, CODES[:9])])
def test_what_does_not_work_is_not_enrolled(step, codes) -> None:
    outcome = second_factor.enrol_totp(
        second_factor.Factors(), now=NOW, factor_id="f1", step=step, recovery_codes=codes
    )
    assert outcome.refusal.reason is InvalidRequest.MALFORMED


def test_a_later_step_is_accepted_and_used_up() -> None:
    outcome = second_factor.verify(factors(), now=NOW, shown=shown(101))
    assert outcome.events == (FactorVerified(factor="totp", factor_id="f1", step=101),)
    again = second_factor.verify(factors(*ENROLLED, *outcome.events), now=NOW, shown=shown(101))
    assert again.refusal.reason is FactorRefused.WRONG
    assert again.events == (FactorFailed(factor="totp", reason="used", auth_session="s1"),)


@pytest.mark.parametrize("wrong", [shown(None), shown(101, factor_id="f0")])
def test_another_code_is_a_failure(wrong) -> None:
    outcome = second_factor.verify(factors(), now=NOW, shown=wrong)
    assert outcome.events == (FactorFailed(factor="totp", reason="wrong", auth_session="s1"),)


def test_the_code_of_enrolment_is_used() -> None:
    outcome = second_factor.verify(factors(), now=NOW, shown=shown(100))
    assert outcome.events == (FactorFailed(factor="totp", reason="used", auth_session="s1"),)


def test_a_recovery_code_is_used_up() -> None:
    outcome = second_factor.verify(factors(), now=NOW, shown=recovery(CODES[4]))
    left = factors(*ENROLLED, *outcome.events)
    assert left.recovery_codes == CODES[:4] + CODES[5:]
    assert second_factor.verify(left, now=NOW, shown=recovery(CODES[4])).refusal.reason is FactorRefused.WRONG


def test_five_failures_end_a_session() -> None:
    state = factors(*ENROLLED, *failed(5))
    assert second_factor.verify(state, now=NOW, shown=shown(101)).refusal.reason is FactorRefused.SESSION_OVER
    assert second_factor.verify(state, now=NOW, shown=shown(101, "s2")).refusal is None


def test_ten_failures_stop_generators_for_an_hour() -> None:
    state = factors(*ENROLLED, *failed(5), *failed(5, "s2"))
    outcome = second_factor.verify(state, now=NOW, shown=shown(101, "s3"))
    assert (outcome.refusal.reason, outcome.events) == (FactorRefused.TOO_MANY, ())
    assert second_factor.verify(state, now=NOW, shown=recovery(CODES[0], "s3")).refusal is None
    wrong = second_factor.verify(state, now=NOW, shown=recovery("x", "s3"))
    assert (wrong.refusal.reason, wrong.events) == (FactorRefused.WRONG, ())
    wait = second_factor.until_next(state, NOW)
    assert 0 < wait <= 3600
    later = NOW + wait * SECOND
    assert second_factor.until_next(state, later) == 0
    assert second_factor.verify(state, now=later, shown=shown(101, "s3")).refusal is None


def test_renewed_recovery_codes_replace_the_former() -> None:
    others = tuple(f"other-{number}" for number in range(10))
    outcome = second_factor.renew_recovery_codes(factors(), now=NOW, recovery_codes=others)
    assert factors(*ENROLLED, *outcome.events).recovery_codes == others
    none = second_factor.renew_recovery_codes(second_factor.Factors(), now=NOW, recovery_codes=others)
    assert none.refusal.reason is NotFound.UNKNOWN
    few = second_factor.renew_recovery_codes(factors(), now=NOW, recovery_codes=others[:3])
    assert few.refusal.reason is InvalidRequest.MALFORMED


@pytest.mark.parametrize("end", [FactorRemoved(factor_id="f1"), FactorsReset(), AccountErased()])
def test_nothing_is_asked_after_an_end(end) -> None:
    state = factors(*ENROLLED, end)
    assert not state.enrolled
    assert state.recovery_codes == ()
    assert second_factor.verify(state, now=NOW, shown=shown(101)).refusal.reason is FactorRefused.NOT_ENROLLED


def test_only_what_there_is_can_be_removed() -> None:
    assert second_factor.remove(factors(), now=NOW, factor_id="f1").events == (FactorRemoved(factor_id="f1"),)
    assert second_factor.remove(factors(), now=NOW, factor_id="f2").refusal.reason is NotFound.UNKNOWN


def test_a_reset_is_told_once() -> None:
    assert second_factor.reset(factors(), now=NOW).events == (FactorsReset(),)
    assert second_factor.reset(second_factor.Factors(), now=NOW).events == ()
