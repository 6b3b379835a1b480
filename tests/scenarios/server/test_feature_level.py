"""While an older node serves, nothing is written that it would not know; afterwards it serves no more."""

import pytest

from api.server.presence import Presence, TooOld
from api.services import SYSTEM
from domain.event import SECOND
from domain.rules import feature_level
from domain.scope import ScopeChanged, ScopeDefined
from eventstore.database import nodes
from eventstore.execution import Origin
from tests.scenarios.administration import administering, ok
from tests.scenarios.world import World

PATH = "/admin/scopes/shapes:read"


async def test_what_an_older_node_would_not_know_waits_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await administering(world)
    ledger, old = world.services.ledger, "a-node-of-the-release-before"
    ok(await admin.put(PATH, json={"description": "See shapes"}), 201)
    await ledger.maintain(nodes.announce, old, 2, world.clock.now())
    # The next release: another event type, and a member more in one that there is.
    for name in ("FEATURE_LEVEL", "RAISED_BY_SERVERS"):
        monkeypatch.setattr(feature_level, name, 3)
    monkeypatch.setattr(ScopeDefined, "since", 3)
    monkeypatch.setattr(ScopeChanged, "members_since", {"new": 3})
    upgraded = Presence(ledger, Origin(SYSTEM))
    await upgraded.say()
    assert await world.events("server.feature_level_raised") == ()
    before = await world.events()
    for path in ("/admin/scopes/others:read", PATH):
        answer = await admin.put(path, json={"description": "See others"})
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert await world.events() == before

    # The older one has gone, and has not said so.
    world.clock.advance(nodes.GONE_AFTER + SECOND)
    await upgraded.say()
    (raised,) = await world.events("server.feature_level_raised")
    assert (raised.event.level, raised.event.former) == (3, 1)
    admin = await administering(world)
    ok(await admin.put("/admin/scopes/others:read", json={"description": "See others"}), 201)
    await upgraded.say()
    assert len(await world.events("server.feature_level_raised")) == 1

    # It comes back.
    monkeypatch.setattr(feature_level, "FEATURE_LEVEL", 2)
    checks = (await world.operators.get("/health/ready")).json()["checks"]
    assert checks["log"].startswith("the log is at feature level 3, and this version knows 2")
    assert (await admin.put(PATH, json={"description": "See more"})).status_code == 503
    with pytest.raises(TooOld):
        await upgraded.say()
