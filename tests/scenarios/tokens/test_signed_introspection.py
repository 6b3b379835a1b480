"""Introspection whose answer is a signed token (RFC 9701)."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from tests.cases import cases
from tests.scenarios.assertions import register_signer
from tests.scenarios.world import Client, World

TYPE = "application/token-introspection+jwt"


@pytest.fixture
async def service(world: World) -> Client:
    return await world.register_client("Service", grant_types=("client_credentials",), scope=("orders",))


async def said(world: World, text: str, algorithm: str = "RS256") -> dict[str, Any]:
    """What the token says, its header and signature verified."""
    header = json.loads(urlsafe_b64decode(text.split(".")[0] + "=="))
    assert (header["typ"], header["alg"]) == ("token-introspection+jwt", algorithm)
    keys = KeySet.import_key_set((await world.client.get("/.well-known/jwks.json")).json())
    found = jws.deserialize_compact(text.encode(), keys, registry=jws.JWSRegistry(algorithms=[algorithm]))
    claims: dict[str, Any] = json.loads(found.payload or b"")
    return claims


@cases("accept", ["*/*", f"{TYPE};q=0", f"{TYPE};q=0, */*", f"{TYPE};q=0.1, application/json;q=0.9", ",;q=,x"])
async def test_who_wants_it_plain_gets_it_plain(world: World, service: Client, accept: str) -> None:
    answer = await world.client.post(
        "/oauth/introspect", data={"token": "x"}, auth=service.auth, headers={"accept": accept}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


@cases("accept", [TYPE, TYPE.upper(), f"{TYPE}, application/json;q=0.5", f"*/*;q=0.1, {TYPE};charset=x;q=0.2"])
async def test_answer_is_signed_for_who_asked(world: World, service: Client, accept: str) -> None:
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
    data = {"token": answer.json()["access_token"]}
    plain = await world.client.post("/oauth/introspect", data=data, auth=service.auth)
    assert plain.headers["content-type"] == "application/json"
    signed = await world.client.post("/oauth/introspect", data=data, auth=service.auth, headers={"accept": accept})
    assert signed.headers["content-type"] == TYPE
    assert signed.headers["cache-control"] == "no-store"
    assert await said(world, signed.text) == {
        "iss": world.settings.issuer,
        "aud": service.client_id,
        "iat": world.clock.now() // 1_000_000,
        "token_introspection": plain.json(),
    }


@pytest.mark.parametrize("token", ["unknown", "x" * 2_000])
async def test_what_is_not_active_is_signed_too(world: World, service: Client, token: str) -> None:
    answer = await world.client.post(
        "/oauth/introspect", data={"token": token}, auth=service.auth, headers={"accept": TYPE}
    )
    assert (await said(world, answer.text))["token_introspection"] == {"active": False}


async def test_profile_has_its_algorithm(world: World) -> None:
    signer = await register_signer(world, profile="fapi2")
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    data = {"token": "unknown", "client_assertion": signer.assertion(), "client_assertion_type": kind}
    answer = await world.client.post("/oauth/introspect", data=data, headers={"accept": TYPE})
    assert (await said(world, answer.text, "PS256"))["aud"] == signer.client_id


async def test_refusal_stays_what_it_is(world: World) -> None:
    answer = await world.client.post("/oauth/introspect", data={"token": "x"}, headers={"accept": TYPE})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_metadata_names_the_algorithms(world: World) -> None:
    found = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert found["introspection_signing_alg_values_supported"] == ["RS256", "PS256"]
