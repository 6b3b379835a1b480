"""What the scenarios stand on works by itself."""

from pathlib import Path

import pytest

from security.keyring import Keyring
from tests.scenarios import world as lending
from tests.scenarios.world import World, open_world


async def test_a_service_gets_a_token_and_the_log_says_so(world: World) -> None:
    before = await world.head()
    token = await world.token("orders")
    assert token.startswith("glog_at_")
    assert (await world.types_after(before))[-1] == "grant.tokens_issued"


async def test_people_get_their_realms_default_roles(world: World) -> None:
    await world.define_role("platform", "member", "orders", default=True)
    person = await world.register_person()
    (registered,) = await world.events("account.*", stream=f"account:{person.account_id}")
    assert registered.event.roles == ("member",)
    assert person.username not in str(registered)


async def test_routes_are_lent_to_a_server_of_another_name(
    sqlite_url: str, tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "_FREE", {})
    named = []
    for port in (8401, 8402, 8402):
        url, folder = f"{sqlite_url}-{len(named)}", tmp_path / str(len(named))
        Path(url.removeprefix("sqlite:///")).write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
        async with open_world(url, folder, keyring, issuer=f"http://127.0.0.1:{port}") as world:
            assert {(world.settings.body_limit, world.settings.console): []} == lending._FREE
            answer = await world.client.get("/schema/openapi.json")
            named.append(answer.json()["servers"])
    assert named == [[{"url": f"http://127.0.0.1:{port}"}] for port in (8401, 8402, 8402)]
