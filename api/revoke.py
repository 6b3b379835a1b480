"""The revocation endpoint (RFC 7009)."""

from api.answers import JSON, Answer, Receive, Scope, answer
from api.bodies import read_parameters
from api.client_authentication import authenticate
from api.oauth_endpoint import endpoint
from api.oauth_errors import InvalidRequest, from_refusal
from api.services import origin, services
from commands import grants
from eventstore.present import tokens
from security.tokens import digest

LONGEST_TOKEN = 1024
DONE = answer(200, b"{}", JSON, {"cache-control": "no-store"})


async def _post(scope: Scope, receive: Receive) -> Answer:
    here = services(scope)
    parameters = await read_parameters(scope, receive, here.settings.body_limit)
    caller = await authenticate(here, scope, parameters, "revocation")
    raw = parameters.get("token")
    if not raw:
        raise InvalidRequest("token is missing.")
    if caller.secret_id is not None:
        here.uses.note(caller.client.client_id, caller.secret_id, "revocation", origin(scope, caller.actor))
    # The hint is not needed: the digest alone finds whatever it is (RFC 7009 §2.1).
    found = await here.ledger.look(tokens.find, digest(raw)) if len(raw) <= LONGEST_TOKEN else None
    if found is None or found.grant_id is None or found.expires_at is None:
        return DONE
    executed = await here.ledger.execute(
        grants.revoke_token(
            found.grant_id,
            kind=found.kind,
            sha256=found.sha256,
            expires_at=found.expires_at,
            by="client",
            client_id=caller.client.client_id,
        ),
        origin=origin(scope, caller.actor, on_device=caller.client.on_device),
    )
    if executed.refusal is not None:
        raise from_refusal(executed.refusal)
    return DONE


revoke = endpoint("/oauth/revoke", _post)
