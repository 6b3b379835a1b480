"""Answers whose type or status depends on the request are told in the OpenAPI document as they are given."""

import pytest

from tests.scenarios.administration import administering, ok
from tests.scenarios.console.way_in import at_console
from tests.scenarios.dashboards.platform import make_platform
from tests.scenarios.http.endpoints import described
from tests.scenarios.log.test_transparency import followed
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


async def test_files_of_the_console_have_the_documented_types(world: World) -> None:
    browser, _ = await at_console(world, "audit:read", "clients:read")
    await followed(world)
    asked = {
        "/console/audit/export": ("format=jsonl", "format=csv", "format=package", "range=never"),
        "/console/events/{position}/receipt": ("",),
        "/console/lists/{name}": ("format=jsonl", "format=csv"),
        "/console/log/export": ("from=1",),
    }
    for path, queries in asked.items():
        address = path.format(position=1, name="clients")
        answers = [await browser.client.get(f"{address}?{query}") for query in queries]
        given = {each.headers["content-type"].partition(";")[0] for each in answers}
        assert given == set(described()["paths"][path]["get"]["responses"]["200"]["content"]), path
    stream = await browser.client.head("/console/live/stream")
    told = described()["paths"]["/console/live/stream"]["get"]["responses"]["200"]["content"]
    assert [stream.headers["content-type"].partition(";")[0]] == [*told]


async def test_refusal_with_a_body_of_its_own_may_be_another_one(world: World) -> None:
    platform = await make_platform(world)
    told = described()["paths"]["/dashboards/{slug}/login"]["post"]["responses"]["403"]["content"]
    foreign = await platform.client.login(platform.paul, origin="https://elsewhere.example")
    assert (foreign.status_code, foreign.headers["content-type"].partition(";")[0] in told) == (403, True)
    assert "application/json" in told


async def test_the_metadata_answers_options_as_documented(world: World) -> None:
    told = described()["paths"][METADATA]
    answer = await world.client.options(METADATA)
    assert str(answer.status_code) in told["options"]["responses"]
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "200" not in told["options"]["responses"]
    assert ok(await world.client.get(METADATA))["issuer"]
