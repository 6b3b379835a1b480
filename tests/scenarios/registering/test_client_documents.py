"""Clients that call themselves by the address of a document which describes them (Client ID Metadata Documents)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from api.http.outgoing_requests import FetchedResponse, NoAnswer, NotAllowed
from api.oauth.client_names import PREFIX, id_of
from api.pages.authorization.client_documents import FULL, RESTS
from domain.event import SECOND
from domain.rules import client_assertion
from domain.rules.client_id_document import GRANT_TYPES, MAXIMUM
from eventstore.pending import client_documents
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import APPROVE, AUTHORIZE, CONSENT, DENY, SIGN_IN, Scene, set_scene
from tests.scenarios.assertions import Signer, made_key, public
from tests.scenarios.browser import Browser, Page
from tests.scenarios.devices import begin, typed
from tests.scenarios.world import Client, World

URI = "https://agent.example/client.json"
STREAM = f"client:{id_of(URI)}"
BACK = "https://agent.example/callback"
SECTOR = "https://others.example/sector.json"
AGENT = Client(URI, None, BACK)
DOCUMENT: dict[str, Any] = {
    "client_id": URI,
    "client_name": "Agent",
    "redirect_uris": [BACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "orders catalog:read",
    "token_endpoint_auth_method": "none",
}


class Publishing:
    """What stands at the address, and how often it was asked for."""

    def __init__(self) -> None:
        self.document: Any = DOCUMENT
        self.status = 200
        self.fields: dict[str, str] = {}
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", largest: int | None = 0
    ) -> FetchedResponse:
        self.asked.append(url)
        if url == SECTOR:
            return FetchedResponse(200, {}, json.dumps([BACK]).encode())
        assert (method, largest) == ("GET", MAXIMUM)
        if self.failure is not None:
            raise self.failure
        body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
        return FetchedResponse(self.status, self.fields, body)


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"client_id_metadata_documents": True}


@pytest.fixture
def publishing(world: World, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    found = Publishing()
    monkeypatch.setattr(world.services.outgoing, "send", found.send)
    return found


@pytest.fixture
async def scene(world: World, publishing: Publishing) -> Scene:
    return await set_scene(world)


def asked_by(scene: Scene, uri: str = URI, **changes: str | None) -> str:
    return scene.address(Client(uri, None, BACK), **changes)


async def test_an_approval_registers_what_the_document_says(scene: Scene, publishing: Publishing) -> None:
    world, browser = scene.world, scene.world.browser()
    page = await browser.open(asked_by(scene))
    assert (page.status, publishing.asked) == (200, [])
    assert "agent.example" in page.text
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    assert publishing.asked == [URI]
    assert "Comes from" in page.text
    assert "<bdi>agent.example</bdi>" in page.text
    assert await world.events("client.registered", stream=STREAM) == ()
    page = await browser.press(page, CONSENT, APPROVE)
    registered, given, issued = (await world.events())[-3:]
    assert [each.type for each in (registered, given, issued)] == [
        "client.registered",
        "consent.given",
        "grant.code_issued",
    ]
    assert registered.stream == STREAM
    assert (registered.event.metadata_uri, registered.event.self_registered) == (URI, "document")
    assert (registered.event.client_type, registered.event.redirect_uris) == ("public", (BACK,))
    assert (registered.actor.kind, registered.actor.id) == ("person", scene.person.account_id)
    told = await scene.redeem(page, AGENT)
    assert told["scope"] == "orders catalog:read"
    shown = await world.client.post("/oauth/introspect", data={"token": told["access_token"]}, auth=await reader(world))
    assert (shown.json()["active"], shown.json()["client_id"]) == (True, URI)
    renewed = await world.client.post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": told["refresh_token"], "client_id": URI},
    )
    assert renewed.status_code == 200
    assert publishing.asked == [URI]
    admin = await administering(world)
    body = ok(await admin.get(f"/admin/clients/{id_of(URI)}"))
    assert (body["metadata_uri"], body["self_registered"], body["client_name"]) == (URI, "document", "Agent")


async def reader(world: World) -> tuple[str, str]:
    found = await world.register_client("Reader", grant_types=("client_credentials",), scope=("introspect",))
    return found.auth


async def approved(scene: Scene, browser: Browser) -> Page:
    page = await browser.press(await browser.open(asked_by(scene)), CONSENT, APPROVE)
    assert "code" in page.parameters, page.text
    return page


async def test_a_changed_document_counts_at_the_next_approval(scene: Scene, publishing: Publishing) -> None:
    world, browser = scene.world, await scene.signed_in()
    publishing.fields = {"cache-control": "max-age=120"}
    await approved(scene, browser)
    elsewhere = "https://back.agent.example/callback"
    publishing.document = DOCUMENT | {"redirect_uris": [BACK, elsewhere], "client_name": "Agent 2"}
    world.clock.advance(119)
    page = await browser.open(asked_by(scene, redirect_uri=elsewhere))
    assert page.status == 400, page.text
    world.clock.advance(2)
    page = await browser.open(asked_by(scene, redirect_uri=elsewhere))
    assert await world.events("client.updated") == ()
    await browser.press(page, CONSENT, APPROVE)
    (updated,) = await world.events("client.updated")
    assert (updated.event.old.client_name, updated.event.new.client_name) == ("Agent", "Agent 2")
    assert len(publishing.asked) == 2
    # A remembered consent answers at once, and nothing is registered twice.
    assert "code" in (await browser.open(asked_by(scene))).parameters
    assert len(await world.events("client.updated")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": f"{URI}/"},
        {"client_id": None},
        {"client_secret": "s"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": 7},
        {"redirect_uris": []},
        {"redirect_uris": None},
        {"redirect_uris": "https://agent.example/callback"},
        {"redirect_uris": ["http://agent.example/callback"]},
        {"grant_types": ["client_credentials"]},
        {"grant_types": [["authorization_code"]]},
        {"client_name": "x" * 201},
        {"client_name": "a\u0000b"},
        {"jwks": {"keys": [{"kty": "RSA"}]}},
    ],
)
async def test_a_document_that_describes_no_client(
    scene: Scene, publishing: Publishing, changes: dict[str, Any]
) -> None:
    publishing.document = DOCUMENT | changes
    page = await (await scene.signed_in()).open(asked_by(scene))
    assert (page.status, "location" in page.answer.headers) == (400, False)
    assert await scene.world.events("client.registered", stream=STREAM) == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"client_id": 1, "client_id": 2}', b"[" * 4000])
async def test_a_document_that_is_none(scene: Scene, publishing: Publishing, body: bytes) -> None:
    publishing.document = body
    assert (await (await scene.signed_in()).open(asked_by(scene))).status == 400


@pytest.mark.parametrize("failure", [NotAllowed(), NoAnswer("the answer is too long"), 404, 302, 500])
async def test_a_failure_is_not_kept_and_its_host_rests(
    scene: Scene, publishing: Publishing, failure: int | Exception
) -> None:
    browser = await scene.signed_in()
    if isinstance(failure, int):
        publishing.status = failure
    else:
        publishing.failure = failure
    assert (await browser.open(asked_by(scene))).status == 400
    publishing.status, publishing.failure = 200, None
    page = await browser.open(asked_by(scene))
    assert (page.status, page.answer.headers["retry-after"], RESTS in page.text) == (429, "60", True)
    # Another document of the same host is not fetched within the minute either.
    page = await browser.open(asked_by(scene, "https://AGENT.example/other.json"))
    assert (page.status, len(publishing.asked)) == (429, 1)
    scene.world.clock.advance(client_documents.HOST_RESTS)
    assert (await browser.open(asked_by(scene))).status == 200


async def test_a_document_is_used_while_its_host_rests(scene: Scene, publishing: Publishing) -> None:
    world, browser = scene.world, await scene.signed_in()
    await approved(scene, browser)
    world.clock.advance(601)
    publishing.document = DOCUMENT | {"client_id": "https://agent.example/other.json"}
    assert (await browser.open(asked_by(scene, "https://agent.example/other.json"))).status == 200
    assert (await browser.open(asked_by(scene, prompt="consent"))).status == 200
    world.clock.advance(61)
    publishing.status = 410
    assert (await browser.open(asked_by(scene, prompt="consent"))).status == 400
    assert (await browser.open(asked_by(scene, prompt="consent"))).status == 429


@cases(
    "uri",
    [
        *("http://agent.example/client.json", "https://agent.example", "https://agent.example/a/../b", "https:///a"),
        *("https://agent.example/a#b", "https://u@agent.example/a", "https://agent.example:0/a", "https://[/a"),
        *("https://agent.example:x/a", f"https://agent.example/{'a' * 200}", id_of(URI), f"{PREFIX}x"),
    ],
)
async def test_an_address_that_no_client_can_call_itself_by(scene: Scene, publishing: Publishing, uri: str) -> None:
    page = await (await scene.signed_in()).open(asked_by(scene, uri))
    assert (page.status, publishing.asked) == (400, [])


async def test_a_stranger_makes_the_server_fetch_nothing(scene: Scene, publishing: Publishing) -> None:
    world = scene.world
    for method in ("GET", "POST"):
        await world.client.request(method, asked_by(scene))
    answer = await world.client.get(asked_by(scene, prompt="none"))
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    answer = await world.client.post("/oauth/token", data={"grant_type": "refresh_token", "client_id": URI})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert publishing.asked == []


async def test_the_id_under_which_it_is_kept_is_no_name(scene: Scene, publishing: Publishing) -> None:
    page = await approved(scene, await scene.signed_in())
    refused = await scene.redeem(page, Client(id_of(URI), None, BACK))
    assert refused["error"] == "invalid_client"
    assert (await scene.redeem(page, AGENT))["token_type"] == "Bearer"


async def test_one_that_was_disabled_or_deleted_stays_so(scene: Scene, publishing: Publishing) -> None:
    world, browser = scene.world, await scene.signed_in()
    await approved(scene, browser)
    admin = await administering(world)
    ok(await admin.post(f"/admin/clients/{id_of(URI)}/disable"))
    assert "switched off" in (await browser.open(asked_by(scene))).text
    assert (await admin.delete(f"/admin/clients/{id_of(URI)}")).status_code == 204
    page = await browser.open(asked_by(scene))
    assert (page.status, len(await world.events("client.registered", stream=STREAM))) == (400, 1)


async def test_a_no_registers_nothing(scene: Scene, publishing: Publishing) -> None:
    browser = await scene.signed_in()
    page = await browser.press(await browser.open(asked_by(scene)), CONSENT, DENY)
    assert page.parameters["error"] == "access_denied"
    (denied,) = await scene.world.events("consent.denied")
    assert (denied.actor.id, await scene.world.events("client.registered", stream=STREAM)) == (
        scene.person.account_id,
        (),
    )
    assert (await browser.open("/account/grants")).status == 200
    admin = await administering(scene.world)
    ok(await admin.get("/audit/events", params={"names": "1", "type": "consent.denied"}))


async def test_a_pushed_request_of_one_with_keys(scene: Scene, publishing: Publishing) -> None:
    world, key = scene.world, made_key("ES256")
    publishing.document = DOCUMENT | {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public(key)]}}
    form = {
        "response_type": "code",
        "client_id": URI,
        "redirect_uri": BACK,
        "code_challenge": scene.address().partition("code_challenge=")[2].partition("&")[0],
        "code_challenge_method": "S256",
    }
    signer = Signer(world, URI, key=key)
    proving = {"client_assertion_type": client_assertion.TYPE, "client_assertion": signer.assertion()}
    unproven = await world.client.post("/oauth/par", data=form)
    assert (unproven.status_code, unproven.json()["error"]) == (401, "invalid_client")
    pushed = await world.client.post("/oauth/par", data=form | proving)
    assert pushed.status_code == 201, pushed.text
    assert publishing.asked == [URI]
    browser = world.browser()
    page = await browser.open(f"{AUTHORIZE}?client_id={URI}&request_uri={pushed.json()['request_uri']}")
    world.clock.advance(90)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    page = await browser.press(page, CONSENT, APPROVE)
    assert "code" in page.parameters, page.text
    (decided,) = await world.events("pushed_request.decided")
    assert decided.event.answer == "approved"


async def test_whom_a_device_is_connected_to_is_told_by_the_host_too(scene: Scene, publishing: Publishing) -> None:
    """A name alone is whatever the document says."""
    publishing.document = DOCUMENT | {"client_name": "Mail", "grant_types": list(GRANT_TYPES)}
    browser = await scene.signed_in()
    await approved(scene, browser)
    device = await begin(scene.world, AGENT, scope="orders")
    page = await typed(browser, device.user_code)
    assert "<bdi>Mail</bdi>" in page.text
    assert "<bdi>agent.example</bdi>" in page.text


async def test_others_are_not_asked_each_time_a_document_names_them(scene: Scene, publishing: Publishing) -> None:
    publishing.document = DOCUMENT | {"subject_type": "pairwise", "sector_identifier_uri": SECTOR}
    browser = await scene.signed_in()
    for _ in range(3):
        page = await browser.open(asked_by(scene))
        assert "Agent" in page.text
    assert publishing.asked == [URI, SECTOR]
    page = await browser.press(page, CONSENT, APPROVE)
    assert "code" in page.parameters, page.text
    assert publishing.asked == [URI, SECTOR]


async def test_only_so_many_are_kept(scene: Scene, publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_documents, "AT_MOST", 2)
    browser = await scene.signed_in()
    assert (await browser.open(asked_by(scene))).status == 200
    page = await browser.open(asked_by(scene, "https://else.example/a"))
    assert (page.status, FULL in page.text, len(publishing.asked)) == (503, True, 1)
    ledger = scene.world.services.ledger
    assert await ledger.maintain(client_documents.prune, scene.world.clock.now() + 61 * SECOND, 10) == 1


@pytest.mark.parametrize("settings_given", [{}])
async def test_it_is_off_unless_it_was_switched_on(scene: Scene, publishing: Publishing) -> None:
    page = await (await scene.signed_in()).open(asked_by(scene))
    assert (page.status, publishing.asked) == (400, [])
    metadata = (await scene.world.client.get("/.well-known/oauth-authorization-server")).json()
    assert "client_id_metadata_document_supported" not in metadata


async def test_the_metadata_tells_of_it(scene: Scene) -> None:
    metadata = (await scene.world.client.get("/.well-known/openid-configuration")).json()
    assert metadata["client_id_metadata_document_supported"] is True
