"""DPoP proofs that are refused (RFC 9449 §4.3, RFC 8725), each with the specification's error."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from tests.cases import cases
from tests.scenarios.proofs import Holder, encoded, token_of
from tests.scenarios.world import Client, World

TOKEN = "/oauth/token"


def changed(**changes: Any) -> Callable[[Holder], str]:
    """A proof whose claims differ."""
    return lambda holder: holder.proof(TOKEN, **changes)


def headed(**changes: Any) -> Callable[[Holder], str]:
    """A proof whose header differs."""
    return lambda holder: token_of(holder.header(**changes), holder.claims(TOKEN), holder.key)


def later(seconds: float) -> Callable[[Holder], str]:
    """A proof that was made at another time."""
    return lambda holder: holder.proof(TOKEN, iat=holder.world.clock.now() // 1_000_000 + seconds)


def parts(holder: Holder) -> list[str]:
    return holder.proof(TOKEN).split(".")


def unsigned(holder: Holder) -> str:
    header = encoded(json.dumps(holder.header(alg="none")).encode())
    return f"{header}.{parts(holder)[1]}."


def by_another(holder: Holder) -> str:
    return token_of(holder.header(), holder.claims(TOKEN), Holder(holder.world).key)


def by_secret(holder: Holder) -> str:
    """Algorithm confusion (RFC 8725 §2.1): the public key as a secret."""
    header = holder.header(alg="HS256")
    key = OctKey.import_key(json.dumps(holder.public).encode())
    registry = jws.JWSRegistry(algorithms=["HS256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(holder.claims(TOKEN)).encode(), key, registry=registry)


def private(holder: Holder) -> str:
    return headed(jwk=holder.key.as_dict(private=True))(holder)


def twice(member: str, place: int) -> Callable[[Holder], str]:
    """A part in which a member stands twice (RFC 7515 §4, RFC 7519 §4)."""

    def made(holder: Holder) -> str:
        claims = json.dumps(holder.claims(TOKEN))
        header = json.dumps(holder.header())
        if place == 1:
            claims = claims[:-1] + f', "{member}": {json.dumps(holder.claims(TOKEN)[member])}}}'
            return token_of(holder.header(), claims.encode(), holder.key)
        head, body, signature = parts(holder)
        header = header[:-1] + f', "{member}": {json.dumps(holder.header()[member])}}}'
        return f"{encoded(header.encode())}.{body}.{signature}"

    return made


def other_kind(holder: Holder) -> str:
    return token_of(holder.header(jwk=Holder(holder.world, "EdDSA").public), holder.claims(TOKEN), holder.key)


def payload(octets: bytes) -> Callable[[Holder], str]:
    return lambda holder: token_of(holder.header(), octets, holder.key)


def replaced(place: int, text: str) -> Callable[[Holder], str]:
    def made(holder: Holder) -> str:
        found = parts(holder)
        found[place] = text
        return ".".join(found)

    return made


BAD: dict[str, Callable[[Holder], str]] = {
    "no text at all": lambda holder: "x",
    "two parts": lambda holder: ".".join(parts(holder)[:2]),
    "four parts": lambda holder: ".".join([*parts(holder), "x"]),
    "five parts, as if encrypted": lambda holder: ".".join([*parts(holder), "x", "y"]),
    "no signature": unsigned,
    "an empty signature": replaced(2, ""),
    "another signature": replaced(2, encoded(b"x" * 64)),
    "a short signature": replaced(2, "AAAA"),
    "a zero signature": replaced(2, encoded(bytes(64))),
    "padded": lambda holder: holder.proof(TOKEN) + "==",
    "a header that is no JSON": replaced(0, encoded(b"{")),
    "a header that is a list": replaced(0, encoded(b"[]")),
    "a header that is deep": replaced(0, encoded(b"[" * 4_000)),
    "claims that are no JSON": payload(b"{"),
    "claims that are a list": payload(b"[]"),
    "claims that are a number": payload(b"1"),
    "claims that are deep": payload(b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
    "claims that are no UTF-8": payload(b'{"jti": "\xff"}'),
    "oversized": lambda holder: holder.proof(TOKEN, more="x" * 20_000),
    "a nested token": payload(b'"eyJhbGciOiJub25lIn0.e30."'),
    "signed by another key": by_another,
    "signed with a secret": by_secret,
    "a private key": private,
    "a secret key": headed(jwk={"kty": "oct", "k": encoded(b"x" * 32)}),
    "no key": headed(jwk=None),
    "a key that is text": headed(jwk="key"),
    "a key that is empty": headed(jwk={}),
    "a key of another kind": other_kind,
    "a key on another curve": headed(jwk={"kty": "EC", "crv": "P-384", "x": "A" * 64, "y": "A" * 64}),
    "a key off its curve": headed(jwk={"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}),
    "a key whose name is half a surrogate pair": lambda holder: headed(jwk=holder.public | {"kid": "\ud800"})(holder),
    "a key with numbers": headed(jwk={"kty": "EC", "crv": "P-256", "x": 1, "y": 2}),
    "a short RSA key": headed(jwk={"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    "a key for encryption": lambda holder: headed(jwk=holder.public | {"use": "enc"})(holder),
    "no typ": headed(typ=None),
    "another typ": headed(typ="JWT"),
    "almost the typ": headed(typ="dpop+jwt+wrongyousee"),
    "a critical header": headed(crit=["exp"]),
    "an address of keys": headed(jku="https://evil.example/keys"),
    "an address of a certificate": headed(x5u="https://evil.example/cert"),
    "a certificate": headed(x5c=["MIIB"]),
    "compressed": headed(zip="DEF"),
    "nested by its content type": headed(cty="JWT"),
    "not encoded": headed(b64=False),
    "htm twice": twice("htm", 1),
    "jti twice": twice("jti", 1),
    "typ twice": twice("typ", 0),
    "jwk twice": twice("jwk", 0),
    "no htm": changed(htm=None),
    "another htm": changed(htm="PUT"),
    "htm in lower case": changed(htm="post"),
    "no htu": changed(htu=None),
    "another path": changed(htu="http://localhost/oauth/revoke"),
    "another host": changed(htu="https://evil.example/oauth/token"),
    "htu with a user": changed(htu="http://a@localhost/oauth/token"),
    "htu that is no address": changed(htu="http://[/oauth/token"),
    "htu with a port that is none": changed(htu="http://localhost:99999/oauth/token"),
    "htu that is a list": changed(htu=["http://localhost/oauth/token"]),
    "no iat": changed(iat=None),
    "iat as text": changed(iat="now"),
    "iat that is true": changed(iat=True),
    "iat beyond all time": changed(iat=10**30),
    "negative iat": changed(iat=-1),
    "an hour late": later(-3600),
    "an hour early": later(3600),
    "a minute and a second late": later(-61),
    "a minute and two seconds early": later(62),
    "no jti": changed(jti=None),
    "empty jti": changed(jti=""),
    "long jti": changed(jti="x" * 513),
    "jti that is a number": changed(jti=5),
}


@pytest.fixture
async def service(world: World) -> Client:
    return await world.register_client("Service", grant_types=("client_credentials",), scope=("orders",))


@cases("what", BAD)
async def test_bad_proof_is_refused(world: World, service: Client, what: str) -> None:
    before, proof = await world.head(), BAD[what](Holder(world))
    data = {"grant_type": "client_credentials"}
    answer = await world.client.post(TOKEN, data=data, auth=service.auth, headers={"dpop": proof})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof"), answer.text
    assert await world.types_after(before) == []


async def test_two_proofs_are_refused(world: World, service: Client) -> None:
    holder = Holder(world)
    headers = [("dpop", holder.proof(TOKEN)), ("dpop", holder.proof(TOKEN))]
    data = {"grant_type": "client_credentials"}
    answer = await world.client.post(TOKEN, data=data, auth=service.auth, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


@cases("ath", [None, "", "x", urlsafe_b64encode(b"x" * 32).decode(), 5])
async def test_proof_is_for_the_token_it_names(world: World, service: Client, ath: Any) -> None:
    holder = Holder(world)
    data = {"grant_type": "client_credentials"}
    given = await world.client.post(TOKEN, data=data, auth=service.auth, headers={"dpop": holder.proof(TOKEN)})
    token = given.json()["access_token"]
    proof = holder.proof("/admin/scopes", "GET", ath=ath)
    answer = await world.client.get("/admin/scopes", headers={"authorization": f"DPoP {token}", "dpop": proof})
    assert answer.status_code == 401
    assert 'DPoP error="invalid_dpop_proof"' in answer.headers["www-authenticate"]
