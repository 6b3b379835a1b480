"""The second step of a sign-in: a factor beside the password, alike for dashboards and for the server's own pages.

Between the steps nothing is kept here: the browser holds a sealed text that tells whose password was right, which opens
in that very browser, at that very place, for five minutes.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from api.languages import Words
from api.oauth import passkeys
from api.oauth.person_authentication import Verified
from api.services import Services
from api.throttling.admission import Wait
from api.throttling.limits import Bucket, Limit, group
from commands import factors
from commands.mailing import notices
from domain import account
from domain.decision import FactorRefused, Refusal
from domain.event import SECOND, Moment
from domain.factors import second_factor
from domain.factors.second_factor import SecondFactor, ShownFactor
from domain.people.notices import NoticeKind
from domain.people.upstream_link import UpstreamProof
from eventstore.execution import Origin
from eventstore.pending.letters import Letter
from security import base64url
from security.keyring import MasterKeyError, WrapBroken
from security.passkeys import NotVerified
from security.second_factors import RECOVERY_LENGTH, matching_step, recovery_digest
from security.tokens import new_id

LASTS = 300
"""Seconds between a right password and the factor beside it."""

KIND: NoticeKind = "factor_failed"

LONGEST = 2048
LONGEST_CODE = 64

WRONG = Words("That code is wrong, or was used before. Wait for the next one and try again.")
OVER = Words("Too many wrong codes. Sign in again.")
LATE = Words("That took too long. Sign in again.")
SPENT = Words("Too many wrong codes for this account within an hour. Wait, or use a recovery code.")


class AuthSession(msgspec.Struct, frozen=True, array_like=True):
    """A sign-in whose password was right, by the event with its hash, or who has proved at an `upstream` provider who
    they are; it may be completed until then. Whether a letter to the person waits for its end is `awaited`."""

    id: str
    account_id: str
    password: str | None
    until: Moment
    upstream: UpstreamProof | None = None
    # What an earlier version sealed does not say.
    awaited: bool = True

    @property
    def sha256(self) -> str:
        """By which the log knows it."""
        return sha256(self.id.encode()).hexdigest()


class BegunSignIn(NamedTuple):
    """A sign-in that goes on with a factor, and the sealed text that tells of it."""

    text: str
    under_way: AuthSession


async def begin(services: Services, verified: Verified, *, place: str, browser: str, by: Origin) -> BegunSignIn:
    """The sealed text for a person who has to show a factor at a `place`; it opens beside the `browser`'s secret. If
    nobody does, the person is told: somebody knows their password."""
    until = services.ledger.clock.now() + LASTS * SECOND
    if verified.password is None and verified.upstream is None:
        raise AssertionError("a factor is asked for beside a password")
    person = verified.account
    reachable = services.settings.mail != "off" and person.email is not None
    awaited = reachable and verified.password is not None and KIND not in person.notices_off
    begun = AuthSession(new_id(), person.account_id, verified.password, until, verified.upstream, awaited)
    if awaited:
        ledger, now = services.ledger, services.ledger.clock.now()
        told = {"moment": str(now), "address": by.ip or "", "agent": by.user_agent or ""}
        letter = Letter(KIND, person.account_id, until + notices.LASTS * SECOND, told=told)
        await ledger.maintain(notices.await_factor, ledger.vault, begun.sha256, letter, now)
    sealed = services.keyring.wrap(_purpose(place, browser), msgspec.msgpack.encode(begun))
    return BegunSignIn(base64url.encode(sealed), begun)


def resume(services: Services, text: str, *, place: str, browser: str) -> AuthSession | None:
    """What the text tells; None where it is none, of another place or browser, or too old."""
    if not 0 < len(text) <= LONGEST or not text.isascii():
        return None
    try:
        octets = services.keyring.unwrap(_purpose(place, browser), base64url.decode(text))
    except (ValueError, WrapBroken, MasterKeyError):
        return None
    found = msgspec.msgpack.decode(octets, type=AuthSession)
    return found if services.ledger.clock.now() < found.until else None


def _purpose(place: str, browser: str) -> str:
    return f"auth session\0{place}\0{sha256(browser.encode()).hexdigest()}"


def kind_of(typed: str) -> SecondFactor:
    """What somebody meant who typed this where either will do."""
    letters = sum(each.isalnum() for each in typed)
    return "recovery_code" if letters >= RECOVERY_LENGTH else "totp"


async def look_at(services: Services, under_way: AuthSession, factor: SecondFactor, typed: str) -> ShownFactor:
    """What was typed, as the decision takes it: nothing that anybody could show again."""
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    told: Any = {"factor": factor, "auth_session": under_way.sha256, "awaited": under_way.awaited}
    if factor == "recovery_code":
        digest = recovery_digest(services.keyring, under_way.account_id, typed)
        return ShownFactor(**told, recovery_code=digest)
    factor_id, step = person.factors.totp, None
    if factor_id is not None:
        privacy = services.ledger.privacy
        secret = await services.ledger.read(factors.totp_secret, privacy, under_way.account_id, factor_id)
        if secret is not None:
            step = matching_step(secret, typed, services.ledger.clock.now())
    return ShownFactor(**told, factor_id=factor_id, step=step)


async def look_at_passkey(
    services: Services, under_way: AuthSession, signed: str | dict[str, Any], place: str, origins: Sequence[str]
) -> ShownFactor:
    """The same for what a passkey signed, as a form or a body holds it."""
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    try:
        credential = passkeys.read(signed) if isinstance(signed, str) else signed
    except NotVerified:
        credential = {}
    purpose, told = _challenged(under_way, place), under_way.sha256
    return await passkeys.shown(services, person, credential, *purpose, auth_session=told, origins=origins)


async def passkey_options(services: Services, under_way: AuthSession, place: str) -> dict[str, Any] | None:
    """What the browser is asked for at a place, if the person has a passkey that is good here."""
    person: account.State = await services.ledger.state(account.stream(under_way.account_id))
    return await passkeys.options_beside(services, person, *_challenged(under_way, place))


def _challenged(under_way: AuthSession, place: str) -> tuple[str, ...]:
    return "factor", place, under_way.id


def offered(person: account.State, *, passkey: bool) -> tuple[SecondFactor, ...]:
    """What the person may show; `passkey` says whether one of theirs is good here."""
    found: list[SecondFactor] = ["totp"] if person.factors.totp is not None else []
    return (*found, *(("webauthn",) if passkey else ()), "recovery_code")


async def refusal(services: Services, account_id: str, shown: ShownFactor, by: Origin) -> Refusal | None:
    """Why what was shown will not do, which is recorded as of nobody in particular; None where it will, as far as can
    be told before the lock. Raises `Wait`."""
    person: account.State = await services.ledger.state(account.stream(account_id))
    now = services.ledger.clock.now()
    wait = second_factor.until_next(person.factors, now)
    if wait and shown.factor == "recovery_code":
        # From an address that has not tried one yet.
        once = Limit("sign_in_person", f"recovery {account_id} {group(by.ip)}", Bucket(1, second_factor.HOUR))
        admission = services.throttle.begin(once)
        if admission.retry_after is not None:
            raise Wait(admission.retry_after)
    if second_factor.verify(person.factors, now=now, shown=shown).refusal is None:
        return None
    executed = await services.ledger.execute(factors.verify(account_id, shown), origin=by)
    refused = executed.refusal or Refusal(FactorRefused.WRONG)
    if refused.reason is FactorRefused.TOO_MANY:
        raise Wait(wait or 1)
    return refused
