"""`GET /me`: a token's holder learns who it stands for and what it may; a third party does not."""

import pytest

from domain.event import SECOND
from domain.session import ACR
from security.clock import format_rfc3339
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.asking import Scene
from tests.scenarios.dashboards.platform import make_dashboard
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_person_is_told_what_they_are(scene: Scene) -> None:
    world, person = scene.world, scene.person
    board = await make_dashboard(world, "board", realm="platform", scope=("orders", "account"))
    caller, began = world.caller(), world.clock.now()
    token, _ = await board.sign_in(person, by=caller)
    world.clock.advance(30)
    caller.headers["authorization"] = f"Bearer {token}"
    before = await world.head()
    told = ok(await caller.get("/me"))
    *_, given = await world.events("grant.tokens_issued")
    (role,) = await world.events("role.defined")
    assert told == {
        "kind": "person",
        "id": person.account_id,
        "username": person.username,
        "realm": "platform",
        "roles": [role.event.name],
        "client_id": board.client_id,
        "client_name": "The board dashboard",
        "grant_id": given.stream.partition(":")[2],
        "scope": "account orders",
        "expires_at": format_rfc3339(began + world.settings.access_token_lifetime * SECOND),
        "acr": ACR,
        "auth_time": began // SECOND,
    }
    assert await world.head() == before


async def test_client_that_acts_for_itself_is_told_so(world: World) -> None:
    asking = await administering(world, "audit:read")
    told = ok(await asking.get("/me"))
    assert (told["kind"], told["id"], told["scope"]) == ("client", told["client_id"], "audit:read")
    assert (told["username"], told["roles"], told["acr"], told["auth_time"]) == (None, [], None, None)
    problem(await asking.get("/me", params={"x": "1"}), 400, field="x")


async def test_third_party_learns_nothing_of_whom_it_acts_for(scene: Scene) -> None:
    """Neither their id, which it may know by another, nor their names, which no scope gave it."""
    page = await scene.approved(await scene.signed_in())
    token = (await scene.redeem(page))["access_token"]
    answer = await scene.world.client.get("/me", headers={"authorization": f"Bearer {token}"})
    problem(answer, 403)
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="account"'
    problem(await scene.world.client.get("/me", headers={"accept": "text/html"}), 401)
