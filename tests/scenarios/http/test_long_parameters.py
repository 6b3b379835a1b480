"""Parameters of OAuth requests whose meaning sets no limit of length: they have the one that the document states."""

from typing import Any

import pytest

from api.http.bodies import FREE, LONGEST_FREE
from tests.cases import cases
from tests.scenarios.http.endpoints import described
from tests.scenarios.http.spoiling import resolved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio


@cases("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_parameters_without_their_own_limit_have_the_general_one(world: World, path: str) -> None:
    shop = await world.register_client(grant_types=("client_credentials",))
    properties = resolved(described()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])
    names = [name for name in FREE if name in properties["properties"]]
    good = {"grant_type": "client_credentials", "token": "x"}
    assert names
    for name in names:
        assert properties["properties"][name]["maxLength"] == LONGEST_FREE
        for way in ("data", "json"):
            body: dict[str, Any] = {way: good | {name: "x" * (LONGEST_FREE + 1)}}
            refused = await world.client.post(path, auth=shop.auth, **body)
            assert refused.status_code == 400
            assert refused.json() == {
                "error": "invalid_request",
                "error_description": f"{name}: has more than {LONGEST_FREE} characters",
            }
            body = {way: good | {name: "x" * LONGEST_FREE}}
            taken = await world.client.post(path, auth=shop.auth, **body)
            assert taken.json().get("error") == ("invalid_scope" if name == "scope" else None)
