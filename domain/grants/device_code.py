"""The device grant (RFC 8628): a device without a browser asks, a person approves elsewhere, the device fetches."""

from collections.abc import Container, Sequence

import msgspec

from domain import account, client, consent, grant, scope
from domain.decision import (
    AccessDenied,
    AuthorizationPending,
    Conflict,
    ExpiredToken,
    InvalidGrant,
    InvalidScope,
    Outcome,
    PersonDenied,
    Reason,
    SlowDown,
    accept,
    refuse,
)
from domain.event import SECOND, Moment
from domain.grant import CodeRefused, DeviceApproved, DeviceDenied, DeviceRequested
from domain.grants.grant_type import (
    Credential,
    GrantType,
    Lifetimes,
    Minted,
    Parties,
    TokenRequest,
    admitted,
)
from domain.grants.redemption import redeem
from domain.grants.refused_credential import refuse_client, refuse_code, told
from domain.role import State as Role
from domain.rules import administrative_scope, audience, built_in_scope
from domain.session import Authentication

GRANT_TYPE = grant.DEVICE_CODE

LIFETIME = 600
"""Seconds in which a person has to approve (§3.2 `expires_in`)."""

INTERVAL = 5
"""Seconds between two questions of a device (§3.2), and by so many more after each that came too soon (§3.5)."""

INTERVAL_MAXIMUM = 60

EARLY: Moment = SECOND // 2
"""So much earlier may a question come: what waited on its way makes the next one look hasty."""

LEAST_LIFETIME = 60
"""Seconds that a device has at least to fetch what was approved in the last moment."""


class DeviceRequest(msgspec.Struct, frozen=True):
    """What a device asks for, before anybody has decided.

    `code` is the digest of its code in hex. `address` and `user_agent` are the device's, for the person to see; `asked`
    is the scope, None where none was named. `denied` says that somebody said no.
    """

    grant_id: str
    client_id: str
    asked: tuple[str, ...] | None
    resource: tuple[str, ...]
    code: str
    requested_at: Moment
    expires_at: Moment
    address: str | None = None
    user_agent: str | None = None
    denied: bool = False


class Pace(msgspec.Struct, frozen=True):
    """How often a device asks: when it did last, None for never, and how many seconds it has to wait between."""

    asked_at: Moment | None = None
    interval: int = INTERVAL

    def is_kept(self, now: Moment) -> bool:
        """Whether a question at this moment is not too soon."""
        return self.asked_at is None or now - self.asked_at >= self.interval * SECOND - EARLY

    def after(self, now: Moment) -> "Pace":
        """The pace after a question at this moment: slower, if it came too soon (§3.5)."""
        slower = 0 if self.is_kept(now) else INTERVAL
        return Pace(now, min(self.interval + slower, INTERVAL_MAXIMUM))


def within(asking: client.State) -> tuple[str, ...]:
    """What of a client's scope a device can have: anyone who holds it may be anybody, so nothing that administers."""
    return tuple(
        name
        for name in built_in_scope.within(asking.scope, dashboard=False)
        if not administrative_scope.is_administrative(name)
    )


def ask(state: grant.State, *, now: Moment, request: DeviceRequest, parties: Parties) -> Outcome:
    """Admits the request of a client that may use this grant (§3.1); a fact if the client authenticated."""
    if state.exists or state.client_id:
        return refuse(Conflict.EXISTS)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse(secret)
    refused = scope.requested(request.asked, within=within(parties.client), known=parties.known)
    if refused is not None:
        return refuse(refused, field="scope")
    if foreign := audience.requested(request.resource, client=parties.client, issuer=parties.issuer):
        return Outcome((), foreign)
    if parties.client.type == "public":
        return accept()
    return accept(
        DeviceRequested(
            client_id=request.client_id,
            secret_id=None if secret is None else secret.secret_id,
            secret_version=None if secret is None else secret.version,
            asked=None if request.asked is None else " ".join(request.asked),
            resource=request.resource,
            code=request.code,
            lifetime=(request.expires_at - now) // SECOND,
        )
    )


def waiting(request: DeviceRequest, pace: Pace, *, now: Moment, client_id: str) -> Reason:
    """What a device is told that asks before a person has approved (§3.5)."""
    if client_id != request.client_id:
        return InvalidGrant.FOREIGN_CLIENT
    if request.denied:
        return PersonDenied.DENIED
    if now >= request.expires_at:
        return ExpiredToken.UNANSWERED
    return AuthorizationPending.UNDECIDED if pace.is_kept(now) else SlowDown.TOO_SOON


def grantable(
    request: DeviceRequest, *, asking: client.State, known: Container[str], roles: Sequence[Role]
) -> tuple[str, ...] | InvalidScope:
    """What the device would get from the person with these roles."""
    return scope.granted(request.asked, within=within(asking), known=known, roles=roles)


def approve(
    state: grant.State,
    *,
    now: Moment,
    request: DeviceRequest,
    parties: Parties,
    session_id: str,
    authentication: Authentication,
) -> Outcome:
    """Starts a grant whose code the device holds already (§3.3). The consent must cover what is granted."""
    person = _deciding(state, now, request, parties)
    if isinstance(person, Reason):
        return refuse(person)
    granted = grantable(request, asking=parties.client, known=parties.known, roles=parties.roles)
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    if parties.consent is None or not consent.covers(parties.consent, granted, None):
        return refuse(AccessDenied.CONSENT)
    if lacking := parties.policy.lacking(person.factors, authentication.amr, granted):
        return refuse(lacking)
    if refused := audience.requested(request.resource, client=parties.client, issuer=parties.issuer):
        return Outcome((), refused)
    return accept(
        DeviceApproved(
            client_id=request.client_id,
            account_id=person.account_id,
            session_id=session_id,
            scope=" ".join(granted),
            asked=None if request.asked in (None, granted) else " ".join(request.asked or ()),
            resource=request.resource,
            code=request.code,
            lifetime=max((request.expires_at - now) // SECOND, LEAST_LIFETIME),
            authentication=authentication,
        )
    )


def deny(state: grant.State, *, now: Moment, request: DeviceRequest, parties: Parties, session_id: str) -> Outcome:
    """Says no to the device for good (§3.3)."""
    person = _deciding(state, now, request, parties)
    if isinstance(person, Reason):
        return refuse(person)
    return accept(
        DeviceDenied(
            client_id=request.client_id, account_id=person.account_id, session_id=session_id, code=request.code
        )
    )


def _deciding(state: grant.State, now: Moment, request: DeviceRequest, parties: Parties) -> account.State | Reason:
    """The person, if there is something for them to decide about."""
    if state.exists or state.ended_at is not None:
        return Conflict.ENDED
    if now >= request.expires_at or request.denied:
        return ExpiredToken.UNANSWERED
    barred = client.barred(parties.client)
    if barred is not None:
        return barred
    person = parties.account
    if person is None or not person.exists or not person.enabled or person.erased:
        return AccessDenied.ACCOUNT
    return person if person.realm == parties.client.realm else AccessDenied.ACCOUNT


def issue(
    state: grant.State, *, now: Moment, request: TokenRequest, parties: Parties, minted: Minted, lifetimes: Lifetimes
) -> Outcome:
    """Redeems the code of a device that a person approved (§3.4)."""
    code = state.code
    if code is None or state.grant_type != GRANT_TYPE:
        return refuse(InvalidGrant.UNKNOWN)
    secret = admitted(parties, GRANT_TYPE, now)
    if isinstance(secret, Reason):
        return refuse_client(state, secret, parties.client.client_id, CodeRefused)
    if parties.client.client_id != state.client_id:
        return refuse_code(state, InvalidGrant.FOREIGN_CLIENT)
    redeemed = redeem(
        state,
        code,
        grant_type=GRANT_TYPE,
        now=now,
        request=request,
        parties=parties,
        secret=secret,
        minted=minted,
        lifetimes=lifetimes,
    )
    return told(state, redeemed, CodeRefused)


GRANT = GrantType(
    grant_type=GRANT_TYPE,
    issue=issue,
    granted="to the device that the person approved",
    credential=Credential("device_code", "code", "device code", awaited=True),
)
