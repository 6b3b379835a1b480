"""A person's second factors: a generator of codes (TOTP, RFC 6238), passkeys (WebAuthn), and recovery codes for when
they are lost.

Their facts stand in the account's stream. The generator's secret is in the vault alone, sealed under the person's own
key; of recovery codes there are keyed digests, and of passkeys what is public. A code of the generator counts once (RFC
6238 §5.2), and so does each recovery code: which was used is decided here, under the lock, for all workers and nodes
together.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, FactorRefused, NotFound, Outcome, accept, malformed, refuse
from domain.event import SECOND, Event, Moment, Recorded, Sealed, sealed
from domain.rules import people

SecondFactor = Literal["totp", "recovery_code", "webauthn"]
FactorFailure = Literal["wrong", "used"]
"""It was none, or one that had been used."""


def beside_password(factor: SecondFactor, *, synced: bool = False) -> tuple[str, ...]:
    """How a person proved who they are, by the factor beside their password (RFC 8176 §2). A recovery code is a
    password for one time as well, and a passkey proves possession of a key, which software has if it is `synced`."""
    return ("pwd", _key(synced) if factor == "webauthn" else "otp", "mfa")


def _key(synced: bool) -> str:
    return "swk" if synced else "hwk"


def is_passkey_alone(amr: Sequence[str]) -> bool:
    """Whether these are the methods of a passkey alone, whose authenticator made sure of the person."""
    return "user" in amr


RECOVERY_CODES = 10
FAILURES_AN_HOUR = 10
"""After so many, over all sessions and addresses, no code of a generator is looked at."""

FAILURES_A_SESSION = 5
HOUR = 3600 * SECOND

PASSKEYS_MAXIMUM = 20
PASSKEY_NAME_MAXIMUM = 64
CREDENTIAL_ID_MAXIMUM = 1_400
"""Characters of base64url: an authenticator's name for a key has at most 1,023 octets (WebAuthn Level 3 §4)."""

PUBLIC_KEY_MAXIMUM = 4_096


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


class PasskeyEnrolled(Event, frozen=True, kw_only=True):
    """The person has a passkey, and is asked for it or another factor of theirs with every password from now on.

    `credential` is the digest of its id, `credential_id` and `public_key` (COSE) are in base64url. It is good at the
    relying party `rp_id` alone (WebAuthn Level 3 §5.1.3), and was used `sign_count` times, as its authenticator says.
    """

    type = "account.passkey_enrolled"
    personal = ("name", "credential_id", "public_key")
    hidden = ("credential_id", "public_key")

    factor_id: str
    credential: str
    rp_id: str
    sign_count: int
    name: str | None = None
    credential_id: str | None = None
    public_key: str | None = None


class PasskeyCounterReversed(Event, frozen=True, kw_only=True):
    """Somebody showed a passkey of the person's, and its authenticator counted `shown` uses where it had counted
    `known`: there may be a copy of it (WebAuthn Level 3 §6.1.1). It was refused.
    """

    type = "account.passkey_counter_reversed"
    in_doubt = True

    factor_id: str
    known: int
    shown: int
    auth_session: str


class FactorVerified(Event, frozen=True, kw_only=True):
    """The person proved who they are by a second factor as well, which used it up.

    `step` is the time step of a generator's code (RFC 6238 §4.2), `recovery_code` the keyed digest of a recovery code,
    and `sign_count` how often a passkey's authenticator says that it was used.
    """

    type = "account.factor_verified"

    factor: SecondFactor
    factor_id: str | None = None
    step: int | None = None
    recovery_code: str | None = None
    sign_count: int | None = None


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
    """The person took a second factor away, and their recovery codes with the last one."""

    type = "account.factor_removed"

    factor_id: str


class FactorsReset(Event, frozen=True, kw_only=True):
    """An administrator took a person's second factors and recovery codes away."""

    type = "account.factors_reset"


EVENTS: tuple[type[Event], ...] = (
    TotpEnrolled,
    PasskeyEnrolled,
    PasskeyCounterReversed,
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


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey, as `account.passkey_enrolled` has it. What was sealed there opens with the person's key."""

    factor_id: str
    credential: str
    rp_id: str
    sign_count: int
    enrolled_at: Moment
    name: Sealed | None
    credential_id: Sealed | None
    public_key: Sealed | None


class Factors(msgspec.Struct, frozen=True):
    """What a person has enrolled. `totp` is the generator's id, `last_step` the newest of its steps that was used,
    `recovery_codes` are those that are left, and `failures` those of the last hour at the newest of them.
    """

    totp: str | None = None
    enrolled_at: Moment = 0
    last_step: int = 0
    recovery_codes: tuple[str, ...] = ()
    failures: tuple[FailedAttempt, ...] = ()
    passkeys: tuple[Passkey, ...] = ()

    @property
    def enrolled(self) -> bool:
        """Whether the person has a second factor."""
        return self.totp is not None or bool(self.passkeys)

    def passkey(self, factor_id: str | None) -> Passkey | None:
        """The passkey of this id."""
        return next((each for each in self.passkeys if each.factor_id == factor_id), None)


class ShownFactor(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown within a sign-in, whose digest is `auth_session`.

    `step` is the time step for which the code of the generator `factor_id` is right, None for none; `recovery_code` is
    the keyed digest of what was typed. Of a passkey `factor_id` is None where what it signed is not right; it is
    `alone` where no password came before it, and `synced` where its maker may have it on several devices. Unless
    `awaited` is false, a letter may wait for the end of the sign-in.
    """

    factor: SecondFactor
    auth_session: str
    factor_id: str | None = None
    step: int | None = None
    recovery_code: str | None = None
    sign_count: int = 0
    alone: bool = False
    awaited: bool = True
    synced: bool = False

    @property
    def amr(self) -> tuple[str, ...]:
        """How the person proved who they are (RFC 8176 §2): a passkey alone is two factors in one, since a PIN or their
        body opened it."""
        return (_key(self.synced), "user", "mfa") if self.alone else beside_password(self.factor, synced=self.synced)


def enrol_totp(
    factors: Factors, *, now: Moment, factor_id: str, step: int | None, recovery_codes: Sequence[str]
) -> Outcome:
    """Has the person asked for codes of a generator from now on; `step` is that of the code which they showed."""
    if factors.totp is not None:
        return refuse(Conflict.EXISTS, detail="there is a generator of codes already")
    if step is None:
        return malformed("code", "is not what the generator shows at present")
    return _enrolled(factors, TotpEnrolled(factor_id=factor_id, step=step), recovery_codes)


def enrol_passkey(factors: Factors, *, now: Moment, passkey: PasskeyEnrolled, recovery_codes: Sequence[str]) -> Outcome:
    """Has the person asked for this passkey or another factor of theirs from now on."""
    if any(each.credential == passkey.credential for each in factors.passkeys):
        return refuse(Conflict.EXISTS, detail="this passkey is enrolled already")
    if len(factors.passkeys) >= PASSKEYS_MAXIMUM:
        return malformed("credential", f"there are {PASSKEYS_MAXIMUM} passkeys, and can be no more")
    problem = people.text_problem(passkey.name or "", PASSKEY_NAME_MAXIMUM)
    if problem:
        return malformed("name", problem)
    too_long = len(passkey.credential_id or "") > CREDENTIAL_ID_MAXIMUM
    if too_long or len(passkey.public_key or "") > PUBLIC_KEY_MAXIMUM:
        return malformed("credential", "is longer than that of any authenticator")
    return _enrolled(factors, passkey, recovery_codes)


def _enrolled(factors: Factors, enrolled: Event, recovery_codes: Sequence[str]) -> Outcome:
    """With the first factor come recovery codes."""
    if len(recovery_codes) != RECOVERY_CODES:
        return malformed("codes", f"must be {RECOVERY_CODES}")
    if factors.enrolled:
        return accept(enrolled)
    return accept(enrolled, RecoveryCodesIssued(codes=tuple(recovery_codes)))


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
    if sum(each.auth_session == shown.auth_session for each in recent) >= FAILURES_A_SESSION and not shown.alone:
        return refuse(FactorRefused.SESSION_OVER)
    spent = len(recent) >= FAILURES_AN_HOUR
    if spent and shown.factor == "totp":
        return refuse(FactorRefused.TOO_MANY)
    if shown.factor == "webauthn":
        return _verify_passkey(factors, shown, spent=spent)
    reason = _fault(factors, shown)
    if reason is None:
        return accept(
            FactorVerified(
                factor=shown.factor, factor_id=shown.factor_id, step=shown.step, recovery_code=shown.recovery_code
            )
        )
    failed = FactorFailed(factor=shown.factor, reason=reason, auth_session=shown.auth_session)
    return refuse(FactorRefused.WRONG, *(() if spent else (failed,)))


def _verify_passkey(factors: Factors, shown: ShownFactor, *, spent: bool) -> Outcome:
    """Its signature was right if `factor_id` names one. Who has no password right makes no failure a fact here: anybody
    could, and so have the person's codes refused."""
    passkey = factors.passkey(shown.factor_id)
    told = shown.auth_session
    if passkey is None:
        failed = FactorFailed(factor="webauthn", reason="wrong", auth_session=told)
        return refuse(FactorRefused.WRONG, *(() if spent or shown.alone else (failed,)))
    known, counted = passkey.sign_count, shown.sign_count
    if counted <= known and (counted or known):
        # Most authenticators do not count at all, which is zero each time.
        copied = PasskeyCounterReversed(factor_id=passkey.factor_id, known=known, shown=counted, auth_session=told)
        return refuse(FactorRefused.WRONG, *(() if spent else (copied,)))
    return accept(FactorVerified(factor="webauthn", factor_id=passkey.factor_id, sign_count=counted))


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
    """Takes a factor of the person's own away."""
    if factor_id != factors.totp and factors.passkey(factor_id) is None:
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
            return replace(factors, totp=event.factor_id, enrolled_at=recorded.time, last_step=event.step)
        case PasskeyEnrolled():
            return replace(factors, passkeys=(*factors.passkeys, _passkey(recorded)))
        case RecoveryCodesIssued():
            return replace(factors, recovery_codes=event.codes)
        case FactorVerified():
            left = tuple(each for each in factors.recovery_codes if each != event.recovery_code)
            passkeys = tuple(_used(each, event) for each in factors.passkeys)
            step = max(factors.last_step, event.step or 0)
            return replace(factors, last_step=step, recovery_codes=left, passkeys=passkeys)
        case FactorFailed() | PasskeyCounterReversed():
            failed = FailedAttempt(recorded.time, event.auth_session)
            recent = (each for each in factors.failures if recorded.time - each.at < HOUR)
            return replace(factors, failures=(*recent, failed))
        case FactorRemoved():
            return _without(factors, event.factor_id)
        case FactorsReset():
            return Factors(failures=factors.failures)
        case _:
            raise AssertionError(f"{recorded.type} is no event of a second factor")


def _passkey(recorded: Recorded) -> Passkey:
    event: PasskeyEnrolled = recorded.event
    return Passkey(
        factor_id=event.factor_id,
        credential=event.credential,
        rp_id=event.rp_id,
        sign_count=event.sign_count,
        enrolled_at=recorded.time,
        name=sealed(recorded, "name"),
        credential_id=sealed(recorded, "credential_id"),
        public_key=sealed(recorded, "public_key"),
    )


def _used(passkey: Passkey, event: FactorVerified) -> Passkey:
    if event.factor != "webauthn" or event.factor_id != passkey.factor_id:
        return passkey
    return replace(passkey, sign_count=event.sign_count or 0)


def _without(factors: Factors, factor_id: str) -> Factors:
    """What is left without one of them; the recovery codes go with the last."""
    passkeys = tuple(each for each in factors.passkeys if each.factor_id != factor_id)
    if factor_id == factors.totp:
        factors = replace(factors, totp=None, enrolled_at=0, last_step=0)
    left = replace(factors, passkeys=passkeys)
    return left if left.enrolled else Factors(failures=factors.failures)
