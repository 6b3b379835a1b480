"""The password grant (RFC 6749 §4.3), performed for first-party dashboards alone (docs/decisions/0002)."""

import msgspec

from api.answers import Scope
from api.credential_memory import Caller
from api.issuing import Tokens, issue
from api.oauth_errors import InvalidGrant, InvalidRequest, InvalidScope, Throttled, UnauthorizedClient
from api.places import away
from api.services import Services, origin
from api.sign_in import WrongCredentials, note_failure, verify
from api.throttling.sign_in import Wait
from domain.grants import password
from domain.grants.facts import Request


async def password_grant(
    here: Services,
    scope: Scope,
    caller: Caller,
    username: str | None,
    secret: str | None,
    request: Request,
) -> Tokens:
    """Tokens for the person of the dashboard's realm whose password it is; raises the OAuth error of a refusal."""
    if caller.client.type != "dashboard":
        raise UnauthorizedClient("The password grant is for first-party dashboards.")
    if not username or not secret:
        raise InvalidRequest("username or password is missing.")
    try:
        with away(scope):
            verified = await verify(here, caller.client.realm, username, secret, origin(scope))
    except WrongCredentials:
        raise InvalidGrant("User name or password is wrong.") from None
    except Wait as wait:
        raise Throttled(retry_after=wait.seconds) from None
    account = verified.account
    request = msgspec.structs.replace(request, password_cutoff=account.password_cutoff)
    try:
        return await issue(here, scope, caller, password.GRANT, request, account.account_id)
    except InvalidScope:
        # The password was right and no guess, so the throttle has nothing against it; a refusal it is all the same.
        await note_failure(here, account.account_id, "invalid_scope", origin(scope))
        raise
