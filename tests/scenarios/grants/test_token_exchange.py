"""Token exchange (RFC 8693): by whose policy, for how long, who acts, and what ends what was issued."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from domain import client
from domain.exchange import EXCHANGES_MAXIMUM
from domain.grants.token_exchange import ACCESS_TOKEN, GRANT_TYPE
from domain.rules.client_metadata import ExchangeRule
from security.clock import format_rfc3339
from security.tokens import digest
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import Scene
from tests.scenarios.proofs import Holder
from tests.scenarios.world import Client, World

pytestmark = pytest.mark.anyio

CATALOG, STOCK = "https://catalog.example", "https://stock.example"
SERVICE = (GRANT_TYPE, "client_credentials")


@dataclass(frozen=True)
class Gateway:
    """A shop that a person allowed something, and a gateway that exchanges the shop's tokens."""

    scene: Scene
    client: Client
    tokens: dict[str, Any]

    @property
    def world(self) -> World:
        return self.scene.world

    async def exchange(self, token: str | None = None, /, by: Client | None = None, **given: str) -> httpx.Response:
        data = {
            "grant_type": GRANT_TYPE,
            "subject_token": token or self.tokens["access_token"],
            "subject_token_type": ACCESS_TOKEN,
        } | given
        return await self.world.client.post("/oauth/token", data=data, auth=(by or self.client).auth)

    async def introspect(self, token: str) -> dict[str, Any]:
        answer = await self.world.client.post("/oauth/introspect", data={"token": token}, auth=self.client.auth)
        found: dict[str, Any] = answer.json()
        return found

    async def own_token(self, by: Client | None = None) -> str:
        answer = await self.world.client.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(by or self.client).auth
        )
        found: str = answer.json()["access_token"]
        return found


def rule(subject: Client, resource: str = CATALOG, *scope: str) -> ExchangeRule:
    return ExchangeRule(subject_client=subject.client_id, resource=resource, scope=scope or ("orders",))


async def gateway_for(world: World, name: str, *rules: ExchangeRule) -> Client:
    return await world.register_client(name, grant_types=SERVICE, scope=("stock",), token_exchange=rules)


@pytest.fixture
async def gateway(world: World, scene: Scene) -> Gateway:
    made = await gateway_for(world, "Gateway", rule(scene.shop))
    tokens = await scene.redeem(await scene.approved(await scene.signed_in()))
    return Gateway(scene, made, tokens)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def test_a_token_is_exchanged_as_the_policy_says(gateway: Gateway) -> None:
    world = gateway.world
    before = await world.head()
    answer = ok(await gateway.exchange())
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope", "issued_token_type"}
    assert (answer["scope"], answer["issued_token_type"]) == ("orders", ACCESS_TOKEN)
    assert await world.types_after(before) == ["grant.exchanged"]
    told, first = await gateway.introspect(answer["access_token"]), await world.events("grant.tokens_issued")
    assert (told["client_id"], told["aud"]) == (gateway.client.client_id, CATALOG)
    assert told["sub"] == gateway.scene.person.account_id
    assert told["grant_id"] == first[0].stream.partition(":")[2]
    assert "act" not in told


async def test_it_expires_no_later_than_what_it_was_exchanged_for(gateway: Gateway) -> None:
    gateway.world.clock.advance(500)
    assert ok(await gateway.exchange())["expires_in"] == 100
    gateway.world.clock.advance(99)
    assert ok(await gateway.exchange())["expires_in"] == 1
    # Half a second later no whole one is left.
    gateway.world.clock.advance(0.5)
    assert refused(await gateway.exchange()) == (400, "invalid_request")
    gateway.world.clock.advance(0.5)
    assert refused(await gateway.exchange()) == (400, "invalid_request")


async def test_who_acts_is_told_up_to_four(gateway: Gateway) -> None:
    world, scene = gateway.world, gateway.scene
    chain, token = [gateway.client], gateway.tokens["access_token"]
    for number in range(4):
        chain.append(await gateway_for(world, f"Next {number}", rule(chain[-1], CATALOG)))
    for place, each in enumerate(chain):
        acting = {"actor_token": await gateway.own_token(each), "actor_token_type": ACCESS_TOKEN}
        answer = await gateway.exchange(token, by=each, **acting)
        if place == 4:
            assert refused(answer) == (400, "invalid_request")
            break
        token = ok(answer)["access_token"]
        told = await world.client.post("/oauth/introspect", data={"token": token}, auth=each.auth)
        act, found = told.json().get("act"), []
        while act:
            found.append(act["sub"])
            act = act.get("act")
        assert found == [before.client_id for before in reversed(chain[: place + 1])]
        assert told.json()["sub"] == scene.person.account_id


async def test_who_may_exchange_their_own_tokens_comes_to_an_end(gateway: Gateway) -> None:
    world = gateway.world
    admin = await administering(world, "clients:read", "clients:write")
    rules = [
        {"subject_client": each.client_id, "resource": CATALOG, "scope": "orders"}
        for each in (gateway.scene.shop, gateway.client)
    ]
    ok(await admin.patch(f"/admin/clients/{gateway.client.client_id}", json={"token_exchange": rules}))
    token = gateway.tokens["access_token"]
    for _ in range(EXCHANGES_MAXIMUM):
        token = ok(await gateway.exchange(token))["access_token"]
    assert refused(await gateway.exchange(token)) == (400, "invalid_request")
    assert (await world.events("grant.exchanged"))[-1].event.access_token == digest(token).hex()


async def test_an_actor_shows_a_token_of_its_own(gateway: Gateway) -> None:
    acting: Any = {"actor_token_type": ACCESS_TOKEN}
    for token in (gateway.tokens["access_token"], "nonsense", gateway.tokens["refresh_token"]):
        assert refused(await gateway.exchange(actor_token=token, **acting)) == (400, "invalid_request")
    assert refused(await gateway.exchange(actor_token=await gateway.own_token())) == (400, "invalid_request")
    assert refused(await gateway.exchange(**acting)) == (400, "invalid_request")
    over = await gateway.own_token()
    assert "act" in await gateway.introspect(ok(await gateway.exchange(actor_token=over, **acting))["access_token"])
    ok(await gateway.world.client.post("/oauth/revoke", data={"token": over}, auth=gateway.client.auth))
    assert refused(await gateway.exchange(actor_token=over, **acting)) == (400, "invalid_request")


@cases(
    ("given", "error"),
    [
        ({"resource": STOCK}, "invalid_target"),
        ({"audience": "nobody"}, "invalid_target"),
        ({"resource": CATALOG, "audience": "nobody"}, "invalid_target"),
        ({"scope": "catalog:read"}, "invalid_scope"),
        ({"scope": "orders stock"}, "invalid_scope"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token": "nonsense"}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
    ],
)
async def test_what_the_policy_does_not_say_is_refused(gateway: Gateway, given: Any, error: str) -> None:
    before = await gateway.world.head()
    assert refused(await gateway.exchange(**given)) == (400, error)
    assert await gateway.world.types_after(before) == []


async def test_who_asks_for_too_much_is_not_told_of_its_own_scope(gateway: Gateway) -> None:
    """The gateway has none of these scopes itself: what it may have in exchange is the policy's to say."""
    answer = await gateway.exchange(scope="orders catalog:read")
    assert refused(answer) == (400, "invalid_scope")
    words = "The scope is wider than what this client may have in exchange for that token."
    assert answer.json()["error_description"] == words


async def test_the_event_names_both_tokens_and_the_secret(gateway: Gateway) -> None:
    token = ok(await gateway.exchange())["access_token"]
    (exchanged,) = await gateway.world.events("grant.exchanged")
    told = exchanged.event
    state = await gateway.world.services.ledger.state(client.stream(gateway.client.client_id))
    assert (told.subject_token, told.access_token) == tuple(
        digest(each).hex() for each in (gateway.tokens["access_token"], token)
    )
    assert (told.secret_id, told.secret_version) == (state.secrets[0].secret_id, 1)
    assert (told.account_id, told.audience) == (gateway.scene.person.account_id, (CATALOG,))


@pytest.mark.parametrize("ending", ["revoked", "grant", "shop", "person", "time"])
async def test_a_dead_token_is_not_exchanged(gateway: Gateway, ending: str) -> None:
    world, scene = gateway.world, gateway.scene
    admin = await administering(world)
    match ending:
        case "revoked" | "grant":
            data = {"token": gateway.tokens["access_token" if ending == "revoked" else "refresh_token"]}
            ok(await world.client.post("/oauth/revoke", data=data, auth=scene.shop.auth))
        case "shop":
            ok(await admin.post(f"/admin/clients/{scene.shop.client_id}/disable"))
        case "person":
            ok(await admin.post(f"/admin/people/{scene.person.account_id}/disable"))
        case _:
            world.clock.advance(world.settings.access_token_lifetime)
    assert refused(await gateway.exchange()) == (400, "invalid_request")
    assert await world.events("grant.exchanged") == ()


async def test_a_token_bound_to_anothers_key_is_not_exchanged(world: World) -> None:
    service = await world.register_client("Service", grant_types=("client_credentials",), scope=("orders",))
    asked: Any = {"data": {"grant_type": "client_credentials"}, "auth": service.auth}
    bound = ok(await world.client.post("/oauth/token", headers={"dpop": Holder(world).proof("/oauth/token")}, **asked))
    free = ok(await world.client.post("/oauth/token", **asked))
    made = await gateway_for(world, "Gateway", rule(service))

    async def exchange(token: str) -> httpx.Response:
        data = {"grant_type": GRANT_TYPE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
        return await world.client.post("/oauth/token", data=data, auth=made.auth)

    assert refused(await exchange(bound["access_token"])) == (400, "invalid_request")
    # One that is nobody's but a client's, and that anybody may present, has no person behind what it is exchanged for.
    token = ok(await exchange(free["access_token"]))["access_token"]
    told = (await world.client.post("/oauth/introspect", data={"token": token}, auth=made.auth)).json()
    assert (told["scope"], told["client_id"], "username" in told) == ("orders", made.client_id, False)
    (exchanged,) = await world.events("grant.exchanged")
    assert exchanged.event.account_id is None


async def test_what_is_for_this_server_opens_its_own_api(world: World, scene: Scene) -> None:
    made = await gateway_for(world, "Gateway", rule(scene.shop, world.settings.issuer))
    gateway = Gateway(scene, made, await scene.redeem(await scene.approved(await scene.signed_in())))
    token = ok(await gateway.exchange())["access_token"]
    assert (await gateway.introspect(token))["aud"] == world.settings.issuer
    bearer = {"authorization": f"Bearer {token}"}
    assert ok(await world.client.get("/oauth/userinfo", headers=bearer))["sub"] == scene.person.account_id


async def test_a_known_token_of_another_kind_is_no_subject_token(gateway: Gateway) -> None:
    page = await (await gateway.scene.signed_in()).open(gateway.scene.address())
    for wrong in (gateway.tokens["refresh_token"], page.parameters["code"], gateway.client.secret or ""):
        assert refused(await gateway.exchange(wrong)) == (400, "invalid_request")


async def test_others_tokens_and_others_clients_are_not_exchanged(gateway: Gateway) -> None:
    world = gateway.world
    stranger = await gateway_for(world, "Stranger", rule(gateway.client))
    assert refused(await gateway.exchange(by=stranger)) == (400, "invalid_target")
    assert refused(await gateway.exchange(by=gateway.scene.shop)) == (400, "unauthorized_client")
    assert refused(await gateway.exchange(await gateway.own_token())) == (400, "invalid_target")


async def test_it_ends_with_the_grant(gateway: Gateway) -> None:
    token = ok(await gateway.exchange())["access_token"]
    assert (await gateway.introspect(token))["active"]
    data = {"token": gateway.tokens["refresh_token"]}
    ok(await gateway.world.client.post("/oauth/revoke", data=data, auth=gateway.scene.shop.auth))
    assert await gateway.introspect(token) == {"active": False}


@pytest.mark.parametrize(
    ("whose", "by_secret", "ends", "derived"),
    [
        ("shop", True, 4, [(1, 1), (1, 0), (1, 1), (1, 1)]),
        ("shop", False, 4, None),
        ("gateway", True, 2, [(1, 1), (0, 0), (1, 1), (0, 0)]),
        ("gateway", False, 2, None),
    ],
)
async def test_what_came_of_it_in_exchange_counts_in_a_containment(
    gateway: Gateway, whose: str, by_secret: bool, ends: int, derived: list[Any] | None
) -> None:
    """Exchanged twice: what the second gateway has ends with whatever ends the first one's token."""
    world = gateway.world
    admin = await administering(world)
    second = await gateway_for(world, "Second", rule(gateway.client))
    one = ok(await gateway.exchange())["access_token"]
    two = ok(await gateway.exchange(one, by=second))["access_token"]
    of = gateway.scene.shop if whose == "shop" else gateway.client
    asked = {"secret": of.secret} if by_secret else {"client_id": of.client_id}
    if derived is not None:
        found = ok(await admin.post("/leaks/investigate", json=asked))
        assert [(each["total"], each["live"]) for each in found["derived"].values()] == derived
        assert found["containment"]["tokens_ended"] == ends
        path, told = f"/leaks/investigate/{found['sha256']}/tokens", list[str]()
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            page = ok(await admin.get(path, params={"limit": 1} | ({"after": page["next"]} if page["next"] else {})))
            told += [each["sha256"] for each in page["items"]]
        own = [one] if whose == "gateway" else [gateway.tokens["access_token"], gateway.tokens["refresh_token"]]
        assert {*told} >= {digest(each).hex() for each in own}
        assert digest(two).hex() not in told
        at = format_rfc3339(world.clock.now())
        world.clock.advance(1)
        then = ok(await admin.post("/leaks/investigate", json=asked | {"at": at}))
        assert (then["derived"], then["containment"]) == (found["derived"], found["containment"])
    numbers = {"secrets_ended": 1, "grants_ended": 1, "tokens_ended": ends, "people_affected": 1}
    for tried in (True, False):
        assert ok(await admin.post("/leaks/contain", json=asked | {"dry_run": tried}))["contained"] == numbers
    every = (one, two, gateway.tokens["access_token"], gateway.tokens["refresh_token"])
    states = [ok(await admin.post("/audit/token-state", json={"token": each})) for each in every]
    assert sum(not each["active"] for each in states) == ends


async def test_what_it_got_counts_when_it_may_exchange_no_more(gateway: Gateway) -> None:
    admin = await administering(gateway.world)
    token = ok(await gateway.exchange())["access_token"]
    changes = {"grant_types": ["client_credentials"], "token_exchange": []}
    ok(await admin.patch(f"/admin/clients/{gateway.client.client_id}", json=changes))
    assert (await gateway.introspect(token))["active"]
    await gateway.world.services.search_index.follow()
    done = ok(await admin.post("/leaks/contain", json={"client_id": gateway.client.client_id}))["contained"]
    assert done == {"secrets_ended": 1, "grants_ended": 1, "tokens_ended": 1, "people_affected": 1}
    assert ok(await admin.post("/audit/token-state", json={"token": token}))["active"] is False


@pytest.mark.parametrize("ending", ["shop", "gateway", "consent", "secret", "person"])
async def test_whatever_ends_what_it_came_of_ends_it(gateway: Gateway, ending: str) -> None:
    world, scene = gateway.world, gateway.scene
    token = ok(await gateway.exchange())["access_token"]
    reader = await world.register_client("Reader", grant_types=("client_credentials",), scope=("introspect",))

    async def active() -> bool:
        answer = await world.client.post("/oauth/introspect", data={"token": token}, auth=reader.auth)
        found: bool = answer.json()["active"]
        return found

    assert await active()
    admin = await administering(world)
    match ending:
        case "shop" | "gateway":
            ended = scene.shop if ending == "shop" else gateway.client
            ok(await admin.post(f"/admin/clients/{ended.client_id}/disable"))
        case "consent":
            browser = await scene.signed_in()
            await browser.press(await browser.open("/account/grants"), "/account/grants/withdraw")
        case "secret":
            secrets = ok(await admin.get(f"/admin/clients/{scene.shop.client_id}/secrets"))
            path = f"/admin/clients/{scene.shop.client_id}/secrets/{secrets['items'][0]['id']}?tokens=revoke"
            assert (await admin.delete(path)).status_code == 204
        case _:
            ok(await admin.post(f"/admin/people/{scene.person.account_id}/disable"))
    assert not await active()


async def test_its_client_revokes_it_alone(gateway: Gateway) -> None:
    world, shop = gateway.world, gateway.scene.shop
    token = ok(await gateway.exchange())["access_token"]
    assert (await world.client.post("/oauth/revoke", data={"token": token}, auth=shop.auth)).status_code == 400
    ok(await world.client.post("/oauth/revoke", data={"token": token}, auth=gateway.client.auth))
    assert await gateway.introspect(token) == {"active": False}
    told = await world.client.post(
        "/oauth/introspect", data={"token": gateway.tokens["access_token"]}, auth=gateway.scene.shop.auth
    )
    assert told.json()["active"]


async def test_what_it_was_exchanged_for_is_revoked_with_it(gateway: Gateway) -> None:
    world = gateway.world
    further = await gateway_for(world, "Further", rule(gateway.client))
    token = ok(await gateway.exchange())["access_token"]
    last = ok(await gateway.exchange(token, by=further))["access_token"]
    spared = ok(await world.client.post("/oauth/token", data=refreshing(gateway), auth=gateway.scene.shop.auth))
    data = {"token": gateway.tokens["access_token"]}
    ok(await world.client.post("/oauth/revoke", data=data, auth=gateway.scene.shop.auth))
    for each, by in ((token, gateway.client), (last, further), (spared["access_token"], gateway.scene.shop)):
        told = await world.client.post("/oauth/introspect", data={"token": each}, auth=by.auth)
        assert told.json()["active"] is (by is gateway.scene.shop)
    admin = await administering(world)
    for each in (token, last):
        history = ok(await admin.post("/audit/token-history", json={"token": each}))
        assert history["state"] == "revoked"


def refreshing(gateway: Gateway) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": gateway.tokens["refresh_token"]}


async def test_it_is_in_the_blast_radius_of_both(gateway: Gateway) -> None:
    token = ok(await gateway.exchange())["access_token"]
    admin = await administering(gateway.world)
    for leaked in gateway.tokens["refresh_token"], gateway.tokens["access_token"]:
        found = ok(await admin.post("/leaks/investigate", json={"secret": leaked}))
        assert found["derived"]["access_tokens"] == {"total": 1, "live": 1}
        assert found["containment"]["tokens_ended"] == 3
    for each in (gateway.scene.shop, gateway.client):
        dry = ok(await admin.post("/leaks/contain", json={"client_id": each.client_id, "dry_run": True}))
        assert dry["contained"]["people_affected"] == 1
    history = ok(await admin.post("/audit/token-history", json={"token": token}))
    assert history["client_id"] == gateway.client.client_id
    assert "grant.exchanged" in [each["type"] for each in history["events"]]
    gateway.world.clock.advance(1)
    contained = ok(await admin.post("/leaks/contain", json={"secret": gateway.tokens["access_token"]}))
    assert contained["contained"]["tokens_ended"] == 3
    assert await gateway.introspect(token) == {"active": False}
    state = ok(await admin.post("/audit/token-state", json={"token": token, "at": history["issued_at"]}))
    assert state["active"]


async def test_a_client_is_an_audience_and_may_look(world: World, scene: Scene) -> None:
    stock = await world.register_client("Stock", grant_types=("client_credentials",), scope=("stock",))
    made = await gateway_for(world, "Gateway", rule(scene.shop, stock.client_id), rule(scene.shop))
    tokens = await scene.redeem(await scene.approved(await scene.signed_in()))
    gateway = Gateway(scene, made, tokens)
    assert refused(await gateway.exchange()) == (400, "invalid_target")
    token = ok(await gateway.exchange(audience=stock.client_id))["access_token"]
    told = await world.client.post("/oauth/introspect", data={"token": token}, auth=stock.auth)
    assert told.json()["aud"] == stock.client_id
    userinfo = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {token}"})
    assert userinfo.status_code == 401


async def test_rules_are_registered_and_shown(world: World, scene: Scene) -> None:
    admin = await administering(world)
    rules = [{"subject_client": scene.shop.client_id, "resource": CATALOG, "scope": "orders"}]
    body = {"client_name": "A", "grant_types": [GRANT_TYPE], "token_exchange": rules}
    made = ok(await admin.post("/admin/clients", json=body), 201)
    assert made["token_exchange"] == rules
    path = f"/admin/clients/{made['client_id']}"
    assert ok(await admin.patch(path, json={"token_exchange": []}))["token_exchange"] == []
    assert ok(await admin.get(path))["token_exchange"] == []


@cases(
    "changes",
    [
        {"grant_types": ["client_credentials"]},
        {"token_endpoint_auth_method": "none", "grant_types": ["refresh_token"]},
        {"token_exchange": [{"subject_client": "a", "resource": CATALOG, "scope": "clients:read"}]},
        {"token_exchange": [{"subject_client": "a", "resource": CATALOG, "scope": "account"}]},
        {"token_exchange": [{"subject_client": "a", "resource": CATALOG, "scope": ""}]},
        {"token_exchange": [{"subject_client": "a b", "resource": CATALOG, "scope": "orders"}]},
        {"token_exchange": [{"subject_client": "a", "resource": "x#y", "scope": "orders"}]},
        {"token_exchange": [{"subject_client": "a", "resource": CATALOG, "scope": "orders"}] * 2},
    ],
)
async def test_rules_that_cannot_stand_are_refused(world: World, changes: Any) -> None:
    admin = await administering(world)
    rules = [{"subject_client": "a", "resource": CATALOG, "scope": "orders"}]
    body = {"client_name": "A", "grant_types": [GRANT_TYPE], "token_exchange": rules} | changes
    answer = await admin.post("/admin/clients", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "token_exchange")


async def test_a_row_that_was_altered_gives_no_other_client(gateway: Gateway) -> None:
    """What the log says of the client decides, at once: a rule that was taken back exchanges nothing."""
    await gateway.world.execute(gateway.world.changing(gateway.client.client_id, client.Attributes(token_exchange=())))
    assert refused(await gateway.exchange()) == (400, "invalid_target")
