"""The device authorization endpoint (RFC 8628 §3.1): a device gets a code to keep and one for a person to type."""

from functools import partial
from typing import Any

import msgspec

from api.http import errors
from api.http.bodies import Parameters, read_parameters
from api.http.credential_cache import Caller
from api.http.request_context import Receive, Scope
from api.http.responses import RawResponse
from api.oauth import authorization_details
from api.oauth.client_authentication import endpoint, for_client
from api.oauth.token import FIELDS
from api.services import Services, origin
from api.throttling.admission import admit
from commands import devices
from domain import scope as scopes
from domain.event import SECOND, Recorded
from domain.grants import device_code
from domain.grants.device_code import DeviceRequest
from domain.rules.authorization_details import PARAMETER
from eventstore.view import View
from security import user_codes
from security.tokens import Kind, Secret, ordered_id

PATH = "/oauth/device_authorization"
VERIFICATION = "/device"
"""Where a person types the code."""

DRAWN = 4
"""User codes of which one is surely free."""

_encode = msgspec.json.Encoder().encode


async def _post(services: Services, scope: Scope, receive: Receive) -> RawResponse:
    admit(services.throttle, scope, "device")
    parameters = await read_parameters(scope, receive, services.settings.body_limit)
    work = partial(_begin, services, scope, parameters)
    body = _encode(await for_client(services, scope, parameters, "other", work))
    return RawResponse(200, (*FIELDS, (b"content-length", b"%d" % len(body))), body)


async def _begin(services: Services, scope: Scope, parameters: Parameters, caller: Caller) -> dict[str, Any]:
    """Admits a device's request and tells it its codes."""
    authorization_details.refuse(parameters.get(PARAMETER))
    code = services.format.mint(Kind.DEVICE_CODE)
    by = origin(scope, caller.actor, on_device=caller.client.on_device)
    now = services.ledger.clock.now()
    request = DeviceRequest(
        grant_id=ordered_id(now),
        client_id=caller.client.client_id,
        asked=scopes.parse(parameters.get("scope")),
        resource=tuple(dict.fromkeys(parameters.resource)),
        code=code.hex,
        requested_at=now,
        expires_at=now + device_code.LIFETIME * SECOND,
        address=by.ip,
        user_agent=by.user_agent,
    )
    drawn = [user_codes.draw() for _ in range(DRAWN)]
    anonymous = caller.client.type == "public"

    def keep(view: View, _: tuple[Recorded, ...]) -> str:
        digests = ((each, user_codes.keyed_digest(services.keyring, each)) for each in drawn)
        vault = services.ledger.vault
        return next(each for each, digest in digests if devices.keep(view, vault, request, digest, anonymous=anonymous))

    asking = devices.ask(request, secret_id=caller.secret_id, key_id=caller.key_id, issuer=services.settings.issuer)
    executed = await services.ledger.execute(asking, origin=by, then=keep)
    if executed.refusal is not None or executed.value is None:
        raise errors.ServerError() if executed.refusal is None else errors.oauth_error(executed.refusal)
    return _answer(services.settings.issuer, code, executed.value)


def _answer(issuer: str, code: Secret, user_code: str) -> dict[str, Any]:
    """RFC 8628 §3.2."""
    shown = user_codes.shown(user_code)
    return {
        "device_code": code.reveal(),
        "user_code": shown,
        "verification_uri": issuer + VERIFICATION,
        "verification_uri_complete": f"{issuer}{VERIFICATION}?user_code={shown}",
        "expires_in": device_code.LIFETIME,
        "interval": device_code.INTERVAL,
    }


device_authorization = endpoint(PATH, _post)
