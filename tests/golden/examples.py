"""An example of every event in which no field has its default, derived from the fields' types alone."""

from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from domain.event import ANONYMOUS, Event, Recorded

NAMED: dict[str, Any] = {
    "account_id": "3mJr7AoUXx2Wqd0000000A",
    "client_id": "3mJr7AoUXx2Wqd0000000C",
    "grant_id": "3mJr7AoUXx2Wqd0000000G",
    "except_grant": "3mJr7AoUXx2Wqd0000000G",
    "secret_id": "3mJr7AoUXx2Wqd0000000S",
    "session_id": "3mJr7AoUXx2Wqd0000000W",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "access_token": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "refresh_token": "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
    "code": "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7",
    "realm": "platform",
    "redirect_uris": ("https://app.example.test/callback", "http://127.0.0.1/callback"),
    "allowed_origins": ("https://app.example.test", "https://other.example.test"),
}


def example(event: type[Event]) -> Event:
    """The example of one event; the same in every run."""
    made: Event = _struct(event)
    return made


def _struct(struct: type[Any]) -> Any:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return struct(**{field.name: _field(field) for field in info.fields})


def _field(field: inspect.Field) -> Any:
    value = NAMED.get(field.name, NODEFAULT)
    if value is NODEFAULT or not isinstance(field.type, inspect.StrType | inspect.UnionType | inspect.VarTupleType):
        value = _value(field.type, field.name)
    if field.default is not NODEFAULT and value == field.default and isinstance(field.type, inspect.LiteralType):
        return field.type.values[0]
    if field.default is not NODEFAULT and value == field.default:
        value = (not value) if isinstance(value, bool) else value + value
    return value


def _value(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.UnionType(types=types):
            return _value(next(t for t in types if not isinstance(t, inspect.NoneType)), name)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return _several(item, name, tuple if isinstance(kind, inspect.VarTupleType) else list)
        case inspect.DictType(value_type=item):
            return {f"{name}_1": _value(item, name), f"{name}_2": _value(item, name)}
        case inspect.StructType(cls=cls):
            return _struct(cls)
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.StrType():
            return f"{name} as text"
        case inspect.IntType() | inspect.FloatType():
            return 1_795_000_000_000_000 if name.endswith("_at") else 7
        case inspect.BoolType():
            return True
    raise AssertionError(f"no example for {kind}")


def _several(item: inspect.Type, name: str, kind: type[Any]) -> Any:
    if isinstance(item, inspect.LiteralType):
        return kind(item.values[:2])
    if isinstance(item, inspect.StrType):
        return kind((f"{name}:one", f"{name}:two"))
    return kind((_value(item, name),))


def fields_set(data: Any) -> frozenset[str]:
    """The paths that stand in stored data: what tells whether a shape has every field."""
    if not isinstance(data, dict):
        return frozenset()
    return frozenset(data) | {f"{name}.{path}" for name, value in data.items() for path in fields_set(value)}


def data(event: type[Event]) -> bytes:
    """The example as it is stored."""
    return msgspec.json.encode(example(event))


def recorded(event: type[Event], category: str) -> Recorded:
    """The example at a place in the log, on a stream of the category."""
    parts = {"consent": "consent:a:c", "role": "role:platform:member", "server": "server"}
    stream = parts.get(category, f"{category}:one")
    return Recorded(9, "event-9", stream, 1, 1_795_000_000_000_000, ANONYMOUS, None, None, None, example(event))
