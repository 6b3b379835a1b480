"""A running server tells what happens in it by itself, and neither its outbox nor its log holds a secret."""

import asyncio
import json
from pathlib import Path

import pytest

from api.notifications.delivering import LEASE, Notifier
from domain.event import SECOND
from security.clock import ManualClock
from security.keyring import Keyring
from tests.api.notifications.receiver import SECRET, Receiver
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.secrecy import traces
from tests.scenarios.world import open_world

pytestmark = pytest.mark.anyio


async def told(receiver: Receiver, count: int) -> None:
    """Returns once it has taken so many."""
    async with asyncio.timeout(30):
        while len(receiver.taken) < count:
            await asyncio.sleep(0)


async def replay(scene: Scene) -> list[str]:
    """A code that is presented twice, and a refresh token too; every secret that took part."""
    browser = await scene.signed_in()
    answer = await scene.approved(browser)
    first = await scene.redeem(answer)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = (await scene.world.client.post("/oauth/token", data=form, auth=scene.shop.auth)).json()
    await scene.world.client.post("/oauth/token", data=form, auth=scene.shop.auth)
    # They have consented already, and are sent back at once.
    again = await browser.open(scene.address())
    third = await scene.redeem(again)
    assert "error" in await scene.redeem(again)
    tokens = [each[name] for each in (first, second, third) for name in ("access_token", "refresh_token")]
    return [*tokens, answer.parameters["code"], again.parameters["code"], str(scene.shop.secret)]


async def test_replay_is_sent_and_a_new_server_sends_what_was_left(
    database_url: str, tmp_path: Path, keyring: Keyring, clock: ManualClock, receiver: Receiver, secret_file: Path
) -> None:
    webhooks = json.dumps([{"url": receiver.url, "secret_file": str(secret_file), "name": "pager"}])
    given = {"webhooks": webhooks, "allow_private_urls": True}
    receiver.stop()
    async with open_world(database_url, tmp_path, keyring, clock, **given) as world:
        secrets = await replay(await set_scene(world))
        # Whatever the server itself has done by now: after this the receiver has been called in vain.
        notifier = Notifier(world.services.ledger, world.settings)
        await notifier.distribute()
        await notifier.deliver("pager")
    receiver.start()
    clock.advance(LEASE // SECOND + 10)
    async with open_world(database_url, tmp_path, keyring, clock, **given):
        await told(receiver, 2)
    assert sorted({each["type"] for each in receiver.taken}) == ["grant.code_replayed", "grant.refresh_replayed"]
    assert receiver.forged == 0
    everything = [("webhooks", json.dumps([receiver.taken, receiver.requests]).encode())]
    everything += traces.database(database_url)
    for name, held in everything:
        for secret in (*secrets, SECRET):
            assert traces.holds(held, secret) is None, name
