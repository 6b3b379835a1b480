"""Issuing tokens: mints them, decides under the lock, and gives what was issued after the commit."""

from typing import Any, NamedTuple

from api.answers import Scope
from api.credential_memory import Caller
from api.oauth_errors import from_refusal
from api.refused_grants import told
from api.services import Services, origin
from api.throttling.tokens import Counted
from commands import tokens
from domain.event import Actor
from domain.grants.facts import GrantType, Issued, Minted, Request
from security.tokens import Kind, Secret


class Tokens(NamedTuple):
    """What a token request was given. `refresh` is None where the client may have none."""

    issued: Issued
    access: Secret
    refresh: Secret | None


def token_answer(given: Tokens, *, refresh_too: bool) -> dict[str, Any]:
    """The members of a token answer (RFC 6749 §5.1)."""
    members = {
        "access_token": given.access.reveal(),
        "token_type": "Bearer",
        "expires_in": given.issued.expires_in,
        "scope": " ".join(given.issued.scope),
    }
    if refresh_too and given.refresh is not None:
        members["refresh_token"] = given.refresh.reveal()
    return members


async def issue(
    here: Services, scope: Scope, caller: Caller, grant: GrantType, request: Request, account_id: str | None = None
) -> Tokens:
    """Carries out a token request. `account_id` is the person whose password was verified, for the password grant.

    Raises the OAuth error of a refusal, whose events are committed all the same.
    """
    client, goes_on = caller.client, grant.credential is not None and not grant.credential.of_another
    actor = caller.actor if account_id is None else _person(account_id, caller)
    access = here.format.mint(Kind.ACCESS_TOKEN)
    refresh = here.format.mint(Kind.REFRESH_TOKEN) if goes_on or "refresh_token" in client.grant_types else None
    counted = Counted(here, caller)
    if not goes_on and account_id is None:
        await counted.for_itself(origin(scope, actor))
    command = tokens.issue(
        grant,
        request,
        Minted(access.hex, None if refresh is None else refresh.hex),
        client_id=client.client_id,
        secret_id=caller.secret_id,
        account_id=account_id,
        at=here.ledger.clock.now(),
        issuer=here.settings.issuer,
        lifetimes=here.lifetimes,
        admit_person=counted.for_person,
    )
    with counted:
        executed = await here.ledger.execute(command, origin=origin(scope, actor, on_device=client.on_device))
        if executed.refusal is not None:
            if caller.secret_id is None:
                raise from_refusal(executed.refusal)
            raise told(executed.refusal, request, grant.credential, client.scope)
    issued: Issued = executed.outcomes[-1].result
    return Tokens(issued, access, refresh if issued.refresh else None)


def _person(account_id: str, caller: Caller) -> Actor:
    """A person who signs in through a dashboard: they act with their password, the dashboard with its secret."""
    credential = {"client_id": caller.client.client_id}
    if caller.secret_id is not None:
        credential["secret_id"] = caller.secret_id
    return Actor("person", account_id, credential)
