"""What is done about e-mail addresses: links are mailed, and followed to an address that is verified or changed."""

from collections.abc import Callable
from typing import NamedTuple

from commands import people
from commands.people import PersonNames, session_is_live
from domain import account, session
from domain.decision import AccessDenied, Conflict, NotFound, Outcome, Refusal, accept
from domain.event import SECOND
from domain.people import email_address
from domain.people.email_address import CONFIRMATION_LASTS, ConfirmedAt
from eventstore import present
from eventstore.command import Command
from eventstore.execution import Step
from eventstore.pending import letters, mailed_links
from eventstore.pending.letters import Letter
from eventstore.pending.mailed_links import LinkPurpose, MailedLink
from eventstore.personal_data import PersonalData
from eventstore.view import View
from security.tokens import Secret, new_id

AT: dict[LinkPurpose, ConfirmedAt] = {"email_present": "present", "email_new": "new"}
"""Which address a link to confirm a change was mailed to."""


class Mailing(NamedTuple):
    """What links are made of: under which digest they are counted, and the secret of each."""

    subject: bytes
    secrets: dict[LinkPurpose, Secret]


def request_verification(
    account_id: str, session_id: str, mailing: Mailing, *, privacy: PersonalData
) -> Command[account.State]:
    """A person who is signed in has a link mailed to their address."""

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        known = privacy.open(view.connection, state.claims.get("email_verified")) == "true"
        outcome = email_address.request_verification(now=view.now, reachable=state.email is not None, verified=known)
        if outcome.refusal is not None or state.email is None:
            return outcome
        return _mail(view, privacy, mailing, "verification", account_id, state.email.event_id) or outcome

    return _by_themselves(account_id, session_id, decide)


def request_change(
    account_id: str, session_id: str, new_email: str, mailing: Mailing, *, privacy: PersonalData
) -> Command[account.State]:
    """A person who is signed in wants another address: it and the present one are mailed a link each."""
    change_id = new_id()

    def decide(state: account.State, view: View) -> Outcome | Refusal:
        outcome = email_address.request_change(
            now=view.now, change_id=change_id, new_email=new_email, both=state.email is not None
        )
        if outcome.refusal is not None:
            return outcome
        refused = _mail(view, privacy, mailing, "email_new", account_id, change_id, new_email)
        if refused is None and state.email is not None:
            told = {"email": new_email}
            refused = _mail(view, privacy, mailing, "email_present", account_id, change_id, told=told)
        return refused or outcome

    return _by_themselves(account_id, session_id, decide)


def _mail(
    view: View,
    privacy: PersonalData,
    mailing: Mailing,
    purpose: LinkPurpose,
    account_id: str,
    against: str,
    to: str | None = None,
    told: dict[str, str] | None = None,
) -> Refusal | None:
    secret, expires_at = mailing.secrets[purpose], view.now + CONFIRMATION_LASTS * SECOND
    link = MailedLink(purpose, account_id, expires_at, against)
    if not mailed_links.put(view.connection, privacy.vault, secret.sha256, mailing.subject, link, view.now):
        return Refusal(Conflict.TOO_MANY_LINKS)
    letter = Letter(purpose, account_id, expires_at, secret.reveal(), to, told or {})
    letters.put(view.connection, privacy.vault, new_id(), letter, view.now)
    return None


def follow(link: MailedLink, *, privacy: PersonalData) -> list[Step]:
    """What a link to confirm an address leads to."""
    if link.purpose == "verification":
        return _verify(link, privacy)
    return [_confirm_change(link, AT[link.purpose], privacy)]


def _verify(link: MailedLink, privacy: PersonalData) -> list[Step]:
    def decide(state: account.State, view: View) -> Outcome | Refusal:
        here = state.email.event_id if account.alive(state) and state.email is not None else None
        return email_address.verify(here, now=view.now, against=link.against)

    names = PersonNames(claims={"email_verified": True})
    return [
        Command(account.stream(link.account_id), decide),
        people.change_names(link.account_id, names, privacy=privacy, by=None),
    ]


def _confirm_change(link: MailedLink, at: ConfirmedAt, privacy: PersonalData) -> Command[account.State]:
    def decide(state: account.State, view: View) -> Outcome | Refusal:
        change = state.email_change
        if not account.alive(state):
            return Refusal(NotFound.UNKNOWN, people.UNKNOWN)
        confirmed = email_address.confirm_change(change, now=view.now, change_id=link.against, at=at)
        if confirmed.refusal is not None or change is None or not change.completed_by(at):
            return confirmed
        new_email = privacy.open(view.connection, change.new_email)
        taken = view.look(
            present.taken_logins, privacy, state.realm, username=None, email=new_email, but=link.account_id
        )
        changed = account.change_profile(
            state,
            now=view.now,
            email=new_email,
            email_taken=taken.email,
            role_scopes={},
            caller_scope=None,
            claims={"email_verified": True},
        )
        return changed if changed.refusal is not None else accept(*confirmed.events, *changed.events)

    return Command(account.stream(link.account_id), decide)


def _by_themselves(
    account_id: str, session_id: str, decide: Callable[[account.State, View], Outcome | Refusal]
) -> Command[account.State]:
    def guarded(state: account.State, view: View) -> Outcome | Refusal:
        signed_in: session.State = view.state(session.stream(session_id))
        if signed_in.account_id != account_id or not session_is_live(view, session_id):
            return Refusal(AccessDenied.ACCOUNT)
        return decide(state, view)

    return Command(account.stream(account_id), guarded)
