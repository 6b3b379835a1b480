"""A person's second factor: a generator of codes (TOTP, RFC 6238), and recovery codes for when it is lost.

Their facts stand in the account's stream. The generator's secret is in the vault alone, sealed under the person's own
key; of recovery codes there are keyed digests. A code of the generator counts once (RFC 6238 §5.2), and so does each
recovery code: which was used is decided here, under the lock, for all workers and nodes together.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, FactorRefused, NotFound, Outcome, accept, malformed, refuse
from domain.event import SECOND, Event, Moment, Recorded

SecondFactor = Literal["totp", "recovery_code"]
FactorFailure = Literal["wrong", "used"]
"""It was none, or one that had been used."""

AMR: dict[SecondFactor, tuple[str, ...]] = {
    "totp": ("pwd", "otp", "mfa"),
    "recovery_code": ("pwd", "otp", "mfa"),
}
"""How a person proved who they are, by the factor beside their password (RFC 8176 §2). A recovery code is a password
for one time as well."""

RECOVERY_CODES = 10
FAILURES_AN_HOUR = 10
"""After so many, over all sessions and addresses, no code of a generator is looked at."""

FAILURES_A_SESSION = 5
HOUR = 3600 * SECOND


class TotpEnrolled(Event, frozen=True, kw_only=True):
    """The person has a generator of codes as second factor, and showed one: that of the time step `step`.

    From now on they are asked for one with every password. The generator's secret is in the vault.
    """

    type = "account.totp_enrolled"

    factor_id: str
    step: int


class RecoveryCodesIssued(Event, frozen=True, kw_only=True):
    """The person was shown recovery codes, each good once, in place of any before. `codes` are keyed digests."""

    type = "account.recovery_codes_issued"

    codes: tuple[str, ...]


class FactorVerified(Event, frozen=True, kw_only=True):
    """The person proved who they are by a second factor as well, which used it up.

    `step` is the time step of a generator's code (RFC 6238 §4.2), `recovery_code` the keyed digest of a recovery code.
    """

    type = "account.factor_verified"

    factor: SecondFactor
    factor_id: str | None = None
    step: int | None = None
    recovery_code: str | None = None


class FactorFailed(Event, frozen=True, kw_only=True):
    """Somebody who knew the password could not show the second factor.

    `auth_session` is the digest of the sign-in under way. There are at most ten an hour for a person.
    """

    type = "account.factor_failed"
    in_doubt = True

    factor: SecondFactor
    reason: FactorFailure
    auth_session: str


class FactorRemoved(Event, frozen=True, kw_only=True):
    """The person took their second factor away, and their recovery codes with it."""

    type = "account.factor_removed"

    factor_id: str


class FactorsReset(Event, frozen=True, kw_only=True):
    """An administrator took a person's second factor and recovery codes away."""

    type = "account.factors_reset"


EVENTS: tuple[type[Event], ...] = (
    TotpEnrolled,
    RecoveryCodesIssued,
    FactorVerified,
    FactorFailed,
    FactorRemoved,
    FactorsReset,
)


class FailedAttempt(msgspec.Struct, frozen=True):
    """When a factor was not shown, and in which sign-in."""

    at: Moment
    auth_session: str


class Factors(msgspec.Struct, frozen=True):
    """What a person has enrolled. `totp` is the generator's id, `last_step` the newest of its steps that was used,
    `recovery_codes` are those that are left, and `failures` those of the last hour at the newest of them.
    """

    totp: str | None = None
    enrolled_at: Moment = 0
    last_step: int = 0
    recovery_codes: tuple[str, ...] = ()
    failures: tuple[FailedAttempt, ...] = ()

    @property
    def enrolled(self) -> bool:
        """Whether the person has a second factor."""
        return self.totp is not None


class ShownFactor(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown within a sign-in, whose digest is `auth_session`.

    `step` is the time step for which the code of the generator `factor_id` is right, None for none; `recovery_code` is
    the keyed digest of what was typed.
    """

    factor: SecondFactor
    auth_session: str
    factor_id: str | None = None
    step: int | None = None
    recovery_code: str | None = None


def enrol_totp(
    factors: Factors, *, now: Moment, factor_id: str, step: int | None, recovery_codes: Sequence[str]
) -> Outcome:
    """Has the person asked for codes of a generator from now on; `step` is that of the code which they showed."""
    if factors.enrolled:
        return refuse(Conflict.EXISTS, detail="there is a generator of codes already")
    if step is None:
        return malformed("code", "is not what the generator shows at present")
    if len(recovery_codes) != RECOVERY_CODES:
        return malformed("codes", f"must be {RECOVERY_CODES}")
    issued = RecoveryCodesIssued(codes=tuple(recovery_codes))
    return accept(TotpEnrolled(factor_id=factor_id, step=step), issued)


def renew_recovery_codes(factors: Factors, *, now: Moment, recovery_codes: Sequence[str]) -> Outcome:
    """Gives the person recovery codes in place of those that they had."""
    if not factors.enrolled:
        return refuse(NotFound.UNKNOWN, detail="there is no second factor to recover")
    if len(recovery_codes) != RECOVERY_CODES:
        return malformed("codes", f"must be {RECOVERY_CODES}")
    return accept(RecoveryCodesIssued(codes=tuple(recovery_codes)))


def verify(factors: Factors, *, now: Moment, shown: ShownFactor) -> Outcome:
    """Uses a second factor up; a wrong or used one is a fact, of which there are few within an hour."""
    if not factors.enrolled:
        return refuse(FactorRefused.NOT_ENROLLED)
    recent = [each for each in factors.failures if now - each.at < HOUR]
    if sum(each.auth_session == shown.auth_session for each in recent) >= FAILURES_A_SESSION:
        return refuse(FactorRefused.SESSION_OVER)
    spent = len(recent) >= FAILURES_AN_HOUR
    if spent and shown.factor == "totp":
        return refuse(FactorRefused.TOO_MANY)
    reason = _fault(factors, shown)
    if reason is None:
        return accept(
            FactorVerified(
                factor=shown.factor, factor_id=shown.factor_id, step=shown.step, recovery_code=shown.recovery_code
            )
        )
    failed = FactorFailed(factor=shown.factor, reason=reason, auth_session=shown.auth_session)
    return refuse(FactorRefused.WRONG, *(() if spent else (failed,)))


def _fault(factors: Factors, shown: ShownFactor) -> FactorFailure | None:
    if shown.factor == "recovery_code":
        return None if shown.recovery_code in factors.recovery_codes else "wrong"
    if shown.step is None or shown.factor_id != factors.totp:
        return "wrong"
    return None if shown.step > factors.last_step else "used"


def until_next(factors: Factors, now: Moment) -> int:
    """Whole seconds until a generator's code is looked at again; 0 for now."""
    recent = [each.at for each in factors.failures if now - each.at < HOUR]
    if len(recent) < FAILURES_AN_HOUR:
        return 0
    return -((now - recent[-FAILURES_AN_HOUR] - HOUR) // SECOND)


def remove(factors: Factors, *, now: Moment, factor_id: str) -> Outcome:
    """Takes the person's own factor away."""
    if factors.totp is None or factors.totp != factor_id:
        return refuse(NotFound.UNKNOWN, detail="there is no such factor")
    return accept(FactorRemoved(factor_id=factor_id))


def reset(factors: Factors, *, now: Moment) -> Outcome:
    """Takes every factor away. A repeat changes nothing."""
    return accept(FactorsReset()) if factors.enrolled else accept()


def evolve(factors: Factors, recorded: Recorded) -> Factors:
    """The factors after one more event of theirs."""
    event = recorded.event
    match event:
        case TotpEnrolled():
            return Factors(totp=event.factor_id, enrolled_at=recorded.time, last_step=event.step)
        case RecoveryCodesIssued():
            return replace(factors, recovery_codes=event.codes)
        case FactorVerified():
            left = tuple(each for each in factors.recovery_codes if each != event.recovery_code)
            return replace(factors, last_step=max(factors.last_step, event.step or 0), recovery_codes=left)
        case FactorFailed():
            failed = FailedAttempt(recorded.time, event.auth_session)
            recent = (each for each in factors.failures if recorded.time - each.at < HOUR)
            return replace(factors, failures=(*recent, failed))
        case FactorRemoved() | FactorsReset():
            return Factors(failures=factors.failures)
        case _:
            raise AssertionError(f"{recorded.type} is no event of a second factor")
