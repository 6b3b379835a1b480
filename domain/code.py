"""Codes of grants (RFC 6749 §4.1.2, RFC 8628 §3.2): their facts and their state. They stand in the grant's stream."""

import msgspec

from domain import account
from domain.event import SECOND, Event, Moment, Recorded
from domain.session import Authentication

AUTHORIZATION_CODE = "authorization_code"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

CONSENTED = frozenset((AUTHORIZATION_CODE, DEVICE_CODE))
"""The grant types that rest on what the person allowed the client: with their consent, such a grant ends."""


class CodeIssued(Event, frozen=True, kw_only=True):
    """The person approved: an authorization code was issued (RFC 6749 §4.1.2). `lifetime` in seconds.

    `asked` is the requested scope where it differs from the granted one; `redirect_uri_given` tells whether the request
    named the redirect URI, so that the redemption has to repeat it (§4.1.3). `resource` is what it named for the tokens
    to be for (RFC 8707 §2.1); empty where it named nothing. `authentication` tells of the sign-in behind it; `nonce` is
    for the id_token, and `claims` are those that the client wants at userinfo (OpenID Connect Core §3.1.2.1, §5.5).
    `session_ends_at` is when the session is over at the latest.
    `dpop_jkt` is the thumbprint of the key by which alone it can be redeemed (RFC 9449 §10).
    `authorization_details` are those that the person approved (RFC 9396), as JSON.
    """

    type = "grant.code_issued"
    personal = ("claims", "authorization_details")
    client_id: str
    account_id: str
    session_id: str | None = None
    redirect_uri: str
    redirect_uri_given: bool = True
    scope: str
    asked: str | None = None
    resource: tuple[str, ...] = ()
    code_challenge: str | None = None
    code: str
    lifetime: int
    authentication: Authentication | None = None
    nonce: str | None = None
    claims: str | None = None
    session_ends_at: Moment | None = None
    dpop_jkt: str | None = None
    authorization_details: str | None = None

    def subject(self, stream: str) -> str:
        """What a client wants to know of a person may itself tell something of them."""
        return account.stream(self.account_id)


class DetailsGiven(Event, frozen=True, kw_only=True):
    """A client got authorization details for itself (RFC 9396 §6), as JSON, with the tokens of the event before."""

    type = "grant.details_given"
    personal = ("authorization_details",)
    client_id: str
    authorization_details: str


class DeviceRequested(Event, frozen=True, kw_only=True):
    """A client that authenticated asked for a device code (RFC 8628 §3.1). `lifetime` in seconds.

    `code` is the digest of the device code, `asked` the requested scope, null where none was named. Nobody has allowed
    anything yet: a grant begins when a person approves. What a public client asks for is no fact before that.
    """

    type = "grant.device_requested"
    client_id: str
    secret_id: str | None = None
    secret_version: int | None = None
    asked: str | None = None
    resource: tuple[str, ...] = ()
    code: str
    lifetime: int


class DeviceApproved(Event, frozen=True, kw_only=True):
    """The person approved what a device asked for (RFC 8628 §3.3): its code can be redeemed. `lifetime` in seconds.

    The other members are those of `grant.code_issued`.
    """

    type = "grant.device_approved"
    client_id: str
    account_id: str
    session_id: str | None = None
    scope: str
    asked: str | None = None
    resource: tuple[str, ...] = ()
    code: str
    lifetime: int
    authentication: Authentication | None = None


class DeviceDenied(Event, frozen=True, kw_only=True):
    """The person denied what a device asked for (RFC 8628 §3.3): its code will never be redeemed."""

    type = "grant.device_denied"
    in_doubt = True
    client_id: str
    account_id: str
    session_id: str | None = None
    code: str


class CodeRefused(Event, frozen=True, kw_only=True):
    """A redemption of the code was refused and changed nothing, for one of the reasons of `invalid_grant`; or for
    what came with it, which `reason` says by the error that was answered, or the proof that it lacked."""

    type = "grant.code_refused"
    in_doubt = True
    reason: str


class CodeRedeemed(Event, frozen=True, kw_only=True):
    """The code was redeemed; the tokens follow in the next event."""

    type = "grant.code_redeemed"


class CodeReplayed(Event, frozen=True, kw_only=True):
    """The redeemed code was presented again by its client with the right verifier (RFC 6749 §4.1.2)."""

    type = "grant.code_replayed"
    in_doubt = True


class Code(msgspec.Struct, frozen=True):
    """The grant's authorization code."""

    sha256: str
    redirect_uri: str
    redirect_uri_given: bool
    challenge: str | None
    position: int
    issued_at: Moment
    expires_at: Moment
    redeemed: bool = False
    nonce: str | None = None
    dpop_jkt: str | None = None


def issued(event: CodeIssued | DeviceApproved, recorded: Recorded) -> Code:
    """The code of a `grant.code_issued` event, or of the device that a person approved."""
    if isinstance(event, DeviceApproved):
        expires_at = recorded.time + event.lifetime * SECOND
        return Code(event.code, "", False, None, recorded.position, recorded.time, expires_at)
    return Code(
        event.code,
        event.redirect_uri,
        event.redirect_uri_given,
        event.code_challenge,
        recorded.position,
        recorded.time,
        recorded.time + event.lifetime * SECOND,
        nonce=event.nonce,
        dpop_jkt=event.dpop_jkt,
    )
