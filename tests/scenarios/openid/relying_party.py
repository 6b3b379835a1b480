"""A client that signs people in by OpenID Connect: what it asks, and the id_token that it gets, verified."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.jwk import KeySet

from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import Client, World

NONCE = "n-0S6_WzA2Mj"


@dataclass(frozen=True)
class OpenId(Scene):
    """The person of the scene, and a shop that may sign them in."""

    async def signed(self, answer: dict[str, Any], algorithm: str = "RS256") -> dict[str, Any]:
        """What the id_token of a token answer says, its signature verified by the published keys."""
        keys = KeySet.import_key_set((await self.world.client.get("/.well-known/jwks.json")).json())
        token = answer["id_token"]
        header = json.loads(urlsafe_b64decode(token.split(".")[0] + "=="))
        assert header.keys() == {"alg", "kid"}
        assert header["alg"] == algorithm
        registry = jws.JWSRegistry(algorithms=[algorithm])
        signed = jws.deserialize_compact(token.encode(), keys, registry=registry)
        claims: dict[str, Any] = json.loads(signed.payload or b"")
        return claims

    async def id_token(self, page: Page, client: Client | None = None) -> dict[str, Any]:
        """The claims that come with the code of a page."""
        answer = await self.redeem(page, client)
        assert "id_token" in answer, answer
        return await self.signed(answer)

    async def allowed(self) -> Browser:
        """A browser whose person is signed in and has allowed the shop to know it."""
        browser = await self.signed_in()
        await self.approved(browser, self.openid())
        return browser

    def openid(self, client: Client | None = None, /, **changes: str | None) -> str:
        """A request for an id_token."""
        return self.address(client, **{"scope": "openid", "nonce": NONCE} | changes)


async def set_openid(world: World, **attributes: Any) -> OpenId:
    """Makes the person and the shop."""
    scene = await set_scene(world)
    scopes = ("openid", "offline_access", "profile", "catalog:read")
    return OpenId(world, scene.person, await world.register_client(scope=scopes, **attributes))


def half(text: str) -> str:
    """The left half of the text's SHA-256 digest."""
    return urlsafe_b64encode(sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()
