"""Devices (RFC 8628): what they ask for, what a person decides about it, and what they are told meanwhile."""

import msgspec

from commands.grants import parties, suspended
from commands.people import session_is_live
from domain import client, consent, grant, session
from domain.decision import AccessDenied, ExpiredToken, Outcome, Refusal, Unavailable
from domain.grants import device_code
from domain.grants.device_code import DeviceRequest
from domain.grants.grant_type import Parties
from eventstore.command import Command
from eventstore.pending import device_requests
from eventstore.view import View
from security.vault import Vault

_FULL = Refusal(Unavailable.FULL, "Too many devices wait for an answer.")
_SIGNED_OUT = Refusal(AccessDenied.ACCOUNT)
_FORGOTTEN = Refusal(ExpiredToken.UNANSWERED)


def ask(
    request: DeviceRequest, *, secret_id: str | None, key_id: str | None = None, issuer: str
) -> Command[grant.State]:
    """A device's request, of a client that authenticated with this secret version or key; a public one with neither."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        if secret_id is None and key_id is None and device_requests.is_full(view.connection, view.now):
            return _FULL
        asking = parties(
            view,
            client_id=request.client_id,
            secret_id=secret_id,
            key_id=key_id,
            account_id=None,
            asked=request.asked,
            issuer=issuer,
        )
        return suspended(view) or device_code.ask(state, now=view.now, request=request, parties=asking)

    return Command(f"grant:{request.grant_id}", decide, starts=True)


def keep(view: View, vault: Vault, request: DeviceRequest, user_code: bytes, *, anonymous: bool) -> bool:
    """Keeps what was admitted, within its transaction; False where another device shows this very user code."""
    if device_requests.is_taken(view.connection, user_code):
        return False
    device_requests.put(view.connection, vault, request, user_code, anonymous=anonymous)
    return True


class DeviceDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides about a device, in which session."""

    request: DeviceRequest
    account_id: str
    session_id: str
    issuer: str


def give_consent(deciding: DeviceDecision, scope: tuple[str, ...]) -> Command[consent.State]:
    """The person allows what they were shown."""
    request = deciding.request

    def decide(state: consent.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, deciding.session_id):
            return _SIGNED_OUT
        asking: client.State = view.state(client.stream(request.client_id))
        within, registered = asking.scope, asking.redirect_uris
        return consent.give(state, now=view.now, scope=scope, redirect_uri=None, within=within, registered=registered)

    return Command(consent.stream(deciding.account_id, request.client_id), decide)


def approve(deciding: DeviceDecision) -> Command[grant.State]:
    """A grant begins, for what the person's consent covers."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, deciding.session_id):
            return _SIGNED_OUT
        if not device_requests.waits(view.connection, deciding.request.code):
            # Somebody reported the code between the look and the lock.
            return _FORGOTTEN
        signed_in: session.State = view.state(session.stream(deciding.session_id))
        return suspended(view) or device_code.approve(
            state,
            now=view.now,
            request=deciding.request,
            parties=_parties(view, deciding),
            session_id=deciding.session_id,
            authentication=session.authentication(signed_in),
        )

    return Command(f"grant:{deciding.request.grant_id}", decide)


def deny(deciding: DeviceDecision) -> Command[grant.State]:
    """The person says no."""

    def decide(state: grant.State, view: View) -> Outcome | Refusal:
        if not session_is_live(view, deciding.session_id):
            return _SIGNED_OUT
        return device_code.deny(
            state,
            now=view.now,
            request=deciding.request,
            parties=_parties(view, deciding),
            session_id=deciding.session_id,
        )

    return Command(f"grant:{deciding.request.grant_id}", decide)


def _parties(view: View, deciding: DeviceDecision) -> Parties:
    request = deciding.request
    return parties(
        view,
        client_id=request.client_id,
        secret_id=None,
        account_id=deciding.account_id,
        asked=request.asked,
        issuer=deciding.issuer,
        with_consent=True,
        signs_in=True,
    )
