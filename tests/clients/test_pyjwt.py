"""Services that know the published keys alone: PyJWT verifies id_tokens and access tokens, and asks nobody."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from domain.keys.signing_key import ALGORITHMS
from tests import plain_http
from tests.clients.conftest import CALLBACK, RESOURCES, Stage
from tests.scenarios.asking import CHALLENGE, VERIFIER
from tests.scenarios.world import World

jwt = pytest.importorskip("jwt", reason="PyJWT is not installed: make dev")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_id_token_is_believed_offline(stage: Stage, world: World, algorithm: str) -> None:  # noqa: F811
    client = await world.register_client(
        redirect_uris=(CALLBACK,), scope=("openid",), id_token_signed_response_alg=algorithm
    )
    async with plain_http.caller(stage.issuer) as caller:
        server = (await caller.get("/.well-known/openid-configuration")).json()
        asked = {"client_id": client.client_id, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid"}
        asked |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        response = await stage.approve(f"{server['authorization_endpoint']}?{urlencode(asked)}")
        code = dict(parse_qsl(urlsplit(response).query))["code"]
        data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        token = (await caller.post(server["token_endpoint"], data=data, auth=client.auth)).json()["id_token"]
    keys = jwt.PyJWKClient(server["jwks_uri"])
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=[algorithm], audience=client.client_id, issuer=server["issuer"])
    assert claims["sub"] == stage.person.account_id
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, algorithms=[algorithm], audience="another", issuer=server["issuer"])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{token[:-8]}AAAAAAAA", key, algorithms=[algorithm], audience=client.client_id)


CLAIMS = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]
"""What RFC 9068 §2.2 has in every access token."""


async def test_an_access_token_is_believed_offline(stage: Stage, world: World) -> None:  # noqa: F811
    attributes: dict[str, Any] = {"access_token_format": "jwt"}
    client = await world.register_client(
        grant_types=("client_credentials",), scope=("orders",), resources=RESOURCES, **attributes
    )
    async with plain_http.caller(stage.issuer) as caller:
        server = (await caller.get("/.well-known/oauth-authorization-server")).json()
        data = {"grant_type": "client_credentials", "resource": RESOURCES[0]}
        token = (await caller.post("/oauth/token", data=data, auth=client.auth)).json()["access_token"]
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    key = jwt.PyJWKClient(server["jwks_uri"]).get_signing_key_from_jwt(token)
    expected: dict[str, Any] = {"algorithms": ["RS256"], "issuer": server["issuer"], "options": {"require": CLAIMS}}
    claims = jwt.decode(token, key, audience=RESOURCES[0], **expected)
    assert (claims["client_id"], claims["scope"]) == (client.client_id, "orders")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, audience=RESOURCES[1], **expected)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{token[:-8]}AAAAAAAA", key, audience=RESOURCES[0], **expected)
