"""Authorization details (RFC 9396): which there are, who may ask, what a person is shown, and what tokens are for."""

import json
from typing import Any

import httpx
import pytest

from api.account.data import export
from api.services import SYSTEM
from domain.grants.token_exchange import ACCESS_TOKEN, GRANT_TYPE
from domain.rules.client_metadata import ExchangeRule
from eventstore.execution import Origin
from security.jose import read_claims
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene, error_of, set_scene
from tests.scenarios.browser import Page
from tests.scenarios.tokens.test_jwt_access_tokens import FORMAT, introspected
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

PATH = "/admin/authorization-detail-types/payment"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"const": "payment"},
        "amount": {"type": "string", "maxLength": 20},
        "to": {"type": "string"},
        "actions": {"type": "array", "items": {"enum": ["initiate", "status"]}, "maxItems": 2},
    },
    "required": ["amount", "to"],
    "additionalProperties": False,
}
TERMS = {"description": "Pay once from your account", "schema": SCHEMA}
ONE: dict[str, Any] = {"type": "payment", "amount": "45.00 EUR", "to": "Merchant A"}
TWO: dict[str, Any] = {"type": "payment", "amount": "7.50 EUR", "to": "Merchant B", "actions": ["status"]}


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    found = await administering(world)
    ok(await found.put(PATH, json=TERMS), 201)
    return found


@pytest.fixture
async def scene(world: World, admin: httpx.AsyncClient) -> Scene:
    scene = await set_scene(world)
    shop = await world.register_client(
        "Shop",
        grant_types=("authorization_code", "refresh_token", "client_credentials"),
        scope=("orders",),
        authorization_details_types=("payment",),
    )
    return Scene(world, scene.person, shop)


def asking(scene: Scene, *details: Any, **changes: str | None) -> str:
    return scene.address(None, authorization_details=json.dumps(list(details)), **changes)


async def told(scene: Scene, token: str) -> Any:
    return (await introspected(scene.world, scene.shop, token)).get("authorization_details")


async def test_types_are_defined_read_changed_and_removed(world: World, admin: httpx.AsyncClient) -> None:
    body = {"type": "payment", **TERMS}
    assert ok(await admin.get(PATH)) == body
    assert ok(await admin.get("/admin/authorization-detail-types")) == {"items": [body], "next": None}
    before = await world.head()
    assert ok(await admin.put(PATH, json=body)) == body
    assert not await world.events("authorization_detail_type.*", after=before)
    changed = ok(await admin.put(PATH, json=TERMS | {"description": "Pay"}))
    assert changed["description"] == "Pay"
    metadata = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_details_types_supported"] == ["payment"]
    assert (await admin.delete(PATH)).status_code == 204
    problem(await admin.get(PATH), 404)
    metadata = (await world.client.get("/.well-known/oauth-authorization-server")).json()
    assert "authorization_details_types_supported" not in metadata


@cases(
    "schema",
    [
        {"pattern": "(a+)+$"},
        {"$ref": "https://evil.example/schema"},
        {"type": "text"},
        {"required": "amount"},
        {"maxLength": -1},
        {"minimum": "1"},
        {"properties": []},
        {"properties": {"amount": {"type": 7}}},
        {"items": "string"},
    ],
)
async def test_schemas_that_cannot_be_checked(admin: httpx.AsyncClient, schema: Any) -> None:
    problem(await admin.put(PATH, json=TERMS | {"schema": schema}), 400, field="schema")


async def test_a_person_sees_them_and_the_tokens_are_for_them(scene: Scene) -> None:
    browser = await scene.signed_in()
    page = await browser.open(asking(scene, ONE, TWO))
    for words in ("Pay once from your account", "45.00 EUR", "Merchant A", "7.50 EUR"):
        assert words in page.text
    answer = await scene.redeem(await scene.approved(browser, asking(scene, ONE, TWO)))
    assert answer["authorization_details"] == [ONE, TWO]
    assert await told(scene, answer["access_token"]) == [ONE, TWO]
    event = (await scene.world.events("grant.code_issued"))[-1].event
    assert "Merchant" not in event.authorization_details


async def test_they_are_asked_for_each_time(scene: Scene) -> None:
    browser = await scene.signed_in()
    await scene.approved(browser)
    assert "code" in (await browser.open(scene.address())).parameters
    assert "Merchant A" in (await browser.open(asking(scene, ONE))).text
    silent = await browser.open(asking(scene, ONE, prompt="none"))
    assert error_of(silent)[0] == "consent_required"


@pytest.mark.parametrize("part", [[ONE], [TWO], [TWO, ONE]])
async def test_fewer_at_the_token_endpoint_and_when_refreshing(scene: Scene, part: list[Any]) -> None:
    first = await scene.redeem(await scene.approved(await scene.signed_in(), asking(scene, ONE, TWO)))
    data = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    given = data | {"authorization_details": json.dumps(part)}
    second = ok(await scene.world.client.post("/oauth/token", data=given, auth=scene.shop.auth))
    wanted = [each for each in (ONE, TWO) if each in part]
    assert second["authorization_details"] == wanted
    assert await told(scene, second["access_token"]) == wanted
    assert await told(scene, first["access_token"]) == [ONE, TWO]
    data["refresh_token"] = second["refresh_token"]
    third = ok(await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth))
    assert third["authorization_details"] == [ONE, TWO]


async def test_never_more_when_refreshing(scene: Scene) -> None:
    first = await scene.redeem(await scene.approved(await scene.signed_in(), asking(scene, ONE)))
    data = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    data["authorization_details"] = json.dumps([TWO])
    refused = await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")


async def for_itself(scene: Scene, client: Client, text: str) -> httpx.Response:
    data = {"grant_type": "client_credentials", "authorization_details": text}
    return await scene.world.client.post("/oauth/token", data=data, auth=client.auth)


async def test_a_client_for_itself(scene: Scene) -> None:
    answer = ok(await for_itself(scene, scene.shop, json.dumps([ONE])))
    assert answer["authorization_details"] == [ONE]
    assert await told(scene, answer["access_token"]) == [ONE]
    given = (await scene.world.events("grant.details_given"))[-1]
    assert "Merchant" not in given.event.authorization_details


async def test_in_a_jwt(scene: Scene) -> None:
    job = await scene.world.register_client(
        "Job",
        grant_types=("client_credentials",),
        scope=("orders",),
        authorization_details_types=("payment",),
        **FORMAT,
    )
    token = ok(await for_itself(scene, job, json.dumps([ONE])))["access_token"]
    assert read_claims(token)["authorization_details"] == [ONE]


BAD = {
    "no JSON": "{",
    "no array": json.dumps(ONE),
    "empty": "[]",
    "no object": '["payment"]',
    "no type": '[{"amount": "1", "to": "x"}]',
    "type that is no text": '[{"type": 7}]',
    "two members": '[{"type": "payment", "type": "other", "amount": "1", "to": "x"}]',
    "NaN": '[{"type": "payment", "amount": NaN, "to": "x"}]',
    "too large a number": '[{"type": "payment", "amount": 1e999, "to": "x"}]',
    "unknown type": '[{"type": "unknown"}]',
    "member missing": '[{"type": "payment", "amount": "1"}]',
    "member unknown": json.dumps([ONE | {"more": 1}]),
    "wrong kind": json.dumps([ONE | {"amount": 45}]),
    "true for text": json.dumps([ONE | {"amount": True}]),
    "not in the enumeration": json.dumps([ONE | {"actions": ["all"]}]),
    "too many of them": json.dumps([ONE] * 11),
    "too long": json.dumps([ONE | {"to": "x" * 5000}]),
    "too many bytes": json.dumps([ONE | {"to": "€" * 1400}], ensure_ascii=False),
    "too large an integer": '[{"type": "payment", "amount": "1", "to": "x", "n": 9223372036854775808}]',
    "an endless integer": '[{"type": "payment", "amount": "1", "to": "x", "n": ' + "9" * 4000 + "}]",
    "too deep": "[" * 2000 + "]" * 2000,
    "half a surrogate": '[{"type": "payment", "amount": "1", "to": "\\ud800"}]',
    "NUL": '[{"type": "payment", "amount": "1", "to": "\\u0000"}]',
}


@cases("text", BAD.values(), ids=BAD)
async def test_what_is_refused(scene: Scene, text: str) -> None:
    refused = await for_itself(scene, scene.shop, text)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")
    if len(text.encode()) < 3000:
        browser = await scene.signed_in()
        page = await browser.open(scene.address(None, authorization_details=text))
        assert error_of(page)[0] == "invalid_authorization_details"
        data = {"response_type": "code", "redirect_uri": scene.shop.redirect_uri, "authorization_details": text}
        data |= {"code_challenge": "x" * 43, "code_challenge_method": "S256"}
        pushed = await scene.world.client.post("/oauth/par", data=data, auth=scene.shop.auth)
        assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_authorization_details")


async def test_any_number_that_fits_goes_through(scene: Scene, admin: httpx.AsyncClient) -> None:
    ok(await admin.put(PATH, json=TERMS | {"schema": {}}))
    details = [
        {"type": "payment", "n": [9223372036854775807, -9223372036854775808, 1.5, 1e300, True, None, {"a": "é"}]}
    ]
    answer = ok(await for_itself(scene, scene.shop, json.dumps(details)))
    assert answer["authorization_details"] == await told(scene, answer["access_token"]) == details


async def test_numbers_count_as_long_as_our_own_words_for_them(scene: Scene, admin: httpx.AsyncClient) -> None:
    """A token with more could be signed, and be too long to be introspected, revoked or found."""
    ok(await admin.put(PATH, json=TERMS | {"schema": {}}))
    text = f'[{{"type":"payment","n":[{",".join(["1e15"] * 400)}]}}]'
    refused = await for_itself(scene, scene.shop, text)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")


async def test_a_client_without_the_type(scene: Scene) -> None:
    other = await scene.world.register_client("Other", grant_types=("client_credentials",), scope=("orders",))
    refused = await for_itself(scene, other, json.dumps([ONE]))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")


async def test_pushed(scene: Scene) -> None:
    page: Page = await scene.approved(await scene.signed_in(), await pushed_address(scene))
    assert (await scene.redeem(page))["authorization_details"] == [ONE]


async def pushed_address(scene: Scene) -> str:
    query = asking(scene, ONE).partition("?")[2]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = ok(await scene.world.client.post("/oauth/par", content=query, headers=headers, auth=scene.shop.auth), 201)
    return f"/oauth/authorize?client_id={scene.shop.client_id}&request_uri={answer['request_uri']}"


async def test_they_go_with_the_person(scene: Scene, admin: httpx.AsyncClient) -> None:
    answer = await scene.redeem(await scene.approved(await scene.signed_in(), asking(scene, ONE)))
    position = (await scene.world.events("grant.code_issued"))[-1].position
    shown = ok(await admin.get(f"/audit/events/{position}"))
    assert json.loads(shown["data"]["authorization_details"]) == [ONE]
    pieces = await export(scene.world.services, scene.person.account_id, Origin(SYSTEM))
    own = json.loads(b"".join([each async for each in pieces]))
    assert [each["authorization_details"] for each in own["grants"]] == [[ONE]]
    assert (await admin.delete(f"/admin/people/{scene.person.account_id}")).status_code == 204
    erased = ok(await admin.get(f"/audit/events/{position}"))
    assert erased["data"]["authorization_details"] is None
    assert "data.authorization_details" in erased["erased"] or "authorization_details" in str(erased["erased"])
    assert await introspected(scene.world, scene.shop, answer["access_token"]) == {"active": False}


async def test_exchanged_for_those_that_are_named(scene: Scene) -> None:
    world = scene.world
    rule = ExchangeRule(subject_client=scene.shop.client_id, resource="https://stock.example", scope=("orders",))
    gateway = await world.register_client(
        "Gateway", grant_types=(GRANT_TYPE,), scope=("orders",), token_exchange=(rule,)
    )
    first = await scene.redeem(await scene.approved(await scene.signed_in(), asking(scene, ONE, TWO)))
    data = {"grant_type": GRANT_TYPE, "subject_token": first["access_token"], "subject_token_type": ACCESS_TOKEN}
    plain = ok(await world.client.post("/oauth/token", data=data, auth=gateway.auth))
    assert "authorization_details" not in plain
    assert "authorization_details" not in await introspected(world, gateway, plain["access_token"])
    named = data | {"authorization_details": json.dumps([TWO])}
    exchanged = ok(await world.client.post("/oauth/token", data=named, auth=gateway.auth))
    assert exchanged["authorization_details"] == [TWO]
    assert (await introspected(world, gateway, exchanged["access_token"]))["authorization_details"] == [TWO]
    other = data | {"authorization_details": json.dumps([ONE | {"amount": "1"}])}
    refused = await world.client.post("/oauth/token", data=other, auth=gateway.auth)
    assert refused.json()["error"] == "invalid_authorization_details"


async def test_an_exchange_gives_nothing_that_the_token_was_not_for(scene: Scene) -> None:
    world, auth = scene.world, scene.shop.auth
    rule = ExchangeRule(subject_client=scene.shop.client_id, resource="https://stock.example", scope=("orders",))
    gateway = await world.register_client(
        "Gateway", grant_types=(GRANT_TYPE,), scope=("orders",), token_exchange=(rule,)
    )
    first = await scene.redeem(await scene.approved(await scene.signed_in(), asking(scene, ONE, TWO)))
    data = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    data["authorization_details"] = json.dumps([ONE])
    narrowed = ok(await world.client.post("/oauth/token", data=data, auth=auth))
    given = {"grant_type": GRANT_TYPE, "subject_token": narrowed["access_token"], "subject_token_type": ACCESS_TOKEN}
    for details, status in (([TWO], 400), ([ONE, TWO], 400), ([ONE], 200)):
        sent = given | {"authorization_details": json.dumps(details)}
        answer = await world.client.post("/oauth/token", data=sent, auth=gateway.auth)
        assert answer.status_code == status, answer.text
    assert answer.json()["authorization_details"] == [ONE]
