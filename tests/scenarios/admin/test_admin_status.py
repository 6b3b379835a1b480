"""How the server does, and its settings, for those who look after it by the API."""

import pytest

from api.config.settings import shown
from api.services import running_version
from projections import outbox
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_status_tells_what_is_behind_and_what_signs(world: World) -> None:
    asking = await administering(world, "keys:read")
    found = ok(await asking.get("/admin/status"))
    assert (found["issuer"], found["version"]) == (world.settings.issuer, running_version())
    assert set(found["checks"].values()) == {"ok"}
    assert found["position"] == await world.head()
    assert set(found["lag"]) == {"event_index", "sightings", "event_counts", "log_tree"}
    assert found["lag"]["event_index"] <= found["position"]
    assert {each["alg"] for each in found["keys"] if each["state"] == "active"} >= {"RS256", "ES256"}
    assert found["outbox"] == {"undistributed": 0, "destinations": []}
    assert found["witnesses"] == {"configured": [], "quorum": 1}


async def test_what_is_to_be_told_stands_in_the_status(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server itself would distribute it in a moment.
    monkeypatch.setattr(outbox, "is_waiting", lambda _: False)
    asking, admin = await administering(world, "keys:read"), await administering(world)
    ok(await admin.post("/leaks/freeze"))
    found = ok(await asking.get("/admin/status"))
    assert found["outbox"]["undistributed"] == 1


async def test_settings_are_shown_and_no_secret_is(world: World) -> None:
    asking = await administering(world, "keys:read")
    answer = await asking.get("/admin/settings")
    found = {each["name"]: each for each in ok(answer)["items"]}
    assert list(found) == [each.name for each in shown(world.settings)]
    lifetime = found["access_token_lifetime"]
    assert lifetime["value"] == str(world.settings.access_token_lifetime)
    assert lifetime["variable"] == "GRANTLOG_ACCESS_TOKEN_LIFETIME"
    assert lifetime["meaning"]
    assert lifetime["is_default"] is (lifetime["value"] == lifetime["default"])
    assert not found["data_dir"]["is_default"]
    assert not [each for each in found.values() if "`" in each["meaning"] + each["default"] or "](" in each["meaning"]]
    for each in shown(world.settings):
        if each.secret:
            assert found[each.name]["value"] in ("", "set"), each.name


@pytest.mark.parametrize("path", ["/admin/status", "/admin/settings"])
async def test_both_need_the_scope_to_read_keys(world: World, path: str) -> None:
    problem(await (await administering(world, "clients:read")).get(path), 403)
    problem(await world.client.get(path), 401)
