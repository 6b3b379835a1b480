"""The JWT bearer grant (RFC 7523 §2.1): whose assertions count, what they must say, and what they bring."""

from typing import Any

import httpx
import pytest

from domain import account
from domain.event import SECOND
from domain.grants.jwt_bearer import GRANT_TYPE
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.assertions import ALGORITHMS, made_key, public, signed
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

WORKFORCE = "https://workforce.example"
PATH = "/admin/trusted-issuers/workforce"


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world, "clients:read", "clients:write")


def terms(**changes: Any) -> dict[str, Any]:
    keys = [public(made_key(algorithm)) for algorithm in ALGORITHMS]
    return {
        "issuer": WORKFORCE,
        "jwks": {"keys": keys},
        "subject": "username",
        "scope": "orders openid",
        "clients": [],
    } | changes


@pytest.fixture
async def robot(world: World, scene: Scene, admin: httpx.AsyncClient) -> Client:
    ok(await admin.put(PATH, json=terms()), 201)
    scope = ("orders", "catalog:read", "openid")
    return await world.register_client("Robot", grant_types=(GRANT_TYPE, "refresh_token"), scope=scope)


def claims(world: World, **changes: Any) -> dict[str, Any]:
    now = world.clock.now() // SECOND
    said = {
        "iss": WORKFORCE,
        "sub": "paul",
        "aud": world.settings.issuer,
        "iat": now,
        "exp": now + 60,
        "jti": f"{now}-{len(changes)}",
    } | changes
    return {name: value for name, value in said.items() if value is not None}


async def brought(world: World, client: Client, assertion: str, **given: str) -> httpx.Response:
    data = {"grant_type": GRANT_TYPE, "assertion": assertion} | given
    return await world.client.post("/oauth/token", data=data, auth=client.auth)


async def asserted(world: World, client: Client, algorithm: str = "ES256", **changes: Any) -> httpx.Response:
    key = made_key(algorithm)
    token = signed({"alg": algorithm, "kid": public(key)["kid"]}, claims(world, **changes), key)
    return await brought(world, client, token)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_assertion_is_a_grant(world: World, scene: Scene, robot: Client, algorithm: str) -> None:
    before = await world.head()
    answer = ok(await asserted(world, robot, algorithm))
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert answer["scope"] == "orders"
    assert await world.types_after(before) == ["grant.tokens_issued"]
    issued = (await world.events("grant.tokens_issued"))[-1]
    assert (issued.event.asserted_by, issued.event.account_id) == ("workforce", scene.person.account_id)
    assert (issued.actor.kind, issued.actor.id) == ("client", robot.client_id)
    told = await world.client.post("/oauth/introspect", data={"token": answer["access_token"]}, auth=robot.auth)
    assert told.json()["sub"] == scene.person.account_id


@pytest.mark.parametrize(("subject", "sub"), [("email", "paul@example.test"), ("account_id", None)])
async def test_people_are_named_as_agreed(
    world: World, scene: Scene, robot: Client, admin: httpx.AsyncClient, subject: str, sub: str | None
) -> None:
    ok(await admin.put(PATH, json=terms(subject=subject)))
    ok(await asserted(world, robot, sub=sub or scene.person.account_id))
    assert refused(await asserted(world, robot, sub="nobody", jti="2")) == (400, "invalid_grant")
    assert refused(await asserted(world, robot, sub="no-body ü", jti="3")) == (400, "invalid_grant")


async def test_each_assertion_is_taken_once(world: World, robot: Client) -> None:
    ok(await asserted(world, robot))
    assert refused(await asserted(world, robot)) == (400, "invalid_grant")
    ok(await asserted(world, robot, jti="another"))


@cases(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"iss": ["https://workforce.example"]},
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": []},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "paul\0"},
        {"sub": "x" * 400},
        {"jti": None},
        {"jti": "x" * 600},
        {"jti": {}},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1},
        {"exp": 10**18},
        {"exp": 253_402_300_799},
        {"nbf": 253_402_300_799},
        {"iat": 253_402_300_799},
        {"iat": True},
    ],
    ids=str,
)
async def test_what_an_assertion_must_say(world: World, robot: Client, changes: dict[str, Any]) -> None:
    before = await world.head()
    assert refused(await asserted(world, robot, **changes)) == (400, "invalid_grant")
    assert "grant.tokens_issued" not in await world.types_after(before)


@cases("what", ["none", "other key", "other kid", "no jwt", "own key", "nested", "crit"])
async def test_whose_signature_it_must_have(world: World, robot: Client, what: str) -> None:
    key, other = made_key("ES256"), made_key("ES256", "other")
    said, kid = claims(world), public(key)["kid"]
    assertion = {
        "none": lambda: signed({"alg": "none"}, said, key, "ES256"),
        "other key": lambda: signed({"alg": "ES256", "kid": kid}, said, other),
        "other kid": lambda: signed({"alg": "ES256", "kid": "no-such"}, said, key),
        "no jwt": lambda: "a.b.c",
        "own key": lambda: signed({"alg": "ES256", "jwk": public(other)}, said, other),
        "nested": lambda: signed({"alg": "ES256", "cty": "JWT"}, said, key),
        "crit": lambda: signed({"alg": "ES256", "crit": ["exp"]}, said, key),
    }[what]()
    assert refused(await brought(world, robot, assertion)) == (400, "invalid_grant")


async def test_no_more_scope_than_the_issuer_is_trusted_with(world: World, robot: Client) -> None:
    key = made_key("ES256")

    async def ask(scope: str, jti: str) -> httpx.Response:
        token = signed({"alg": "ES256"}, claims(world, jti=jti), key)
        return await brought(world, robot, token, scope=scope)

    assert ok(await ask("orders openid", "1"))["scope"] == "orders openid"
    assert refused(await ask("catalog:read", "2")) == (400, "invalid_scope")


async def test_trust_ends_at_once(world: World, robot: Client, admin: httpx.AsyncClient) -> None:
    assert (await admin.delete(PATH)).status_code == 204
    assert refused(await asserted(world, robot)) == (400, "invalid_grant")
    problem(await admin.delete(PATH), 404)
    assert [each.type for each in await world.events("trusted_issuer.*")] == [
        "trusted_issuer.trusted",
        "trusted_issuer.distrusted",
    ]


async def test_only_the_clients_that_are_named(world: World, robot: Client, admin: httpx.AsyncClient) -> None:
    ok(await admin.put(PATH, json=terms(clients=["another"])))
    assert refused(await asserted(world, robot)) == (400, "unauthorized_client")
    ok(await admin.put(PATH, json=terms(clients=[robot.client_id])))
    ok(await asserted(world, robot, jti="2"))
    job = await world.register_client("Job", grant_types=("client_credentials",))
    assert refused(await asserted(world, job, jti="3")) == (400, "unauthorized_client")
    # Whoever may not use an assertion takes it from nobody.
    other = await world.register_client("Other", grant_types=(GRANT_TYPE,), scope=("orders",))
    assert refused(await asserted(world, other, jti="4")) == (400, "unauthorized_client")
    ok(await asserted(world, robot, jti="4"))


async def test_nobody_stands_in_for_a_disabled_person(
    world: World, scene: Scene, robot: Client, admin: httpx.AsyncClient
) -> None:
    token = ok(await asserted(world, robot))["access_token"]
    people = await administering(world)
    ok(await people.post(f"/admin/people/{scene.person.account_id}/disable"))
    state = await world.services.ledger.state(account.stream(scene.person.account_id))
    assert not state.enabled
    assert refused(await asserted(world, robot, jti="2")) == (400, "invalid_grant")
    told = await world.client.post("/oauth/introspect", data={"token": token}, auth=robot.auth)
    assert told.json() == {"active": False}


async def test_trusted_issuers_are_shown(world: World, robot: Client, admin: httpx.AsyncClient) -> None:
    shown = ok(await admin.get(PATH))
    assert (shown["name"], shown["issuer"], shown["scope"]) == ("workforce", WORKFORCE, "orders openid")
    assert ok(await admin.get("/admin/trusted-issuers")) == {"items": [shown], "next": None}
    before = await world.head()
    ok(await admin.put(PATH, json=shown))
    assert await world.types_after(before) == []
    problem(await admin.get("/admin/trusted-issuers/nobody"), 404)
    problem(await admin.put("/admin/trusted-issuers/other", json=terms()), 409, field="issuer")


@cases(
    ("changes", "field"),
    [
        ({"issuer": ""}, "issuer"),
        ({"issuer": "http://127.0.0.1:8400"}, "issuer"),
        ({"scope": "clients:read"}, "scope"),
        ({"scope": "account"}, "scope"),
        ({"scope": "no:such"}, "scope"),
        ({"scope": ""}, "scope"),
        ({"clients": ["a b"]}, "clients"),
        ({"jwks": {"keys": []}}, "jwks"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "jwks"),
        ({"name": "other"}, "name"),
    ],
)
async def test_what_cannot_be_trusted(world: World, admin: httpx.AsyncClient, changes: Any, field: str) -> None:
    await world.define_scopes("orders")
    problem(await admin.put(PATH, json=terms(**changes)), 400, field=field)
    assert await world.events("trusted_issuer.*") == ()
