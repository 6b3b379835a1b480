"""A small past with something of everything in it, for questions of auditors."""

from dataclasses import dataclass
from typing import Any

from commands import clients
from commands.permissions import operator
from domain import account
from security.tokens import Secret
from tests.any_command import any_command
from tests.scenarios.asking import APPROVE, CONSENT, Scene
from tests.scenarios.browser import Browser
from tests.scenarios.world import Client, World


@dataclass
class Past:
    """What a shop and a person did, and the tokens that came of it."""

    scene: Scene
    browser: Browser
    tokens: dict[str, Any]
    code: str

    @property
    def world(self) -> World:
        return self.scene.world

    async def refresh(self, raw: str | None = None) -> dict[str, Any]:
        """The answer to a refresh token, the newest one unless another is given."""
        answer = await self.world.client.post(
            "/oauth/token",
            data={"grant_type": "refresh_token", "refresh_token": raw or self.tokens["refresh_token"]},
            auth=self.scene.shop.auth,
        )
        found: dict[str, Any] = answer.json()
        if answer.status_code == 200:
            self.tokens = found
        return found


async def lived(scene: Scene) -> Past:
    """The person approves, the shop redeems its code, and a minute goes by after each step."""
    browser = await scene.signed_in()
    scene.world.clock.advance(60)
    page = await browser.open(scene.address())
    if page.status == 200:
        page = await browser.press(page, CONSENT, APPROVE)
    tokens = await scene.redeem(page)
    assert "access_token" in tokens, tokens
    scene.world.clock.advance(60)
    return Past(scene, browser, tokens, page.parameters["code"])


async def rotate(world: World, of: Client, **when: int) -> tuple[Secret, str]:
    """A new secret of a client, and the id of its version. `when` is the beginning and the ends, in seconds."""
    secret, new = clients.mint_secret(world.services.format, when.pop("secret_lifetime", None))
    await world.execute(clients.rotate_secret(of.client_id, new, by=operator, **when))
    return secret, new.secret_id


async def disable_client(world: World, of: Client) -> int:
    """The position of the event."""
    return (await world.execute(clients.disable(of.client_id))).recorded[-1].position


async def erase(world: World, account_id: str) -> int:
    """The position of the event."""
    facts = {"leaves_no_administrator": False}
    return (await world.execute(any_command(account.stream(account_id), account.erase, facts))).recorded[-1].position
