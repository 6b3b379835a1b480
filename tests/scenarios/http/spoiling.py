"""Bad input made from what the OpenAPI document says is good."""

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from jsonschema_rs import Draft202012Validator

from tests.scenarios.http.endpoints import described

DEEP = b"[" * 100_000
LONG = "x" * 1_000_000
"""A value of a megabyte: more than any body may have."""

NOT_UTF8 = b"\xff\xfe\xc3\x28"
WRONG_TYPES: tuple[Any, ...] = (None, True, 17, -1, 1.5, "", "x", [], ["x"], [17], {}, {"x": 1}, "x" * 20_000)
NUMBERS = (b"1e999", b"-1e999", b"9" * 400, b"9007199254740993", b"-9223372036854775809", b"NaN", b"Infinity", b"01")
MEDIA_TYPES = (
    b"text/plain",
    b"application/xml",
    b"multipart/form-data; boundary=x",
    b"application/json; charset=utf-16",
    b"application/vnd.api+json",
    b"application/",
    b"/",
    b"\xff\xfe",
    b"",
)


class Spoilt(NamedTuple):
    """A body that must be refused, and its media type (None sends no such header)."""

    what: str
    body: bytes
    media_type: bytes | None


def resolved(schema: Any) -> Any:
    """A schema without references, for those of them that do not refer to themselves."""
    if isinstance(schema, list):
        return [resolved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (reference := schema.get("$ref")) is not None:
        return resolved(described()["components"]["schemas"][reference.rpartition("/")[2]])
    return {name: resolved(each) for name, each in schema.items()}


def example(content: dict[str, Any]) -> Any:
    """The documented example of a body, or the least that satisfies its schema."""
    if "example" in content:
        return copy.deepcopy(content["example"])
    if content.get("examples"):
        return copy.deepcopy(next(iter(content["examples"].values()))["value"])
    schema = resolved(content["schema"])
    return {name: "x" for name in schema.get("required", ())}


def spoilt_json(content: dict[str, Any], media_type: bytes = b"application/json") -> Iterator[Spoilt]:
    """JSON bodies that are none, or that the schema excludes. Of an array its only item is spoilt."""
    good, schema = example(content), resolved(content["schema"])
    text = json.dumps(good).encode()
    validator = Draft202012Validator(schema)
    for whole in WRONG_TYPES:
        if not validator.is_valid(whole):
            yield Spoilt(f"{type(whole).__name__} instead of the body", json.dumps(whole).encode(), media_type)
    yield Spoilt("nothing", b"", media_type)
    yield Spoilt("half of it", text[: len(text) // 2 + 1], media_type)
    yield Spoilt("two of it", text + text, media_type)
    yield Spoilt("deep", DEEP, media_type)
    yield Spoilt("a byte order mark", b"\xef\xbb\xbf" + text, media_type)
    if schema.get("type") == "array":
        for what, body in _spoilt_object(good[0], resolved(schema["items"])):
            yield Spoilt(what, b"[" + body + b"]", media_type)
    else:
        for what, body in _spoilt_object(good, schema):
            yield Spoilt(what, body, media_type)
    for other in MEDIA_TYPES:
        yield Spoilt(f"as {other!r}", text, other)
    yield Spoilt("without media type", text, None)


def _spoilt_object(good: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    validator = Draft202012Validator(schema)
    yield "deep inside", b'{"x":' * 50 + b"1" + b"}" * 50
    yield "a megabyte", json.dumps({**good, "x": LONG}).encode()
    yield "no UTF-8", json.dumps(good).encode()[:-1] + b',"x":"' + NOT_UTF8 + b'"}'
    yield "unknown member", json.dumps({**good, "no_such_member": 1}).encode()
    yield "NUL in a name", json.dumps({**good, "x\0": 1}).encode()
    for name in schema.get("properties", {}):
        key = json.dumps(name).encode()
        rest = {other: value for other, value in good.items() if other != name}
        if name in schema.get("required", ()):
            yield f"without {name}", json.dumps(rest).encode()
        for wrong in WRONG_TYPES:
            if not validator.is_valid({**good, name: wrong}):
                shown = "too long" if isinstance(wrong, str) and len(wrong) > 1000 else repr(wrong)
                yield f"{name}: {shown}", json.dumps({**good, name: wrong}).encode()
        for what, beyond in _beyond(schema["properties"][name]):
            if not validator.is_valid({**good, name: beyond}):
                yield f"{name}: {what}", json.dumps({**good, name: beyond}).encode()
        value = json.dumps(good.get(name, "x")).encode()
        open_rest = json.dumps(rest).encode()[:-1] + (b"," if rest else b"")
        yield f"{name} twice", open_rest + key + b":" + value + b"," + key + b":" + value + b"}"
        yield f"{name}: NUL", open_rest + key + b':"a\\u0000b"}'
        yield f"{name}: raw NUL", open_rest + key + b':"a\0b"}'
        yield f"{name}: half a surrogate pair", open_rest + key + b':"\\ud800"}'
        yield f"{name}: no UTF-8", open_rest + key + b':"' + NOT_UTF8 + b'"}'
        yield f"{name}: a megabyte", open_rest + key + b':"' + LONG.encode() + b'"}'
        for number in NUMBERS:
            yield f"{name}: {number[:8].decode()}", open_rest + key + b":" + number + b"}"


def _beyond(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Just more than a member without references may hold: a character, an item, a character in an item."""
    for choice in schema.get("anyOf", [schema]):
        if "maxLength" in choice:
            yield "too long", "x" * (choice["maxLength"] + 1)
        if "maxItems" in choice:
            yield "too many", ["x"] * (choice["maxItems"] + 1)
        if "items" in choice and "maxLength" in choice["items"]:
            yield "one too long", ["x" * (choice["items"]["maxLength"] + 1)]


def spoilt_form(content: dict[str, Any]) -> Iterator[Spoilt]:
    """Forms that are none. `content` is the documented body; members unknown to it are no fault in a form of OAuth."""
    good, schema = example(content), resolved(content["schema"])
    media_type = b"application/x-www-form-urlencoded"
    text = "&".join(f"{name}={quote_plus(str(value))}" for name, value in good.items()).encode()
    for what, body in (
        ("a broken escape", text + b"&x=%zz"),
        ("raw octets", text + b"&x=" + NOT_UTF8),
        ("no UTF-8", text + b"&x=%FF%FE"),
        ("NUL", text + b"&x=a%00b"),
        ("NUL in a name", text + b"&x%00=1"),
        ("a hundred and one", text + b"".join(b"&x%d=1" % number for number in range(101))),
        ("a megabyte", text + b"&x=" + LONG.encode()),
        ("an unknown one twice", text + b"&x=1&x=2"),
    ):
        yield Spoilt(what, body, media_type)
    for name in schema.get("properties", {}):
        field = quote_plus(name).encode() + b"="
        value = quote_plus(str(good.get(name, "x"))).encode()
        rest = b"".join(part + b"&" for part in text.split(b"&") if not part.startswith(field))
        yield Spoilt(f"{name} twice", rest + field + value + b"&" + field + value, media_type)
        yield Spoilt(f"{name}: NUL", rest + field + b"a%00b", media_type)
        yield Spoilt(f"{name}: no UTF-8", rest + field + b"%C3%28", media_type)
        yield Spoilt(f"{name}: a megabyte", rest + field + LONG.encode(), media_type)
        if name in schema.get("required", ()):
            yield Spoilt(f"without {name}", rest.rstrip(b"&") or b"x=1", media_type)
    for other in MEDIA_TYPES:
        yield Spoilt(f"as {other!r}", text, other)
    yield Spoilt("without media type", text, None)


def spoilt_queries(parameters: list[dict[str, Any]], repeatable: bool = False) -> Iterator[tuple[str, bytes]]:
    """Query strings that must be refused."""
    yield "no UTF-8", b"x=%FF%FE"
    yield "raw octets", b"x=" + NOT_UTF8
    yield "NUL", b"x=a%00b"
    yield "a token", b"access_token=glog_at_x"
    if not repeatable:
        yield "doubled", b"x=1&x=2"
        yield "a broken escape", b"x=%zz"
    for parameter in parameters:
        name, schema = parameter["name"], resolved(parameter["schema"])
        if repeatable:
            continue
        for text in ("", "x", "-1", "1.5", "1e3", "9" * 400, "x" * 20_000, "\x01", "%"):
            if not _accepts(schema, text):
                yield f"{name}={text[:8]!r}", f"{name}={quote_plus(text)}".encode()


def _accepts(schema: dict[str, Any], text: str) -> bool:
    """Whether a text in a query can be meant by a schema: as the text that it is, or as the number that it writes."""
    validator = Draft202012Validator(schema)
    readings: list[Any] = [text, [text]]
    for number in (int, float):
        try:
            readings.append(number(text))
        except ValueError:
            continue
    return any(validator.is_valid(reading) for reading in readings)
