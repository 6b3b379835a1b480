"""What somebody hostile tries at the OpenID endpoints: each attempt is refused in the specification's words, and tells,
gives and ends nothing."""

import json
from pathlib import Path

import pytest

from security.keyring import Keyring
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import STATE, VERIFIER, error_of
from tests.scenarios.authorization.test_pushed_requests import pushed
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.proofs import Holder
from tests.scenarios.tokens.test_dpop import TOKEN, issued
from tests.scenarios.world import World, open_world

pytestmark = pytest.mark.anyio

USERINFO = "/oauth/userinfo"


@pytest.fixture
async def openid(world: World) -> OpenId:
    return await set_openid(world, post_logout_redirect_uris=("https://shop.example/out",))


async def test_who_was_disabled_is_signed_in_nowhere(openid: OpenId) -> None:
    browser, admin = await openid.allowed(), await administering(openid.world)
    path = f"/admin/people/{openid.person.account_id}"
    ok(await admin.post(f"{path}/disable"))
    assert error_of(await browser.open(openid.openid(prompt="none"))) == ("login_required", STATE)
    # What ended does not come back with the person.
    ok(await admin.post(f"{path}/enable"))
    assert error_of(await browser.open(openid.openid(prompt="none"))) == ("login_required", STATE)


async def test_no_age_at_all_is_never_fresh(openid: OpenId) -> None:
    page = await (await openid.allowed()).open(openid.openid(max_age="0", prompt="none"))
    assert error_of(page) == ("login_required", STATE)


@cases(
    "claims",
    [
        '{"userinfo":' + '{"a":' * 40 + "1" + "}" * 41,
        '{"userinfo":{"email":null,"email":null}}',
        '{"userinfo":{"email":{"value":1e400}}}',
        '{"id_token":[]}',
        "[" * 500,
    ],
)
async def test_claims_of_no_form_are_told_so(openid: OpenId, claims: str) -> None:
    page = await (await openid.signed_in()).open(openid.openid(claims=claims))
    assert error_of(page) == ("invalid_request", STATE)


async def test_a_hint_about_another_clients_token_is_none(openid: OpenId) -> None:
    browser, other = await openid.allowed(), await openid.world.register_client("Other", scope=("openid",))
    hint = (await openid.redeem(await openid.approved(browser, openid.openid(prompt="consent"))))["id_token"]
    page = await browser.open(openid.openid(other, prompt="none", id_token_hint=hint))
    assert error_of(page) == ("invalid_request", STATE)
    page = await browser.open(f"/oauth/logout?id_token_hint={hint}&client_id={other.client_id}")
    assert page.status == 400
    assert "code" in (await browser.open(openid.openid(prompt="none", id_token_hint=hint))).parameters


async def test_a_pushed_request_that_was_answered_opens_nothing(openid: OpenId) -> None:
    browser, uri = await openid.allowed(), await pushed(openid, scope="openid", nonce="n")
    assert "code" in (await browser.open(uri)).parameters
    assert (await browser.open(uri)).status == 400


async def test_a_token_in_two_places_is_in_none(openid: OpenId) -> None:
    browser, client = await openid.allowed(), openid.world.client
    given = await openid.redeem(await openid.approved(browser, openid.openid(prompt="consent")))
    token, bearer = given["access_token"], {"authorization": f"Bearer {given['access_token']}"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    twice = f"access_token={token}&access_token={token}"
    assert (await client.post(USERINFO, data={"access_token": token}, headers=bearer)).status_code == 400
    assert (await client.post(USERINFO, content=twice, headers=form)).status_code == 400
    assert (await client.post(USERINFO, json={"access_token": token})).status_code == 401
    assert (await client.request("GET", USERINFO, data={"access_token": token})).status_code == 401
    assert (await client.get(USERINFO, headers={"authorization": f"Bearer {given['id_token']}"})).status_code == 401
    assert ok(await client.post(USERINFO, data={"access_token": token}))["sub"] == openid.person.account_id


async def test_a_code_bound_to_a_key_is_redeemed_by_no_other(openid: OpenId) -> None:
    world, browser = openid.world, await openid.allowed()
    holder, thief = Holder(world), Holder(world)
    page = await openid.approved(browser, openid.openid(prompt="consent", dpop_jkt=holder.jkt))
    data = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": openid.shop.redirect_uri,
        "code_verifier": VERIFIER,
    }
    for proof in (None, thief.proof(TOKEN), holder.proof(USERINFO), holder.proof(TOKEN, "GET")):
        headers = {} if proof is None else {"dpop": proof}
        answer = await world.client.post(TOKEN, data=data, auth=openid.shop.auth, headers=headers)
        assert answer.json()["error"] in ("invalid_grant", "invalid_dpop_proof")
    # Nothing of that ended it for who holds the key.
    answer = await world.client.post(TOKEN, data=data, auth=openid.shop.auth, headers={"dpop": holder.proof(TOKEN)})
    assert ok(answer)["token_type"] == "DPoP"


async def test_a_proof_counts_once_on_all_nodes(database_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with (
        open_world(database_url, tmp_path / "one", keyring) as one,
        open_world(database_url, tmp_path / "other", keyring, one.clock) as other,
    ):
        job = await one.register_client("Job", grant_types=("client_credentials",), scope=("clients:read",))
        holder = Holder(one)
        ok(await issued(one, job, holder, jti="same"))
        there = await issued(other, job, holder, jti="same")
        assert (there.status_code, there.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_token_is_never_taken_for_one_of_another_kind(openid: OpenId) -> None:
    given = await openid.redeem(await openid.approved(await openid.allowed(), openid.openid(prompt="consent")))
    kind = "urn:ietf:params:oauth:grant-type:"
    for data, error in (
        ({"grant_type": "authorization_code", "code": given["access_token"]}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": given["id_token"]}, "invalid_grant"),
        ({"grant_type": f"{kind}jwt-bearer", "assertion": given["id_token"]}, "unauthorized_client"),
        ({"grant_type": f"{kind}device_code", "device_code": given["access_token"]}, "unauthorized_client"),
        ({"grant_type": ["client_credentials", "password"]}, "invalid_request"),
    ):
        answer = await openid.world.client.post(TOKEN, data=data, auth=openid.shop.auth)
        assert (answer.status_code, answer.json()["error"]) == (400, error), json.dumps(data)
    assert ok(await openid.world.client.get(USERINFO, headers={"authorization": f"Bearer {given['access_token']}"}))
