"""What a grant type states of itself, and what its decisions are given: the request, who stands behind it, the minted
digests, the lifetimes.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from domain.account import State as Account
from domain.client import State as Client
from domain.consent import State as Consent
from domain.decision import Outcome
from domain.event import Moment
from domain.grant import State as Grant
from domain.role import State as Role
from domain.rules import validity

DAY = 86_400
GRACE_MAXIMUM = 30
"""Seconds. A longer window would let a stolen refresh token pass for a lost answer."""


class Request(msgspec.Struct, frozen=True):
    """A token request as parsed (RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6).

    `scope` is None when it was omitted, `resource` empty (RFC 8707 §2.2). `presented` is the hex digest of the code or
    refresh token, `challenge` the presented PKCE verifier after `pkce.transform`; neither secret comes this far.
    `password_cutoff` is the account's cut-off of that name when the password was verified. `own` holds those of the
    grant type's own parameters that were sent.
    """

    scope: tuple[str, ...] | None = None
    resource: tuple[str, ...] = ()
    presented: str | None = None
    redirect_uri: str | None = None
    challenge: str | None = None
    password_cutoff: int = 0
    own: Mapping[str, str] = {}


class Subject(msgspec.Struct, frozen=True):
    """A token of another grant that a request presents (RFC 8693 §2.1): how it stands, whose it is, what it allows."""

    standing: validity.Standing
    client_id: str
    account_id: str | None
    scope: tuple[str, ...]


class Parties(msgspec.Struct, frozen=True):
    """Who stands behind a request, as the log says under the lock.

    `secret_id` is the secret version that authenticated the client before the lock; None for a public client. `known`
    holds those names of the client's and the requested scope that exist. `roles` are the account's. `issuer` is this
    server, as a token's audience names it. `subject` is the presented token of another grant, if any.
    """

    client: Client
    secret_id: str | None = None
    account: Account | None = None
    consent: Consent | None = None
    roles: tuple[Role, ...] = ()
    known: frozenset[str] = frozenset()
    issuer: str = ""
    subject: Subject | None = None


class Minted(msgspec.Struct, frozen=True):
    """Hex digests of new tokens. The refresh token is used only if the client may have one."""

    access: str
    refresh: str | None = None


class Lifetimes(msgspec.Struct, frozen=True):
    """The server's lifetimes in seconds; a client's own, where it has them, go before `access` and `refresh_idle`."""

    code: int = 60
    access: int = 600
    refresh_idle: int = 30 * DAY
    refresh_absolute: int = 90 * DAY
    grace: int = 0
    dashboard_grace: int = 10

    def of_access(self, owner: Client) -> int:
        """How long an access token of this client lives."""
        return self.access if owner.access_token_lifetime is None else owner.access_token_lifetime

    def of_refresh(self, owner: Client) -> int:
        """How long a refresh token of this client lives unused."""
        idle = self.refresh_idle if owner.refresh_token_lifetime is None else owner.refresh_token_lifetime
        return min(idle, self.refresh_absolute)

    def of_grace(self, owner: Client) -> int:
        """How long a used refresh token of this client is accepted again while nobody has used its successor."""
        return min(self.dashboard_grace if owner.type == "dashboard" else self.grace, GRACE_MAXIMUM)


class Issued(msgspec.Struct, frozen=True):
    """The outcome's result, for the token answer (RFC 6749 §5.1); `refresh` says whether the minted one was given."""

    scope: tuple[str, ...]
    expires_in: int
    refresh: bool


class Credential(msgspec.Struct, frozen=True):
    """The code or token that every request of a grant type presents.

    The request carries it as `parameter`; it was stored as a `kind` when it was issued, and nothing stored as another
    kind is accepted in its place; `noun` is what refusals call it. The request goes on with the grant that the
    credential belongs to; with a credential `of_another` grant it starts one of its own.
    """

    parameter: str
    kind: validity.Kind
    noun: str
    of_another: bool = False


class Issue(Protocol):
    """Decides a token request: `state` is the grant that it goes on with, or the initial one where it starts one."""

    def __call__(
        self, state: Grant, *, now: Moment, request: Request, parties: Parties, minted: Minted, lifetimes: Lifetimes
    ) -> Outcome: ...


class GrantType(msgspec.Struct, frozen=True, kw_only=True):
    """A grant type: what is asked of it anywhere follows from here.

    `response_types` lead to it by the authorization endpoint, which needs redirect URIs. `parameters` are a request's
    own ones besides those of RFC 6749 §4: name and meaning. `granted` ends the sentence "The first tokens were issued
    …". It may be for `confidential` clients only, or for `first_party` dashboards, and then nobody registers it.
    """

    grant_type: str
    issue: Issue
    granted: str
    response_types: tuple[str, ...] = ()
    credential: Credential | None = None
    parameters: Mapping[str, str] = {}
    confidential: bool = False
    first_party: bool = False
