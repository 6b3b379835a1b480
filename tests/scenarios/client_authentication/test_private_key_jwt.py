"""Clients that authenticate by what they sign (`private_key_jwt`): registered, believed once, and refused."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey

from domain.rules import client_assertion, public_key
from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import set_scene
from tests.scenarios.assertions import (
    ALGORITHMS,
    Signer,
    encoded,
    made_key,
    public,
    refused,
    register_signer,
    remembered,
    signed,
)
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


# Registration.


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    await world.define_scopes("orders")
    return await administering(world, "clients:read", "clients:write")


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "client_name": "Signer",
        "grant_types": ["client_credentials"],
        "scope": "orders",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [public(made_key("ES256"))]},
    } | changes


async def test_it_is_registered_with_keys_and_no_secret(world: World, admin: httpx.AsyncClient) -> None:
    before = await world.head()
    made = ok(await admin.post("/admin/clients", json=asked(token_endpoint_auth_signing_alg="ES256")), 201)
    assert (made["client_secret"], made["secret"], made["type"]) == (None, None, "confidential")
    assert made["jwks"] == {"keys": [public(made_key("ES256"))]}
    assert made["token_endpoint_auth_signing_alg"] == "ES256"
    assert await world.types_after(before) == ["client.registered", "client.keys_registered"]
    assert ok(await admin.get(f"/admin/clients/{made['client_id']}"))["jwks"] == made["jwks"]
    ok(await Signer(world, made["client_id"]).ask())


async def test_it_signs_with_the_algorithm_it_is_registered_with(world: World, admin: httpx.AsyncClient) -> None:
    keys = {"keys": [public(made_key("ES256")), public(made_key("RS256"))]}
    body = asked(token_endpoint_auth_signing_alg="ES256", jwks=keys)
    client_id = ok(await admin.post("/admin/clients", json=body), 201)["client_id"]
    ok(await Signer(world, client_id).ask())
    by_the_other = Signer(world, client_id, "RS256", made_key("RS256"))
    refused(await by_the_other.ask())
    ok(await admin.patch(f"/admin/clients/{client_id}", json={"token_endpoint_auth_signing_alg": None}))
    ok(await by_the_other.ask())


async def test_its_keys_are_changed_and_nothing_else(world: World, admin: httpx.AsyncClient) -> None:
    signer = await register_signer(world)
    path = f"/admin/clients/{signer.client_id}"
    other = made_key("EdDSA")
    before = await world.head()
    changed = ok(await admin.patch(path, json={"jwks": {"keys": [public(other)]}}))
    assert changed["jwks"]["keys"] == [public(other)]
    assert await world.types_after(before) == ["client.keys_registered"]
    refused(await signer.ask())
    ok(await Signer(world, signer.client_id, "EdDSA", other).ask())
    before = await world.head()
    ok(await admin.patch(path, json={"jwks": {"keys": [public(other)]}}))
    assert await world.types_after(before) == []


async def test_a_client_goes_from_a_secret_to_keys_and_back(world: World, admin: httpx.AsyncClient) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    path = f"/admin/clients/{job.client_id}"
    keys = {"keys": [public(made_key("ES256"))]}
    ok(await admin.patch(path, json={"token_endpoint_auth_method": "private_key_jwt", "jwks": keys}))
    data = {"grant_type": "client_credentials"}
    refused(await world.client.post("/oauth/token", data=data, auth=job.auth))
    signer = Signer(world, job.client_id)
    ok(await signer.ask())
    problem(await admin.post(f"{path}/secrets", json={}), 409, reason="no_secret")
    ok(await admin.patch(path, json={"token_endpoint_auth_method": "client_secret_post", "jwks": None}))
    refused(await signer.ask())
    ok(await world.client.post("/oauth/token", data=data, auth=job.auth))


def _longer(member: str) -> dict[str, Any]:
    return public(made_key("ES256")) | {member: "A" * 44}


BAD_KEYS: dict[str, list[Any]] = {
    "none": [],
    "private": [dict(made_key("ES256").as_dict(private=True))],
    "private RSA": [public(made_key("RS256")) | {"d": "AQAB"}],
    "symmetric": [dict(OctKey.generate_key(256).as_dict(private=True))],
    "for encryption": [public(made_key("ES256")) | {"use": "enc"}],
    "another curve": [dict(ECKey.generate_key("P-384").as_dict(private=False))],
    "Ed448": [dict(OKPKey.generate_key("Ed448").as_dict(private=False))],
    "another algorithm": [public(made_key("RS256")) | {"alg": "RS512"}],
    "HMAC with a public key": [public(made_key("RS256")) | {"alg": "HS256"}],
    "weak RSA": [public(made_key("RS256")) | {"n": public(made_key("RS256"))["n"][:300]}],
    "no modulus": [{"kty": "RSA", "e": "AQAB"}],
    "no coordinate": [{"kty": "EC", "crv": "P-256", "x": "A" * 43}],
    "a longer coordinate": [_longer("y")],
    "no encoding": [public(made_key("ES256")) | {"x": "=" * 43}],
    "numbers": [public(made_key("ES256")) | {"kid": 5}],
    "an object": [public(made_key("ES256")) | {"x": {}}],
    "a long id": [public(made_key("ES256")) | {"kid": "k" * 1_401}],
    "twice": [public(made_key("ES256")), public(made_key("ES256")) | {"kid": "other"}],
    "too many": [public(made_key("ES256"))] * 21,
    "a type that is none": [{"kty": ["EC"]}],
}


@cases("keys", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_bad_keys_are_refused(admin: httpx.AsyncClient, keys: list[Any]) -> None:
    refusal = problem(await admin.post("/admin/clients", json=asked(jwks={"keys": keys})), 400)
    assert refusal["errors"][0]["field"].startswith("jwks")


async def test_keys_and_method_go_together(admin: httpx.AsyncClient) -> None:
    problem(await admin.post("/admin/clients", json=asked(jwks=None)), 400, field="jwks")
    field = "token_endpoint_auth_signing_alg"
    problem(await admin.post("/admin/clients", json=asked() | {field: "RS256"}), 400, field=field)
    secret = asked(token_endpoint_auth_method="client_secret_basic") | {field: "ES256"}
    problem(await admin.post("/admin/clients", json=secret), 400, field=field)


# Authentication.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_it_gets_a_token(world: World, algorithm: str) -> None:
    signer = await register_signer(world, algorithm=algorithm)
    before = await world.head()
    answer = ok(await signer.ask())
    assert answer["scope"] == "orders"
    (issued,) = await world.events("grant.tokens_issued", after=before)
    key = public_key.read([public(signer.key)])[0]
    assert issued.actor.credential == {"key_id": public_key.thumbprint(key)}
    assert issued.actor.credential["key_id"] == signer.key.thumbprint()
    assert issued.event.secret_id is None


GOOD: dict[str, Callable[[Signer], str]] = {
    "for the token endpoint": lambda it: it.assertion(aud=f"{it.world.settings.issuer}/oauth/token"),
    "a list of one": lambda it: it.assertion(aud=[it.world.settings.issuer]),
    "without kid": lambda it: signed(it.header(kid=None), it.claims(), it.key),
    "without typ": lambda it: signed(it.header(typ=None), it.claims(), it.key),
    "another typ": lambda it: signed(it.header(typ="client-authentication+jwt"), it.claims(), it.key),
    "a thumbprint in the header": lambda it: signed(it.header(**{"x5t#S256": "x" * 43}), it.claims(), it.key),
    "what nobody knows": lambda it: signed(it.header(colour="red"), it.claims(colour="red"), it.key),
    "a clock 8 seconds ahead": lambda it: it.assertion(iat=it.now() + 8, nbf=it.now() + 8),
    "without iat": lambda it: it.assertion(iat=None),
    "an hour": lambda it: it.assertion(exp=it.now() + 3_600),
    "just over": lambda it: it.assertion(exp=it.now() - 5),
    "fractions": lambda it: it.assertion(exp=it.now() + 60.5),
}


@cases("good", GOOD.values(), ids=GOOD)
async def test_good_assertions_are_taken(world: World, good: Callable[[Signer], str]) -> None:
    signer = await register_signer(world)
    ok(await signer.ask(good(signer)))


async def test_it_may_say_its_id_beside(world: World) -> None:
    signer = await register_signer(world)
    ok(await signer.ask(client_id=signer.client_id))
    refused(await signer.ask(client_id="somebody-else"))


def _confused(it: Signer) -> str:
    """HMAC with the public key as secret (RFC 8725 §2.1)."""
    secret: Any = OctKey.import_key(json.dumps(public(it.key)))
    return signed(it.header(alg="HS256"), it.claims(), secret)


def _unsigned(it: Signer, alg: str = "none") -> str:
    head, body, _ = it.assertion().split(".")
    return f"{encoded(json.dumps(it.header(alg=alg)).encode())}.{body}."


def _nested(it: Signer) -> str:
    inner = it.assertion().encode()
    return signed(it.header(cty="JWT"), inner, it.key)


def _doubled(it: Signer, name: str) -> str:
    text = json.dumps(it.claims())
    return signed(it.header(), f'{text[:-1]}, "{name}": "{it.client_id}"}}'.encode(), it.key)


def _doubled_header(it: Signer) -> str:
    head = f'{{"alg": "ES256", "alg": "ES256", "kid": "{it.key.kid}"}}'
    return _with_head(it, head)


def _with_head(it: Signer, head: str) -> str:
    _, body, signature = it.assertion().split(".")
    return f"{encoded(head.encode())}.{body}.{signature}"


def _by(it: Signer, algorithm: str = "ES256", name: str = "thief", **header: Any) -> str:
    """Signed with a key of somebody else."""
    key = made_key(algorithm, name)
    return signed(it.header(alg=algorithm, **header), it.claims(), key)


def _altered(it: Signer) -> str:
    head, body, signature = it.assertion().split(".")
    return f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _other_body(it: Signer) -> str:
    head, _, signature = it.assertion().split(".")
    return f"{head}.{encoded(json.dumps(it.claims(exp=it.now() + 600)).encode())}.{signature}"


BAD: dict[str, Callable[[Signer], str]] = {
    # What is no token.
    "no token": lambda it: "x",
    "two parts": lambda it: it.assertion().rpartition(".")[0],
    "four parts": lambda it: it.assertion() + ".x",
    "five parts": lambda it: it.assertion() + ".x.x",
    "an empty part": lambda it: it.assertion().rpartition(".")[0] + ".",
    "padding": lambda it: it.assertion() + "=",
    "white space": lambda it: it.assertion() + " ",
    "a line break": lambda it: it.assertion().replace(".", ".\n", 1),
    "the other alphabet": lambda it: it.assertion() + "+/",
    "a header that is no JSON": lambda it: _with_head(it, "alg"),
    "a header that is a list": lambda it: _with_head(it, '["ES256"]'),
    "a header that is null": lambda it: _with_head(it, "null"),
    "no UTF-8": lambda it: signed(it.header(), b"\xff\xfe", it.key),
    "claims that are a list": lambda it: signed(it.header(), [it.claims()], it.key),
    "claims that are text": lambda it: signed(it.header(), "sub", it.key),
    "claims that are no JSON": lambda it: signed(it.header(), b"{", it.key),
    "nested too deeply": lambda it: signed(it.header(), b'{"a":' + b"[" * 9_000 + b"]" * 2 + b"}", it.key),
    "a huge number": lambda it: signed(it.header(), b'{"exp":' + b"9" * 5_000 + b"}", it.key),
    "oversized": lambda it: it.assertion(more="x" * 16_000),
    "an oversized header": lambda it: signed(it.header(more="x" * 8_000), it.claims(), it.key),
    "a member twice": lambda it: _doubled(it, "sub"),
    "another member twice": lambda it: _doubled(it, "iss"),
    "a header parameter twice": _doubled_header,
    # What its header says.
    "none": _unsigned,
    "None": lambda it: _unsigned(it, "None"),
    "NONE": lambda it: _unsigned(it, "NONE"),
    "none with a signature": lambda it: _unsigned(it) + "AAAA",
    "no algorithm": lambda it: signed(it.header(alg=None), it.claims(), it.key, "ES256"),
    "an algorithm that is a number": lambda it: signed(it.header(alg=256), it.claims(), it.key, "ES256"),
    "an algorithm that is a list": lambda it: signed(it.header(alg=["ES256"]), it.claims(), it.key, "ES256"),
    "HMAC with the public key": _confused,
    "another algorithm of the header": lambda it: signed(it.header(alg="RS256"), it.claims(), it.key, "ES256"),
    "lower case": lambda it: signed(it.header(alg="es256"), it.claims(), it.key, "ES256"),
    "an algorithm that is not served": lambda it: signed(it.header(alg="ES384"), it.claims(), it.key, "ES256"),
    "a critical parameter": lambda it: signed(it.header(crit=["exp"], exp=1), it.claims(), it.key),
    "an empty list of critical ones": lambda it: signed(it.header(crit=[]), it.claims(), it.key),
    "an unencoded payload": lambda it: signed(it.header(b64=False, crit=["b64"]), it.claims(), it.key),
    "a key of its own": lambda it: _by(it, jwk=public(made_key("ES256", "thief"))),
    "its true key in the header": lambda it: signed(it.header(jwk=public(it.key)), it.claims(), it.key),
    "an address of keys": lambda it: _by(it, jku="https://thief.example/jwks"),
    "an address of a certificate": lambda it: _by(it, x5u="https://thief.example/chain"),
    "a certificate of its own": lambda it: _by(it, x5c=["MIIB"]),
    "compressed": lambda it: signed(it.header(zip="DEF"), it.claims(), it.key),
    "encrypted": lambda it: signed(it.header(enc="A256GCM"), it.claims(), it.key),
    "a token in the token": _nested,
    "another kid": lambda it: signed(it.header(kid="other"), it.claims(), it.key),
    "a kid that is a path": lambda it: signed(it.header(kid="../../etc/passwd"), it.claims(), it.key),
    "a kid that is SQL": lambda it: signed(it.header(kid="' OR 1=1 --"), it.claims(), it.key),
    "a kid that is a number": lambda it: signed(it.header(kid=1), it.claims(), it.key),
    "a kid that is an object": lambda it: signed(it.header(kid={}), it.claims(), it.key),
    # Who signed it.
    "another key": _by,
    "another key without kid": lambda it: _by(it, kid=None),
    "another key of another algorithm": lambda it: _by(it, "EdDSA"),
    "an altered signature": _altered,
    "other claims under the signature": _other_body,
    "a signature of zeros": lambda it: it.assertion().rpartition(".")[0] + "." + encoded(bytes(64)),
    "a short signature": lambda it: it.assertion()[:-8],
    # What its claims say.
    "no issuer": lambda it: it.assertion(iss=None),
    "another issuer": lambda it: it.assertion(iss="somebody-else"),
    "an issuer that is a list": lambda it: it.assertion(iss=[it.client_id]),
    "no subject": lambda it: it.assertion(sub=None),
    "another subject": lambda it: it.assertion(sub="somebody-else"),
    "a subject that is a number": lambda it: it.assertion(sub=5),
    "no audience": lambda it: it.assertion(aud=None),
    "another audience": lambda it: it.assertion(aud="https://other.example"),
    "a slash after the issuer": lambda it: it.assertion(aud=f"{it.world.settings.issuer}/"),
    "another endpoint": lambda it: it.assertion(aud=f"{it.world.settings.issuer}/oauth/revoke"),
    "several audiences": lambda it: it.assertion(aud=[it.world.settings.issuer, "https://other.example"]),
    "an empty list of audiences": lambda it: it.assertion(aud=[]),
    "an audience in a list in a list": lambda it: it.assertion(aud=[[it.world.settings.issuer]]),
    "an audience that is an object": lambda it: it.assertion(aud={}),
    "no end": lambda it: it.assertion(exp=None),
    "an end that is text": lambda it: it.assertion(exp=str(it.now() + 60)),
    "an end that is true": lambda it: it.assertion(exp=True),
    "an end that is no number": lambda it: it.assertion(exp=float("nan")),
    "an infinite end": lambda it: it.assertion(exp=float("inf")),
    "a negative end": lambda it: it.assertion(exp=-1),
    "an end that is null": lambda it: signed(it.header(), it.claims() | {"exp": None}, it.key),
    "over": lambda it: it.assertion(exp=it.now() - 300),
    "over by a little more": lambda it: it.assertion(exp=it.now() - client_assertion.SKEW),
    "too long": lambda it: it.assertion(exp=it.now() + 86_400),
    "for ever": lambda it: it.assertion(exp=10**15),
    "not yet": lambda it: it.assertion(nbf=it.now() + 61),
    "a beginning that is text": lambda it: it.assertion(nbf="now"),
    "made in the future": lambda it: it.assertion(iat=it.now() + 61),
    "made at a time that is none": lambda it: it.assertion(iat={}),
    "no jti": lambda it: it.assertion(jti=None),
    "an empty jti": lambda it: it.assertion(jti=""),
    "a jti that is a number": lambda it: it.assertion(jti=7),
    "a long jti": lambda it: it.assertion(jti="x" * 513),
}


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"throttle": False}


async def test_bad_assertions_are_refused(world: World) -> None:
    signer = await register_signer(world)
    assert len(BAD) >= 60
    got: dict[str, tuple[int, Any]] = {}
    for name, bad in BAD.items():
        answer = await signer.ask(bad(signer), client_id=signer.client_id)
        got[name] = (answer.status_code, answer.json().get("error"))
    assert {name: found for name, found in got.items() if found != (401, "invalid_client")} == {}
    assert await world.services.ledger.read(remembered) == 0, "what was refused is not remembered"
    ok(await signer.ask())


async def test_no_assertion_is_repeated_anywhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is good nor what is bad gets into the log of facts or of the program."""
    signer = await register_signer(world)
    good, bad = signer.assertion(jti="my-identifier"), _by(signer)
    ok(await signer.ask(good))
    answer = await signer.ask(bad)
    told = str(await world.events()) + caplog.text + answer.text
    for part in (*good.split("."), *bad.split("."), "my-identifier"):
        assert part not in told


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("no token", "assertion"),
        ("another kid", "assertion_key"),
        ("another key", "assertion_signature"),
        ("no issuer", "assertion_claims"),
        ("another audience", "assertion_audience"),
        ("over", "assertion_expired"),
        ("not yet", "assertion_too_early"),
    ],
)
async def test_the_reason_of_a_refusal_is_a_fact(world: World, bad: str, reason: str) -> None:
    signer = await register_signer(world)
    refused(await signer.ask(BAD[bad](signer), client_id=signer.client_id))
    (failed,) = await world.events("client.authentication_failed")
    assert (failed.stream, failed.event.reason) == (f"client:{signer.client_id}", reason)


async def test_a_second_use_is_a_fact(world: World) -> None:
    signer = await register_signer(world)
    again = signer.assertion()
    ok(await signer.ask(again))
    refused(await signer.ask(again))
    (failed,) = await world.events("client.authentication_failed")
    assert failed.event.reason == "assertion_used"


async def test_what_is_no_assertion_at_all(world: World) -> None:
    signer = await register_signer(world)
    refused(await signer.ask(client_assertion=None))
    refused(await signer.ask(client_assertion=None, client_assertion_type=None, client_id=signer.client_id))
    refused(await signer.ask(client_assertion_type="urn:ietf:params:oauth:client-assertion-type:saml2-bearer"))
    refused(await signer.ask(client_assertion_type=None))
    secret = {"client_id": signer.client_id, "client_secret": "x" * 20}
    refused(await signer.ask(client_assertion=None, client_assertion_type=None, **secret))


async def test_two_ways_at_once_are_none(world: World) -> None:
    signer = await register_signer(world)
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    answers = [await signer.ask(client_secret=job.secret)]
    data = {"grant_type": "client_credentials", "client_assertion_type": client_assertion.TYPE}
    for _ in range(2):
        # The second time the server remembers who the header authenticates.
        given = data | {"client_assertion": signer.assertion()}
        answers.append(await world.client.post("/oauth/token", data=given, auth=job.auth))
        ok(await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=job.auth))
    assert [(each.status_code, each.json()["error"]) for each in answers] == [(400, "invalid_request")] * 3


async def test_a_client_with_a_secret_may_not_sign(world: World) -> None:
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    refused(await Signer(world, job.client_id).ask())
    native = await world.register_client("Native", public=True, grant_types=("refresh_token",))
    refused(await Signer(world, native.client_id).ask())


async def test_only_the_algorithm_that_it_named(world: World) -> None:
    signer = await register_signer(world, algorithm="PS256", token_endpoint_auth_signing_alg="PS256")
    key = public(made_key("PS256")) | {"alg": None}
    ok(await signer.ask())
    assert key["alg"] is None
    refused(await signer.ask(signed(signer.header(alg="RS256"), signer.claims(), signer.key)))


async def test_other_endpoints_know_it_too(world: World) -> None:
    signer = await register_signer(world)
    token = ok(await signer.ask())["access_token"]
    for path in ("/oauth/introspect", "/oauth/revoke"):
        own = signer.assertion(aud=f"{world.settings.issuer}{path}")
        ok(await signer.ask(own, path, grant_type=None, token=token))
        ok(await signer.ask(None, path, grant_type=None, token=token))
    assert ok(await signer.ask(None, "/oauth/introspect", grant_type=None, token=token)) == {"active": False}


async def test_a_code_is_redeemed_and_refreshed_by_it(world: World) -> None:
    scene = await set_scene(world)
    signer = await register_signer(
        world, grants=("authorization_code", "refresh_token"), redirect_uris=("https://shop.example/callback",)
    )
    browser = await scene.signed_in()
    page = await scene.approved(browser, scene.address(**{"client_id": signer.client_id, "scope": "orders"}))
    redeeming = {
        "grant_type": "authorization_code",
        "code": page.parameters["code"],
        "redirect_uri": "https://shop.example/callback",
        "code_verifier": "a-verifier-of-at-least-forty-three-characters",
    }
    answer = ok(await signer.ask(**redeeming))
    ok(await signer.ask(grant_type="refresh_token", refresh_token=answer["refresh_token"]))


async def test_a_disabled_client_is_refused(world: World, admin: httpx.AsyncClient) -> None:
    signer = await register_signer(world)
    ok(await admin.post(f"/admin/clients/{signer.client_id}/disable"))
    refused(await signer.ask())
