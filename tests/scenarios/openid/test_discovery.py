"""What the server tells of itself: one document under both names, in which everything is true."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from domain.grants import authorization_code
from domain.grants.id_token import CLAIMS
from domain.rules.built_in_scope import BUILT_IN
from tests.cases import cases
from tests.scenarios.administration import ok
from tests.scenarios.asking import SIGN_IN, error_of
from tests.scenarios.factors import enrol
from tests.scenarios.http.endpoints import paths
from tests.scenarios.openid.relying_party import set_openid
from tests.scenarios.world import World

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"
REQUIRED = (
    *("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported"),
    *("subject_types_supported", "id_token_signing_alg_values_supported"),
)
"""OpenID Connect Discovery §3."""


@pytest.fixture
async def metadata(world: World) -> dict[str, Any]:
    found: dict[str, Any] = ok(await world.client.get(OPENID))
    return found


async def test_both_names_lead_to_one_document(world: World) -> None:
    openid, oauth = await world.client.get(OPENID), await world.client.get(OAUTH)
    assert openid.content == oauth.content
    assert openid.headers["content-type"] == oauth.headers["content-type"] == "application/json"
    assert openid.headers["cache-control"] == "max-age=60"


async def test_what_openid_connect_demands_is_there(world: World, metadata: dict[str, Any]) -> None:
    assert metadata.keys() >= set(REQUIRED)
    assert metadata["issuer"] == world.settings.issuer
    assert "RS256" in metadata["id_token_signing_alg_values_supported"]
    assert "openid" in metadata["scopes_supported"]
    assert metadata["response_types_supported"] == ["code"]
    assert metadata["subject_types_supported"] == ["public", "pairwise"]
    assert metadata["request_uri_parameter_supported"] is False
    assert metadata["request_parameter_supported"] is True
    assert metadata["claims_parameter_supported"] is True
    assert set(metadata["claims_supported"]) >= set(CLAIMS)


async def test_every_address_is_served(world: World, metadata: dict[str, Any]) -> None:
    named = [value for name, value in metadata.items() if name.endswith(("_endpoint", "_uri"))]
    assert len(named) >= 5
    for address in named:
        assert address.startswith(f"{world.settings.issuer}/")
        assert urlsplit(address).path in paths()


async def test_a_refused_request_leads_to_whose_tokens_are_taken(world: World) -> None:
    answer = await world.client.get("/admin/clients")
    challenge = answer.headers["www-authenticate"]
    (address,) = [part[19:-1] for part in challenge.split(", ") if part.startswith("resource_metadata=")]
    resource = ok(await world.client.get(address))
    assert resource["authorization_servers"] == [resource["resource"]] == [world.settings.issuer]
    assert set(resource["scopes_supported"]) == BUILT_IN
    assert (await world.client.get("/oauth/userinfo")).headers["www-authenticate"] == challenge


async def test_every_algorithm_has_its_key(world: World, metadata: dict[str, Any]) -> None:
    keys = ok(await world.client.get(metadata["jwks_uri"]))["keys"]
    assert sorted(key["alg"] for key in keys) == sorted(metadata["id_token_signing_alg_values_supported"])


async def test_every_response_mode_is_answered(world: World, metadata: dict[str, Any]) -> None:
    scene = await set_openid(world)
    browser = await scene.allowed()
    assert metadata["response_modes_supported"] == list(authorization_code.RESPONSE_MODES)
    for mode in metadata["response_modes_supported"]:
        page = await browser.open(scene.openid(response_mode=mode))
        expected = "response" if mode.endswith("jwt") else "code"
        assert expected in (page.parameters if page.status == 303 else page.forms[0].fields)


async def test_every_class_can_be_had(world: World, metadata: dict[str, Any]) -> None:
    scene = await set_openid(world)
    browser = await scene.allowed()
    generator = await enrol(world, scene.person)
    one, two = metadata["acr_values_supported"]
    assert (await scene.id_token(await browser.open(scene.openid(acr_values=one))))["acr"] == one
    page = await browser.press(await browser.open(scene.openid(acr_values=two)), SIGN_IN, **scene.person.typed)
    assert (await scene.id_token(await browser.press(page, SIGN_IN, code=generator.code())))["acr"] == two


async def test_request_objects_are_refused_as_it_says(world: World) -> None:
    scene = await set_openid(world)
    browser = await scene.allowed()
    for name in ("request", "request_uri"):
        page = await browser.open(scene.openid(**{name: "https://shop.example/request"}))
        assert error_of(page)[0] == f"{name}_not_supported"


@cases("path", [OPENID, OAUTH, RESOURCE, "/.well-known/jwks.json"])
async def test_pages_of_every_origin_may_read(world: World, path: str) -> None:
    origin = {"origin": "https://anybody.example"}
    answer: httpx.Response = await world.client.get(path, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = origin | {"access-control-request-method": "GET"}
    preflight = await world.client.request("OPTIONS", path, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
