"""openid-client of the Node world, which checks more of an answer than any other client: `iss`, types, metadata."""

import json
from pathlib import Path

import pytest

from domain.keys.signing_key import ALGORITHMS
from tests.clients.conftest import CALLBACK, SCOPE, Stage
from tests.clients.program import play
from tests.scenarios.assertions import register_signer
from tests.scenarios.world import Client, World

FLOW, OPENID, REGISTER = ("node", "flow.mjs"), ("node", "openid.mjs"), ("node", "register.mjs")


async def test_the_whole_flow(stage: Stage, openid_client: Path) -> None:
    got = await play(FLOW, openid_client, stage, stage.client)
    assert got["metadata"]["authorization_response_iss_parameter_supported"] is True
    assert got["token"]["token_type"] == "bearer"
    assert set(got["token"]["scope"].split()) == set(SCOPE)
    assert got["refreshed"]["refresh_token"] != got["token"]["refresh_token"]
    assert got["introspected"]["active"] is True
    assert got["introspected"]["sub"] == stage.person.account_id
    assert got["after_access_token"] == {"active": False}
    assert got["after_refresh_token"] == {"active": False}
    assert set(got["own"]["scope"].split()) == set(SCOPE)
    assert got["replay"] == {"error": "invalid_grant", "status": 400}


async def test_the_whole_flow_of_a_public_client(stage: Stage, openid_client: Path) -> None:
    got = await play(FLOW, openid_client, stage, stage.public)
    assert got["refreshed"]["refresh_token"] != got["token"]["refresh_token"]
    assert got["replay"] == {"error": "invalid_grant", "status": 400}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_signing_in(stage: Stage, openid_client: Path, world: World, algorithm: str) -> None:  # noqa: F811
    shop = await world.register_client(
        "Shop", redirect_uris=(CALLBACK,), scope=("openid", "offline_access"), id_token_signed_response_alg=algorithm
    )
    got = await play(OPENID, openid_client, stage, shop, algorithm=algorithm)
    claims, refreshed = got["claims"], got["refreshed"]
    assert claims["sub"] == refreshed["sub"] == stage.person.account_id
    assert claims["auth_time"] == refreshed["auth_time"]
    assert claims["sid"] == refreshed["sid"]
    assert "nonce" not in refreshed
    assert algorithm in got["metadata"]["id_token_signing_alg_values_supported"]


async def test_the_fapi_profile(stage: Stage, openid_client: Path, world: World) -> None:  # noqa: F811
    """What FAPI 2.0 asks of a client: PAR, private_key_jwt and DPoP."""
    signer = await register_signer(
        world,
        grants=("authorization_code", "refresh_token"),
        scope=("openid", "email", "offline_access"),
        redirect_uris=(CALLBACK,),
        dpop_bound_access_tokens=True,
        profile="fapi2",
        id_token_signed_response_alg="ES256",
    )
    client, key = Client(signer.client_id, None, CALLBACK), json.dumps(signer.key.as_dict(private=True))
    got = await play(("node", "fapi.mjs"), openid_client, stage, client, key=key)
    assert "redirect_uri" not in got["address"]
    assert got["token"]["token_type"] == got["refreshed"]["token_type"] == "dpop"
    assert got["claims"]["sub"] == stage.person.account_id
    assert got["person"]["email"] == stage.person.email
    assert got["as_bearer"] == 401
    # FAPI 2.0 Security Profile §5.3.2.1: no rotation.
    assert got["refreshed"]["refresh_token"] == got["token"]["refresh_token"]


class TestRegisteringItself:
    """RFC 7591, and OpenID Connect Core §9 `private_key_jwt`."""

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        return {"registration": "open"}

    async def test_a_key_instead_of_a_secret(self, stage: Stage, openid_client: Path) -> None:
        got = await play(REGISTER, openid_client, stage, stage.client)
        registered = got["metadata"]
        assert registered["client_id"] != stage.client.client_id
        assert registered["token_endpoint_auth_method"] == "private_key_jwt"
        assert "client_secret" not in registered
        assert got["claims"]["sub"] == got["refreshed"]["sub"] == stage.person.account_id
        assert got["claims"]["aud"] == registered["client_id"]
