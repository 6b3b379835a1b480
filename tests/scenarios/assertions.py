"""A client with keys of its own, and what it signs with them: assertions that say what a scenario wants them to."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from commands import clients
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.event import SECOND
from domain.rules import client_assertion, public_key
from domain.rules.client_metadata import ClientKeys
from eventstore import used_ids
from security.tokens import new_id
from tests.scenarios.world import World

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


@cache
def made_key(algorithm: str, name: str = "one") -> Key:
    """A key for an algorithm, the same whenever its name is. To make one of RSA takes a while."""
    says: Any = {"kid": f"{algorithm}-{name}", "use": "sig", "alg": algorithm}
    match algorithm:
        case "ES256":
            return ECKey.generate_key("P-256", says)
        case "EdDSA":
            return OKPKey.generate_key("Ed25519", says)
    return RSAKey.generate_key(2_048, says)


def public(key: Key) -> dict[str, Any]:
    """The key as its owner shows it."""
    return dict(key.as_dict(private=False))


def signed(header: dict[str, Any], claims: Any, key: Key, algorithm: str | None = None) -> str:
    """A token with exactly this header, signed as `algorithm` says or else the header."""
    protected = encoded(json.dumps(header).encode())
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{protected}.{encoded(payload)}"
    registry: Any = jws.JWSRegistry
    with_it = registry.algorithms[algorithm or header["alg"]]
    return f"{text}.{encoded(with_it.sign(text.encode(), key))}"


def encoded(octets: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


@dataclass
class Signer:
    """A client that authenticates by what it signs."""

    world: World
    client_id: str
    algorithm: str = "ES256"
    key: Key = field(default_factory=lambda: made_key("ES256"))
    made: int = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What an assertion says; None leaves a claim out."""
        now = self.now()
        self.made += 1
        usual: dict[str, Any] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.world.settings.issuer,
            "jti": f"jti-{self.made}",
            "iat": now,
            "exp": now + 60,
        }
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def now(self) -> int:
        """The server's time, as assertions tell theirs."""
        return self.world.clock.now() // SECOND

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of an assertion; None leaves a parameter out."""
        usual = {"alg": self.algorithm, "kid": self.key.kid, "typ": "JWT"}
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def assertion(self, **changes: Any) -> str:
        """A good one, but for what is changed of its claims."""
        return signed(self.header(), self.claims(**changes), self.key)

    async def ask(self, assertion: str | None = None, path: str = "/oauth/token", **more: Any) -> httpx.Response:
        """A request for a token of the client's own, or another one; None leaves a parameter out."""
        data: dict[str, Any] = {
            "grant_type": "client_credentials",
            "client_assertion_type": client_assertion.TYPE,
            "client_assertion": self.assertion() if assertion is None else assertion,
        } | more
        given = {name: value for name, value in data.items() if value is not None}
        return await self.world.client.post(path, data=given)


async def register_signer(
    world: World,
    *keys: Key,
    algorithm: str = "ES256",
    grants: tuple[str, ...] = ("client_credentials",),
    scope: tuple[str, ...] = ("orders",),
    **more: Any,
) -> Signer:
    """A client with these keys, or with one for the algorithm, which signs with the first."""
    await world.define_scopes(*scope)
    keys = keys or (made_key(algorithm),)
    client_id = new_id()
    attributes = client.Attributes(
        client_name="Signer",
        grant_types=grants,
        scope=scope,
        token_endpoint_auth_method="private_key_jwt",
        **more,
    )
    held = ClientKeys(jwks=public_key.read([public(key) for key in keys]))
    registration = Registration(attributes=attributes, keys=held)
    await world.execute(clients.register(client_id, registration, issuer=world.settings.issuer, by=operator))
    return Signer(world, client_id, algorithm, keys[0])


def refused(answer: httpx.Response) -> None:
    """Fails unless the client was not authenticated."""
    assert answer.status_code == 401, answer.text
    assert answer.json()["error"] == "invalid_client"


def remembered(connection: Any) -> int:
    """How many identifiers the database keeps, so that none counts again."""
    return len(connection.execute(used_ids.TABLE.select()).all())
