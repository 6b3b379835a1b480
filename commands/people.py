"""What is done to people: they are made known, changed and erased, get passwords and roles, and sign in and out."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from unicodedata import normalize
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec
from msgspec import UNSET, UnsetType

from commands.permissions import CallerScope
from domain import account, session
from domain.decision import AccessDenied, FactorRefused, NotFound, Outcome, Refusal
from domain.factors import realm_policy
from domain.factors.realm_policy import RealmPolicy
from domain.factors.second_factor import is_passkey_alone
from domain.people import own_data
from domain.people.passwords import ForeignHash
from domain.people.upstream_link import UPSTREAM_AMR
from domain.rules import people as rules
from domain.rules import standard_claims
from domain.rules.registration import REALMS
from domain.rules.standard_claims import ClaimValue, KeptClaim
from eventstore import may_write, present
from eventstore.command import Command
from eventstore.execution import Origin
from eventstore.ledger import Ledger
from eventstore.pending import letters
from eventstore.personal_data import PersonalData
from eventstore.present import TakenLogins
from eventstore.view import View
from projections import clients, erasures
from security.passwords import MAX_CHARACTERS, StrengthMeter, Unacceptable, Weakness, unacceptable
from security.vault import Vault

UNKNOWN = "There is no such person."
PERSONAL: tuple[account.Personal, ...] = ("username", "email", "name")


class PersonRegistration(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to be made known. Without `roles` they get their realm's default ones, without a hash no password.

    `foreign_hash` is there where another system made the hash.
    """

    realm: str
    username: str | None
    email: str | None
    name: str | None = None
    password_hash: str | None = None
    roles: tuple[str, ...] | None = None
    claims: Mapping[KeptClaim, ClaimValue] = {}
    foreign_hash: ForeignHash | None = None

    def __repr__(self) -> str:
        return "NewPerson"


class PersonNames(msgspec.Struct, frozen=True, kw_only=True):
    """A person's names and claims as they are to be; None takes one away, and what is not named stays. Of an `address`
    that holds for its members.
    """

    username: str | None | UnsetType = UNSET
    email: str | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    claims: Mapping[KeptClaim, str | bool | Mapping[str, str | None] | None] = {}


def register(
    account_id: str,
    person: PersonRegistration,
    *,
    privacy: PersonalData,
    by: CallerScope,
    taken: TakenLogins | None = None,
) -> Command[account.State]:
    """Makes a person known. `taken` tells which of their names are, if that is known under the lock."""
    zones = time_zones() if "zoneinfo" in person.claims else frozenset[str]()

    def decide(state: account.State, view: View) -> Outcome:
        given = view.look(present.default_roles, person.realm) if person.roles is None else person.roles
        others = taken or view.look(
            present.taken_logins, privacy, person.realm, username=person.username, email=person.email
        )
        return account.register(
            state,
            now=view.now,
            realm=person.realm,
            username=person.username,
            email=person.email,
            name=person.name,
            password_hash=person.password_hash,
            roles=given,
            role_scopes=_role_scopes(view, person.realm, given),
            caller_scope=by(view),
            username_taken=others.username,
            email_taken=others.email,
            claims=person.claims,
            time_zones=zones,
            realms=view.look(present.realms),
            foreign_hash=person.foreign_hash,
        )

    return Command(account.stream(account_id), decide)


def change_names(
    account_id: str, names: PersonNames, *, privacy: PersonalData, by: CallerScope | None
) -> Command[account.State]:
    """Changes the names and claims that differ. `by` is None when people change their own."""
    zones = time_zones() if "zoneinfo" in names.claims else frozenset[str]()

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if refused := _gone(state):
            return refused
        # What is sealed cannot be compared by the verb.
        changed = {
            field: text
            for field in PERSONAL
            if isinstance(text := getattr(names, field), str)
            and text != privacy.open(view.connection, getattr(state, field))
        }
        claims, taken_away = _changed_claims(view, privacy, state, names)
        username, email = changed.get("username"), changed.get("email")
        taken = view.look(present.taken_logins, privacy, state.realm, username=username, email=email, but=account_id)
        return account.change_profile(
            state,
            now=view.now,
            username=username,
            email=email,
            name=changed.get("name"),
            removed=(*(field for field in PERSONAL if getattr(names, field) is None), *taken_away),
            username_taken=taken.username,
            email_taken=taken.email,
            role_scopes=_role_scopes(view, state.realm, state.roles),
            caller_scope=None if by is None else by(view),
            claims=claims,
            time_zones=zones,
        )

    return Command(account.stream(account_id), decide)


def _changed_claims(
    view: View, privacy: PersonalData, state: account.State, names: PersonNames
) -> tuple[dict[KeptClaim, ClaimValue], list[KeptClaim]]:
    """The claims that differ from what is known, and those that are taken away."""
    changed: dict[KeptClaim, ClaimValue] = {}
    taken_away: list[KeptClaim] = []
    for field, value in names.claims.items():
        known = privacy.open(view.connection, state.claims.get(field))
        if isinstance(value, Mapping):
            former = {} if known is None else standard_claims.value_of(field, known)
            value = standard_claims.merged(former if isinstance(former, Mapping) else {}, value) or None
        if value is None:
            taken_away.append(field)
        elif standard_claims.text_of(value) != known:
            changed[field] = value
    return changed, taken_away


@cache
def time_zones() -> frozenset[str]:
    """The names of time zones that this machine knows; none where it has no such data."""
    return frozenset(available_timezones())


def change_roles(account_id: str, given: tuple[str, ...], *, by: CallerScope) -> Command[account.State]:
    """Gives a person these roles in place of theirs."""
    return _to_known(
        account_id,
        lambda state, view: account.change_roles(
            state,
            now=view.now,
            roles=given,
            role_scopes=_role_scopes(view, state.realm, tuple(dict.fromkeys((*state.roles, *given)))),
            caller_scope=by(view),
            leaves_no_administrator=view.look(present.is_last_administrator, account_id),
        ),
    )


def set_password(
    account_id: str,
    password_hash: str,
    *,
    by: CallerScope | None,
    verified: str | None = None,
    except_grant: str | None = None,
) -> Command[account.State]:
    """Sets a password and ends every grant but one's own `except_grant`. `by` is None when people change their own:
    `verified` is then the event with the hash against which the present one was right."""
    return _to_known(
        account_id,
        lambda state, view: account.change_password(
            state,
            now=view.now,
            password_hash=password_hash,
            except_grant=except_grant,
            verified=verified,
            role_scopes=_role_scopes(view, state.realm, state.roles),
            caller_scope=None if by is None else by(view),
        ),
    )


def disable(account_id: str) -> Command[account.State]:
    """Ends every token so far, for good, and lets the person sign in no more."""
    return _to_known(
        account_id,
        lambda state, view: account.disable(
            state, now=view.now, leaves_no_administrator=view.look(present.is_last_administrator, account_id)
        ),
    )


def enable(account_id: str, *, by: CallerScope) -> Command[account.State]:
    """Lets the person sign in again; what was ended stays so."""
    return _to_known(
        account_id,
        lambda state, view: account.enable(
            state, now=view.now, role_scopes=_role_scopes(view, state.realm, state.roles), caller_scope=by(view)
        ),
    )


def erase(account_id: str, *, vault: Vault) -> Command[account.State]:
    """Destroys the key to the person's names and ends every token; the facts stay. What the vault has of their second
    factor, which nobody could open any more, goes too, and so does mail that waits for them."""

    def decide(state: account.State, view: View) -> Outcome:
        last = view.look(present.is_last_administrator, account_id)
        outcome = account.erase(state, now=view.now, leaves_no_administrator=last)
        if outcome.events:
            vault.delete_secret(view.connection, totp_vault_name(account_id))
            letters.remove_of(view.connection, account_id)
        return outcome

    return _to_known(account_id, decide)


def export_data(account_id: str) -> Command[account.State]:
    """Records that a person gets all that is stored about them."""
    return _to_known(account_id, lambda state, view: own_data.export(now=view.now))


def request_erasure(account_id: str, waiting: int) -> Command[account.State]:
    """Has a person erased after `waiting` seconds, as they wish."""
    return _to_known(
        account_id,
        lambda state, view: own_data.request_erasure(
            state.own_data,
            now=view.now,
            waiting=waiting,
            leaves_no_administrator=view.look(present.is_last_administrator, account_id),
        ),
    )


def withdraw_erasure(account_id: str) -> Command[account.State]:
    """Has a person stay who wanted to be erased."""
    return _to_known(account_id, lambda state, view: own_data.withdraw_erasure(state.own_data, now=view.now))


async def erase_due(ledger: Ledger, by: Origin) -> None:
    """Erases everybody who wanted it and has waited long enough, whatever clocks say. Who became the last administrator
    meanwhile stays."""
    found = await ledger.read(erasures.due, ledger.clock.now())
    certain = await ledger.read(may_write.certain, ledger.clock) if found else 0
    for account_id in found:

        def waited(view: View, account_id: str = account_id) -> Refusal | None:
            state: account.State = view.state(account.stream(account_id))
            is_due = own_data.is_due(state.own_data, min(view.now, certain))
            return None if is_due else Refusal(NotFound.UNKNOWN, UNKNOWN)

        await ledger.execute(erase(account_id, vault=ledger.vault).guarded(waited), origin=by)


def totp_vault_name(account_id: str) -> str:
    """Names the secret of a person's generator of codes in the vault."""
    return f"totp:{account_id}"


def _to_known(account_id: str, decide: Callable[[account.State, View], Outcome]) -> Command[account.State]:
    """A command to a person, which is refused where they do not exist or are erased."""
    return Command(account.stream(account_id), lambda state, view: _gone(state) or decide(state, view))


def acting_as(state: account.State, view: View, by: CallerScope) -> Outcome | None:
    """Refuses a caller who could sign in as the person after this, and may do less than they."""
    role_scopes = _role_scopes(view, state.realm, state.roles)
    return rules.acting_as(state.roles, role_scopes=role_scopes, caller_scope=by(view))


def _gone(state: account.State) -> Refusal | None:
    return None if account.alive(state) else Refusal(NotFound.UNKNOWN, UNKNOWN)


def _role_scopes(view: View, realm: str, given: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    # Of more roles than are allowed, the first: the verb refuses them all.
    return view.look(present.role_scopes, realm, given[: 2 * rules.ROLES_MAXIMUM])


# What may become a password: nothing that is soon guessed, too short to hold out, or that cannot be hashed.

_WORDS = {
    Unacceptable.TOO_LONG: f"must have at most {MAX_CHARACTERS} characters",
    Unacceptable.NOT_TEXT: "must be text",
}

WHY = {
    Weakness.COMMON: "much of it is a password that many people have",
    Weakness.WORDS: "most of it is one common word",
    Weakness.NAMES: "most of it is one common name",
    Weakness.KNOWN: "most of it is a name of the person or of this server",
    Weakness.KEYBOARD: "it follows the keys of a keyboard",
    Weakness.REPEAT: "it repeats itself",
    Weakness.SEQUENCE: "it has characters in their order, like abc or 6543",
    Weakness.DATE: "it has a date or a year",
    Weakness.SHORT: "there is too little to it",
}
"""What is wrong with a password that is soon guessed."""

ADVICE = "Another uncommon word or two would make it a good one."

PLATFORM = ("grantlog", *REALMS)
"""Words of every installation, which are tried before others."""

DASHBOARDS = 20
"""Dashboards whose names count as known; there are two in an ordinary installation."""


def password_problem(password: str, minimum: int) -> str | None:
    """Why this may not become a password where `minimum` characters are asked for (NIST SP 800-63B §5.1.1.2)."""
    reason = unacceptable(password)
    if reason in _WORDS:
        return _WORDS[reason]
    if reason is not None or len(normalize("NFKC", password)) < minimum:
        return f"must have at least {minimum} characters"
    return None


async def weakness_problem(
    password: str, names: Iterable[str | None], *, ledger: Ledger, issuer: str, strength: StrengthMeter
) -> str | None:
    """Why it would soon be guessed of the person with these `names`. Raises the meter's Overloaded."""
    weakness = await strength.weakness(password, (*names, *await platform_words(ledger, issuer)))
    return None if weakness is None else strength_problem(weakness)


def strength_problem(weakness: Weakness) -> str:
    """What is wrong with a password that is soon guessed, in words that say nothing of its characters."""
    return f"is too easy to guess: {WHY[weakness]}. {ADVICE}"


async def platform_words(ledger: Ledger, issuer: str) -> tuple[str, ...]:
    """What a guesser of this installation's passwords would try first: its host, realms and dashboards."""
    page = await ledger.read(clients.dashboards, limit=DASHBOARDS)
    named = [word for each in page.items for word in (each.slug, each.client_name) if word]
    return (*PLATFORM, urlsplit(issuer).hostname or "", *named)


# Sign-in at the server itself.


def start_session(
    session_id: str,
    *,
    account_id: str,
    realm: str,
    verified: str | None,
    sha256: str,
    lifetime: int,
    amr: tuple[str, ...],
) -> Command[session.State]:
    """Signs a person in for `lifetime` seconds, if they still may, by a session whose id was just made. `verified` is
    the event with the hash against which their password was right, None where a passkey or another provider took its
    place; `sha256` is the browser's secret. Where `amr` tells of more than the password, the command that uses that up
    comes before this one."""

    def decide(state: session.State, view: View) -> Outcome | Refusal:
        person: account.State = view.state(account.stream(account_id))
        if _barred(person, realm, verified, amr):
            return Refusal(AccessDenied.ACCOUNT)
        return _without_factor(view, person, amr) or session.start(
            state, now=view.now, account_id=account_id, realm=realm, sha256=sha256, lifetime=lifetime, amr=amr
        )

    return Command(session.stream(session_id), decide, starts=True)


def step_up(session_id: str, verified: str | None, amr: tuple[str, ...]) -> Command[session.State]:
    """Records that the person of a session signed in again; `verified` and `amr` are as in `start_session`."""

    def decide(state: session.State, view: View) -> Outcome | Refusal:
        person: account.State = view.state(account.stream(state.account_id))
        if _barred(person, state.realm, verified, amr):
            return Refusal(AccessDenied.ACCOUNT)
        if not session.is_live(state, person, view.now):
            return Refusal(AccessDenied.ACCOUNT)
        return _without_factor(view, person, amr) or session.step_up(state, now=view.now, amr=amr)

    return Command(session.stream(session_id), decide)


def _barred(person: account.State, realm: str, verified: str | None, amr: tuple[str, ...]) -> bool:
    """Whether the person may not sign in, or by what they showed."""
    if verified is None and (is_passkey_alone(amr) or UPSTREAM_AMR[0] in amr):
        return not account.alive(person) or not person.enabled or person.realm != realm
    return account.failure(person, realm=realm, verified=verified) is not None


def _without_factor(view: View, person: account.State, amr: tuple[str, ...]) -> Refusal | None:
    """Refuses a sign-in by the password alone of a person who is asked for a second factor."""
    if "mfa" in amr or not policy_of(view, person.realm).asks(person.factors):
        return None
    return Refusal(FactorRefused.MISSING)


def policy_of(view: View, realm: str) -> RealmPolicy:
    """What a realm asks of its people's sign-ins."""
    policies: realm_policy.State = view.state(realm_policy.STREAM)
    return policies.of(realm)


def end_session(session_id: str, reason: session.SessionEndReason) -> Command[session.State]:
    """Signs a person out of one browser."""
    return Command(session.stream(session_id), lambda state, view: session.end(state, now=view.now, reason=reason))


def session_is_live(view: View, session_id: str) -> bool:
    """Whether a session is live under the lock too, where what ended it meanwhile is seen."""
    state: session.State = view.state(session.stream(session_id))
    return session.is_live(state, view.state(account.stream(state.account_id)), view.now)


def rehash_password(account_id: str, password_hash: str, verified: str) -> Command[account.State]:
    """Keeps a stronger hash of the password that was right against the one in event `verified`."""
    return Command(
        account.stream(account_id),
        lambda state, view: account.rehash_password(
            state, now=view.now, password_hash=password_hash, verified=verified
        ),
    )
