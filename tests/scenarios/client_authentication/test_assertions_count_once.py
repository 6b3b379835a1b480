"""An assertion by which a client authenticates counts once, on all servers together, and for as long as it is good."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from domain.rules import client_assertion
from eventstore import used_ids
from security.keyring import Keyring
from tests.scenarios.administration import ok
from tests.scenarios.assertions import Signer, refused, register_signer, remembered
from tests.scenarios.world import World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings_given() -> dict[str, Any]:
    return {"throttle": False}


async def test_an_assertion_is_used_once(world: World) -> None:
    signer, other = await register_signer(world), await register_signer(world)
    first = signer.assertion(jti="the same")
    ok(await signer.ask(first))
    refused(await signer.ask(first))
    refused(await signer.ask(signer.assertion(jti="the same", exp=signer.now() + 90)))
    ok(await other.ask(other.assertion(jti="the same")))


async def test_it_is_remembered_for_as_long_as_it_is_good(world: World) -> None:
    signer = await register_signer(world)
    first = signer.assertion(exp=signer.now() + 600)
    ok(await signer.ask(first))
    world.clock.advance(600 + client_assertion.SKEW - 1)
    prune = used_ids.prune
    assert await world.services.ledger.maintain(prune, world.clock.now(), 100) == 0
    refused(await signer.ask(first))
    world.clock.advance(3)
    assert await world.services.ledger.maintain(prune, world.clock.now(), 100) == 1
    refused(await signer.ask(first))
    assert await world.services.ledger.read(remembered) == 0


async def test_two_servers_take_it_once(database_url: str, tmp_path: Path, keyring: Keyring) -> None:
    async with (
        open_world(database_url, tmp_path / "one", keyring) as one,
        open_world(database_url, tmp_path / "other", keyring, one.clock) as other,
    ):
        signer = await register_signer(one)
        there = Signer(other, signer.client_id)
        for number in range(5):
            assertion = signer.assertion(jti=f"for both {number}")
            answers = await asyncio.gather(*(each.ask(assertion) for each in (signer, there, signer, there)))
            assert sorted(each.status_code for each in answers) == [200, 401, 401, 401]


class TestFull:
    """A client that lets its assertions live for long gets no further than its own bound."""

    @pytest.fixture
    def settings_given(self) -> dict[str, Any]:
        return {"client_ids_kept": 10}

    async def test_it_waits_and_nobody_else_does(self, world: World) -> None:
        signer, other = await register_signer(world), await register_signer(world)
        first = signer.assertion()
        ok(await signer.ask(first))
        for _ in range(9):
            ok(await signer.ask(signer.assertion(exp=signer.now() + 600)))
        answer = await signer.ask()
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        refused(await signer.ask(first))
        ok(await other.ask())
        # What is over makes room, before anybody has swept.
        world.clock.advance(60 + client_assertion.SKEW + 2)
        ok(await signer.ask())
        assert (await signer.ask()).status_code == 429
