"""Refreshing one grant again and again: what the last refreshes cost, beside the first ones."""

import time
from pathlib import Path
from typing import NamedTuple

from security.keyring import Keyring
from tests.scenarios.asking import set_scene
from tests.scenarios.world import open_world

SAMPLE = 500
"""Refreshes at the beginning and at the end that are compared."""

WARM = 200
"""Refreshes before the first that count: the caches of a server that has just started are empty."""


class Cost(NamedTuple):
    """Milliseconds of processor time of one refresh, everything that follows the log counted in."""

    first: float
    last: float

    @property
    def ratio(self) -> float:
        return self.last / self.first


async def refresh(url: str, directory: Path, keyring: Keyring, count: int) -> Cost:
    """Refreshes one grant so often, through the whole server but for its sockets, each with the token before."""
    spent = []
    async with open_world(url, directory, keyring) as world:
        scene = await set_scene(world)
        answer = await scene.redeem(await scene.approved(await scene.signed_in()))
        for number in range(WARM + count):
            if (number - WARM) % SAMPLE == 0:
                spent.append(time.process_time())
            data = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
            response = await world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
            response.raise_for_status()
            answer = response.json()
            # Time goes on, so that the access tokens of long ago have expired as they would have.
            world.clock.advance(60)
        spent.append(time.process_time())
    each = [(after - before) / SAMPLE * 1000 for before, after in zip(spent, spent[1:], strict=False)]
    return Cost(each[0], each[-1])
