"""What a person allows a client and takes back, and the code that comes of it (RFC 6749 §4.1.2)."""

import msgspec

from commands.grant_context import parties, suspended
from commands.sessions import is_live
from domain import client, consent, grant
from domain.decision import AccessDenied, Outcome, Refusal
from domain.event import Moment
from domain.grants import authorization_code
from domain.grants.grant_type import Lifetimes
from eventstore.command import Command
from eventstore.view import View
from security.ids import ordered_id

_SIGNED_OUT = Refusal(AccessDenied.ACCOUNT)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Who approves what. `asked` is the scope of the request, None for none; `uri` its redirect URI, None likewise, and
    `redirect_uri` where the answer goes.
    """

    account_id: str
    session_id: str
    client_id: str
    asked: tuple[str, ...] | None
    resource: tuple[str, ...]
    uri: str | None
    redirect_uri: str
    challenge: str | None


def give(approval: Approval, scope: tuple[str, ...]) -> Command[consent.State]:
    """The person allows what they were shown."""

    def decide(state: consent.State, view: View) -> Outcome | Refusal:
        if not is_live(view, approval.session_id):
            return _SIGNED_OUT
        asking: client.State = view.state(client.stream(approval.client_id))
        return consent.give(
            state,
            now=view.now,
            scope=scope,
            redirect_uri=approval.redirect_uri,
            within=asking.scope,
            registered=asking.redirect_uris,
        )

    return Command(consent.stream(approval.account_id, approval.client_id), decide)


def issue_code(approval: Approval, code: str, *, at: Moment, issuer: str, lifetimes: Lifetimes) -> Command[grant.State]:
    """A grant begins with a code, whose digest in hex is `code`, for what the person's consent covers."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        if not is_live(view, approval.session_id):
            return _SIGNED_OUT
        return suspended(view) or authorization_code.issue_code(
            state,
            now=view.now,
            parties=parties(
                view,
                client_id=approval.client_id,
                secret_id=None,
                account_id=approval.account_id,
                asked=approval.asked,
                issuer=issuer,
                with_consent=True,
            ),
            session_id=approval.session_id,
            uri=approval.uri,
            asked=approval.asked,
            resource=approval.resource,
            challenge=approval.challenge,
            code=code,
            lifetimes=lifetimes,
        )

    return Command(f"grant:{ordered_id(at)}", decide)


def deny(account_id: str, client_id: str, scope: tuple[str, ...], count: int, seconds: int) -> Command[consent.State]:
    """The person says no, so many times within so many seconds."""
    return Command(
        consent.stream(account_id, client_id),
        lambda state, view: consent.deny(state, now=view.now, scope=scope, count=count, window_seconds=seconds),
    )


def withdraw(account_id: str, client_id: str, session_id: str) -> Command[consent.State]:
    """The person takes everything back, while they are signed in."""

    def decide(state: consent.State, view: View) -> Outcome | Refusal:
        return consent.withdraw(state, now=view.now) if is_live(view, session_id) else _SIGNED_OUT

    return Command(consent.stream(account_id, client_id), decide)
