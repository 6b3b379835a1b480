"""A third party that asks a person for access, the way RFC 6749 §4.1 and RFC 7636 describe it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from domain.rules import pkce
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import Client, Person, World

AUTHORIZE = "/oauth/authorize"
SIGN_IN = "/oauth/authorize/sign-in"
CONSENT = "/oauth/authorize/consent"
SIGN_OUT = "/oauth/authorize/sign-out"
APPROVE = ("decision", "approve")
DENY = ("decision", "deny")

VERIFIER = "a-verifier-of-at-least-forty-three-characters"
CHALLENGE = pkce.transform(VERIFIER)
STATE = "af0ifjsldkj"


@dataclass(frozen=True)
class Scene:
    """One person of the platform, who may have `orders` and `catalog:read`, and one shop that asks for both."""

    world: World
    person: Person
    shop: Client

    def address(self, client: Client | None = None, /, **changes: str | None) -> str:
        """The authorization request of the shop or another client; None leaves a parameter out."""
        asking = client or self.shop
        parameters: dict[str, Any] = {
            "response_type": "code",
            "client_id": asking.client_id,
            "redirect_uri": asking.redirect_uri,
            "state": STATE,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        given = {name: value for name, value in parameters.items() if value is not None}
        return f"{AUTHORIZE}?{urlencode(given)}"

    async def signed_in(self, person: Person | None = None) -> Browser:
        """A browser in which the person is signed in, by the account pages."""
        who, browser = person or self.person, self.world.browser()
        page = await browser.open(f"/account/sign-in?realm={who.realm}")
        page = await browser.press(page, "/account/sign-in", username=who.username, password=who.password)
        assert page.status == 200, page.text
        return browser

    async def approved(self, browser: Browser, address: str | None = None) -> Page:
        """What the browser is sent away with after an approval."""
        page = await browser.open(address or self.address())
        return await browser.press(page, CONSENT, APPROVE)

    async def redeem(self, page: Page, client: Client | None = None) -> dict[str, Any]:
        """The token answer for the code of a response."""
        asking = client or self.shop
        data = {
            "grant_type": "authorization_code",
            "code": page.parameters["code"],
            "redirect_uri": asking.redirect_uri,
            "code_verifier": VERIFIER,
        }
        if asking.secret is None:
            answer = await self.world.client.post("/oauth/token", data=data | {"client_id": asking.client_id})
        else:
            answer = await self.world.client.post("/oauth/token", data=data, auth=asking.auth)
        found: dict[str, Any] = answer.json()
        return found


def error_of(page: Page) -> tuple[str | None, str | None]:
    """The error that an application is told, and the state that comes back with it."""
    return page.parameters.get("error"), page.parameters.get("state")


async def set_scene(world: World) -> Scene:
    """Makes the person and the shop."""
    await world.define_role("platform", "member", "orders", "catalog:read", default=True)
    return Scene(world, await world.register_person(), await world.register_client())
