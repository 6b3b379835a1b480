"""The token endpoint (RFC 6749 §3.2): authenticates the client, decides by the grant type, answers after the commit."""

from functools import partial

import msgspec

from api.answers import JSON, Answer, Receive, Scope, raw_headers
from api.bodies import Parameters, read_parameters
from api.client_authentication import for_client
from api.credential_memory import Caller
from api.issuing import Tokens, issue, token_answer
from api.oauth_endpoint import endpoint
from api.oauth_errors import InvalidRequest, UnsupportedGrantType
from api.password_grant import password_grant
from api.services import Services, services
from domain.grants import GRANTS, password
from domain.grants.facts import GrantType, Request
from domain.rules import pkce
from domain.rules import scope as scopes
from security.tokens import digest

FIELDS = raw_headers({"cache-control": "no-store", "pragma": "no-cache", "content-type": JSON}.items())
"""Of every token answer (RFC 6749 §5.1)."""

LONGEST_CREDENTIAL = 1024

_encode = msgspec.json.Encoder().encode


async def _post(scope: Scope, receive: Receive) -> Answer:
    here = services(scope)
    parameters = await read_parameters(scope, receive, here.settings.body_limit)
    grant_type = parameters.get("grant_type")
    if not grant_type:
        raise InvalidRequest("grant_type is missing.")
    grant = GRANTS.get(grant_type)
    issued = await for_client(here, scope, parameters, "token", partial(_issue, here, scope, parameters, grant))
    body = _encode(token_answer(issued, refresh_too=True))
    return Answer(200, (*FIELDS, (b"content-length", b"%d" % len(body))), body)


async def _issue(
    here: Services, scope: Scope, parameters: Parameters, grant: GrantType | None, caller: Caller
) -> Tokens:
    if grant is None:
        raise UnsupportedGrantType()
    request = _request(grant, parameters)
    if grant is not password.GRANT:
        return await issue(here, scope, caller, grant, request)
    name, secret = parameters.get("username"), parameters.get("password")
    return await password_grant(here, scope, caller, name, secret, request)


def _request(grant: GrantType, parameters: Parameters) -> Request:
    presented = None
    if grant.credential is not None:
        raw = parameters.get(grant.credential.parameter)
        if not raw:
            raise InvalidRequest(f"{grant.credential.parameter} is missing.")
        presented = digest(raw).hex() if len(raw) <= LONGEST_CREDENTIAL else "0" * 64
    verifier = parameters.get("code_verifier")
    challenge = None if verifier is None else pkce.transform(verifier)
    return Request(
        scope=scopes.parse(parameters.get("scope")),
        resource=parameters.resource,
        presented=presented,
        redirect_uri=parameters.get("redirect_uri"),
        challenge=challenge,
        own={name: parameters[name] for name in grant.parameters if name in parameters},
    )


token = endpoint("/oauth/token", _post)
