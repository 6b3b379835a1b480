"""Tokens that are bound to a key (RFC 9449): at the token endpoint, at resources, at the authorization request."""

from typing import Any

import httpx
import pytest

from api.oauth.dpop import NONCE_LASTS
from domain import client
from tests.cases import cases
from tests.scenarios.administration import administering, ok
from tests.scenarios.asking import CHALLENGE, STATE, VERIFIER, Scene, set_scene
from tests.scenarios.authorization.test_pushed_requests import PAR, pushed
from tests.scenarios.browser import Page
from tests.scenarios.proofs import Holder
from tests.scenarios.world import Client, World, open_world

TOKEN = "/oauth/token"
USERINFO = "/oauth/userinfo"
SCOPES = "/admin/scopes"


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


@pytest.fixture
async def service(world: World) -> Client:
    return await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:read",))


async def issued(world: World, service: Client, holder: Holder | None, **changes: Any) -> httpx.Response:
    """The answer to a request for a token, with a proof."""
    headers = {} if holder is None else {"dpop": holder.proof(TOKEN, **changes)}
    return await world.client.post(TOKEN, data={"grant_type": "client_credentials"}, auth=service.auth, headers=headers)


async def ask(
    world: World, path: str, token: str, holder: Holder, *, scheme: str = "DPoP", **changes: Any
) -> httpx.Response:
    """A request with a bound token, once more with the nonce that the first answer brings."""
    nonce = None
    for _ in range(2):
        proof = holder.proof(path, "GET", token, **{"nonce": nonce} | changes)
        answer = await world.client.get(path, headers={"authorization": f"{scheme} {token}", "dpop": proof})
        nonce = answer.headers.get("dpop-nonce")
        if nonce is None:
            break
    return answer


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS256"])
async def test_token_is_bound_to_the_key(world: World, service: Client, algorithm: str) -> None:
    holder = Holder(world, algorithm)
    answer = (await issued(world, service, holder)).json()
    assert answer["token_type"] == "DPoP"
    token = answer["access_token"]
    assert (await world.events("grant.tokens_issued"))[-1].event.dpop_jkt == holder.jkt
    assert (await ask(world, SCOPES, token, holder)).status_code == 200
    said = (await world.client.post("/oauth/introspect", data={"token": token}, auth=service.auth)).json()
    assert (said["token_type"], said["cnf"]) == ("DPoP", {"jkt": holder.jkt})


def pointer(world: World) -> str:
    """Where a refusal says that tokens come from (RFC 9728 §5.1)."""
    return f'resource_metadata="{world.settings.issuer}/.well-known/oauth-protected-resource"'


async def test_token_without_proof_is_a_bearers(world: World, service: Client) -> None:
    answer = (await issued(world, service, None)).json()
    assert answer["token_type"] == "Bearer"
    refused = await ask(world, SCOPES, answer["access_token"], Holder(world))
    assert refused.status_code == 401
    assert 'DPoP error="invalid_dpop_proof"' in refused.headers["www-authenticate"]
    assert pointer(world) in refused.headers["www-authenticate"]


@cases("scheme", ["dpop", "DPOP", "DPoP"])
async def test_scheme_is_named_in_any_case(world: World, service: Client, scheme: str) -> None:
    holder = Holder(world)
    token = (await issued(world, service, holder)).json()["access_token"]
    assert (await ask(world, SCOPES, token, holder, scheme=scheme)).status_code == 200


async def test_bound_token_is_nobody_elses(world: World, service: Client) -> None:
    holder = Holder(world)
    token = (await issued(world, service, holder)).json()["access_token"]
    assert (await ask(world, SCOPES, token, Holder(world))).status_code == 401
    assert (await ask(world, SCOPES, token, holder, scheme="Bearer")).status_code == 401
    bare = await world.client.get(SCOPES, headers={"authorization": f"DPoP {token}"})
    assert bare.status_code == 401
    assert bare.json()["status"] == 401


async def test_that_a_bound_token_came_without_its_key_is_told(world: World, service: Client) -> None:
    """Whoever has it has stolen it, and the refusal is the first that anybody hears of that."""
    holder = Holder(world)
    token = (await issued(world, service, holder)).json()["access_token"]
    thief = world.caller("2001:db8:1:2::9", headers={"authorization": f"Bearer {token}"})
    await ask(world, SCOPES, token, Holder(world))
    for _ in range(3):
        assert (await thief.get(SCOPES)).status_code == (await thief.get("/oauth/userinfo")).status_code == 401
    # A proof that is too old or lacks a nonce is no other key's.
    await ask(world, SCOPES, token, holder, iat=0)
    assert (await ask(world, SCOPES, token, holder)).status_code == 200
    await world.services.token_uses.record(everything=True)
    told = [
        (each.event.unproved, each.event.ended, each.actor.kind, getattr(each.event, "count", 1))
        for each in await world.events("usage.token_*")
    ]
    assert sorted(told) == [
        (False, None, "client", 1),
        (True, None, "anonymous", 1),
        (True, None, "anonymous", 1),
        (True, None, "anonymous", 5),
    ]


async def test_what_came_without_its_key_was_no_use(world: World, service: Client) -> None:
    """An auditor would read it as a token that worked for the thief."""
    holder, admin = Holder(world), await administering(world)
    token = (await issued(world, service, holder)).json()["access_token"]
    thief = world.caller("2001:db8:1:2::9", headers={"authorization": f"Bearer {token}"})
    for _ in range(3):
        assert (await thief.get(SCOPES)).status_code == 401
    await world.services.token_uses.record(everything=True)
    found = ok(await admin.post("/leaks/investigate", json={"secret": token}))
    assert (found["first_used_at"], found["last_used_at"]) == (None, None)
    assert (found["uses_refused"], found["uses_after_end"]) == (3, 0)
    (only,) = found["addresses"]
    assert (only["ip"], only["count"], only["refused"]) == ("2001:db8:1:2::9", 3, 3)
    uses = ok(await admin.post("/audit/token-history", json={"token": token}))["uses"]
    assert uses == {"count": 0, "after_end": 0, "refused": 3, "first_at": None, "last_at": None}
    world.clock.advance(60)
    assert (await ask(world, SCOPES, token, holder)).status_code == 200
    await world.services.token_uses.record(everything=True)
    found = ok(await admin.post("/leaks/investigate", json={"secret": token}))
    assert found["first_used_at"] == found["last_used_at"] > found["addresses"][0]["last_at"]
    assert [each["refused"] for each in found["addresses"]] == [3, 0]
    uses = ok(await admin.post("/audit/token-history", json={"token": token}))["uses"]
    assert (uses["count"], uses["refused"], uses["first_at"]) == (1, 3, found["first_used_at"])
    stream = f"usage:{found['sha256']}"
    state = ok(await admin.get(f"/audit/state/{stream}"))["state"]
    assert (state["count"], state["unproved"]) == (1, 3)


async def test_resource_wants_a_nonce_that_it_gave(world: World, service: Client) -> None:
    holder = Holder(world)
    token = (await issued(world, service, holder)).json()["access_token"]

    async def asked(nonce: str | None) -> httpx.Response:
        proof = holder.proof(SCOPES, "GET", token, nonce=nonce)
        return await world.client.get(SCOPES, headers={"authorization": f"DPoP {token}", "dpop": proof})

    first = await asked(None)
    assert first.status_code == 401
    assert 'DPoP error="use_dpop_nonce"' in first.headers["www-authenticate"]
    assert pointer(world) in first.headers["www-authenticate"]
    nonce = first.headers["dpop-nonce"]
    assert (await asked(nonce)).status_code == 200
    assert (await asked(nonce)).status_code == 200
    for wrong in (nonce[:-1], "1." + nonce.partition(".")[2], "", "x", "9" * 400):
        assert (await asked(wrong)).status_code == 401
    world.clock.advance(NONCE_LASTS - 1)
    assert (await asked(nonce)).status_code == 200
    world.clock.advance(1)
    assert (await asked(nonce)).status_code == 401


async def test_a_wrong_nonce_is_refused_where_none_is_wanted(world: World, service: Client) -> None:
    holder = Holder(world)
    answer = await issued(world, service, holder, nonce="x")
    assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
    assert (await issued(world, service, holder, nonce=answer.headers["dpop-nonce"])).status_code == 200


async def test_proof_counts_once(world: World, service: Client) -> None:
    holder = Holder(world)
    assert (await issued(world, service, holder, jti="one")).status_code == 200
    again = await issued(world, service, holder, jti="one")
    assert (again.status_code, again.json()["error"]) == (400, "invalid_dpop_proof")
    token = (await issued(world, service, holder, jti="two")).json()["access_token"]
    nonce = (await ask(world, SCOPES, token, holder, nonce="x")).headers["dpop-nonce"]
    for expected in (200, 401):
        assert (await ask(world, SCOPES, token, holder, nonce=nonce, jti="three")).status_code == expected
    assert (await issued(world, service, Holder(world), jti="one")).status_code == 200


async def test_full_table_is_this_clients_alone(database_url: str, tmp_path: Any, keyring: Any) -> None:
    async with open_world(database_url, tmp_path, keyring, client_ids_kept=10) as world:
        service = await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:read",))
        answers = [(await issued(world, service, Holder(world))).status_code for _ in range(11)]
        assert answers == [200] * 10 + [429]
        other = await world.register_client("Other", grant_types=("client_credentials",), scope=("clients:read",))
        assert (await issued(world, other, Holder(world))).status_code == 200
        world.clock.advance(200)
        assert (await issued(world, service, Holder(world))).status_code == 200


async def test_strangers_take_no_room_from_who_has_a_code(database_url: str, tmp_path: Any, keyring: Any) -> None:
    async with open_world(database_url, tmp_path, keyring, client_ids_kept=16) as world:
        scene = await set_scene(world)
        app, holder = await world.register_client("App", public=True), Holder(world)
        page = await scene.approved(await scene.signed_in(), scene.address(app))
        bogus = {"grant_type": "refresh_token", "refresh_token": "made up", "client_id": app.client_id}
        stranger = world.caller("198.51.100.9")
        told = [
            (await stranger.post(TOKEN, data=bogus, headers={"dpop": holder.proof(TOKEN)})).status_code
            for _ in range(4)
        ]
        assert told == [400, 400, 429, 429]
        token = (await redeem(scene, page, holder, app)).json()["refresh_token"]
        for _ in range(10):
            token = (await refresh(scene, token, holder, app)).json()["refresh_token"]


async def test_nonces_everywhere(database_url: str, tmp_path: Any, keyring: Any) -> None:
    async with open_world(database_url, tmp_path, keyring, dpop_nonces="everywhere") as world:
        service = await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:read",))
        holder = Holder(world)
        first = await issued(world, service, holder)
        assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
        assert (await issued(world, service, holder, nonce=first.headers["dpop-nonce"])).status_code == 200


async def test_nonces_nowhere(database_url: str, tmp_path: Any, keyring: Any) -> None:
    async with open_world(database_url, tmp_path, keyring, dpop_nonces="none") as world:
        service = await world.register_client("Service", grant_types=("client_credentials",), scope=("clients:read",))
        holder = Holder(world)
        token = (await issued(world, service, holder)).json()["access_token"]
        headers = {"authorization": f"DPoP {token}", "dpop": holder.proof(SCOPES, "GET", token)}
        assert (await world.client.get(SCOPES, headers=headers)).status_code == 200


async def test_client_that_is_bound_needs_a_proof(world: World, service: Client) -> None:
    changes = client.Attributes(dpop_bound_access_tokens=True)
    await world.execute(world.changing(service.client_id, changes))
    answer = await issued(world, service, None)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await issued(world, service, Holder(world))).status_code == 200


@cases("change", [10, -10, 59, -59])
async def test_clocks_may_differ_a_little(world: World, service: Client, change: int) -> None:
    now = world.clock.now() // 1_000_000
    made = {"iat": now + change, "nbf": now, "exp": now + 300, "more": "unknown"}
    assert (await issued(world, service, Holder(world), **made)).status_code == 200


async def test_target_is_compared_as_addresses_are(world: World, service: Client) -> None:
    issuer = world.settings.issuer
    upper = issuer.replace("http", "HTTP").replace("localhost", "LOCALHOST")
    for htu in (f"{upper}{TOKEN}", f"{issuer}{TOKEN}?a=b", f"{issuer}{TOKEN}#c"):
        assert (await issued(world, service, Holder(world), htu=htu)).status_code == 200


# The code flow ----------------------------------------------------------------------------------------------------


async def redeem(scene: Scene, page: Page, holder: Holder | None, client: Client | None = None) -> httpx.Response:
    asking = client or scene.shop
    data = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": asking.redirect_uri,
        "code_verifier": VERIFIER,
        "client_id": asking.client_id,
    }
    headers = {} if holder is None else {"dpop": holder.proof(TOKEN)}
    given: dict[str, Any] = {} if asking.secret is None else {"auth": asking.auth}
    return await scene.world.client.post(TOKEN, data=data, headers=headers, **given)


async def refresh(scene: Scene, token: str, holder: Holder | None, client: Client | None = None) -> httpx.Response:
    asking = client or scene.shop
    data = {"grant_type": "refresh_token", "refresh_token": token, "client_id": asking.client_id}
    headers = {} if holder is None else {"dpop": holder.proof(TOKEN)}
    given: dict[str, Any] = {} if asking.secret is None else {"auth": asking.auth}
    return await scene.world.client.post(TOKEN, data=data, headers=headers, **given)


async def test_userinfo_takes_a_bound_token(scene: Scene) -> None:
    holder = Holder(scene.world)
    page = await scene.approved(await scene.signed_in())
    token = (await redeem(scene, page, holder)).json()["access_token"]
    answer = await ask(scene.world, USERINFO, token, holder)
    assert answer.json() == {"sub": scene.person.account_id}
    in_form = await scene.world.client.post(USERINFO, data={"access_token": token})
    assert in_form.status_code == 401


async def test_code_is_redeemed_by_the_key_it_names(scene: Scene) -> None:
    holder, browser = Holder(scene.world), await scene.signed_in()
    page = await scene.approved(browser, scene.address(dpop_jkt=holder.jkt))
    for wrong in (None, Holder(scene.world)):
        answer = await redeem(scene, page, wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert {each.event.reason for each in await scene.world.events("grant.code_refused")} == {"proof_key"}
    assert (await redeem(scene, page, holder)).json()["token_type"] == "DPoP"


async def test_proof_at_par_names_the_key(scene: Scene) -> None:
    holder, browser = Holder(scene.world), await scene.signed_in()
    asked = {
        "response_type": "code",
        "redirect_uri": scene.shop.redirect_uri,
        "state": STATE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }

    async def push(**changes: str) -> httpx.Response:
        headers = {"dpop": holder.proof(PAR)}
        return await scene.world.client.post(PAR, data=asked | changes, auth=scene.shop.auth, headers=headers)

    wrong = await push(dpop_jkt=Holder(scene.world).jkt)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_dpop_proof")
    reference = (await push(dpop_jkt=holder.jkt)).json()["request_uri"]
    assert (await push()).status_code == 201
    # A parameter without a value is none, and does not stand there twice.
    empty = (await push(dpop_jkt="")).json()["request_uri"]
    opened = await browser.open(f"/oauth/authorize?client_id={scene.shop.client_id}&request_uri={empty}")
    assert opened.status == 200
    page = await scene.approved(browser, f"/oauth/authorize?client_id={scene.shop.client_id}&request_uri={reference}")
    assert (await scene.world.events("grant.code_issued"))[-1].event.dpop_jkt == holder.jkt
    assert (await redeem(scene, page, Holder(scene.world))).status_code == 400
    assert (await redeem(scene, page, holder)).status_code == 200


async def test_key_that_is_none_is_told(scene: Scene) -> None:
    page = await (await scene.signed_in()).open(scene.address(dpop_jkt="short"))
    assert page.parameters["error"] == "invalid_request"
    with pytest.raises(AssertionError, match="dpop_jkt"):
        await pushed(scene, dpop_jkt="short")


async def test_public_clients_refresh_with_their_key(scene: Scene) -> None:
    app, holder = await scene.world.register_client("App", public=True), Holder(scene.world)
    page = await scene.approved(await scene.signed_in(), scene.address(app))
    token = (await redeem(scene, page, holder, app)).json()["refresh_token"]
    for wrong in (None, Holder(scene.world)):
        assert (await refresh(scene, token, wrong, app)).json()["error"] == "invalid_grant"
    assert (await refresh(scene, token, holder, app)).json()["token_type"] == "DPoP"


async def test_secrets_refresh_with_another_key(scene: Scene) -> None:
    page = await scene.approved(await scene.signed_in())
    token = (await redeem(scene, page, Holder(scene.world))).json()["refresh_token"]
    other = Holder(scene.world)
    answer = (await refresh(scene, token, other)).json()
    assert answer["token_type"] == "DPoP"
    assert (await scene.world.events("grant.tokens_refreshed"))[-1].event.dpop_jkt == other.jkt
    assert (await refresh(scene, answer["refresh_token"], None)).json()["token_type"] == "Bearer"


async def test_metadata_names_the_algorithms(world: World) -> None:
    for path in ("oauth-authorization-server", "oauth-protected-resource"):
        said = (await world.client.get(f"/.well-known/{path}")).json()
        assert {"ES256", "PS256", "EdDSA"} <= set(said["dpop_signing_alg_values_supported"])


async def why_refused(world: World, since: int = 0) -> list[tuple[str, str]]:
    found = await world.events("grant.*", after=since)
    refused = ("grant.code_refused", "grant.refresh_refused")
    return [(each.type.removeprefix("grant."), each.event.reason) for each in found if each.type in refused]


async def test_a_good_token_refused_for_the_rest_is_a_fact(scene: Scene) -> None:
    page = await scene.approved(await scene.signed_in())
    tokens, before = await scene.redeem(page), await scene.world.head()
    data = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    asked = [("scope", "orders reports:read", "invalid_scope"), ("resource", "https://else.example", "invalid_target")]
    for name, value, error in asked:
        answer = await scene.world.client.post(TOKEN, data=data | {name: value}, auth=scene.shop.auth)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    told = await scene.world.events(after=before)
    assert [(each.type, each.event.reason) for each in told] == [("grant.refresh_refused", e) for *_, e in asked]
    assert {each.actor.kind for each in told} == {"client"}
    assert told[0].request_id is not None
    # Whoever asks wrongly for good leaves room for what tells of a thief.
    for _ in range(5):
        await scene.world.client.post(TOKEN, data=data | {"scope": "reports:read"}, auth=scene.shop.auth)
    stranger = await scene.world.register_client()
    await scene.world.client.post(TOKEN, data=data, auth=stranger.auth)
    assert [reason for _, reason in await why_refused(scene.world, before)] == [
        "invalid_scope",
        "invalid_target",
        "invalid_scope",
        "foreign_client",
    ]
    assert (await scene.world.client.post(TOKEN, data=data, auth=scene.shop.auth)).status_code == 200


async def test_a_stranger_without_the_grant_type_leaves_a_fact(scene: Scene) -> None:
    world, stranger = scene.world, await scene.world.register_client(grant_types=["client_credentials"])
    page = await scene.approved(await scene.signed_in())
    data = {"grant_type": "authorization_code", "code": page.parameters["code"]}
    answer = await world.client.post(TOKEN, data=data, auth=stranger.auth)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    told = (await world.events("grant.code_refused"))[-1]
    assert (told.event.reason, told.actor.id) == ("foreign_client", stranger.client_id)
    tokens, before = await scene.redeem(page), await world.head()
    data = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = await world.client.post(TOKEN, data=data, auth=stranger.auth)
    assert answer.json()["error"] == "unauthorized_client"
    # Of what is nobody's there is nothing to tell.
    await world.client.post(TOKEN, data=data | {"refresh_token": "x" * 43}, auth=stranger.auth)
    assert await why_refused(world, before) == [("refresh_refused", "foreign_client")]


async def test_a_code_without_the_proof_that_is_due_is_a_fact(scene: Scene) -> None:
    client = await scene.world.register_client(dpop_bound_access_tokens=True)
    holder = Holder(scene.world)
    page = await scene.approved(await scene.signed_in(), scene.address(client))
    assert (await redeem(scene, page, None, client)).json()["error"] == "invalid_request"
    assert await why_refused(scene.world) == [("code_refused", "proof_required")]
    given = (await redeem(scene, page, holder, client)).json()
    assert (await refresh(scene, given["refresh_token"], None, client)).status_code == 400
    assert (await why_refused(scene.world))[1:] == [("refresh_refused", "proof_required")]


async def test_a_proof_that_proves_nothing_is_a_fact_of_the_grant(scene: Scene) -> None:
    world, holder = scene.world, Holder(scene.world)
    page = await scene.approved(await scene.signed_in())
    data = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": scene.shop.redirect_uri,
        "code_verifier": VERIFIER,
    }
    used = holder.proof(TOKEN)

    async def sent(proof: str, data: dict[str, Any], client: Client) -> str:
        answer = await world.client.post(TOKEN, data=data, headers={"dpop": proof}, auth=client.auth)
        return str(answer.json().get("error", ""))

    assert await sent(holder.proof(TOKEN, iat=0), data, scene.shop) == "invalid_dpop_proof"
    assert await why_refused(world) == [("code_refused", "invalid_dpop_proof")]
    assert await sent(used, data, scene.shop) == ""
    (issued_now,) = await world.events("grant.tokens_issued")
    before, wrong = await world.head(), data | {"code": "x" * 43}
    # What is another client's, or nobody's, is told of no grant.
    for what, who in ((data, await world.register_client()), (wrong, scene.shop)):
        assert await sent(holder.proof(TOKEN, iat=0), what, who) == "invalid_dpop_proof"
    assert await why_refused(world, before) == []
    for _ in range(5):
        assert await sent(used, data, scene.shop) == "invalid_dpop_proof"
    assert await why_refused(world, before) == [("code_refused", "invalid_dpop_proof")] * 2
    assert (await world.events("grant.code_refused"))[-1].stream == issued_now.stream
