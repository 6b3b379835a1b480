"""Refreshing one grant again and again: what its next refresh costs, beside the first ones of a grant that is new."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from security.keyring import Keyring
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import open_world

SAMPLE = 500
"""Refreshes of the old grant and of young ones that are compared, in turn: the machine is as fast for both."""

YOUNG = 50
"""Refreshes after which a young grant is replaced by a new one."""


class Cost(NamedTuple):
    """Milliseconds of processor time of one refresh, everything that follows the log counted in."""

    young: float
    old: float

    @property
    def ratio(self) -> float:
        return self.old / self.young


async def refresh(url: str, directory: Path, keyring: Keyring, count: int) -> Cost:
    """Refreshes one grant so often, through the whole server but for its sockets, each with the token before."""
    young = old = 0.0
    async with open_world(url, directory, keyring) as world:
        scene = await set_scene(world)
        answer: Mapping[str, Any] = await scene.redeem(await scene.approved(await scene.signed_in()))
        other = answer
        for _ in range(count):
            answer = await _refreshed(scene, answer)
        for number in range(SAMPLE):
            if number % YOUNG == 0:
                # The consent is remembered.
                browser = await scene.signed_in()
                other = await scene.redeem(await browser.open(scene.address()))
            began = time.process_time()
            answer = await _refreshed(scene, answer)
            between = time.process_time()
            other = await _refreshed(scene, other)
            old, young = old + between - began, young + time.process_time() - between
    return Cost(young / SAMPLE * 1000, old / SAMPLE * 1000)


async def _refreshed(scene: Scene, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    data = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    response = await scene.world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
    response.raise_for_status()
    # Time goes on, so that the access tokens of long ago have expired as they would have.
    scene.world.clock.advance(60)
    found: Mapping[str, Any] = response.json()
    return found
