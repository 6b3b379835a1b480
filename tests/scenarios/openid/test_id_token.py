"""id_tokens: who signed in, when and how, signed by the keys that everybody can read, and nothing else."""

from base64 import urlsafe_b64encode
from hashlib import sha512

import pytest

from domain import session
from domain.grants.id_token import CLAIMS
from domain.keys.signing_key import ALGORITHMS
from tests.scenarios.administration import ok
from tests.scenarios.openid.relying_party import NONCE, OpenId, half, set_openid
from tests.scenarios.world import World


@pytest.fixture
async def scene(world: World) -> OpenId:
    return await set_openid(world)


async def test_code_brings_an_id_token(scene: OpenId) -> None:
    page = await scene.approved(await scene.signed_in(), scene.openid())
    answer = await scene.redeem(page)
    claims = await scene.signed(answer)
    now = scene.world.clock.now() // 1_000_000
    started = (await scene.world.events("session.started"))[-1]
    assert claims == {
        "iss": scene.world.settings.issuer,
        "sub": scene.person.account_id,
        "aud": scene.shop.client_id,
        "exp": now + 600,
        "iat": now,
        "auth_time": started.time // 1_000_000,
        "nonce": NONCE,
        "acr": "urn:grantlog:acr:1",
        "amr": ["pwd"],
        "azp": scene.shop.client_id,
        "sid": session.sid(started.stream.partition(":")[2], scene.shop.client_id),
        "at_hash": half(answer["access_token"]),
    }
    assert tuple(claims) == CLAIMS
    assert answer["scope"] == "openid"


async def test_session_is_called_by_another_name(scene: OpenId) -> None:
    claims = await scene.id_token(await scene.approved(await scene.signed_in(), scene.openid()))
    started = (await scene.world.events("session.started"))[-1]
    assert claims["sid"] not in started.stream
    other = await scene.world.register_client("Other", scope=("openid",))
    page = await scene.approved(await scene.signed_in(), scene.openid(other))
    assert (await scene.id_token(page, other))["sid"] != claims["sid"]


async def test_nonce_that_was_not_sent_is_not_there(scene: OpenId) -> None:
    page = await scene.approved(await scene.signed_in(), scene.openid(nonce=None))
    assert "nonce" not in await scene.id_token(page)


@pytest.mark.parametrize("nonce", ["x" * 384, "a b+c%20d&e", "ü€😀"])
async def test_nonce_comes_back_as_it_was(scene: OpenId, nonce: str) -> None:
    page = await scene.approved(await scene.signed_in(), scene.openid(nonce=nonce))
    assert (await scene.id_token(page))["nonce"] == nonce


async def test_without_openid_there_is_no_id_token(scene: OpenId) -> None:
    page = await scene.approved(await scene.signed_in(), scene.address(nonce=NONCE))
    answer = await scene.redeem(page)
    assert "id_token" not in answer
    assert "openid" not in answer["scope"].split()


async def test_facts_tell_of_the_sign_in(scene: OpenId) -> None:
    await scene.approved(await scene.signed_in(), scene.openid())
    (issued,) = await scene.world.events("grant.code_issued")
    started = (await scene.world.events("session.started"))[-1]
    assert issued.event.authentication == session.Authentication(
        at=started.time, acr="urn:grantlog:acr:1", amr=("pwd",)
    )
    assert issued.event.nonce == NONCE


async def test_refresh_brings_another_of_the_same_sign_in(scene: OpenId) -> None:
    page = await scene.approved(await scene.signed_in(), scene.openid(scope="openid offline_access"))
    answer = await scene.redeem(page)
    first = await scene.signed(answer)
    scene.world.clock.advance(30)
    data = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    refreshed = (await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth)).json()
    second = await scene.signed(refreshed)
    assert "nonce" not in second
    assert second["iat"] == first["iat"] + 30
    assert second["exp"] == first["exp"] + 30
    assert second["at_hash"] == half(refreshed["access_token"])
    same = ("iss", "sub", "aud", "azp", "auth_time", "acr", "amr", "sid")
    assert {name: second[name] for name in same} == {name: first[name] for name in same}


async def test_introspection_tells_of_the_sign_in(scene: OpenId) -> None:
    """RFC 9470 §6.2: the sign-in behind the grant, whenever and by whatever it was refreshed."""
    given = await scene.redeem(
        await scene.approved(await scene.signed_in(), scene.openid(scope="openid offline_access"))
    )
    auth_time = (await scene.signed(given))["auth_time"]
    scene.world.clock.advance(60)
    data = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    again = ok(await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth))
    scene.world.clock.advance(60)
    for token in (given["access_token"], again["access_token"], again["refresh_token"]):
        data = {"token": token}
        for _ in range(2):
            told = ok(await scene.world.client.post("/oauth/introspect", data=data, auth=scene.shop.auth))
            assert (told["active"], told["acr"], told["auth_time"]) == (True, "urn:grantlog:acr:1", auth_time)
    job = await scene.world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    access = await scene.world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth)
    data = {"token": ok(access)["access_token"]}
    told = ok(await scene.world.client.post("/oauth/introspect", data=data, auth=job.auth))
    assert told["active"]
    assert told.keys().isdisjoint({"acr", "auth_time"})


async def test_narrower_refresh_brings_none(scene: OpenId) -> None:
    address = scene.openid(scope="openid offline_access profile")
    answer = await scene.redeem(await scene.approved(await scene.signed_in(), address))
    data = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"], "scope": "profile"}
    refreshed = (await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth)).json()
    assert refreshed["scope"] == "profile"
    assert "id_token" not in refreshed


@pytest.mark.filterwarnings("ignore:EdDSA")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_client_chooses_the_algorithm(scene: OpenId, algorithm: str) -> None:
    shop = await scene.world.register_client("Chooser", scope=("openid",), id_token_signed_response_alg=algorithm)
    answer = await scene.redeem(await scene.approved(await scene.signed_in(), scene.openid(shop)), shop)
    claims = await scene.signed(answer, algorithm)
    expected = half(answer["access_token"])
    if algorithm == "EdDSA":
        expected = urlsafe_b64encode(sha512(answer["access_token"].encode()).digest()[:32]).rstrip(b"=").decode()
    assert claims["at_hash"] == expected


async def test_replayed_code_brings_none(scene: OpenId) -> None:
    page = await scene.approved(await scene.signed_in(), scene.openid())
    assert "id_token" in await scene.redeem(page)
    assert (await scene.redeem(page)).keys() == {"error", "error_description"}


async def test_lifetime_is_a_setting(scene: OpenId) -> None:
    claims = await scene.id_token(await scene.approved(await scene.signed_in(), scene.openid()))
    assert claims["exp"] - claims["iat"] == scene.world.settings.id_token_lifetime
