"""JSON as RFC 8259 and I-JSON (RFC 7493) mean it: what two readers could understand differently is refused."""

import json
import re
from typing import Any, TypeVar

import msgspec

from api.http.errors import InvalidRequest, invalid_member

T = TypeVar("T")

DEPTH = 32
SAFE = 2**53 - 1
"""The integers that every reader has exactly (RFC 7493 §2.2)."""

NAME = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,3}")
"""A name that may be repeated in an answer: a word, as all of ours are, and nothing that could be a secret."""


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


def read(body: bytes) -> Any:
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


def read_object(body: bytes) -> dict[str, Any]:
    """The value if it is an object, else InvalidRequest."""
    value = read(body)
    if not isinstance(value, dict):
        raise InvalidRequest.field("body", "must be a JSON object")
    return value


def decode(body: bytes, kind: type[T]) -> T:
    """The value as that type, its numbers and strings taken as they are: `"5"` is no 5. Raises InvalidRequest."""
    read(body)
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
    if not NAME.fullmatch(name):
        return path
    return f"{path}.{name}" if path else name


def _field(path: str) -> str:
    if not path or path.startswith("["):
        return "body"
    return path if len(path) <= 100 else re.split(r"[.\[]", path, maxsplit=1)[0]
