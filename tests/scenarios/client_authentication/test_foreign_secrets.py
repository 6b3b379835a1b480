"""Clients whose secret another system hashed: the first time it is shown it becomes a version, found by its SHA-256."""

import asyncio
from hashlib import sha256

import bcrypt
import pytest

from commands import clients
from commands.incidents import end_secrets
from commands.permissions import operator
from domain import client
from domain.client import Registration
from domain.registering.foreign_secret import LEAST
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

SECRET = "p" * 20 + "Q" * 20
ASKED = {"grant_type": "client_credentials"}


async def moved_in(world: World, client_id: str = "7", secret: str = SECRET) -> str:
    """A client that another system knew, with the hash of its secret."""
    await world.define_scopes("orders")
    registration = Registration(
        attributes=client.Attributes(
            client_name="Shop",
            grant_types=("client_credentials",),
            scope=("orders",),
            token_endpoint_auth_method="client_secret_basic",
        ),
        foreign_secret=bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode(),
    )
    await world.execute(clients.register(client_id, registration, issuer=world.settings.issuer, by=operator))
    return client_id


async def token(world: World, client_id: str, secret: str) -> int:
    return (await world.client.post("/oauth/token", data=ASKED, auth=(client_id, secret))).status_code


async def test_the_first_use_makes_a_version_of_it(world: World) -> None:
    shop, after = await moved_in(world), await world.head()
    assert await token(world, shop, "q" * 40) == 401
    assert await token(world, shop, SECRET) == 200
    assert await token(world, shop, SECRET) == 200
    issued, ended = [each for each in await world.events("client.*", after=after) if "secret" in each.type]
    assert (issued.type, ended.type) == ("client.secret_issued", "client.foreign_secret_ended")
    assert (issued.event.foreign, issued.event.sha256) == (True, sha256(SECRET.encode()).hexdigest())
    assert issued.actor.id == shop
    state = await world.services.ledger.state(client.stream(shop))
    assert state.foreign_secret is None
    assert await token(world, shop, "q" * 40) == 401


async def test_event_holds_the_hash_sealed(world: World) -> None:
    await moved_in(world)
    (known,) = await world.events("client.foreign_secret_imported")
    assert "$2b$" not in known.event.secret_hash


async def test_simultaneous_first_uses_make_one_version(world: World) -> None:
    shop = await moved_in(world)
    assert await asyncio.gather(*(token(world, shop, SECRET) for _ in range(5))) == [200] * 5
    assert len(await world.events("client.secret_issued", stream=client.stream(shop))) == 1


async def test_secret_whose_digest_could_be_guessed_is_none(world: World) -> None:
    shop = await moved_in(world, secret="p" * (LEAST - 1))
    assert await token(world, shop, "p" * (LEAST - 1)) == 401
    assert await world.events("client.secret_issued", stream=client.stream(shop)) == ()


async def test_secret_that_another_client_has_is_none_of_this_ones(world: World) -> None:
    one, other = await moved_in(world), await moved_in(world, "8")
    assert await token(world, one, SECRET) == 200
    assert await token(world, other, SECRET) == 401


async def test_whoever_may_do_nothing_gets_nothing_for_it(world: World) -> None:
    shop = await moved_in(world)
    await world.execute(clients.disable(shop))
    assert await token(world, shop, SECRET) == 401


@pytest.mark.parametrize("end", ["rotation", "containment"])
async def test_what_ends_the_secrets_ends_one_that_was_not_shown(world: World, end: str) -> None:
    shop = await moved_in(world)
    if end == "rotation":
        _, new = clients.mint_secret(world.services.format)
        await world.execute(clients.rotate_secret(shop, new, others_expire_in=60, by=operator))
    else:
        await world.execute(end_secrets(shop))
    assert await token(world, shop, SECRET) == 401
    assert len(await world.events("client.foreign_secret_ended")) == 1


async def test_rotation_that_keeps_the_others_keeps_it(world: World) -> None:
    shop = await moved_in(world)
    secret, new = clients.mint_secret(world.services.format)
    await world.execute(clients.rotate_secret(shop, new, by=operator))
    assert await token(world, shop, secret.reveal()) == 200
    assert await token(world, shop, SECRET) == 200
    state = await world.services.ledger.state(client.stream(shop))
    assert [version.version for version in state.secrets] == [1, 2]


async def test_leak_of_it_is_found_by_its_digest(world: World) -> None:
    shop = await moved_in(world)
    assert await token(world, shop, SECRET) == 200
    caller = await world.token("leaks:read")
    answer = await world.client.post(
        "/leaks/investigate",
        json={"sha256": sha256(SECRET.encode()).hexdigest()},
        headers={"authorization": f"Bearer {caller}"},
    )
    assert (answer.status_code, answer.json()["kind"]) == (200, "client_secret"), answer.text
