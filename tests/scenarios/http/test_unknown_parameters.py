"""Query parameters that an endpoint does not have: refused by the JSON API, ignored by OAuth's endpoints and pages."""

import re

import pytest

from tests.scenarios.administration import administering, problem
from tests.scenarios.http.endpoints import endpoints
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


async def test_unknown_query_parameter_is_refused_on_json_endpoints(world: World) -> None:
    """A filter with a typing error in its name would find everything."""
    admin = await administering(world)
    strict = ("/admin", "/audit", "/leaks/in", "/leaks/contain", "/leaks/freeze")
    asked = [each for each in endpoints() if each.path.startswith(strict) and each.method != "HEAD" and each.scope]
    assert len(asked) > 50
    for endpoint in asked:
        path = re.sub(r"{[^}]+}", "1", endpoint.path)
        answer = await admin.request(endpoint.method, path, params={"clinet_id": "x"})
        body = problem(answer, 400, field="clinet_id")
        assert body["errors"][0]["detail"].startswith("is not known here"), endpoint
        problem(await world.client.request(endpoint.method, path, params={"clinet_id": "x"}), 401)


async def test_oauths_endpoints_and_pages_ignore_what_they_do_not_know(world: World) -> None:
    """RFC 6749 §3.1, §3.2."""
    client = await world.register_client("Job", grant_types=("client_credentials",), scope=("orders",))
    given = {"grant_type": "client_credentials"}
    answer = await world.client.post("/oauth/token?unknown=1", data=given, auth=client.auth)
    assert answer.status_code == 200
    for path in ("/.well-known/oauth-authorization-server", "/", "/account", "/log/vkey"):
        assert (await world.client.get(f"{path}?unknown=1")).status_code in (200, 303)


@pytest.mark.parametrize("sent", ["1e1", "1E1", "10.0", "+5", "0x5", "5_0", "007", "\u0665", ""])
async def test_a_whole_number_is_written_in_digits(world: World, sent: str) -> None:
    """`limit` is an integer from 1 to 200, whatever else a reader would take for one."""
    admin = await administering(world, "clients:read", "audit:read")
    for path in ("/admin/clients", "/admin/realms", "/audit/events"):
        problem(await admin.get(path, params={"limit": sent}), 400, field="limit")
        assert (await admin.get(path, params={"limit": "7"})).status_code == 200
