"""Whatever a request may hold has a limit that the OpenAPI document states, and that the server keeps."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.http.parameters import LONGEST_ID
from domain.rules.built_in_scope import ACCOUNT
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.http.endpoints import Endpoint, described, endpoints
from tests.scenarios.http.spoiling import resolved
from tests.scenarios.world import World

pytestmark = pytest.mark.anyio

DOCUMENTED = [each for each in endpoints() if each.operation is not None]
TEXT_BOUNDS = ("maxLength", "enum", "const")
CHOICES = ("anyOf", "oneOf", "allOf")


def unbounded(schema: dict[str, Any], where: str, around: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where a schema without references lets a text or a list of any length in.

    `around` names the limits of the schemas of which this one is a choice: they hold for it too.
    """
    bounds = around | schema.keys()
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    choices = [choice for word in CHOICES for choice in schema.get(word, ())]
    told = not choices and bounds.isdisjoint({"enum", "const"})
    if told and kind is None:
        yield f"{where}: anything"
    if "string" in kinds and bounds.isdisjoint(TEXT_BOUNDS) and schema.get("format") != "date-time":
        yield f"{where}: a string"
    if "array" in kinds:
        if "maxItems" not in bounds:
            yield f"{where}: a list"
        yield from unbounded(schema.get("items", {}), f"{where}[]")
    for choice in choices:
        yield from unbounded(choice, where, bounds & {*TEXT_BOUNDS, "maxItems"})
    for name, member in schema.get("properties", {}).items():
        yield from unbounded(member, f"{where}.{name}")
    if isinstance(others := schema.get("additionalProperties"), dict):
        yield from unbounded(others, f"{where}.*")


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "string"}, ["x: a string"]),
        ({"type": ["string", "null"]}, ["x: a string"]),
        ({"type": "string", "maxLength": 5}, []),
        ({"type": "string", "format": "date-time"}, []),
        ({"enum": ["a"]}, []),
        ({}, ["x: anything"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["x: a string"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "maxLength": 5}, []),
        ({"type": "array", "items": {"type": "string"}}, ["x: a list", "x[]: a string"]),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 5, "maxLength": 5}, ["x[]: a string"]),
        ({"type": "array", "maxItems": 5}, ["x[]: anything"]),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, ["x.a: a string"]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, ["x.*: a string"]),
    ],
)
def test_nothing_without_a_limit_is_overlooked(schema: dict[str, Any], found: list[str]) -> None:
    assert list(unbounded(schema, "x")) == found


@pytest.mark.parametrize("endpoint", DOCUMENTED, ids=str)
def test_everything_in_a_request_has_a_limit(endpoint: Endpoint) -> None:
    operation = endpoint.operation or {}
    given = [(f"{each['in']} {each['name']}", each["schema"]) for each in operation.get("parameters", ())]
    given += [(media_type, content["schema"]) for media_type, content in endpoint.bodies.items()]
    assert [fault for where, schema in given for fault in unbounded(resolved(schema), where)] == []


IN_PATH = [
    (each, parameter["name"])
    for each in DOCUMENTED
    for parameter in (each.operation or {}).get("parameters", ())
    if parameter["in"] == "path" and parameter["schema"].get("maxLength") == LONGEST_ID and each.answers == "problem"
    if parameter["name"].endswith("_id") and each.scope != ACCOUNT
]


async def test_an_id_that_is_longer_than_stated_is_refused_by_its_name(world: World) -> None:
    admin = await administering(world)
    assert len(IN_PATH) > 20
    for endpoint, name in IN_PATH:
        others = {
            each: "x"
            for each in (*("client_id", "secret_id", "account_id", "grant_id", "incident_id", "session_id"), "upstream")
        }
        body = {"json": next(iter(endpoint.bodies.values()))["example"]} if endpoint.bodies else {}
        for length, status in ((LONGEST_ID, 404), (LONGEST_ID + 1, 400)):
            address = endpoint.path.format(**others | {name: "x" * length})
            answer = await admin.request(endpoint.method, address, **body)
            problem(answer, status, field=name if status == 400 else None)


async def test_types_of_events_are_as_many_and_as_long_as_stated(world: World) -> None:
    reading = await administering(world, "audit:read")
    parameters = described()["paths"]["/audit/events"]["get"]["parameters"]
    (stated,) = [each["schema"] for each in parameters if each["name"] == "type"]
    most, longest = stated["maxItems"], stated["items"]["maxLength"]
    for types in (["grant.ended"] * most, ["x." + "x" * (longest - 2)]):
        ok(await reading.get("/audit/events", params={"type": types}))
    for types in (["grant.ended"] * (most + 1), ["x." + "x" * (longest - 1)]):
        problem(await reading.get("/audit/events", params={"type": types}), 400, field="type")
