"""Parses forms, queries and JSON strictly: what two readers could understand differently is refused."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from api.http.errors import WORD, InvalidRequest, invalid_member, name_to_tell

# `application/x-www-form-urlencoded`, in bodies and in queries: each parameter once, and nothing guessed.

PARAMETERS = 100
"""Parameters that are read. No request of any protocol here has more than two dozen."""

BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def form_pairs(text: bytes) -> Iterator[tuple[str, str]]:
    """Names and values in order. Raises InvalidRequest for what is no form encoding, no UTF-8, or holds a NUL."""
    if not text.isascii() or BROKEN.search(text):
        raise InvalidRequest.field("body", "is not form-encoded")
    parts = text.split(b"&")
    if len(parts) > PARAMETERS:
        raise InvalidRequest.field("body", f"has more than {PARAMETERS} parameters")
    for part in parts:
        if part:
            name, _, value = part.partition(b"=")
            decoded = _decode(name, "body")
            yield decoded, _decode(value, decoded)


def read_form(text: bytes, *, repeatable: Collection[str] = (), omit_empty: bool = False) -> dict[str, str]:
    """Parameters by name. A doubled one is refused (RFC 6749 §3.1, §3.2); those that may be repeated are left out.

    `omit_empty` treats a parameter without a value as not sent, as RFC 6749 §3.1 says for OAuth.
    """
    if (found := _plain(text, omit_empty)) is not None:
        for name in repeatable:
            found.pop(name, None)
        return found
    seen: set[str] = set()
    result: dict[str, str] = {}
    for name, value in form_pairs(text):
        if name in repeatable:
            continue
        if name in seen:
            raise InvalidRequest.field(name_to_tell(name), "stands there twice")
        seen.add(name)
        if value or not omit_empty:
            result[name] = value
    return result


def _plain(text: bytes, omit_empty: bool) -> dict[str, str] | None:
    """The same for ASCII without escapes, as most forms of programs are; None for what needs the closer look."""
    if not text.isascii() or b"%" in text or b"+" in text or b"\0" in text:
        return None
    parts = text.decode("ascii").split("&")
    if len(parts) > PARAMETERS:
        return None
    result: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name in result:
            return None
        result[name] = value
    if "" in result:
        return None
    if omit_empty and not all(result.values()):
        return {name: value for name, value in result.items() if value}
    return result


def _decode(octets: bytes, name: str) -> str:
    # One plain scan finds out that there is nothing to decode, as in most tokens and identifiers.
    if b"%" in octets or b"+" in octets:
        octets = unquote_to_bytes(octets.replace(b"+", b" "))
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest.field(name_to_tell(name), "is not UTF-8") from None
    if "\0" in text:
        raise InvalidRequest.field(name_to_tell(name), "holds a NUL character")
    return text


# JSON as RFC 8259 and I-JSON (RFC 7493) mean it: what two readers could understand differently is refused.

T = TypeVar("T")

DEPTH = 32
SAFE = 2**53 - 1
"""The integers that every reader has exactly (RFC 7493 §2.2)."""


class _Fault:
    """Stands in the place of a value that is refused, so that the walk below can say where."""

    __slots__ = ("detail",)

    def __init__(self, detail: str) -> None:
        self.detail = detail


def _integer(text: str) -> Any:
    # Sixteen digits and a sign hold every safe integer, and reading more of them is quadratic.
    if len(text) > 17 or abs(value := int(text)) > SAFE:
        return _Fault("is a number out of range")
    return value


def _float(text: str) -> Any:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return _Fault("is a number out of range")
    return value


def _constant(_: str) -> Any:
    return _Fault("is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        # One pass: comparing each name with all others would let one small body hold up everybody else.
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                result[name] = _Fault("stands there twice")
                break
            seen.add(name)
    return result


_decoder = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object, strict=True
)


def read_json(body: bytes) -> Any:
    """The value. Raises InvalidRequest with the member at fault, whose value it never repeats."""
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidRequest.field("body", "is not UTF-8") from None
    except RecursionError:
        raise InvalidRequest.field("body", "is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest.field("body", f"is not JSON: see character {error.pos}") from None
    _check(value)
    return value


def read_json_object(body: bytes) -> dict[str, Any]:
    """The value if it is an object, else InvalidRequest."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest.field("body", "must be a JSON object")
    return value


def decode_json(body: bytes, kind: type[T]) -> T:
    """The value as that type, its numbers and strings taken as they are: `"5"` is no 5. Raises InvalidRequest."""
    read_json(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid_member(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest.field("body", "is not JSON") from None


def _check(value: Any) -> None:
    """Walks the value without recursion, so that depth is measured and never suffered."""
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        current, path, depth = waiting.pop()
        match current:
            case _Fault():
                raise InvalidRequest.field(_field(path), current.detail)
            case str():
                _check_text(current, path)
            case dict() | list():
                if depth >= DEPTH:
                    raise InvalidRequest.field(_field(path), "is nested too deeply")
                if isinstance(current, dict):
                    for name, inner in current.items():
                        _check_text(name, path)
                        waiting.append((inner, _member(path, name), depth + 1))
                else:
                    waiting.extend((inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(current))


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise InvalidRequest.field(_field(path), "holds a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRequest.field(_field(path), "holds half a surrogate pair")


def _member(path: str, name: str) -> str:
    # A name that nobody would give a member is not repeated.
    if not WORD.fullmatch(name):
        return path
    return f"{path}.{name}" if path else name


def _field(path: str) -> str:
    if not path or path.startswith("["):
        return "body"
    return path if len(path) <= 100 else re.split(r"[.\[]", path, maxsplit=1)[0]
