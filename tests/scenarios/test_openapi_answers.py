"""Answers whose type or status depends on the request are told in the OpenAPI document as they are given."""

import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.endpoints import described
from tests.scenarios.test_transparency import followed
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"


async def test_an_export_has_the_documented_types_and_no_others(world: World) -> None:
    asking = await administering(world, "audit:read")
    await followed(world)
    formats = ("format=jsonl", "format=csv", "format=cloudevents", "format=ocsf", "proof=1")
    answers = [await asking.get(f"/audit/export?{each}") for each in formats]
    assert {each.status_code for each in answers} == {200}
    given = {each.headers["content-type"].partition(";")[0] for each in answers}
    assert given == set(described()["paths"]["/audit/export"]["get"]["responses"]["200"]["content"])


async def test_the_metadata_answers_options_as_documented(world: World) -> None:
    told = described()["paths"][METADATA]
    answer = await world.client.options(METADATA)
    assert str(answer.status_code) in told["options"]["responses"]
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "200" not in told["options"]["responses"]
    assert ok(await world.client.get(METADATA))["issuer"]
