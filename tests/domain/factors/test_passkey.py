"""A person's passkeys: enrolled and taken away, and their counters watched."""

from typing import Any

import pytest

from domain import account
from domain.account import AccountRegistered
from domain.decision import Conflict, FactorRefused, InvalidRequest
from domain.factors import second_factor
from domain.factors.second_factor import (
    FactorFailed,
    FactorRemoved,
    FactorVerified,
    PasskeyCounterReversed,
    PasskeyEnrolled,
    RecoveryCodesIssued,
    ShownFactor,
    TotpEnrolled,
)
from tests.domain.history import NOW, given, loosely

page = loosely(account)
CODES = tuple(f"digest-{number}" for number in range(10))


def passkey(number=1, **changes):
    told: dict[str, Any] = {
        "factor_id": f"p{number}",
        "credential": f"digest of {number}",
        "rp_id": "login.example",
        "sign_count": 0,
        "name": "Telephone",
        "credential_id": "AAAA",
        "public_key": "BBBB",
    }
    return PasskeyEnrolled(**told | changes)


def factors(*events):
    return given(page, "account:a1", AccountRegistered(realm="platform", username="paul"), *events).factors


def enrol(made, *before):
    return second_factor.enrol_passkey(factors(*before), now=NOW, passkey=made, recovery_codes=CODES)


def shown(sign_count=0, factor_id="p1", **changes):
    told = {"factor": "webauthn", "auth_session": "s1", "factor_id": factor_id, "sign_count": sign_count}
    return ShownFactor(**told | changes)


def test_recovery_codes_come_with_the_first_factor() -> None:
    assert enrol(passkey()).events == (passkey(), RecoveryCodesIssued(codes=CODES))
    assert enrol(passkey(2), passkey()).events == (passkey(2),)
    beside = second_factor.enrol_totp(factors(passkey()), now=NOW, factor_id="f1", step=9, recovery_codes=CODES)
    assert beside.events == (TotpEnrolled(factor_id="f1", step=9),)


def test_a_passkey_is_enrolled_once_and_there_are_few() -> None:
    assert enrol(passkey(2, credential="digest of 1"), passkey()).refusal.reason is Conflict.EXISTS
    many = [passkey(number) for number in range(20)]
    assert enrol(passkey(21), *many).refusal.field == "credential"


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": "x" * 65}, {"credential_id": "A" * 1401}, {"public_key": "A" * 5000}]
)
def test_what_no_authenticator_has_is_refused(changes) -> None:
    assert enrol(passkey(**changes)).refusal.reason is InvalidRequest.MALFORMED


@pytest.mark.parametrize(
    ("known", "counted", "good"), [(0, 0, True), (5, 6, True), (0, 1, True), (5, 5, False), (5, 0, False)]
)
def test_a_counter_that_goes_back_is_an_alarm(known, counted, good) -> None:
    outcome = second_factor.verify(factors(passkey(sign_count=known)), now=NOW, shown=shown(counted))
    if good:
        assert outcome.events == (FactorVerified(factor="webauthn", factor_id="p1", sign_count=counted),)
        return
    assert outcome.refusal.reason is FactorRefused.WRONG
    reversed_ = PasskeyCounterReversed(factor_id="p1", known=known, shown=counted, auth_session="s1")
    assert outcome.events == (reversed_,)


def test_the_counter_is_that_of_the_newest_use() -> None:
    used = FactorVerified(factor="webauthn", factor_id="p1", sign_count=7)
    after = factors(passkey(), passkey(2), used)
    assert [each.sign_count for each in after.passkeys] == [7, 0]


def test_a_wrong_passkey_counts_beside_a_password_alone() -> None:
    state = factors(passkey())
    failed = FactorFailed(factor="webauthn", reason="wrong", auth_session="s1")
    assert second_factor.verify(state, now=NOW, shown=shown(factor_id=None)).events == (failed,)
    assert second_factor.verify(state, now=NOW, shown=shown(factor_id=None, alone=True)).events == ()


def test_a_passkey_is_looked_at_after_many_failures() -> None:
    failed = [FactorFailed(factor="totp", reason="wrong", auth_session=f"s{number}") for number in range(10)]
    state = factors(passkey(), *failed)
    assert second_factor.verify(state, now=NOW, shown=shown()).refusal is None


def test_wrong_passkeys_grow_no_log_after_many_failures() -> None:
    failed = [FactorFailed(factor="totp", reason="wrong", auth_session=f"s{number}") for number in range(10)]
    state = factors(passkey(sign_count=5), *failed)
    for wrong in (shown(factor_id=None), shown(5)):
        outcome = second_factor.verify(state, now=NOW, shown=wrong)
        assert (outcome.refusal.reason, outcome.events) == (FactorRefused.WRONG, ())


def test_failures_beside_a_password_keep_nobody_from_a_passkey() -> None:
    failed = [FactorFailed(factor="totp", reason="wrong", auth_session="s1")] * 5
    state = factors(passkey(), *failed)
    assert second_factor.verify(state, now=NOW, shown=shown()).refusal.reason is FactorRefused.SESSION_OVER
    assert second_factor.verify(state, now=NOW, shown=shown(alone=True)).refusal is None


def test_the_recovery_codes_go_with_the_last_factor() -> None:
    enrolled = (TotpEnrolled(factor_id="f1", step=1), RecoveryCodesIssued(codes=CODES), passkey())
    left = factors(*enrolled, FactorRemoved(factor_id="f1"))
    assert (left.totp, len(left.passkeys), left.recovery_codes) == (None, 1, CODES)
    assert not factors(*enrolled, FactorRemoved(factor_id="f1"), FactorRemoved(factor_id="p1")).recovery_codes
    assert second_factor.remove(left, now=NOW, factor_id="p1").events == (FactorRemoved(factor_id="p1"),)
    assert second_factor.remove(left, now=NOW, factor_id="f1").refusal is not None
