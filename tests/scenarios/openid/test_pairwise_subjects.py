"""Pairwise subjects (OpenID Connect Core §8): a client that wants them knows people by names of its sector alone."""

import json
from collections.abc import Mapping

import httpx
import pytest

from api.http.outgoing_requests import FetchedResponse, NoAnswer
from domain.grant import DEVICE_CODE
from tests.cases import cases
from tests.scenarios.admin.test_admin_clients import SHOP
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import APPROVE, CONSENT
from tests.scenarios.openid.relying_party import OpenId, set_openid
from tests.scenarios.world import Client, World

SECTOR = "https://sector.example/uris"


@pytest.fixture
async def openid(world: World) -> OpenId:
    return await set_openid(world, subject_type="pairwise")


async def sub(openid: OpenId, client: Client) -> str:
    """By which name the client knows the person."""
    browser = await openid.signed_in()
    page = await browser.open(openid.openid(client))
    page = await browser.press(page, CONSENT, APPROVE) if page.forms else page
    found: str = (await openid.id_token(page, client))["sub"]
    return found


async def test_a_sector_has_a_name_of_its_own_for_everybody(openid: OpenId) -> None:
    world, scope = openid.world, ("openid",)
    same = await world.register_client("Same host", scope=scope, subject_type="pairwise")
    elsewhere = ("https://other.example/callback",)
    other = await world.register_client("Other", scope=scope, redirect_uris=elsewhere, subject_type="pairwise")
    public = await world.register_client("Public", scope=scope)
    names = [await sub(openid, each) for each in (openid.shop, same, other, public)]
    assert names[0] == names[1] == await sub(openid, openid.shop)
    assert names[3] == openid.person.account_id
    assert len(set(names)) == 3
    assert all(len(each) == 43 for each in names[:3])
    mia = await world.register_person("mia")
    browser = await openid.signed_in(mia)
    said = await openid.id_token(await openid.approved(browser, openid.openid()))
    assert said["sub"] not in names


async def test_it_is_the_same_in_all_that_the_client_sees(openid: OpenId) -> None:
    world = openid.world
    browser = await openid.signed_in()
    answer = await openid.redeem(await openid.approved(browser, openid.openid(scope="openid profile")))
    said = await openid.signed(answer)
    bearer = {"authorization": f"Bearer {answer['access_token']}"}
    userinfo = (await world.client.get("/oauth/userinfo", headers=bearer)).json()
    assert userinfo["sub"] == said["sub"] != openid.person.account_id
    data = {"token": answer["access_token"]}
    own = (await world.client.post("/oauth/introspect", data=data, auth=openid.shop.auth)).json()
    assert (own["active"], own["sub"]) == (True, said["sub"])
    assert "username" not in own
    # A resource server that sees every token is told whose account it is.
    api = await world.register_client("API", grant_types=("client_credentials",), scope=("introspect",))
    theirs = (await world.client.post("/oauth/introspect", data=data, auth=api.auth)).json()
    assert (theirs["sub"], theirs["username"]) == (openid.person.account_id, "paul")
    again = (await world.client.post("/oauth/introspect", data=data, auth=openid.shop.auth)).json()
    assert again == own


async def test_a_hint_and_a_claim_name_the_person_by_it(openid: OpenId) -> None:
    browser = await openid.signed_in()
    answer = await openid.redeem(await openid.approved(browser, openid.openid()))
    name = (await openid.signed(answer))["sub"]
    page = await browser.open(openid.openid(prompt="none", id_token_hint=answer["id_token"]))
    assert "code" in page.parameters
    for value, told in ((name, "code"), (openid.person.account_id, "error")):
        claims = json.dumps({"id_token": {"sub": {"value": value}}})
        page = await browser.open(openid.openid(prompt="none", claims=claims))
        assert told in page.parameters


# Registration -----------------------------------------------------------------------------------------------------


class Sector:
    """The document at the address; an exception is raised, and anything else is answered."""

    def __init__(self) -> None:
        self.says: object = []
        self.status = 200
        self.asked = 0

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", largest: int | None = 0
    ) -> FetchedResponse:
        assert (method, url) == ("GET", SECTOR)
        assert largest
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        body = self.says if isinstance(self.says, bytes) else json.dumps(self.says).encode()
        return FetchedResponse(self.status, {}, body)


@pytest.fixture
def sector(world: World, monkeypatch: pytest.MonkeyPatch) -> Sector:
    found = Sector()
    monkeypatch.setattr(world.services.outgoing, "send", found.send)
    return found


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    await world.define_scopes("orders")
    return await administering(world, "clients:read", "clients:write")


URIS = ["https://a.example/callback", "https://b.example/callback"]
BODY = SHOP | {"redirect_uris": URIS, "sector_identifier_uri": SECTOR}


async def test_several_hosts_are_one_sector_by_its_document(
    world: World, admin: httpx.AsyncClient, sector: Sector
) -> None:
    sector.says = [*URIS, "https://c.example/callback"]
    made = ok(await admin.post("/admin/clients", json=BODY), 201)
    assert made["sector_identifier_uri"] == SECTOR
    path = f"/admin/clients/{made['client_id']}"
    # What is looked for there has not changed.
    ok(await admin.patch(path, json={"client_name": "Other", "redirect_uris": URIS}))
    assert sector.asked == 1
    ok(await admin.patch(path, json={"redirect_uris": ["https://c.example/callback"]}))
    problem(
        await admin.patch(path, json={"redirect_uris": ["https://d.example/callback"]}),
        400,
        field="sector_identifier_uri",
    )
    assert sector.asked == 3
    problem(await admin.patch(path, json={"sector_identifier_uri": None, "redirect_uris": URIS}), 400)


@cases(
    "says",
    [
        URIS[:1],
        {"uris": URIS},
        [1, 2],
        b"\xff",
        b"[" * 50_000,
        NoAnswer("the answer is too long"),
    ],
)
async def test_a_document_that_does_not_list_them_is_400(
    world: World, admin: httpx.AsyncClient, sector: Sector, says: object
) -> None:
    sector.says = says
    before = await world.head()
    problem(await admin.post("/admin/clients", json=BODY), 400, field="sector_identifier_uri")
    assert await world.head() == before


async def test_a_document_that_is_not_there_is_400(world: World, admin: httpx.AsyncClient, sector: Sector) -> None:
    sector.says, sector.status = URIS, 404
    problem(await admin.post("/admin/clients", json=BODY), 400, field="sector_identifier_uri")


@pytest.mark.parametrize("more", [["authorization_code", DEVICE_CODE], [DEVICE_CODE]])
async def test_whose_tokens_go_elsewhere_joins_no_sector(
    admin: httpx.AsyncClient, sector: Sector, more: list[str]
) -> None:
    sector.says = URIS
    body = BODY | {"grant_types": more}
    problem(await admin.post("/admin/clients", json=body), 400, field="subject_type")
    ok(await admin.post("/admin/clients", json=body | {"subject_type": "public"}), 201)


async def test_several_hosts_need_a_document(admin: httpx.AsyncClient) -> None:
    problem(await admin.post("/admin/clients", json=SHOP | {"redirect_uris": URIS}), 400, field="subject_type")


async def test_the_key_is_made_once_and_is_a_fact(world: World) -> None:
    assert len(await world.events("server.subject_key_introduced")) == 1
