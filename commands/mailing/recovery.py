"""What is done about a forgotten password: a link is mailed, and followed to a new one."""

import hmac
from collections.abc import Callable, Sequence

from commands import people
from commands.people import PersonNames
from commands.permissions import CallerScope
from domain import account
from domain.decision import Conflict, NotFound, Outcome, Refusal, Unavailable, accept
from domain.event import SECOND, Moment
from domain.people import mailed
from domain.people.mailed import INVITATION_LASTS, RECOVERY_LASTS, PasswordStanding
from eventstore.command import Command
from eventstore.database import Connection
from eventstore.execution import Step
from eventstore.pending import letters, mailed_links
from eventstore.pending.letters import Letter
from eventstore.pending.mailed_links import LinkPurpose, MailedLink
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.keyring import Keyring
from security.tokens import Secret, new_id
from security.vault import Vault

ADDRESS = "address"
"""What a link tells of the event with the address that it was mailed to."""


def subject_digest(keyring: Keyring, realm: str, name: str) -> bytes:
    """Under which the links are counted that somebody asked for: a person by their id, and who is none by the name."""
    return hmac.digest(keyring.derive("mailed links of"), f"{realm}\0{name}".encode("utf-8", "surrogatepass"), "sha256")


def standing(state: account.State) -> PasswordStanding:
    """What a link to a new password depends on."""
    kept, email = state.password_hash, state.email
    return PasswordStanding(
        account.alive(state) and state.enabled,
        None if kept is None else kept.event_id,
        None if email is None else email.event_id,
    )


def is_current(link: MailedLink, state: account.State) -> bool:
    """Whether the person may still choose a password by the link."""
    return standing(state).fits(link.against, link.told.get(ADDRESS))


def _link(purpose: LinkPurpose, account_id: str, expires_at: Moment, found: PasswordStanding | None) -> MailedLink:
    told = {} if found is None or found.address is None else {ADDRESS: found.address}
    return MailedLink(purpose, account_id, expires_at, None if found is None else found.password, told)


def ask_for_link(
    connection: Connection, vault: Vault, subject: bytes, person: account.State | None, secret: Secret, now: Moment
) -> Refusal | None:
    """Keeps a link and the letter with it, to whom it may concern; the same for a `person` who is none, to whom nothing
    is sent. After too many nothing is kept. A refusal where there is no room."""
    if mailed_links.is_full(connection, "recovery", now):
        return Refusal(Unavailable.FULL)
    found = None if person is None else standing(person)
    known = person is not None and found is not None and found.usable and person.email is not None
    account_id = person.account_id if known and person is not None else ""
    expires_at = now + RECOVERY_LASTS * SECOND
    link = _link("recovery", account_id, expires_at, found)
    if mailed_links.put(connection, vault, secret.sha256, subject, link, now):
        letter = Letter("recovery", account_id, expires_at, secret.reveal())
        letters.put(connection, vault, new_id(), letter, now)
    return None


def invite(account_id: str, subject: bytes, secret: Secret, *, vault: Vault, by: CallerScope) -> Command[account.State]:
    """Mails a person a link by which they choose a password. Anyone who could sign in as them by it must be allowed to
    do all that they may."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        if not account.alive(state):
            return Refusal(NotFound.UNKNOWN, people.UNKNOWN)
        refused = people.acting_as(state, view, by)
        outcome = refused or mailed.invite(standing(state), now=view.now, reachable=state.email is not None)
        if outcome.refusal is not None:
            return outcome
        expires_at = view.now + INVITATION_LASTS * SECOND
        link = _link("invitation", account_id, expires_at, standing(state))
        if not mailed_links.put(view.connection, vault, secret.sha256, subject, link, view.now):
            return Refusal(Conflict.TOO_MANY_LINKS)
        letter = Letter("invitation", account_id, expires_at, secret.reveal())
        letters.put(view.connection, vault, new_id(), letter, view.now)
        return outcome

    return Command(account.stream(account_id), decide)


def accept_invitation(link: MailedLink, password_hash: str, *, privacy: PersonalData) -> list[Step]:
    """Sets the password that an invited person chose. That the letter reached them verifies their address."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        told = link.told.get(ADDRESS)
        return mailed.accept_invitation(standing(state), now=view.now, against=link.against, address=told)

    return [
        Command(account.stream(link.account_id), decide),
        people.set_password(link.account_id, password_hash, by=None, verified=link.against),
        people.change_names(link.account_id, PersonNames(claims={"email_verified": True}), privacy=privacy, by=None),
    ]


def recover(link: MailedLink, password_hash: str) -> list[Step]:
    """Sets the password that a person chose by the link that was mailed to them, and ends every session and grant."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        told = link.told.get(ADDRESS)
        return mailed.recover(standing(state), now=view.now, against=link.against, address=told)

    stream = account.stream(link.account_id)
    return [
        Command(stream, decide),
        people.set_password(link.account_id, password_hash, by=None, verified=link.against),
    ]


def require_good(account_id: str, digest: bytes) -> Command[account.State]:
    """Stands before what a link leads to, and refuses it where the link is over by now: it leaked and was ended, or a
    newer one was mailed, after it was looked at."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        is_good = mailed_links.count_good(view.connection, (digest,), view.now) > 0
        return accept() if is_good else Refusal(NotFound.UNKNOWN)

    return Command(account.stream(account_id), decide)


def use_up(digest: bytes) -> Callable[[View, object], None]:
    """Ends the link in the transaction that it led to."""
    return lambda view, _: mailed_links.forget(view.connection, [digest])


def end_links(account_id: str, digests: Sequence[bytes]) -> Command[account.State]:
    """Ends links that leaked, in the transaction that tells of it. None of them was a fact."""

    def decide(state: account.State, view: View) -> Outcome:
        mailed_links.forget(view.connection, digests)
        return accept()

    return Command(account.stream(account_id), decide)
