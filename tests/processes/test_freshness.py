"""A token that was revoked is refused by the very next request, whichever process gets it."""

import pytest

from domain import client, client_secret
from tests import plain_http
from tests.any_command import any_command
from tests.processes.conftest import Start
from tests.scenarios.world import World

CYCLES = 100


async def test_no_worker_accepts_a_token_after_its_acknowledged_end(world: World, start: Start) -> None:
    first, second = await start(), await start()
    owner = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    async with (
        plain_http.caller(first.base, auth=owner.auth) as one,
        plain_http.caller(second.base, auth=owner.auth) as other,
    ):
        for turn in range(CYCLES):
            issuing, using = (one, other) if turn % 2 else (other, one)
            issued = await issuing.post("/oauth/token", data={"grant_type": "client_credentials"})
            token = issued.json()["access_token"]
            assert (await using.post("/oauth/introspect", data={"token": token})).json()["active"] is True
            assert (await issuing.post("/oauth/revoke", data={"token": token})).status_code == 200
            assert (await using.post("/oauth/introspect", data={"token": token})).json() == {"active": False}


@pytest.mark.parametrize("verb", [client.disable, client.delete])
async def test_a_disabled_clients_tokens_are_dead_everywhere_at_once(world: World, start: Start, verb: object) -> None:
    served = await start()
    owner = await world.register_client(grant_types=("client_credentials",), scope=("orders",))
    viewer = await world.register_client(grant_types=("client_credentials",), scope=("introspect",))
    async with plain_http.caller(served.base) as caller:
        issued = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=owner.auth)
        token = issued.json()["access_token"]
        seen = await caller.post("/oauth/introspect", data={"token": token}, auth=viewer.auth)
        assert seen.json()["active"] is True
        await world.execute(any_command(client.stream(owner.client_id), verb))  # type: ignore[arg-type]
        seen = await caller.post("/oauth/introspect", data={"token": token}, auth=viewer.auth)
        assert seen.json() == {"active": False}
        refused = await caller.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=owner.auth)
        assert refused.status_code == 401


@pytest.mark.parametrize(
    "form", [{"grant_type": "client_credentials"}, {"grant_type": "refresh_token", "refresh_token": "unknown"}]
)
async def test_secret_ended_elsewhere_issues_nothing_and_use_is_a_fact(
    world: World, start: Start, form: dict[str, str]
) -> None:
    """The process remembers that the secret was right, and has heard nothing since."""
    served = await start()
    owner = await world.register_client(grant_types=("client_credentials", "refresh_token"), scope=("orders",))
    stream = client.stream(owner.client_id)
    (version,) = (await world.services.ledger.state(stream)).secrets
    async with plain_http.caller(served.base, auth=owner.auth) as caller:
        kept = await caller.post("/oauth/token", data={"grant_type": "client_credentials"})
        assert kept.status_code == 200
        await world.execute(any_command(stream, client_secret.revoke, {"secret_id": version.secret_id}))
        refused = await caller.post("/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    used = [each.event for each in await world.events() if isinstance(each.event, client_secret.SecretExpiredUsed)]
    assert [(each.secret_id, each.via) for each in used] == [(version.secret_id, "token")]
