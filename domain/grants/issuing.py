"""Issues a grant's first tokens, alike for every grant type but `refresh_token`, to a caller who may use it."""

from collections.abc import Sequence

from domain.client import State, barred, live_secret
from domain.client_secret import SecretVersion
from domain.decision import Outcome, Reason, Refusal, accept, refuse
from domain.event import Event, Moment
from domain.grant import TokensIssued
from domain.grants.facts import Issued, Lifetimes, Minted, Parties, Request
from domain.refusal import InvalidClient, UnauthorizedClient
from domain.role import State as Role
from domain.rules import audience as audiences
from domain.rules import scope as scopes

# The caller: whether the client, as it stands under the lock, may use a grant type with the secret that it showed.


def authenticated(client: State, secret_id: str | None, now: Moment) -> SecretVersion | InvalidClient | None:
    """The secret version that authenticated, None for a public client, or why it fails now (RFC 6749 §3.2.1)."""
    if (client.type == "public") != (secret_id is None):
        return barred(client) or InvalidClient.METHOD
    return barred(client) if secret_id is None else live_secret(client, secret_id, now)


def admitted(client: State, secret_id: str | None, grant_type: str, now: Moment) -> SecretVersion | Reason | None:
    """As `authenticated`, and the client must be registered for the grant type (RFC 6749 §5.2)."""
    found = authenticated(client, secret_id, now)
    if isinstance(found, InvalidClient):
        return found
    return found if grant_type in client.grant_types else UnauthorizedClient.GRANT_TYPE


# Issuing: the event of a grant's first tokens, alike for every grant type but `refresh_token`.


def begin(
    request: Request,
    *,
    grant_type: str,
    parties: Parties,
    secret: SecretVersion | None,
    roles: Sequence[Role] | None,
    minted: Minted,
    lifetimes: Lifetimes,
    refreshable: bool = True,
) -> Outcome:
    """Starts a grant with what was asked for, as far as the client and the person's `roles` allow it."""
    granted = scopes.granted(request.scope, within=parties.client.scope, known=parties.known, roles=roles)
    if isinstance(granted, Reason):
        return refuse(granted, field="scope")
    target = audiences.chosen(request.resource, client=parties.client, issuer=parties.issuer)
    if isinstance(target, Refusal):
        return Outcome((), target)
    return first_tokens(
        grant_type=grant_type,
        parties=parties,
        secret=secret,
        scope=granted,
        audience=target,
        minted=minted,
        lifetimes=lifetimes,
        refreshable=refreshable,
    )


def first_tokens(
    *preceding: Event,
    grant_type: str,
    parties: Parties,
    secret: SecretVersion | None,
    scope: tuple[str, ...],
    audience: tuple[str, ...],
    minted: Minted,
    lifetimes: Lifetimes,
    refreshable: bool = True,
    code: str | None = None,
) -> Outcome:
    """Accepts, with `grant.tokens_issued` as the last event; whoever has the grant `refresh_token` gets one."""
    client, account = parties.client, parties.account
    refresh = minted.refresh if refreshable and "refresh_token" in client.grant_types else None
    lifetime = lifetimes.of_access(client)
    event = TokensIssued(
        grant_type=grant_type,
        client_id=client.client_id,
        account_id=None if account is None else account.account_id,
        scope=" ".join(scope),
        audience=audience,
        secret_id=None if secret is None else secret.secret_id,
        secret_version=None if secret is None else secret.version,
        access_token=minted.access,
        lifetime=lifetime,
        refresh_token=refresh,
        refresh_lifetime=None if refresh is None else lifetimes.of_refresh(client),
        refresh_ends_in=None if refresh is None else lifetimes.refresh_absolute,
        code=code,
    )
    return accept(*preceding, event, result=Issued(scope, lifetime, refresh is not None))
