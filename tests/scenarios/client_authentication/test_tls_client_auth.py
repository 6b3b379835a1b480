"""Clients that authenticate by certificate, which a trusted proxy tells of (RFC 8705 §2)."""

from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from security.keyring import Keyring
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import ADDRESS, World, open_world
from tests.security.certificates import Authority, self_signed

pytestmark = pytest.mark.anyio

HEADER = "X-Client-Certificate"
MTLS = "https://mtls.example:8443"
AUTHORITY = Authority("Example clients")
DNS = "tls_client_auth_san_dns"


def mtls_settings(tmp_path: Path) -> dict[str, Any]:
    """Those of a server behind a proxy that hands on the certificates of clients, and an authority that it trusts."""
    path = tmp_path / "authorities.pem"
    path.write_bytes(AUTHORITY.certificate.public_bytes(Encoding.PEM))
    return {
        "client_certificate_header": HEADER,
        "client_ca_file": path,
        "mtls_url": MTLS,
        "trusted_proxies": (f"{ADDRESS}/32",),
    }


@pytest.fixture
def settings_given(tmp_path: Path) -> dict[str, Any]:
    return mtls_settings(tmp_path) | {"throttle": False}


def pem(certificate: x509.Certificate) -> str:
    return quote(certificate.public_bytes(Encoding.PEM).decode())


async def register(world: World, **more: Any) -> str:
    await world.define_scopes("orders")
    admin = await administering(world)
    body = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders"} | more
    made = ok(await admin.post("/admin/clients", json=body), 201)
    assert made["client_secret"] is None
    client_id: str = made["client_id"]
    return client_id


async def ask(world: World, client_id: str, *values: str, by: httpx.AsyncClient | None = None) -> httpx.Response:
    headers = [(HEADER, value) for value in values]
    data = {"grant_type": "client_credentials", "client_id": client_id}
    return await (by or world.client).post("/oauth/token", data=data, headers=headers)


def refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


ISSUED, ISSUED_KEY = AUTHORITY.issue("job", names=[x509.DNSName("job.example")])


async def test_an_authority_vouches_for_it(world: World) -> None:
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
    before = await world.head()
    ok(await ask(world, client_id, pem(ISSUED)))
    (issued,) = await world.events("grant.tokens_issued", after=before)
    assert list(issued.actor.credential or ()) == ["key_id"]
    der = b64encode(ISSUED.public_bytes(Encoding.DER)).decode()
    ok(await ask(world, client_id, f":{der}:"))


async def test_by_its_subject(world: World) -> None:
    subject = {"tls_client_auth_subject_dn": "CN=job,O=Example"}
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **subject)
    ok(await ask(world, client_id, pem(ISSUED)))
    refused(await ask(world, client_id, pem(AUTHORITY.issue("other")[0])))


async def test_who_is_not_it(world: World) -> None:
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
    names = [x509.DNSName("job.example")]
    cases = {
        "certificate_missing": ((), ("nonsense",), (pem(ISSUED), pem(ISSUED)), ("",)),
        "certificate_untrusted": ((pem(Authority("Example clients").issue("job", names=names)[0]),),),
        "certificate_name": ((pem(AUTHORITY.issue("job", names=[x509.DNSName("other.example")])[0]),),),
    }
    for values in (each for some in cases.values() for each in some):
        refused(await ask(world, client_id, *values))
    refused(await ask(world, client_id, pem(self_signed("job")[0])))
    first = (await world.events("client.authentication_failed"))[0]
    assert first.event.reason == "certificate_missing"


async def test_only_a_trusted_proxy_tells(world: World) -> None:
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
    refused(await ask(world, client_id, pem(ISSUED), by=world.caller("203.0.113.9")))
    ok(await ask(world, client_id, pem(ISSUED)))


async def test_it_vouches_for_itself(world: World) -> None:
    certificate, key = self_signed("job")
    keys = {"keys": [key.as_dict(private=False)]}
    client_id = await register(world, token_endpoint_auth_method="self_signed_tls_client_auth", jwks=keys)
    before = await world.head()
    ok(await ask(world, client_id, pem(certificate)))
    (issued,) = await world.events("grant.tokens_issued", after=before)
    assert issued.actor.credential == {"key_id": key.thumbprint()}
    refused(await ask(world, client_id, pem(self_signed("job")[0])))
    refused(await ask(world, client_id, pem(ISSUED)))
    refused(await ask(world, client_id))


async def test_a_secret_or_a_name_alone_does_not_do(world: World) -> None:
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
    data = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "x" * 20}
    refused(await world.client.post("/oauth/token", data=data, headers={HEADER: pem(ISSUED)}))
    job = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    refused(await ask(world, job.client_id, pem(ISSUED)))


async def test_a_member_names_it_once(world: World) -> None:
    await world.define_scopes("orders")
    admin = await administering(world)
    body = {"client_name": "Job", "grant_types": ["client_credentials"], "scope": "orders"}
    subject = "tls_client_auth_subject_dn"
    method = {"token_endpoint_auth_method": "tls_client_auth"}
    for members in (method, method | {DNS: "a", subject: "CN=a"}, {DNS: "a"}, method | {subject: "nonsense"}):
        problem(await admin.post("/admin/clients", json=body | members), 400)
    made = ok(await admin.post("/admin/clients", json=body | method | {DNS: "job.example"}), 201)
    assert (made[DNS], made[subject]) == ("job.example", None)
    path = f"/admin/clients/{made['client_id']}"
    changed = ok(await admin.patch(path, json={subject: "CN=job,O=Example"}))
    assert (changed[DNS], changed[subject]) == (None, "CN=job,O=Example")
    ok(await ask(world, made["client_id"], pem(ISSUED)))


async def test_the_authorities_may_change(world: World, settings_given: dict[str, Any]) -> None:
    ca_file: Path = settings_given["client_ca_file"]
    client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
    ok(await ask(world, client_id, pem(ISSUED)))
    other = Authority("Others")
    ca_file.write_bytes(other.certificate.public_bytes(Encoding.PEM) * 2)
    refused(await ask(world, client_id, pem(ISSUED)))
    issued = other.issue("job", names=[x509.DNSName("job.example")])[0]
    ok(await ask(world, client_id, pem(issued)))
    # What cannot be read changes nothing.
    ca_file.unlink()
    ok(await ask(world, client_id, pem(issued)))


async def test_the_metadata_says_so(world: World) -> None:
    metadata = ok(await world.client.get("/.well-known/openid-configuration"))
    for name in ("token", "introspection", "revocation"):
        methods = metadata[f"{name}_endpoint_auth_methods_supported"]
        assert {"tls_client_auth", "self_signed_tls_client_auth"} <= set(methods)
    aliases = metadata["mtls_endpoint_aliases"]
    assert aliases["token_endpoint"] == f"{MTLS}/oauth/token"
    assert aliases["authorization_challenge_endpoint"] == f"{MTLS}/oauth/authorize-challenge"
    assert all(name in metadata and address.startswith(f"{MTLS}/oauth/") for name, address in aliases.items())
    resource = ok(await world.client.get("/.well-known/oauth-protected-resource"))
    assert resource["tls_client_certificate_bound_access_tokens"] is True


async def test_without_a_header_there_is_none_of_it(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, settings_given: dict[str, Any]
) -> None:
    given = settings_given | {"client_certificate_header": ""}
    async with open_world(sqlite_url, tmp_path, keyring, **given) as world:
        metadata = ok(await world.client.get("/.well-known/openid-configuration"))
        assert "tls_client_auth" not in metadata["token_endpoint_auth_methods_supported"]
        assert "mtls_endpoint_aliases" not in metadata
        resource = ok(await world.client.get("/.well-known/oauth-protected-resource"))
        assert "tls_client_certificate_bound_access_tokens" not in resource
        client_id = await register(world, token_endpoint_auth_method="tls_client_auth", **{DNS: "job.example"})
        refused(await ask(world, client_id, pem(ISSUED)))
