"""An exchange of tokens (RFC 8693), as a fact of the grant whose token was exchanged: the new token is part of it.

So it ends with the grant, and with whatever ends any token of it; anyone who asks what came of the grant finds it.
"""

import msgspec

from domain.event import Event, Moment

ACTORS_MAXIMUM = 4
"""So many may have acted one for the other (§4.1); nobody follows a longer chain."""

EXCHANGES_MAXIMUM = 8
"""So many exchanges may have led to a token: its event names every one of them, and anyone who looks at it judges
each."""


class LoneToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a grant was that is one access token and nothing more: where it began, and what was issued.

    Most grants of a busy server are that, and read models have nothing of them but the token. The first event that
    makes more of such a grant tells this once more, so that they need not look for it.
    """

    position: int
    client_id: str
    secret_id: str | None = None
    scope: str
    issued_at: Moment
    expires_at: Moment


class Through(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client whose token was exchanged, the secret version that had authenticated it, and the token's digest: the
    ends of all three count too."""

    client_id: str
    secret_id: str | None = None
    token: str | None = None


class Exchanged(Event, frozen=True, kw_only=True):
    """A client exchanged a token of this grant for one of its own (RFC 8693). `lifetime` in seconds.

    `subject_token` is the digest of the exchanged one, `through` tells the clients that had tokens of the grant before,
    the first one first. `act` names who acts for the person or client that the token is about, the present one first.
    `audience` is what the access token is for; empty where that is this server alone. It is bound to the key
    with the thumbprint `dpop_jkt`. `lone` is what the grant was, where it was one access token until now.
    """

    type = "grant.exchanged"
    client_id: str
    account_id: str | None = None
    scope: str
    audience: tuple[str, ...] = ()
    act: tuple[str, ...] = ()
    through: tuple[Through, ...] = ()
    secret_id: str | None = None
    secret_version: int | None = None
    subject_token: str
    access_token: str
    lifetime: int
    dpop_jkt: str | None = None
    x5t_s256: str | None = None
    signing_key: str | None = None
    details: tuple[int, ...] = ()
    lone: LoneToken | None = None
