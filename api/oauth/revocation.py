"""The revocation endpoint (RFC 7009)."""

from api.http.bodies import read_parameters
from api.http.errors import InvalidRequest, oauth_error
from api.http.request_context import Receive, Scope
from api.http.responses import JSON, RawResponse, raw_response
from api.oauth.client_authentication import authenticate, endpoint
from api.services import Services, origin
from commands import grants
from eventstore import issued
from security import jose
from security.tokens import digest

LONGEST_TOKEN = jose.LONGEST_TOKEN
DONE = raw_response(200, b"{}", JSON, {"cache-control": "no-store"})


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    parameters = await read_parameters(scope, receive, services.settings.body_limit)
    caller = await authenticate(services, scope, parameters, "revocation")
    raw = parameters.get("token")
    if not raw:
        raise InvalidRequest("token is missing.")
    if caller.secret_id is not None:
        services.uses.note(caller.client.client_id, caller.secret_id, "revocation", origin(scope, caller.actor))
    # The hint is not needed: the digest alone finds whatever it is (RFC 7009 §2.1).
    found = await services.ledger.look(issued.find_token, digest(raw)) if len(raw) <= LONGEST_TOKEN else None
    if found is None or found.grant_id is None or found.expires_at is None:
        return DONE
    executed = await services.ledger.execute(
        grants.revoke_token(
            found.grant_id,
            kind=found.kind,
            sha256=found.sha256,
            expires_at=found.expires_at,
            by="client",
            client_id=caller.client.client_id,
            issued_to=found.client_id,
        ),
        origin=origin(scope, caller.actor, on_device=caller.client.on_device),
    )
    if executed.refusal is not None:
        raise oauth_error(executed.refusal)
    return DONE


revoke = endpoint("/oauth/revoke", _post)
