"""Clients that are held to FAPI 2.0, and refresh tokens that stay good for clients with keys (§5.3.2.1)."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from domain import client
from tests.cases import cases
from tests.scenarios.asking import CHALLENGE, STATE, VERIFIER, Scene, error_of, set_scene
from tests.scenarios.assertions import Signer, made_key, register_signer
from tests.scenarios.proofs import Holder
from tests.scenarios.tokens.test_dpop import ask
from tests.scenarios.world import REDIRECT_URI, SYSTEM, Client, World

TOKEN, PAR = "/oauth/token", "/oauth/par"
GRANTS = ("authorization_code", "refresh_token", "client_credentials")


@dataclass(frozen=True)
class Held:
    """A client that is held to the profile, the person, and the client's key for proofs."""

    scene: Scene
    signer: Signer
    holder: Holder

    @property
    def world(self) -> World:
        return self.scene.world

    async def send(self, path: str, *, proof: bool = True, assertion: str | None = None, **data: str) -> httpx.Response:
        made = self.signer.assertion() if assertion is None else assertion
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        headers = {"dpop": self.holder.proof(path)} if proof else {}
        given = {"client_assertion": made, "client_assertion_type": kind, "client_id": self.signer.client_id} | data
        return await self.world.client.post(path, data=given, headers=headers)

    async def push(self, *, assertion: str | None = None, **changes: str) -> httpx.Response:
        asked = {
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "state": STATE,
            "scope": "orders",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        given: Any = {name: each for name, each in asked.items() if each}
        return await self.send(PAR, assertion=assertion, **given)

    async def tokens(self) -> dict[str, Any]:
        reference = (await self.push()).json()["request_uri"]
        address = f"/oauth/authorize?client_id={self.signer.client_id}&request_uri={reference}"
        page = await self.scene.approved(await self.scene.signed_in(), address)
        answer = await self.send(
            TOKEN,
            grant_type="authorization_code",
            code=page.parameters["code"],
            redirect_uri=REDIRECT_URI,
            code_verifier=VERIFIER,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def held(world: World) -> Held:
    scene = await set_scene(world)
    signer = await register_signer(
        world, made_key("ES256"), made_key("RS256"), grants=GRANTS, redirect_uris=(REDIRECT_URI,), profile="fapi2"
    )
    return Held(scene, signer, Holder(world))


async def test_whole_flow_binds_everything(held: Held) -> None:
    answer = await held.tokens()
    assert answer["token_type"] == "DPoP"
    issued = (await held.world.events("grant.code_issued"))[-1].event
    assert (issued.dpop_jkt, issued.lifetime) == (held.holder.jkt, 60)
    found = await ask(held.world, "/oauth/userinfo", answer["access_token"], held.holder)
    assert found.json() == {"sub": held.scene.person.account_id}


async def test_request_that_was_not_pushed_is_refused(held: Held) -> None:
    shop = Client(held.signer.client_id, None, REDIRECT_URI)
    page = await (await held.scene.signed_in()).open(held.scene.address(shop))
    assert error_of(page) == ("invalid_request", STATE)


@pytest.mark.parametrize("changes", [{"code_challenge": ""}, {"code_challenge_method": "plain"}])
async def test_pkce_is_needed(held: Held, changes: dict[str, str]) -> None:
    answer = await held.push(**changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_token_without_proof_is_refused(held: Held) -> None:
    answer = await held.send(TOKEN, proof=False, grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await held.send(TOKEN, grant_type="client_credentials")).json()["token_type"] == "DPoP"


@pytest.mark.parametrize("path", [TOKEN, PAR])
async def test_assertion_is_for_the_issuer_alone(held: Held, path: str) -> None:
    issuer = held.world.settings.issuer
    for aud in ([issuer], f"{issuer}{TOKEN}", f"{issuer}{PAR}", [issuer, f"{issuer}{PAR}"]):
        assertion = held.signer.assertion(aud=aud)
        answer = await (
            held.push(assertion=assertion)
            if path == PAR
            else held.send(path, assertion=assertion, grant_type="client_credentials")
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), aud


async def test_weak_algorithms_are_refused(held: Held) -> None:
    weak = Signer(held.world, held.signer.client_id, "RS256", made_key("RS256"))
    answer = await held.send(TOKEN, assertion=weak.assertion(jti="weak"), grant_type="client_credentials")
    assert answer.json()["error"] == "invalid_client"
    other = Held(held.scene, held.signer, Holder(held.world, "RS256"))
    answer = await other.send(TOKEN, grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_refresh_token_stays_good(held: Held) -> None:
    first = await held.tokens()
    holder = held.holder
    for other in (Holder(held.world), holder, Holder(held.world)):
        held.world.clock.advance(45)
        mine = Held(held.scene, held.signer, other)
        answer = (await mine.send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"])).json()
        assert answer["refresh_token"] == first["refresh_token"]
        assert answer["access_token"] != first["access_token"]
        found = await ask(held.world, "/oauth/userinfo", answer["access_token"], other)
        assert found.status_code == 200
    events = await held.world.events("grant.access_token_issued")
    assert len(events) == 3
    assert all(each.ip is not None for each in events)
    assert not await held.world.events("grant.tokens_refreshed")
    # Within the absolute lifetime, however idle it was.
    held.world.clock.advance(89 * 86_400)
    assert (await held.send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"])).status_code == 200
    held.world.clock.advance(86_400)
    late = await held.send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert late.json()["error"] == "invalid_grant"


async def test_tokens_end_with_their_grant(held: Held) -> None:
    first = await held.tokens()
    answer = (await held.send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"])).json()
    assert (await held.send("/oauth/revoke", proof=False, token=first["refresh_token"])).status_code == 200
    assert (await ask(held.world, "/oauth/userinfo", answer["access_token"], held.holder)).status_code == 401
    again = await held.send(TOKEN, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert again.json()["error"] == "invalid_grant"


@cases(
    ("change", "field"),
    [
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"require_pkce": False}, "require_pkce"),
        ({"userinfo_signed_response_alg": "RS256"}, "userinfo_signed_response_alg"),
        ({"token_endpoint_auth_signing_alg": "RS256"}, "token_endpoint_auth_signing_alg"),
        ({"scope": ("openid",)}, "id_token_signed_response_alg"),
    ],
)
async def test_profile_goes_with_nothing_weaker(held: Held, change: dict[str, Any], field: str) -> None:
    command: Any = held.world.changing(held.signer.client_id, client.Attributes(**change))
    executed = await held.world.services.ledger.execute(command, origin=SYSTEM)
    assert executed.refusal is not None
    assert executed.refusal.field == field
