"""JSON Schema as authorization details have it: which schemas can be checked, what fits them, and at what cost."""

from collections.abc import Iterator
from typing import Any

import pytest

from domain.rules.json_schema import DEPTH, KEYWORDS, fits, problem


def nested(depth: int) -> Any:
    return {} if depth == 0 else {"items": nested(depth - 1)}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": "object"},
        {"type": ["string", "null"]},
        {"title": "A", "description": "b", "$schema": "c", "default": 1, "examples": [], "format": "d"},
        {"properties": {"a": {"enum": [1]}, "b": False}, "required": ["a"], "additionalProperties": False},
        {"minLength": 0, "maxLength": 9, "minItems": 0, "maxItems": 9, "minimum": -1.5, "maximum": 2},
        nested(DEPTH),
    ],
)
def test_what_can_be_checked(schema: Any) -> None:
    assert problem(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        None,
        7,
        [],
        {"pattern": "a*"},
        {"$ref": "#"},
        {"type": "text"},
        {"type": 7},
        {"type": ["string", 7]},
        {"type": [[]]},
        {"required": "a"},
        {"required": [7]},
        {"enum": "a"},
        {"minLength": -1},
        {"maxItems": "1"},
        {"maxLength": True},
        {"minimum": "1"},
        {"maximum": True},
        {"properties": []},
        {"properties": {"a": {"pattern": ""}}},
        {"items": {"type": "text"}},
        {"additionalProperties": []},
        nested(DEPTH + 1),
    ],
)
def test_what_cannot(schema: Any) -> None:
    assert isinstance(problem(schema), str)


def test_a_regular_expression_is_nobodys_to_give() -> None:
    assert KEYWORDS.isdisjoint(("pattern", "patternProperties", "$ref", "$dynamicRef"))


INNER = {"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (True, [1, None, {}], []),
        (False, [], [1, None, {}]),
        ({"type": "object"}, [{}], [[], "a", 1, True, None]),
        ({"type": "array"}, [[]], [{}, "a"]),
        ({"type": "string"}, [""], [1, None]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "null"}, [None], [0, False, ""]),
        ({"type": "number"}, [0, -1.5], [True, "1"]),
        ({"type": "integer"}, [0, -1], [1.5, True, "1"]),
        ({"type": ["string", "null"]}, ["a", None], [1]),
        ({"type": []}, [], [1, None]),
        ({"minLength": 2, "maxLength": 3}, ["ab", "abc", 1, []], ["a", "abcd"]),
        ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], "", {}], [[], [1, 2, 3]]),
        ({"minimum": 1, "maximum": 2.5}, [1, 2.5, "0", True], [0, 0.99, 3]),
        ({"const": 1}, [1, 1.0], [True, "1", 2, None]),
        ({"const": True}, [True], [1, "true", False]),
        ({"const": {"a": [1, {"b": None}]}}, [{"a": [1.0, {"b": None}]}], [{"a": [1, {}]}, {"a": [1]}, {}]),
        (
            {"enum": [0, "a", None, [1], {"a": 1}]},
            [0, 0.0, "a", None, [1], {"a": 1}],
            [False, "b", [], [True], {"a": 2}],
        ),
        ({"enum": []}, [], [1, None]),
        ({"items": {"type": "integer"}}, [[], [1, 2], "a"], [[1, "2"]]),
        (INNER, [{"a": 1}, {"a": 1, "b": "c"}, "a"], [{}, {"a": "1"}, {"a": 1, "b": 2}]),
        ({"properties": {"a": True}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
        ({"properties": {"enum": {"const": 1}, "type": {"const": 2}}}, [{"enum": 1, "type": 2}], [{"type": 1}]),
    ],
)
def test_what_fits(schema: Any, good: list[Any], bad: list[Any]) -> None:
    assert problem(schema) is None
    assert [value for value in good if not fits(value, schema)] == []
    assert [value for value in bad if fits(value, schema)] == []


class Counted(str):
    """Text that counts how often it is compared or looked up."""

    asked: list[str] = []

    def __eq__(self, other: object) -> bool:
        self.asked.append(str(self))
        return str(self) == other

    def __hash__(self) -> int:
        self.asked.append(str(self))
        return hash(str(self))


@pytest.fixture
def asked() -> Iterator[list[str]]:
    Counted.asked.clear()
    yield Counted.asked
    Counted.asked.clear()


def test_values_of_a_long_list_are_looked_up_not_searched(asked: list[str]) -> None:
    schema = {"items": {"enum": [Counted(number) for number in range(1_000)]}}
    assert fits([Counted(999)] * 500, schema)
    assert not fits([Counted(999)] * 500 + [Counted(-1)], schema)
    assert len(asked) < 10 * (1_000 + 500)
