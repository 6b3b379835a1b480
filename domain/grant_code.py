"""A grant's authorization code (RFC 6749 §4.1.2): its facts and its state. They stand in the grant's stream."""

import msgspec

from domain.event import SECOND, Event, Moment, Recorded


class CodeIssued(Event, frozen=True, kw_only=True):
    """The person approved: an authorization code was issued (RFC 6749 §4.1.2). `lifetime` in seconds.

    `asked` is the requested scope where it differs from the granted one; `redirect_uri_given` tells whether the request
    named the redirect URI, so that the redemption has to repeat it (§4.1.3). `resource` is what it named for the tokens
    to be for (RFC 8707 §2.1); empty where it named nothing.
    """

    type = "grant.code_issued"
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


class CodeRefused(Event, frozen=True, kw_only=True):
    """A redemption of the code was refused and changed nothing, for one of the reasons of `invalid_grant`."""

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


EVENTS: tuple[type[Event], ...] = (CodeIssued, CodeRefused, CodeRedeemed, CodeReplayed)


def issued(event: CodeIssued, recorded: Recorded) -> Code:
    """The code of a `grant.code_issued` event."""
    return Code(
        event.code,
        event.redirect_uri,
        event.redirect_uri_given,
        event.code_challenge,
        recorded.position,
        recorded.time,
        recorded.time + event.lifetime * SECOND,
    )
