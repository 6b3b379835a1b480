"""Authlib's OAuth 2.0 client, put together with httpx as any application would, and its OpenID Connect client."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from joserfc.errors import InvalidClaimError

from tests import plain_http
from tests.clients.conftest import CALLBACK, RESOURCES, SCOPE, Stage
from tests.scenarios.assertions import register_signer
from tests.scenarios.world import World


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with plain_http.client() as opened:
        yield opened


def discover(http: httpx.Client, issuer: str) -> dict[str, Any]:
    """The metadata, by Authlib's own reading of RFC 8414, which wants https everywhere."""
    found: dict[str, Any] = http.get(get_well_known_url(issuer, external=True)).json()
    assert found["issuer"] == issuer
    AuthorizationServerMetadata(
        {name: value.replace("http:", "https:") if isinstance(value, str) else value for name, value in found.items()}
    ).validate()
    return found


def authlib(http: httpx.Client, stage: Stage) -> Any:
    return OAuth2Client(
        http,
        client_id=stage.client.client_id,
        redirect_uri=CALLBACK,
        scope=" ".join(SCOPE),
        code_challenge_method="S256",
    )


async def test_the_whole_flow(stage: Stage, http: httpx.Client) -> None:
    metadata = discover(http, stage.issuer)
    client, basic = authlib(http, stage), httpx.BasicAuth(*stage.client.auth)
    verifier = generate_token(64)
    address, state = client.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    response = await stage.approve(address)

    token_endpoint = metadata["token_endpoint"]
    token = dict(
        client.fetch_token(
            token_endpoint, authorization_response=response, state=state, code_verifier=verifier, auth=basic
        )
    )
    assert token["token_type"] == "Bearer"
    assert set(token["scope"].split()) == set(SCOPE)

    refreshed = dict(client.refresh_token(token_endpoint, token["refresh_token"], auth=basic))
    assert refreshed["access_token"] != token["access_token"]
    assert refreshed["refresh_token"] != token["refresh_token"]

    asked = client.introspect_token(metadata["introspection_endpoint"], refreshed["access_token"], auth=basic).json()
    assert asked["active"] is True
    assert asked["username"] == stage.person.username
    assert asked["client_id"] == stage.client.client_id

    revocation = metadata["revocation_endpoint"]
    assert client.revoke_token(revocation, refreshed["refresh_token"], auth=basic).status_code == 200
    assert not await stage.is_active(refreshed["access_token"])
    assert not await stage.is_active(token["access_token"])


async def test_client_credentials(stage: Stage, http: httpx.Client) -> None:
    metadata = discover(http, stage.issuer)
    client = authlib(http, stage)
    token = client.fetch_token(
        metadata["token_endpoint"], grant_type="client_credentials", auth=httpx.BasicAuth(*stage.client.auth)
    )
    assert await stage.is_active(token["access_token"])
    assert "refresh_token" not in token or token["refresh_token"]


async def test_it_gets_a_token_for_each_resource_that_it_names(stage: Stage, http: httpx.Client) -> None:
    """RFC 8707 §2: both at the authorization, one with the code, the other by refreshing."""
    metadata = discover(http, stage.issuer)
    client, basic = authlib(http, stage), httpx.BasicAuth(*stage.client.auth)
    verifier = generate_token(64)
    address, state = client.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, resource=list(RESOURCES)
    )
    response = await stage.approve(address)
    token_endpoint, introspection = metadata["token_endpoint"], metadata["introspection_endpoint"]
    token = client.fetch_token(
        token_endpoint,
        authorization_response=response,
        state=state,
        code_verifier=verifier,
        auth=basic,
        resource=RESOURCES[0],
    )
    other = client.refresh_token(token_endpoint, token["refresh_token"], auth=basic, resource=RESOURCES[1])
    for issued, resource in ((token["access_token"], RESOURCES[0]), (other["access_token"], RESOURCES[1])):
        assert client.introspect_token(introspection, issued, auth=basic).json()["aud"] == resource
    with pytest.raises(AuthlibBaseError) as refused:
        client.refresh_token(token_endpoint, other["refresh_token"], auth=basic, resource="https://else.example")
    assert refused.value.error == "invalid_target"


async def test_it_understands_a_refusal(stage: Stage, http: httpx.Client) -> None:
    metadata = discover(http, stage.issuer)
    client = authlib(http, stage)
    with pytest.raises(AuthlibBaseError) as refused:
        client.fetch_token(
            metadata["token_endpoint"], code="no-code", code_verifier="x" * 43, auth=httpx.BasicAuth(*stage.client.auth)
        )
    assert refused.value.error == "invalid_grant"


class OpenIdApplication(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]
    """Authlib's integration without a web framework: it finds everything by the discovery document."""

    client_cls = OAuth2Session


async def test_signing_in(stage: Stage) -> None:
    application = OpenIdApplication(
        None,
        client_id=stage.shop.client_id,
        client_secret=stage.shop.secret,
        server_metadata_url=f"{stage.issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email", "code_challenge_method": "S256"},
    )
    begun = application.create_authorization_url(CALLBACK)
    response = await stage.approve(begun["url"])
    token = application.fetch_access_token(
        CALLBACK, authorization_response=response, state=begun["state"], code_verifier=begun["code_verifier"]
    )
    claims = application.parse_id_token(token, begun["nonce"])
    person = application.userinfo(token=token)
    assert claims["sub"] == person["sub"] == stage.person.account_id
    assert person["email"] == stage.person.email
    with pytest.raises(InvalidClaimError):
        application.parse_id_token(token, "another nonce")


async def test_a_key_instead_of_a_secret(stage: Stage, world: World, http: httpx.Client) -> None:  # noqa: F811
    """OpenID Connect Core §9, `private_key_jwt`, with the assertion as Authlib makes it."""
    signer = await register_signer(world, algorithm="ES256")
    client_id, key, issuer, server = signer.client_id, signer.key, stage.issuer, discover(http, stage.issuer)
    session = OAuth2Session(client_id, key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(issuer, alg="ES256"))
    token = session.fetch_token(server["token_endpoint"], grant_type="client_credentials")
    assert token["scope"] == "orders"
