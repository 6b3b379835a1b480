"""Tokens that are bound to the certificate of their client (RFC 8705 §3)."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from domain import client, usage
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import VERIFIER, Scene, set_scene
from tests.scenarios.client_authentication.test_tls_client_auth import (
    AUTHORITY,
    DNS,
    HEADER,
    ISSUED,
    MTLS,
    mtls_settings,
    pem,
)
from tests.scenarios.proofs import Holder
from tests.scenarios.world import Client, World

OTHER, _ = AUTHORITY.issue("other", names=[x509.DNSName("other.example")])
BOUND = "tls_client_certificate_bound_access_tokens"


@pytest.fixture
def settings_given(tmp_path: Path) -> dict[str, Any]:
    return mtls_settings(tmp_path)


def shown(certificate: x509.Certificate | None) -> dict[str, str]:
    return {} if certificate is None else {HEADER: pem(certificate)}


@pytest.fixture
async def job(world: World) -> str:
    """A client that authenticates by its certificate and has its tokens bound to that."""
    await world.define_scopes("clients:read")
    admin = await administering(world, "clients:read", "clients:write")
    body = {
        "client_name": "Job",
        "grant_types": ["client_credentials"],
        "scope": "clients:read",
        "token_endpoint_auth_method": "tls_client_auth",
        DNS: "job.example",
        BOUND: True,
    }
    client_id: str = ok(await admin.post("/admin/clients", json=body), 201)["client_id"]
    return client_id


async def issued(world: World, client_id: str, **headers: str) -> httpx.Response:
    data = {"grant_type": "client_credentials", "client_id": client_id}
    return await world.client.post("/oauth/token", data=data, headers=shown(ISSUED) | headers)


async def used(world: World, token: str, certificate: x509.Certificate | None) -> int:
    headers = {"authorization": f"Bearer {token}"} | shown(certificate)
    return (await world.client.get("/admin/scopes", headers=headers)).status_code


async def test_token_is_good_with_its_certificate(world: World, job: str) -> None:
    answer = ok(await issued(world, job))
    assert answer["token_type"] == "Bearer"
    token = answer["access_token"]
    assert [await used(world, token, each) for each in (ISSUED, OTHER, None)] == [200, 401, 401]
    await world.services.token_uses.record(everything=True)
    told = [each for each in await world.events("usage.token_*") if each.event.unproved]
    assert [(each.type, each.actor.kind, each.stream) for each in told] == [
        (f"usage.{each}", "anonymous", usage.stream(sha256(token.encode()).hexdigest()))
        for each in ("token_first_seen", "token_seen")
    ]
    service = await world.register_client("Asking", grant_types=("client_credentials",), scope=("introspect",))
    said = (await world.client.post("/oauth/introspect", data={"token": token}, auth=service.auth)).json()
    event = (await world.events("grant.tokens_issued"))[-1].event
    assert said["cnf"] == {"x5t#S256": event.x5t_s256}


async def test_who_is_no_proxy_shows_nothing(world: World, job: str) -> None:
    token = ok(await issued(world, job))["access_token"]
    stranger = world.caller("198.51.100.9")
    headers = {"authorization": f"Bearer {token}"} | shown(ISSUED)
    assert (await stranger.get("/admin/scopes", headers=headers)).status_code == 401


async def test_profile_is_content_with_a_certificate(world: World, job: str) -> None:
    await world.execute(world.changing(job, client.Attributes(profile="fapi2")))
    assert ok(await issued(world, job))["token_type"] == "Bearer"
    proof = Holder(world).proof("/oauth/token", htu=f"{MTLS}/oauth/token")
    assert ok(await issued(world, job, dpop=proof))["token_type"] == "DPoP"


async def redeemed(scene: Scene, app: Client, certificate: x509.Certificate | None) -> httpx.Response:
    page = await scene.approved(await scene.signed_in(), scene.address(app, prompt="consent"))
    data = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": app.redirect_uri,
        "code_verifier": VERIFIER,
        "client_id": app.client_id,
    }
    return await scene.world.client.post("/oauth/token", data=data, headers=shown(certificate))


async def test_public_client_refreshes_with_its_certificate(world: World) -> None:
    scene = await set_scene(world)
    bound: Any = {BOUND: True}
    app = await world.register_client("App", public=True, **bound)
    refused = await redeemed(scene, app, None)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    token = ok(await redeemed(scene, app, ISSUED))["refresh_token"]
    data = {"grant_type": "refresh_token", "refresh_token": token, "client_id": app.client_id}
    wrong = await world.client.post("/oauth/token", data=data, headers=shown(OTHER))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    ok(await world.client.post("/oauth/token", data=data, headers=shown(ISSUED)))


async def test_metadata_says_so(world: World) -> None:
    found = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert found["mtls_endpoint_aliases"]["pushed_authorization_request_endpoint"] == f"{MTLS}/oauth/par"
