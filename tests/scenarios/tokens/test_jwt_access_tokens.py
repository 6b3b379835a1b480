"""JWT access tokens (RFC 9068): what they say, and that everything else takes them like any other token."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from domain import client
from security.tokens import digest
from tests.scenarios.administration import ok
from tests.scenarios.openid.relying_party import set_openid
from tests.scenarios.proofs import Holder
from tests.scenarios.world import Client, World

ORDERS = "https://orders.example"
FORMAT: dict[str, Any] = {"access_token_format": "jwt"}


def header_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[0] + "=="))
    return found


async def claims_of(world: World, token: str, algorithm: str = "RS256") -> dict[str, Any]:
    """What it says to whoever knows the published keys alone."""
    assert (header_of(token)["typ"], header_of(token)["alg"]) == ("at+jwt", algorithm)
    keys = KeySet.import_key_set((await world.client.get("/.well-known/jwks.json")).json())
    found = jws.deserialize_compact(token.encode(), keys, registry=jws.JWSRegistry(algorithms=[algorithm]))
    claims: dict[str, Any] = json.loads(found.payload or b"")
    return claims


@pytest.fixture
async def job(world: World) -> Client:
    return await world.register_client(
        "Job", grant_types=("client_credentials",), scope=("orders",), resources=(ORDERS,), **FORMAT
    )


async def issued(world: World, job: Client, **given: str) -> dict[str, Any]:
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"} | given, auth=job.auth)
    found: dict[str, Any] = ok(answer)
    return found


async def introspected(world: World, asking: Client, token: str) -> dict[str, Any]:
    answer = await world.client.post("/oauth/introspect", data={"token": token}, auth=asking.auth)
    found: dict[str, Any] = ok(answer)
    return found


async def test_client_itself(world: World, job: Client) -> None:
    answer = await issued(world, job)
    now = world.clock.now() // 1_000_000
    claims = await claims_of(world, answer["access_token"])
    jti = claims.pop("jti")
    assert claims == {
        "iss": world.settings.issuer,
        "aud": ORDERS,
        "sub": job.client_id,
        "client_id": job.client_id,
        "scope": "orders",
        "iat": now,
        "exp": now + 300,
    }
    assert answer["expires_in"] == 300
    said = await introspected(world, job, answer["access_token"])
    assert {name: said[name] for name in (*claims, "jti")} == claims | {"jti": jti}
    event = (await world.events("grant.tokens_issued"))[-1].event
    assert event.access_token == digest(answer["access_token"]).hex()
    assert event.signing_key == header_of(answer["access_token"])["kid"]


@pytest.mark.filterwarnings("ignore:EdDSA")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256", "EdDSA"])
async def test_person(world: World, algorithm: str) -> None:
    shop = await set_openid(world, **FORMAT, id_token_signed_response_alg=algorithm)
    answer = await shop.redeem(await shop.approved(await shop.signed_in(), shop.openid()))
    claims = await claims_of(world, answer["access_token"], algorithm)
    id_token = await shop.signed(answer, algorithm)
    assert {name: claims[name] for name in ("sub", "auth_time", "acr", "amr")} == {
        name: id_token[name] for name in ("sub", "auth_time", "acr", "amr")
    }
    assert claims["sub"] == shop.person.account_id
    assert claims["aud"] == world.settings.issuer
    for name in ("email", "name", "preferred_username", "username"):
        assert name not in claims


async def test_pairwise_name(world: World) -> None:
    shop = await set_openid(world, **FORMAT, subject_type="pairwise")
    answer = await shop.redeem(await shop.approved(await shop.signed_in(), shop.openid()))
    claims = await claims_of(world, answer["access_token"])
    assert claims["sub"] == (await shop.signed(answer))["sub"] != shop.person.account_id


async def test_refreshed_and_taken_like_any_other(world: World) -> None:
    shop = await set_openid(world, **FORMAT, grant_types=("authorization_code", "refresh_token"))
    address = shop.openid(scope="openid offline_access", prompt="consent")
    first = await shop.redeem(await shop.approved(await shop.signed_in(), address))
    data = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = ok(await world.client.post("/oauth/token", data=data, auth=shop.shop.auth))
    before, after = [await claims_of(world, each["access_token"]) for each in (first, second)]
    assert before["jti"] != after["jti"]
    assert before["auth_time"] == after["auth_time"]
    bearer = {"authorization": f"Bearer {second['access_token']}"}
    assert ok(await world.client.get("/oauth/userinfo", headers=bearer))["sub"] == shop.person.account_id
    revoked = await world.client.post("/oauth/revoke", data={"token": second["access_token"]}, auth=shop.shop.auth)
    assert revoked.status_code == 200
    assert (await world.client.get("/oauth/userinfo", headers=bearer)).status_code == 401
    assert await introspected(world, shop.shop, second["access_token"]) == {"active": False}
    assert (await introspected(world, shop.shop, first["access_token"]))["active"] is True


async def test_bound_to_a_key(world: World, job: Client) -> None:
    holder = Holder(world)
    answer = await world.client.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=job.auth,
        headers={"dpop": holder.proof("/oauth/token")},
    )
    token = ok(answer)["access_token"]
    assert answer.json()["token_type"] == "DPoP"
    claims = await claims_of(world, token)
    assert claims["cnf"] == (await introspected(world, job, token))["cnf"] == {"jkt": holder.jkt}


async def test_never_for_the_administration(world: World) -> None:
    service = await world.register_client(
        "Service", grant_types=("client_credentials",), scope=("orders", "introspect"), **FORMAT
    )
    assert "." not in (await issued(world, service))["access_token"]
    assert (await issued(world, service))["expires_in"] == world.settings.access_token_lifetime
    assert "." in (await issued(world, service, scope="orders"))["access_token"]


async def test_a_change_of_format_is_for_what_comes(world: World, job: Client) -> None:
    before = (await issued(world, job))["access_token"]
    await world.execute(world.changing(job.client_id, client.Attributes(access_token_format="opaque")))
    after = (await issued(world, job))["access_token"]
    assert ("." in before, "." in after) == (True, False)
    assert (await introspected(world, job, before))["active"] is True


async def test_a_compromised_key_takes_its_tokens_along(world: World, job: Client) -> None:
    token = (await issued(world, job))["access_token"]
    bearer = {"authorization": f"Bearer {await world.token('keys:write', 'audit:read')}"}
    ok(await world.client.post("/admin/keys/rotate", json={"compromised": True}, headers=bearer))
    assert await introspected(world, job, token) == {"active": False}
    state = ok(await world.client.post("/audit/token-state", json={"token": token}, headers=bearer))
    assert state["reason"] == "revoked"
    revoked = {each.position: each.event.key_id for each in await world.events("signing_key.revoked")}
    assert [revoked[each] for each in state["decided_by"]] == [header_of(token)["kid"]]
    assert (await introspected(world, job, (await issued(world, job))["access_token"]))["active"] is True


# What is not a token of ours, whatever it looks like.


def encoded(value: Any) -> str:
    return urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()


def resigned(token: str, key: Any, **header: Any) -> str:
    """The same claims, signed by a key of somebody else."""
    said = header_of(token) | header
    payload = urlsafe_b64decode(token.split(".")[1] + "==")
    registry = jws.JWSRegistry(algorithms=[said["alg"]])
    registry.strict_check_header = False
    return jws.serialize_compact(said, payload, key, registry=registry)


def bad_tokens(token: str) -> dict[str, str]:
    """Variants of a good one, by what was done."""
    head, payload, signature = token.split(".")
    claims = json.loads(urlsafe_b64decode(payload + "=="))
    own, foreign = header_of(token), RSAKey.generate_key(2048)
    modulus = OctKey.import_key(json.dumps(foreign.as_dict(private=False)).encode())
    twice = json.dumps(claims)[:-1].encode() + b', "scope": "all"}'
    made = {
        "none": f"{encoded(own | {'alg': 'none'})}.{payload}.",
        "None": f"{encoded(own | {'alg': 'None'})}.{payload}.{signature}",
        "no signature": f"{head}.{payload}.",
        "no third part": f"{head}.{payload}",
        "four parts": f"{token}.{signature}",
        "five parts": f"{token}.{signature}.{signature}",
        "signature of zeros": f"{head}.{payload}.{encoded(bytes(256))}",
        "signature of its claims": f"{head}.{payload}.{payload}",
        "longer by a blank": f"{token} ",
        "padded": f"{token}==",
        "in standard base64": token.replace("-", "+").replace("_", "/") + "+",
        "last octet differs": token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"),
        "symmetric": resigned(token, modulus, alg="HS256"),
        "another's key": resigned(token, foreign),
        "another's key by its kid": resigned(token, foreign, kid="mine"),
        "PS256": resigned(token, foreign, alg="PS256"),
        "ES256": resigned(token, ECKey.generate_key("P-256"), alg="ES256"),
        "embedded jwk": resigned(token, foreign, jwk=foreign.as_dict(private=False)),
        "jku": resigned(token, foreign, jku="https://evil.example/jwks.json"),
        "x5u": resigned(token, foreign, x5u="https://evil.example/x5u"),
        "kid of a path": resigned(token, foreign, kid="../../dev/null"),
        "kid that asks": resigned(token, foreign, kid="' OR 1=1 --"),
        "oversized": f"{head}.{payload * 40}.{signature}",
        "nested": f"{head}.{encoded(token.encode())}.{signature}",
        "not JSON": f"{head}.{encoded(twice[:9])}.{signature}",
        "two members": f"{head}.{encoded(twice)}.{signature}",
        "typ JWT": f"{encoded(own | {'typ': 'JWT'})}.{payload}.{signature}",
        "crit": f"{encoded(own | {'crit': ['exp']})}.{payload}.{signature}",
        "empty parts": "..",
        "dots": "." * 500,
    }
    for name, value in (("scope", "all"), ("exp", 9_999_999_999), ("aud", "x"), ("sub", "x"), ("client_id", "x")):
        made[f"another {name}"] = f"{head}.{encoded(claims | {name: value})}.{signature}"
    return made


async def test_bad_tokens_are_nothing(world: World, job: Client) -> None:
    shop = await set_openid(world, **FORMAT)
    token = (await shop.redeem(await shop.approved(await shop.signed_in(), shop.openid())))["access_token"]
    assert (await introspected(world, shop.shop, token))["active"] is True
    for name, bad in bad_tokens(token).items():
        assert await introspected(world, shop.shop, bad) == {"active": False}, name
        answer = await world.client.get("/oauth/userinfo", headers={"authorization": f"Bearer {bad.strip() or 'x'}"})
        assert answer.status_code in (401, 431) or bad.strip() == token, name
        revoked = await world.client.post("/oauth/revoke", data={"token": bad}, auth=shop.shop.auth)
        assert revoked.status_code == 200, name
    assert (await introspected(world, shop.shop, token))["active"] is True


async def test_an_id_token_is_no_access_token(world: World) -> None:
    shop = await set_openid(world, **FORMAT)
    answer = await shop.redeem(await shop.approved(await shop.signed_in(), shop.openid()))
    assert await introspected(world, shop.shop, answer["id_token"]) == {"active": False}
