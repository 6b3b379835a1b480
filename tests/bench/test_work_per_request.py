"""What one request may cost on a warm server, counted in statements and transactions: those do not depend on a machine.

A budget is the work of a request that is alone in its batch. With many at once the statements of a batch are shared.
Whoever needs more says so here, in the same change.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from security.keyring import new_master_key, parse_keyring
from security.tokens import Kind, mint
from tests.bench.work import Counter, Work, counting
from tests.scenarios.asking import Scene, set_scene
from tests.scenarios.world import Client, World, open_world

REPEATS = 40
"""Of these the cheapest counts, since the server's own background work may fall into any single one."""

# Lock and read the head; the event, its token, its grant, the use of the secret; move the head.
TOKEN = Work(6, 1)
# The same, and under the lock the grant to which the presented token belongs; one more row, for the second token.
REFRESH = Work(7, 1)
# From the cache, after having asked whether anyone wrote, for which SQLite needs no statement.
INTROSPECTION = Work(0, 0)
# Whether anyone wrote, and the row with all that decides about it.
FIRST_INTROSPECTION = Work(2, 0)
# PostgreSQL tells its listeners of every append.
NOTIFY = 1
# It is asked for the head once, for client authentication and validation alike.
HEADS = 1


@pytest.fixture
async def counted(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, Counter]]:
    with counting(monkeypatch) as counter:
        async with open_world(database_url, tmp_path, parse_keyring(new_master_key())) as world:
            yield world, counter


@pytest.fixture
def asked_heads(database_url: str) -> int:
    """Statements by which a cached answer is known to be true still."""
    return 0 if database_url.startswith("sqlite") else HEADS


@pytest.fixture
def told(database_url: str) -> int:
    """Statements that tell others of an append."""
    return 0 if database_url.startswith("sqlite") else NOTIFY


async def cheapest(counter: Counter, request: Callable[[], Awaitable[None]]) -> Work:
    """The work of a request after the first one has warmed the caches."""
    await request()
    found = []
    for _ in range(REPEATS):
        counter.taken()
        await request()
        found.append(counter.taken())
    return min(found)


async def service_of(world: World) -> Client:
    return await world.register_client("Service", grant_types=("client_credentials",), scope=("catalog:read",))


async def token_of(world: World, service: Client) -> str:
    answer = await world.client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=service.auth)
    assert answer.status_code == 200
    token: str = answer.json()["access_token"]
    return token


async def introspect(world: World, service: Client, token: str) -> None:
    answer = await world.client.post("/oauth/introspect", data={"token": token}, auth=service.auth)
    assert answer.json()["active"] is True


async def test_a_token_is_one_transaction(counted: tuple[World, Counter], told: int) -> None:
    world, counter = counted
    service = await service_of(world)

    async def request() -> None:
        await token_of(world, service)

    work = await cheapest(counter, request)
    assert work <= Work(TOKEN.statements + told, TOKEN.commits)
    assert work.commits == 1


async def test_a_known_token_costs_no_row(counted: tuple[World, Counter], asked_heads: int) -> None:
    world, counter = counted
    service = await service_of(world)
    token = await token_of(world, service)

    async def request() -> None:
        await introspect(world, service, token)

    work = await cheapest(counter, request)
    assert work <= Work(INTROSPECTION.statements + asked_heads, INTROSPECTION.commits)


async def test_a_token_is_looked_up_in_one_query(counted: tuple[World, Counter], asked_heads: int) -> None:
    world, counter = counted
    service = await service_of(world)
    tokens = [await token_of(world, service) for _ in range(REPEATS + 1)]

    async def request() -> None:
        await introspect(world, service, tokens.pop())

    work = await cheapest(counter, request)
    assert work <= Work(FIRST_INTROSPECTION.statements + asked_heads, FIRST_INTROSPECTION.commits)


async def test_a_token_that_was_never_issued_is_looked_up_once(
    counted: tuple[World, Counter], asked_heads: int
) -> None:
    world, counter = counted
    service = await service_of(world)
    token = mint(Kind.ACCESS_TOKEN).reveal()

    async def request() -> None:
        answer = await world.client.post("/oauth/introspect", data={"token": token}, auth=service.auth)
        assert answer.json() == {"active": False}

    work = await cheapest(counter, request)
    assert work <= Work(INTROSPECTION.statements + asked_heads, INTROSPECTION.commits)


async def test_userinfo_costs_no_row(counted: tuple[World, Counter], asked_heads: int) -> None:
    world, counter = counted
    scene: Scene = await set_scene(world)
    issued = await scene.redeem(await scene.approved(await scene.signed_in(), scene.address()))
    headers = {"authorization": f"Bearer {issued['access_token']}"}

    async def request() -> None:
        answer = await world.client.get("/oauth/userinfo", headers=headers)
        assert answer.status_code == 200

    work = await cheapest(counter, request)
    assert work <= Work(INTROSPECTION.statements + asked_heads, INTROSPECTION.commits)


async def test_a_refresh_is_one_transaction(counted: tuple[World, Counter], told: int) -> None:
    world, counter = counted
    scene: Scene = await set_scene(world)
    issued = await scene.redeem(await scene.approved(await scene.signed_in()))
    tokens = [issued["refresh_token"]]

    async def request() -> None:
        data = {"grant_type": "refresh_token", "refresh_token": tokens.pop()}
        answer = await world.client.post("/oauth/token", data=data, auth=scene.shop.auth)
        tokens.append(answer.json()["refresh_token"])

    work = await cheapest(counter, request)
    assert work <= Work(REFRESH.statements + told, REFRESH.commits)
    assert work.commits == 1
