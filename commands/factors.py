"""What is done to second factors: enrolled, shown, replaced and taken away."""

from collections.abc import Callable, Sequence

from commands.mailing.notices import factor_letter_id
from commands.people import UNKNOWN, acting_as, policy_of, session_is_live, totp_vault_name
from commands.permissions import CallerScope
from domain import account, session
from domain.decision import AccessDenied, FactorRefused, NotFound, Outcome, Refusal
from domain.event import Recorded, Sealed
from domain.factors import second_factor
from domain.factors.second_factor import Factors, PasskeyEnrolled, SecondFactor, ShownFactor, beside_password
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.pending import letters
from eventstore.personal_data import PersonalData
from eventstore.search import Criteria, newest, recorded_forms, search
from eventstore.view import Folds, View
from projections.event_index import NameKind

PASSKEYS_AT_ONCE = 200

# The secret of a generator: in the vault alone, and sealed there under the person's own key, so that it ends with it.


def keep_totp_secret(
    privacy: PersonalData, account_id: str, factor_id: str, secret: str
) -> Callable[[View, tuple[Recorded, ...]], None]:
    """Keeps a generator's secret in the transaction that tells of the generator."""

    def keep(view: View, _: tuple[Recorded, ...]) -> None:
        sealed = privacy.seal(view.connection, account.stream(account_id), view.now, factor_id, "totp", secret)
        privacy.vault.put_secret(view.connection, totp_vault_name(account_id), sealed.text.encode(), view.now)

    return keep


def _forget_totp_secret(privacy: PersonalData, view: View, account_id: str) -> None:
    """Removes a generator's secret in the transaction that ends the generator."""
    privacy.vault.delete_secret(view.connection, totp_vault_name(account_id))


def totp_secret(connection: Connection, privacy: PersonalData, account_id: str, factor_id: str) -> str | None:
    """The secret of a person's generator; None where there is none, or not of this one."""
    kept = privacy.vault.get_secret(connection, totp_vault_name(account_id))
    return None if kept is None else privacy.open(connection, Sealed(factor_id, "totp", kept.value.decode()))


def enrol_totp(
    account_id: str, session_id: str, factor_id: str, *, step: int | None, recovery_codes: Sequence[str]
) -> Command[account.State]:
    """A person who is signed in showed a code of a new generator, at the time step `step`. Its secret is to be kept
    with `keep_totp_secret`."""
    return _by_themselves(
        account_id,
        session_id,
        lambda factors, view: second_factor.enrol_totp(
            factors, now=view.now, factor_id=factor_id, step=step, recovery_codes=recovery_codes
        ),
    )


def enrol_passkey(
    account_id: str, session_id: str, passkey: PasskeyEnrolled, *, recovery_codes: Sequence[str]
) -> Command[account.State]:
    """A person who is signed in showed a new passkey."""
    return _by_themselves(
        account_id,
        session_id,
        lambda factors, view: second_factor.enrol_passkey(
            factors, now=view.now, passkey=passkey, recovery_codes=recovery_codes
        ),
    )


def prove_session(
    session_id: str, amr: Sequence[str], factor: SecondFactor, *, synced: bool = False
) -> Command[session.State]:
    """A person who is signed in by the methods `amr` showed a factor as well, which another command of the same
    transaction tells of; `synced` is as in `ShownFactor`."""

    def decide(state: session.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, session_id):
            return Refusal(AccessDenied.ACCOUNT)
        methods = tuple(dict.fromkeys((*amr, *beside_password(factor, synced=synced))))
        return session.step_up(state, now=view.now, amr=methods)

    return Command(session.stream(session_id), decide)


def lay_ready_totp(
    account_id: str, factor_id: str, *, step: int, recovery_codes: Sequence[str]
) -> Command[account.State]:
    """Gives a person who was just made known a generator; for the demo, which writes its secret down for them."""
    return Command(
        account.stream(account_id),
        lambda state, view: second_factor.enrol_totp(
            state.factors, now=view.now, factor_id=factor_id, step=step, recovery_codes=recovery_codes
        ),
    )


def renew_recovery_codes(account_id: str, session_id: str, *, recovery_codes: Sequence[str]) -> Command[account.State]:
    """A person who is signed in gets recovery codes in place of those that they had."""
    return _by_themselves(
        account_id,
        session_id,
        lambda factors, view: second_factor.renew_recovery_codes(factors, now=view.now, recovery_codes=recovery_codes),
    )


def remove(account_id: str, session_id: str, factor_id: str, *, privacy: PersonalData) -> Command[account.State]:
    """A person who is signed in takes their factor away, and its secret goes with it."""

    def decide(factors: Factors, view: View) -> Outcome:
        outcome = second_factor.remove(factors, now=view.now, factor_id=factor_id)
        if outcome.events and factor_id == factors.totp:
            _forget_totp_secret(privacy, view, account_id)
        return outcome

    return _by_themselves(account_id, session_id, decide)


def _by_themselves(
    account_id: str, session_id: str, decide: Callable[[Factors, View], Outcome]
) -> Command[account.State]:
    def decide_signed_in(state: account.State, view: View) -> Outcome | Refusal:
        if not account.alive(state) or not session_is_live(view, session_id):
            return Refusal(AccessDenied.ACCOUNT)
        signed_in: session.State = view.state(session.stream(session_id))
        # What the page saw may have changed since: who has a factor by now has to have shown it.
        if policy_of(view, state.realm).asks(state.factors) and "mfa" not in signed_in.amr:
            return Refusal(FactorRefused.MISSING)
        return decide(state.factors, view)

    return Command(account.stream(account_id), decide_signed_in)


def verify(account_id: str, shown: ShownFactor) -> Command[account.State]:
    """Somebody who knew a person's password showed a second factor."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if not account.alive(state):
            return Refusal(NotFound.UNKNOWN, UNKNOWN)
        outcome = second_factor.verify(state.factors, now=view.now, shown=shown)
        if outcome.events and shown.awaited:
            # Nobody has left this sign-in.
            letters.remove(view.connection, factor_letter_id(shown.auth_session))
        return outcome

    return Command(account.stream(account_id), decide)


def passkeys_elsewhere(folds: Folds, rp_id: str | None) -> int:
    """How many passkeys of people there are that are of no use at this relying party (WebAuthn Level 3 §5.1.3)."""
    criteria = Criteria((((NameKind.TYPE, PasskeyEnrolled.type.encode()),),), 1, newest(folds.connection))
    found, start = 0, None
    while True:
        result = search(folds.connection, criteria, PASSKEYS_AT_ONCE, start)
        for each in recorded_forms(folds.connection, result.positions):
            person: account.State = folds.state(each.stream)
            kept = person.factors.passkey(each.event.factor_id)
            found += kept is not None and kept.rp_id != rp_id
        start = result.resume
        if start is None:
            return found


def reset(account_id: str, *, privacy: PersonalData, by: CallerScope) -> Command[account.State]:
    """An administrator takes every factor of a person away, who is then asked for a password alone: so they need the
    administrative scopes that the person may have."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if not account.alive(state):
            return Refusal(NotFound.UNKNOWN, UNKNOWN)
        outcome = acting_as(state, view, by) or second_factor.reset(state.factors, now=view.now)
        if outcome.events:
            _forget_totp_secret(privacy, view, account_id)
        return outcome

    return Command(account.stream(account_id), decide)
