"""What a process remembers of its own appends, for the read models that follow, is what the log holds."""

import pytest

from eventstore import search
from tests.scenarios.asking import Scene
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_it_is_what_the_log_holds(world: World, scene: Scene) -> None:
    ledger = world.services.ledger
    before = (await ledger.head())[0]
    issued = await scene.redeem(await scene.approved(await scene.signed_in()))
    data = {"grant_type": "refresh_token", "refresh_token": issued["refresh_token"]}
    for _ in range(2):
        # The second is a replay, which ends the grant.
        await world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
    head = (await ledger.head())[0]
    stored = await ledger.read(search.recorded_forms, range(before + 1, head + 1))
    assert {each.type for each in stored} >= {"grant.tokens_refreshed", "grant.refresh_replayed", "grant.ended"}
    assert ledger.recent.between(before, head) == stored
