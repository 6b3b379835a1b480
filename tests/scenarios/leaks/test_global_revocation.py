"""Global token revocation: everything of a person ends by one request of whoever looks after leaks."""

from typing import Any

import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.world import World

PATH = "/oauth/global-token-revocation"


@pytest.fixture
async def openid(world: World) -> OpenId:
    return await set_openid(world)


def meant(openid: OpenId, how: str) -> dict[str, Any]:
    """The person of the scene by one of the formats."""
    return {
        "iss_sub": {"format": "iss_sub", "iss": openid.world.settings.issuer, "sub": openid.person.account_id},
        "opaque": {"format": "opaque", "id": openid.person.account_id},
        "email": {"format": "email", "email": openid.person.email.upper()},
    }[how]


@pytest.mark.parametrize("how", ["iss_sub", "opaque", "email"])
async def test_all_grants_and_sessions_end(openid: OpenId, how: str) -> None:
    world = openid.world
    browser = await openid.signed_in()
    token = (await openid.redeem(await openid.approved(browser)))["access_token"]
    admin = await administering(world, "leaks:write")
    head = await world.head()
    ok(await admin.post(PATH, json={"sub_id": meant(openid, how)}), 204)
    (ended,) = await world.events(after=head)
    assert (ended.type, ended.actor.kind) == ("account.tokens_ended", "client")
    told = (await world.client.post("/oauth/introspect", data={"token": token}, auth=openid.shop.auth)).json()
    assert told == {"active": False}
    assert (await browser.open(openid.openid(prompt="none"))).parameters["error"] == "login_required"
    # They may sign in again.
    assert "code" in (await (await openid.signed_in()).open(openid.address())).parameters


BAD = [
    ({}, 400),
    ({"sub_id": "paul"}, 400),
    ({"sub_id": {"id": "x"}}, 400),
    ({"sub_id": {"format": "did", "url": "did:example:1"}}, 400),
    ({"sub_id": {"format": "opaque"}}, 400),
    ({"sub_id": {"format": "email", "email": ""}}, 400),
    ({"sub_id": {"format": "iss_sub", "iss": "https://other.example"}}, 400),
    ({"sub_id": {"format": "iss_sub", "iss": "https://other.example", "sub": "x"}}, 404),
    ({"sub_id": {"format": "opaque", "id": "nobody"}}, 404),
    ({"sub_id": {"format": "opaque", "id": "x:y/\u00e9"}}, 404),
    ({"sub_id": {"format": "email", "email": "nobody@example.test"}}, 404),
]


@cases(("body", "status"), BAD)
async def test_who_cannot_be_told_is_refused(openid: OpenId, body: dict[str, Any], status: int) -> None:
    admin = await administering(openid.world, "leaks:write")
    head = await openid.world.head()
    assert (await admin.post(PATH, json=body)).status_code == status
    assert await openid.world.head() == head


async def test_an_address_of_two_people_is_422(openid: OpenId) -> None:
    await openid.world.register_person(openid.person.username, realm="administration")
    admin = await administering(openid.world, "leaks:write")
    assert (await admin.post(PATH, json={"sub_id": meant(openid, "email")})).status_code == 422


async def test_it_needs_the_scope(openid: OpenId) -> None:
    admin = await administering(openid.world, "people:write")
    assert (await admin.post(PATH, json={"sub_id": meant(openid, "opaque")})).status_code == 403
    answer = await openid.world.client.post(PATH, json={"sub_id": meant(openid, "opaque")})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]
