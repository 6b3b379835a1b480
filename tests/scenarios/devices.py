"""A device without a browser, and a person who approves it in theirs (RFC 8628)."""

from dataclasses import dataclass
from typing import Any

import httpx

from domain.grant import DEVICE_CODE
from tests.scenarios.asking import APPROVE
from tests.scenarios.browser import Browser, Page
from tests.scenarios.world import Client, Person, World

DEVICE = "/device"
SIGN_IN, DECISION, SIGN_OUT = "/device/sign-in", "/device/decision", "/device/sign-out"


@dataclass(frozen=True)
class Device:
    """A device that has asked; `told` is what it was answered."""

    world: World
    client: Client
    told: dict[str, Any]

    @property
    def user_code(self) -> str:
        code: str = self.told["user_code"]
        return code

    async def poll(self, client: Client | None = None) -> httpx.Response:
        """Asks the token endpoint."""
        data = {"grant_type": DEVICE_CODE, "device_code": self.told["device_code"]}
        return await posted(self.world, client or self.client, "/oauth/token", data)

    async def asked(self) -> tuple[int, str]:
        """Status and error of one question, after the interval."""
        self.world.clock.advance(5)
        answer = await self.poll()
        return answer.status_code, answer.json().get("error", "")


async def posted(world: World, client: Client, path: str, data: dict[str, str]) -> httpx.Response:
    """A request of a client, public or not."""
    if client.secret is None:
        return await world.client.post(path, data=data | {"client_id": client.client_id})
    return await world.client.post(path, data=data, auth=client.auth)


async def begin(world: World, client: Client, **given: str) -> Device:
    """A device that has just asked."""
    answer = await posted(world, client, "/oauth/device_authorization", given)
    assert answer.status_code == 200, answer.text
    return Device(world, client, answer.json())


async def typed(browser: Browser, code: str) -> Page:
    """What the browser shows after the code was typed."""
    return await browser.press(await browser.open(DEVICE), DEVICE, user_code=code)


async def decided(browser: Browser, device: Device, person: Person, button: tuple[str, str] = APPROVE) -> Page:
    """The whole way of a person: the code, the sign-in if need be, the decision."""
    page = await typed(browser, device.user_code)
    if any(form.action.startswith(SIGN_IN) for form in page.forms):
        page = await browser.press(page, SIGN_IN, **person.typed)
    return await browser.press(page, DECISION, button)
