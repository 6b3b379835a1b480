"""DPoP proofs (RFC 9449 §4) as clients make them, good and bad."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from security.tokens import new_id
from tests.scenarios.world import World

MAKERS: dict[str, Any] = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "PS256": lambda: RSAKey.generate_key(2048),
    "RS256": lambda: RSAKey.generate_key(2048),
}


def encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def token_of(header: dict[str, Any], claims: dict[str, Any] | bytes, key: Any) -> str:
    """A signed token with exactly this header, whatever it says."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(payload)}"
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{signed}.{encoded(algorithm.sign(signed.encode(), key))}"


@dataclass
class Holder:
    """Whoever holds a key."""

    world: World
    algorithm: str = "ES256"
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        self.key = MAKERS[self.algorithm]()

    @cached_property
    def public(self) -> dict[str, Any]:
        return {name: value for name, value in self.key.as_dict(private=False).items() if name != "kid"}

    @cached_property
    def jkt(self) -> str:
        thumbprint: str = self.key.thumbprint()
        return thumbprint

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of a proof; None leaves a member out."""
        given = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.public} | changes
        return {name: value for name, value in given.items() if value is not None}

    def claims(self, path: str, method: str = "POST", token: str | None = None, **changes: Any) -> dict[str, Any]:
        """What a proof for a request says; None leaves a member out."""
        given = {
            "jti": new_id(),
            "htm": method,
            "htu": f"{self.world.settings.issuer}{path}",
            "iat": self.world.clock.now() // 1_000_000,
            "ath": None if token is None else encoded(sha256(token.encode()).digest()),
        } | changes
        return {name: value for name, value in given.items() if value is not None}

    def proof(self, path: str, method: str = "POST", token: str | None = None, **changes: Any) -> str:
        """A proof for a request."""
        return token_of(self.header(), self.claims(path, method, token, **changes), self.key)
