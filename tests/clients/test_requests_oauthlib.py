"""requests-oauthlib, over oauthlib, as its documentation puts the two together."""

from typing import Any, Literal

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError, WebApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.clients.conftest import CALLBACK, SCOPE, Stage

TIMEOUT = 60


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library insists on https, which a server on loopback does not have."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def discover(issuer: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=TIMEOUT).json()
    assert found["issuer"] == issuer
    return found


def revoke(
    url: str, token: str, kind: Literal["access_token", "refresh_token"], auth: HTTPBasicAuth
) -> requests.Response:
    """RFC 7009 §2.1, as oauthlib writes it."""
    client = WebApplicationClient("")
    _, headers, body = client.prepare_token_revocation_request(url, token, token_type_hint=kind)
    return requests.post(url, data=body, headers=headers, auth=auth, timeout=TIMEOUT)


async def test_the_whole_flow(stage: Stage) -> None:
    metadata = discover(stage.issuer)
    session = OAuth2Session(stage.client.client_id, redirect_uri=CALLBACK, scope=list(SCOPE), pkce="S256")
    address, _ = session.authorization_url(metadata["authorization_endpoint"])
    response = await stage.approve(address)

    basic = HTTPBasicAuth(*stage.client.auth)
    token = session.fetch_token(
        metadata["token_endpoint"],
        authorization_response=response,
        client_secret=stage.client.secret,
        timeout=TIMEOUT,
    )
    refreshed = session.refresh_token(metadata["token_endpoint"], auth=basic, timeout=TIMEOUT)
    assert refreshed["refresh_token"] != token["refresh_token"]

    asked = requests.post(
        metadata["introspection_endpoint"], data={"token": refreshed["access_token"]}, auth=basic, timeout=TIMEOUT
    ).json()
    assert asked["active"] is True
    assert set(asked["scope"].split()) == set(SCOPE)

    endpoint = metadata["revocation_endpoint"]
    assert revoke(endpoint, refreshed["access_token"], "access_token", basic).status_code == 200
    assert not await stage.is_active(refreshed["access_token"])
    assert await stage.is_active(token["access_token"])
    assert revoke(endpoint, refreshed["refresh_token"], "refresh_token", basic).status_code == 200
    assert not await stage.is_active(token["access_token"])
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], auth=basic, timeout=TIMEOUT)


async def test_the_whole_flow_of_a_public_client(stage: Stage) -> None:
    metadata = discover(stage.issuer)
    session = OAuth2Session(stage.public.client_id, redirect_uri=CALLBACK, scope=list(SCOPE), pkce="S256")
    address, _ = session.authorization_url(metadata["authorization_endpoint"])
    response = await stage.approve(address)
    token = session.fetch_token(
        metadata["token_endpoint"], authorization_response=response, include_client_id=True, timeout=TIMEOUT
    )
    refreshed = session.refresh_token(metadata["token_endpoint"], client_id=stage.public.client_id, timeout=TIMEOUT)
    assert refreshed["refresh_token"] != token["refresh_token"]


async def test_client_credentials(stage: Stage) -> None:
    metadata = discover(stage.issuer)
    session = OAuth2Session(client=BackendApplicationClient(stage.client.client_id, scope=["orders"]))
    token = session.fetch_token(
        metadata["token_endpoint"],
        client_id=stage.client.client_id,
        client_secret=stage.client.secret,
        scope=["orders"],
        timeout=TIMEOUT,
    )
    assert token["scope"] == ["orders"]
    assert await stage.is_active(token["access_token"])
