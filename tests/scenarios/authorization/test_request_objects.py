"""Request objects (RFC 9101), good and bad, and signed answers (JARM)."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import KeySet, OctKey

from domain import client
from domain.event import SECOND
from tests.cases import cases
from tests.scenarios.asking import APPROVE, CHALLENGE, CONSENT, SIGN_IN, STATE, Scene, error_of, set_scene
from tests.scenarios.assertions import Signer, encoded, made_key, public, register_signer, signed
from tests.scenarios.browser import Page
from tests.scenarios.world import REDIRECT_URI, World

PAR = "/oauth/par"
AUTHORIZE = "/oauth/authorize"


class Asking:
    """A client that signs what it asks for."""

    def __init__(self, scene: Scene, signer: Signer) -> None:
        self.scene, self.signer = scene, signer
        self.now = scene.world.clock.now() // SECOND

    def claims(self, **changes: Any) -> dict[str, Any]:
        usual = {
            "iss": self.signer.client_id,
            "aud": self.scene.world.settings.issuer,
            "client_id": self.signer.client_id,
            "nbf": self.now,
            "exp": self.now + 300,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": "orders",
            "state": STATE,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in usual.items() if value is not None}

    def object(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return signed(
            self.signer.header(**{"typ": "oauth-authz-req+jwt"} | (header or {})),
            self.claims(**changes),
            self.signer.key,
        )

    async def push(self, text: str, **beside: str) -> httpx.Response:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        given = {"client_assertion": self.signer.assertion(), "client_assertion_type": kind, "request": text}
        return await self.scene.world.client.post(PAR, data=given | {"client_id": self.signer.client_id} | beside)

    async def opened(self, text: str, **beside: str) -> Page:
        """What a person who is signed in sees."""
        query = urlencode({"client_id": self.signer.client_id, "request": text} | beside)
        return await (await self.scene.signed_in()).open(f"{AUTHORIZE}?{query}")

    async def change(self, **changes: Any) -> None:
        world = self.scene.world
        await world.execute(world.changing(self.signer.client_id, client.Attributes(**changes)))


@pytest.fixture
async def asking(world: World) -> Asking:
    scene = await set_scene(world)
    grants = ("authorization_code", "refresh_token", "client_credentials")
    signer = await register_signer(
        world, made_key("ES256"), made_key("RS256"), grants=grants, redirect_uris=(REDIRECT_URI,)
    )
    return Asking(scene, signer)


async def test_signed_request_counts_alone(asking: Asking) -> None:
    assert (await asking.opened(asking.object(), scope="catalog:read")).status == 200
    browser = await asking.scene.signed_in()
    query = urlencode({"client_id": asking.signer.client_id, "request": asking.object(), "state": "another"})
    answer = await asking.scene.approved(browser, f"{AUTHORIZE}?{query}")
    assert answer.parameters["state"] == STATE
    assert (await asking.scene.world.events("grant.code_issued"))[-1].event.scope == "orders"


async def test_signed_request_is_pushed_once(asking: Asking) -> None:
    text = asking.object(jti="one")
    answer = await asking.push(text, state="another", nonce="another")
    assert answer.status_code == 201, answer.text
    again = await asking.push(text)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request_object")
    asking.scene.world.clock.advance(30)
    query = urlencode({"client_id": asking.signer.client_id, "request_uri": answer.json()["request_uri"]})
    page = await asking.scene.approved(await asking.scene.signed_in(), f"{AUTHORIZE}?{query}")
    assert page.parameters["state"] == STATE


async def test_values_that_are_no_text_are_read(asking: Asking) -> None:
    text = asking.object(
        claims={"userinfo": {"name": None}}, max_age=600, resource=[asking.scene.world.settings.issuer]
    )
    assert (await asking.push(text)).status_code == 201


async def test_client_that_signs_is_held_to_it(asking: Asking) -> None:
    await asking.change(require_signed_request_object=True)
    plain = {name: value for name, value in asking.claims().items() if isinstance(value, str)}
    page = await (await asking.scene.signed_in()).open(f"{AUTHORIZE}?{urlencode(plain)}")
    assert error_of(page)[0] == "invalid_request"
    reference = (await asking.push(asking.object())).json()["request_uri"]
    query = urlencode({"client_id": asking.signer.client_id, "request_uri": reference})
    assert "code" in (await asking.scene.approved(await asking.scene.signed_in(), f"{AUTHORIZE}?{query}")).parameters


async def test_client_without_keys_is_told(world: World) -> None:
    scene = await set_scene(world)
    page = await (await scene.signed_in()).open(scene.address(request="a.b.c"))
    assert error_of(page) == ("request_not_supported", STATE)


async def test_bad_object_goes_back_where_it_can(asking: Asking) -> None:
    wrong = asking.object(aud="https://evil.example")
    assert error_of(await asking.opened(wrong, redirect_uri=REDIRECT_URI, state=STATE)) == (
        "invalid_request_object",
        STATE,
    )
    page = await asking.opened(wrong, redirect_uri="https://evil.example/")
    assert page.status == 400
    assert error_of(await asking.opened(asking.object(), request_uri="https://shop.example/")) == (
        "invalid_request",
        None,
    )


async def test_who_came_in_time_may_take_theirs(asking: Asking) -> None:
    """Its end is for who has not come yet, and not for who types a password meanwhile."""
    scene, text = asking.scene, asking.object(exp=asking.now + 60)
    address = f"{AUTHORIZE}?{urlencode({'client_id': asking.signer.client_id, 'request': text})}"
    browser, early = scene.world.browser(), scene.world.browser()
    page, left = await browser.open(address), await early.open(address)
    scene.world.clock.advance(300)
    page = await browser.press(page, SIGN_IN, **scene.person.typed)
    scene.world.clock.advance(300)
    assert (await browser.press(page, CONSENT, APPROVE)).parameters["state"] == STATE
    scene.world.clock.advance(1)
    # Neither is it good for longer, nor for who comes now or made the proof up.
    assert error_of(await early.press(left, SIGN_IN, **scene.person.typed))[0] == "invalid_request_object"
    now, other = scene.world.clock.now() // SECOND, left.form(SIGN_IN).action.rpartition(".")[2]
    for late in ("", f"&opened={now}.{other}", f"&opened={now}", "&opened=.", f"&opened={'9' * 40}.{other}"):
        assert error_of(await browser.open(address + late))[0] == "invalid_request_object"


def changed(**changes: Any) -> Callable[[Asking], str]:
    return lambda asking: asking.object(**changes)


def headed(**changes: Any) -> Callable[[Asking], str]:
    return lambda asking: asking.object(changes)


def later(name: str, seconds: int) -> Callable[[Asking], str]:
    return lambda asking: asking.object(None, **{name: asking.now + seconds})


def unsigned(asking: Asking) -> str:
    head, body, _ = asking.object().split(".")
    return f"{encoded(json.dumps({'alg': 'none'}).encode())}.{body}."


def by_secret(asking: Asking) -> str:
    key = OctKey.import_key(json.dumps(public(asking.signer.key)).encode())
    return signed({"alg": "HS256", "kid": asking.signer.key.kid}, asking.claims(), key)


def by_another(asking: Asking) -> str:
    return signed(asking.signer.header(), asking.claims(), made_key("ES256", "stranger"))


def twice(asking: Asking) -> str:
    text = json.dumps(asking.claims())[:-1] + ', "scope": "orders"}'
    return signed(asking.signer.header(), text.encode(), asking.signer.key)


def own_key(asking: Asking) -> str:
    stranger = made_key("ES256", "stranger")
    return signed({"alg": "ES256", "jwk": public(stranger)}, asking.claims(), stranger)


def body(octets: bytes) -> Callable[[Asking], str]:
    return lambda asking: signed(asking.signer.header(), octets, asking.signer.key)


BAD: dict[str, Callable[[Asking], str]] = {
    "no token": lambda asking: "x",
    "two parts": lambda asking: ".".join(asking.object().split(".")[:2]),
    "five parts, as if encrypted": lambda asking: asking.object() + ".x.y",
    "unsigned": unsigned,
    "signed with a secret": by_secret,
    "signed by another key": by_another,
    "an embedded key": own_key,
    "another signature": lambda asking: asking.object()[:-8] + "AAAAAAAA",
    "a key of another name": headed(kid="RS256-one"),
    "a critical header": headed(crit=["exp"]),
    "an address of keys": headed(jku="https://evil.example/"),
    "an address of a certificate": headed(x5u="https://evil.example/"),
    "compressed": headed(zip="DEF"),
    "nested by its content type": headed(cty="JWT"),
    "another typ": headed(typ="at+jwt"),
    "a proof's typ": headed(typ="dpop+jwt"),
    "a member twice": twice,
    "claims that are a list": body(b"[]"),
    "claims that are no JSON": body(b"{"),
    "claims that are deep": body(b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
    "oversized": changed(more="x" * 20_000),
    "no iss": changed(iss=None),
    "another iss": changed(iss="another"),
    "another client_id": changed(client_id="another"),
    "no aud": changed(aud=None),
    "another aud": changed(aud="https://evil.example"),
    "aud that is a number": changed(aud=5),
    "an assertion": lambda asking: asking.object(sub=asking.signer.client_id),
    "expired": later("exp", -60),
    "exp as text": changed(exp="soon"),
    "exp beyond all time": changed(exp=10**30),
    "not yet": later("nbf", 61),
    "made later": later("iat", 61),
    "a request within": changed(request="a.b.c"),
    "a request_uri within": changed(request_uri="https://evil.example/"),
    "half a surrogate pair": body(b'{"iss": "\\ud800"}'),
    "half a surrogate pair that is text": changed(nonce="\ud800"),
    "half a surrogate pair deep within": changed(claims={"userinfo": {"\ud800": None}}),
}


@cases("what", BAD)
async def test_bad_object_is_refused(asking: Asking, what: str) -> None:
    text = BAD[what](asking)
    before = await asking.scene.world.head()
    answer = await asking.push(text)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request_object"), answer.text
    assert await asking.scene.world.types_after(before) == []


@cases("typ", ["OAuth-AuthZ-Req+JWT", "application/oauth-authz-req+jwt", "jwt"])
async def test_type_is_a_media_type(asking: Asking, typ: str) -> None:
    """RFC 7515 §4.1.9: capitals say nothing, and `application/` may be left out."""
    answer = await asking.push(asking.object({"typ": typ}))
    assert answer.status_code == 201, answer.text


async def test_bad_object_counts_before_what_is_outside(asking: Asking) -> None:
    """Where the answer goes stands in the object alone, so its own fault is told and not that there is no address."""
    await asking.change(redirect_uris=(REDIRECT_URI, f"{REDIRECT_URI}?more"))
    assert (await asking.push(asking.object())).status_code == 201
    answer = await asking.push(asking.object(aud="https://evil.example"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request_object"), answer.text


@pytest.mark.parametrize(
    "changes",
    [{"nbf": None}, {"exp": None}, {"nbf": -3_601}, {"exp": 3_601}],
    ids=["no nbf", "no exp", "old", "long"],
)
async def test_profile_wants_short_objects(asking: Asking, changes: dict[str, int | None]) -> None:
    said: dict[str, Any] = {name: each and asking.now + each for name, each in changes.items()}
    text = asking.object(**said)
    assert (await asking.push(text)).status_code == 201
    await asking.change(profile="fapi2", id_token_signed_response_alg="ES256")
    answer = await asking.push(text)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request_object")


async def test_algorithm_is_the_one_registered(asking: Asking) -> None:
    await asking.change(request_object_signing_alg="RS256")
    assert (await asking.push(asking.object())).json()["error"] == "invalid_request_object"
    other = Asking(asking.scene, Signer(asking.scene.world, asking.signer.client_id, "RS256", made_key("RS256")))
    text = other.object()
    assert (await asking.push(text)).status_code == 201
    await asking.change(request_object_signing_alg=None, profile="fapi2")
    assert (await asking.push(other.object(nonce="x"))).json()["error"] == "invalid_request_object"


# Signed answers ---------------------------------------------------------------------------------------------------


async def said(world: World, token: str, algorithm: str) -> dict[str, Any]:
    keys = KeySet.import_key_set((await world.client.get("/.well-known/jwks.json")).json())
    found = jws.deserialize_compact(token.encode(), keys, registry=jws.JWSRegistry(algorithms=[algorithm]))
    claims: dict[str, Any] = json.loads(found.payload or b"")
    return claims


@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
async def test_answer_is_one_token(world: World, mode: str) -> None:
    scene = await set_scene(world)
    page = await scene.approved(await scene.signed_in(), scene.address(response_mode=mode))
    assert page.parameters.keys() == {"response"}
    claims = await said(world, page.parameters["response"], "RS256")
    assert claims.keys() == {"iss", "aud", "exp", "code", "state"}
    assert (claims["iss"], claims["aud"], claims["state"]) == (world.settings.issuer, scene.shop.client_id, STATE)


async def test_error_is_signed_too(world: World) -> None:
    scene = await set_scene(world)
    changes = client.Attributes(authorization_signed_response_alg="ES256")
    await world.execute(world.changing(scene.shop.client_id, changes))
    page = await (await scene.signed_in()).open(scene.address(response_mode="jwt", scope="nothing"))
    claims = await said(world, parse_qs(urlsplit(page.location).query)["response"][0], "ES256")
    assert (claims["error"], claims["state"]) == ("invalid_scope", STATE)


async def test_token_is_posted_by_a_form(world: World) -> None:
    scene = await set_scene(world)
    page = await scene.approved(await scene.signed_in(), scene.address(response_mode="form_post.jwt"))
    (form,) = page.forms
    assert form.fields.keys() == {"response"}
    assert "code" in await said(world, form.fields["response"], "RS256")


async def test_metadata_names_what_is_signed(world: World) -> None:
    found = (await world.client.get("/.well-known/openid-configuration")).json()
    assert found["request_parameter_supported"] is True
    assert "none" not in found["request_object_signing_alg_values_supported"]
    assert {"PS256", "ES256"} <= set(found["authorization_signing_alg_values_supported"])
    assert {"jwt", "query.jwt", "form_post.jwt"} <= set(found["response_modes_supported"])
