"""OPTIONS tells which methods a path has (RFC 9110 §9.3.7)."""

import re
from collections import defaultdict

import pytest

from tests.scenarios.http.endpoints import endpoints
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_options_tells_every_method_of_a_path(world: World) -> None:
    offered = defaultdict(set)
    for endpoint in endpoints():
        # Dashboards answer it themselves, and have handlers for the methods that they do not have.
        if not endpoint.path.startswith("/dashboards"):
            offered[endpoint.path].add(endpoint.method)
    assert offered["/admin/clients"] == {"GET", "POST"}
    for path, methods in offered.items():
        answer = await world.client.request("OPTIONS", re.sub(r"{[^}]+}", "1", path))
        told = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        assert (answer.status_code, answer.headers["allow"]) == (204, ", ".join(sorted(told))), path
    # What a path offers is not asked of what it would be given.
    for query in ("limit=5", "colour=red"):
        answer = await world.client.request("OPTIONS", f"/admin/clients?{query}")
        assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
