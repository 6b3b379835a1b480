"""The OpenAPI document tells of every administrative route what the server does."""

from litestar.routes import HTTPRoute

from tests.scenarios.administration import ok
from tests.scenarios.world import World


async def test_every_admin_route_is_documented_with_scope_and_answers(world: World) -> None:
    document = ok(await world.client.get("/schema/openapi.json"))
    told = 0
    for route in world.app.app.routes:  # type: ignore[attr-defined]
        if not isinstance(route, HTTPRoute) or not route.path.startswith("/admin"):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if method == "OPTIONS":
                continue
            operation = document["paths"][route.path_format][method.lower()]
            assert operation["security"] == [{"bearer": [handler.opt["scope"]]}]
            assert operation["summary"]
            assert operation["description"]
            parameters = operation.get("parameters", [])
            headers = [given["name"] for given in parameters if given["in"] == "header"]
            assert ("Idempotency-Key" in headers) == (method != "GET")
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    assert ("content" in answer) == (status != "204"), (method, route.path, status)
            if "requestBody" in operation:
                assert all("example" in content for content in operation["requestBody"]["content"].values())
            told += 1
    assert told > 25
