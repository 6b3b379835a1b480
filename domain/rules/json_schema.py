"""JSON Schema (draft 2020-12), as much of it as tells what an authorization detail may hold, checked in linear time.

`pattern` is not among it: a regular expression of somebody's own can keep a server busy for ever.
"""

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any

DEPTH = 16

_ANNOTATIONS = frozenset(("title", "description", "$schema", "$comment", "default", "examples", "format"))
_IS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "object": lambda value: isinstance(value, dict),
        "array": lambda value: isinstance(value, list),
        "string": lambda value: isinstance(value, str),
        "boolean": lambda value: isinstance(value, bool),
        "null": lambda value: value is None,
        "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    }
)
_COUNTED: Mapping[str, tuple[type, Callable[[Any, int], bool]]] = MappingProxyType(
    {
        "minLength": (str, lambda value, limit: len(value) >= limit),
        "maxLength": (str, lambda value, limit: len(value) <= limit),
        "minItems": (list, lambda value, limit: len(value) >= limit),
        "maxItems": (list, lambda value, limit: len(value) <= limit),
    }
)
_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"minimum": lambda value, limit: value >= limit, "maximum": lambda value, limit: value <= limit}
)
KEYWORDS = frozenset(
    (*_ANNOTATIONS, *_COUNTED, *_BOUNDS, "type", "properties", "required", "additionalProperties", "items", "enum")
) | {"const"}


def problem(schema: Any, depth: int = 0) -> str | None:
    """What is wrong with a schema; None for one that can be checked here."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict) or depth > DEPTH:
        return f"must be an object, at most {DEPTH} deep"
    if not schema.keys() <= KEYWORDS:
        return "may use " + " ".join(sorted(KEYWORDS)) + " and nothing else of JSON Schema"
    return _shape_problem(schema) or _limit_problem(schema) or _inner_problem(schema, depth)


def _shape_problem(schema: Mapping[str, Any]) -> str | None:
    types = schema.get("type", [])
    named = [types] if isinstance(types, str) else types
    if not isinstance(named, list) or not all(isinstance(each, str) and each in _IS for each in named):
        return "type must be of " + " ".join(_IS)
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
        return "required must be a list of names"
    return None if isinstance(schema.get("enum", []), list) else "enum must be a list"


def _limit_problem(schema: Mapping[str, Any]) -> str | None:
    for name in _COUNTED:
        if not _IS["integer"](schema.get(name, 0)) or schema.get(name, 0) < 0:
            return f"{name} must be a number from 0 on"
    for name in _BOUNDS:
        if not _IS["number"](schema.get(name, 0)):
            return f"{name} must be a number"
    return None


def _inner_problem(schema: Mapping[str, Any], depth: int) -> str | None:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return "properties must be an object"
    inner = [*properties.values(), schema.get("items", True), schema.get("additionalProperties", True)]
    return next((found for each in inner if (found := problem(each, depth + 1))), None)


def fits(value: Any, schema: Any) -> bool:
    """Whether a value is as a schema without a problem has it."""
    return _fits(value, _prepared(schema))


def _prepared(schema: Any) -> Any:
    """The schema with what is looked up for every member of a list as sets: a list in it times one in the value would
    be as much work as both together are long, squared."""
    if isinstance(schema, bool):
        return schema
    found = dict(schema)
    if "enum" in found:
        found["enum"] = frozenset(map(_key, found["enum"]))
    if "const" in found:
        found["const"] = _key(found["const"])
    if "type" in found:
        types = found["type"]
        found["type"] = dict.fromkeys([types] if isinstance(types, str) else types)
    if "required" in found:
        found["required"] = dict.fromkeys(found["required"])
    if "properties" in found:
        found["properties"] = {name: _prepared(each) for name, each in found["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in found:
            found[name] = _prepared(found[name])
    return found


def _fits(value: Any, schema: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    types = schema.get("type")
    if types is not None and not any(_IS[each](value) for each in types):
        return False
    if "const" in schema and _key(value) != schema["const"]:
        return False
    if "enum" in schema and _key(value) not in schema["enum"]:
        return False
    return _within(value, schema) and _members_fit(value, schema)


def _within(value: Any, schema: Mapping[str, Any]) -> bool:
    counted = (
        not isinstance(value, kind) or holds(value, schema[name])
        for name, (kind, holds) in _COUNTED.items()
        if name in schema
    )
    bounded = (
        not _IS["number"](value) or holds(value, schema[name]) for name, holds in _BOUNDS.items() if name in schema
    )
    return all(counted) and all(bounded)


def _members_fit(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, list):
        return all(_fits(each, schema.get("items", True)) for each in value)
    if not isinstance(value, dict):
        return True
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if any(name not in value for name in schema.get("required", ())):
        return False
    return all(_fits(each, properties.get(name, others)) for name, each in value.items())


def _key(value: Any) -> Hashable:
    """What is equal where two values are, as JSON has it: true is not 1, and 1.0 is."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return list, *map(_key, value)
    if isinstance(value, dict):
        return dict, frozenset((name, _key(each)) for name, each in value.items())
    found: Hashable = value
    return found
