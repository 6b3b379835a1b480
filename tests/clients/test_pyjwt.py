"""A service that knows the published keys alone, as Kubernetes does: PyJWT verifies id_tokens and asks nobody."""

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from domain.keys.signing_key import ALGORITHMS
from tests import plain_http
from tests.clients.conftest import CALLBACK, Stage
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
