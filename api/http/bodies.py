"""Request bodies: how large, of which media type, and read strictly: what two readers could understand differently is
refused, in queries too.

Accepted are `application/json`, `application/merge-patch+json` (RFC 7396) and `application/x-www-form-urlencoded`, each
where a handler says so. No other `+json` type is: its name promises a meaning that the server would have to know.
"""

import json
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Litestar, Request
from litestar.datastructures.multi_dicts import FormMultiDict
from litestar.enums import RequestEncodingType
from litestar.routes import HTTPRoute
from litestar.types import Empty

from api.http.errors import InvalidRequest, TooLarge, WrongMediaType
from api.http.invalid_members import WORD, invalid_member, name_to_tell
from api.http.request_context import Message, Receive, Scope, fields, header_values

Encoding = Literal["json", "form"]

FORM: tuple[Encoding, ...] = ("form",)
SPELLED_AT_MOST = 3
"""Octets that percent-encoding makes of one."""

TYPES: dict[str, Encoding] = {
    "application/json": "json",
    "application/merge-patch+json": "json",
    "application/x-www-form-urlencoded": "form",
}
STRICT = ("/admin", "/audit", "/leaks", "/credentials", "/dashboards")
"""Where an unknown query parameter is refused."""

PARAMETERS = "query_parameters"
"""What a handler's `opt` calls the names of its query parameters."""

WHOLE_NUMBERS = "whole_numbers"
"""What it calls those of them that are whole numbers."""

WHOLE_NUMBER = re.compile(r"-?[0-9]+")
"""How one is written: the framework would read `1e1` as 10 too, and `1.0` as 1."""

RESOURCE = "resource"
"""The parameter of OAuth requests that may stand there more than once (RFC 8707 §2)."""

FREE = ("scope", "token_type_hint", "client_ip", "client_user_agent")
LONGEST_FREE = 16_384
"""Characters of those parameters of OAuth requests whose meaning sets no limit. Of the others, what is too long is a
token, a name or a password that nobody has, and is answered like any other such."""

MEDIA_TYPE = re.compile(
    r'([!#$%&\'*+.^_`|~0-9a-z/-]+)\s*((?:;\s*[^\s;="]+=(?:"[^"\\]*"|[^\s;"]*)\s*)*);?', re.IGNORECASE
)
CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)


def encoding(scope: Scope, accepted: Collection[Encoding]) -> Encoding:
    """How the body is encoded. Raises WrongMediaType for any other type, for two types, and for a charset but UTF-8.
    Other parameters mean nothing to these types and are passed over (RFC 9110 §8.3.1)."""
    values = header_values(scope, b"content-type")
    found = _encoding(values[0]) if len(values) == 1 else None
    if found is None or found not in accepted:
        raise WrongMediaType(name for name, kind in TYPES.items() if kind in accepted and "+" not in name)
    return found


@lru_cache(maxsize=256)
def _encoding(media_type: str) -> Encoding | None:
    match = MEDIA_TYPE.fullmatch(media_type.strip())
    if match is None:
        return None
    charset = CHARSET.search(match[2])
    return TYPES.get(match[1].lower()) if charset is None or charset[1].lower() in ("utf-8", "utf8") else None


class WholeBody(msgspec.Struct, eq=False, gc=False):
    """The `receive` of a request whose body has come."""

    _body: bytes
    _told: bool = False

    async def __call__(self) -> Message:
        if self._told:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.take(), "more_body": False}

    def take(self) -> bytes:
        """The body, for who needs no message of it."""
        self._told = True
        return self._body


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as more than `limit` bytes are announced or have come."""
    if type(receive) is WholeBody:
        body = receive.take()
        if len(body) > limit:
            raise TooLarge(limit)
        return body
    # The outermost layer has refused what is no number, and several that differ.
    if int(fields(scope).get(b"content-length", b"0")) > limit:
        raise TooLarge(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The request ended before its body was complete.")
        chunk = message.get("body", b"")
        if not message.get("more_body", False):
            if size + len(chunk) > limit:
                raise TooLarge(limit)
            return b"".join([*chunks, chunk]) if chunks else chunk
        size += len(chunk)
        if size > limit:
            raise TooLarge(limit)
        chunks.append(chunk)


class Parameters(dict[str, str]):
    """The parameters of an OAuth request by name, each of which stands there once, and beside them `resource`."""

    resource: tuple[str, ...] = ()


async def read_parameters(scope: Scope, receive: Receive, limit: int) -> Parameters:
    """The parameters of an OAuth request, from a form or a JSON object of strings; empty ones count as not sent. Raises
    InvalidRequest, TooLarge or WrongMediaType, which OAuth endpoints answer as `invalid_request`."""
    body = await read_body(scope, receive, limit)
    if not body:
        return Parameters()
    given = _parameters(scope, body)
    # A short body holds no long parameter.
    if len(body) > LONGEST_FREE:
        for name in FREE:
            if len(given.get(name, "")) > LONGEST_FREE:
                raise InvalidRequest.field(name, f"has more than {LONGEST_FREE} characters")
    return given


NO_SECRETS = frozenset(("grant_type", "scope"))
"""All that clients send which get tokens for themselves, and authenticate by their header: ever the same."""

LONGEST_KNOWN, KNOWN = 512, 1_024
"""Octets of a body that is known again, and how many of them."""

_known: dict[bytes, Parameters] = {}


def _parameters(scope: Scope, body: bytes) -> Parameters:
    if encoding(scope, ("form", "json")) == "form":
        return _known.get(body) or _form_parameters(body)
    parameters = read_json_object(body)
    for name, value in parameters.items():
        if not isinstance(value, str):
            raise InvalidRequest.field(name_to_tell(name), "must be a string")
    given = Parameters({name: value for name, value in parameters.items() if value})
    if named := given.pop(RESOURCE, None):
        given.resource = (named,)
    return given


def _form_parameters(body: bytes) -> Parameters:
    given = Parameters(read_form(body, repeatable=(RESOURCE,), omit_empty=True))
    # Most requests name none, and need not be read once more; its letters might stand there escaped.
    if b"resource" in body or ESCAPED_NAME.search(body):
        given.resource = tuple(value for name, value in form_pairs(body) if name == RESOURCE and value)
    # A password that somebody sends must not be kept, under whatever name.
    if len(body) <= LONGEST_KNOWN and NO_SECRETS.issuperset(given):
        if len(_known) >= KNOWN:
            _known.clear()
        _known[body] = given
    return given


class StrictRequest(Request[Any, Any, Any]):
    """A request whose `json()` and `form()` read strictly. A handler takes its body as `data: JSONBody[SomeStruct]`,
    decoded by the struct's own type; `opt={"bodies": ("json", "form")}` says what it accepts, JSON alone by default. An
    empty body leaves `data` to the parameter's default, or is a 400 without one."""

    async def body(self) -> bytes:
        if self._body is Empty:
            if self._connection_state.body is Empty:
                limit = self.limit()
                self._connection_state.body = await read_body(self.scope, self.receive, limit or 2**62)
            self._body = self._connection_state.body
        return self._body

    def limit(self) -> int | None:
        """How long the body may be: a handler of lists says so by `opt={"lists": True}`. A form takes up to three
        octets for one of the text in it."""
        if self.route_handler.opt.get("lists"):
            limit: int = self.app.state.services.settings.list_body_limit
            return limit * SPELLED_AT_MOST if self.route_handler.opt.get("bodies") == FORM else limit
        return self.route_handler.resolve_request_max_body_size() or None

    async def json(self) -> Any:
        if self._json is Empty:
            self._json = self._connection_state.json = self._decode(await self.body())
        return self._json

    async def form(self) -> FormMultiDict:
        """The parameters of a form body, each at most once."""
        body = await self.body()
        if body:
            encoding(self.scope, FORM)
        return FormMultiDict(read_form(body) if body else {})

    def _decode(self, body: bytes) -> Any:
        accepted: Collection[Encoding] = self.route_handler.opt.get("bodies", ("json",))
        declared = self.route_handler.parsed_fn_signature.parameters.get("data")
        kind = Any if declared is None else declared.annotation
        if encoding(self.scope, accepted) == "json":
            return decode_json(body, kind)
        parameters = read_form(body)
        try:
            return msgspec.convert(parameters, kind, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_member(error) from None


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Refuses a doubled query parameter, unless `opt={"repeatable": ("type",)}` names it: the framework would take the
    last. On the JSON API also one that the handler does not have: a misspelt filter would show everything."""
    query: bytes = request.scope["query_string"]
    if not query:
        return
    handler = request.route_handler
    given = read_form(query, repeatable=handler.opt.get("repeatable", ()))
    known = handler.opt.get(PARAMETERS)
    if known is not None and (unknown := given.keys() - known):
        name = min(unknown)
        words = f"is not known here; known are {', '.join(sorted(known))}" if known else "is not known here; none is"
        raise InvalidRequest.field(name_to_tell(name, "query"), words)
    for name in handler.opt.get(WHOLE_NUMBERS, ()):
        if name in given and WHOLE_NUMBER.fullmatch(given[name]) is None:
            raise InvalidRequest.field(name, "must be a whole number")


def name_parameters(app: Litestar) -> None:
    """Has every handler of the JSON API know its query parameters. OAuth's endpoints ignore others (RFC 6749 §3.1)."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            strict = route.path.startswith(STRICT)
            for handler, model in route.route_handler_map.values():
                answers = handler.opt.get("answers")
                if answers == "problem" or (strict and answers != "page"):
                    handler.opt[PARAMETERS] = frozenset(each.field_alias for each in model.expected_query_params)
                    declared = handler.parsed_fn_signature.parameters
                    handler.opt[WHOLE_NUMBERS] = tuple(
                        each.field_alias
                        for each in model.expected_query_params
                        if each.field_name in declared and _is_whole(declared[each.field_name].annotation)
                    )


def _is_whole(annotation: Any) -> bool:
    return annotation is int or int in get_args(annotation)


def check_handlers(app: Litestar) -> None:
    """Raises RuntimeError when a handler lets the framework read a form by itself: that reader takes doubled
    parameters, and it keeps the last thousand bodies, passwords included, in a cache."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler, _ in route.route_handler_map.values():
                declared = handler.parsed_fn_signature.parameters.get("data")
                media_type = getattr(declared.kwarg_definition, "media_type", None) if declared else None
                if media_type in (RequestEncodingType.URL_ENCODED, RequestEncodingType.MULTI_PART):
                    raise RuntimeError(f"{handler}: take the form as JSONBody with opt={{'bodies': ('form',)}}")


# `application/x-www-form-urlencoded`, in bodies and in queries: each parameter once, and nothing guessed.

MOST_PARAMETERS = 100
"""Parameters that are read. No request of any protocol here has more than two dozen."""

ESCAPED_NAME = re.compile(rb"(?:^|&)[^=&]*%")
BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def form_pairs(text: bytes) -> Iterator[tuple[str, str]]:
    """Names and values in order. Raises InvalidRequest for what is no form encoding, no UTF-8, or holds a NUL."""
    if not text.isascii() or BROKEN.search(text):
        raise InvalidRequest.field("body", "is not form-encoded")
    parts = text.split(b"&")
    if len(parts) > MOST_PARAMETERS:
        raise InvalidRequest.field("body", f"has more than {MOST_PARAMETERS} parameters")
    for part in parts:
        if part:
            name, _, value = part.partition(b"=")
            decoded = _decode(name, "body")
            yield decoded, _decode(value, decoded)


def read_form(text: bytes, *, repeatable: Collection[str] = (), omit_empty: bool = False) -> dict[str, str]:
    """Parameters by name. A doubled one is refused (RFC 6749 §3.1, §3.2); those that may be repeated are left out.
    `omit_empty` treats a parameter without a value as not sent, as RFC 6749 §3.1 says for OAuth."""
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
    """The same for ASCII without escapes in names, as most forms are; None for what needs the closer look."""
    escaped = b"%" in text or b"+" in text
    if not text.isascii() or b"\0" in text or (escaped and BROKEN.search(text)):
        return None
    parts = text.decode("ascii").split("&")
    if len(parts) > MOST_PARAMETERS:
        return None
    result: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name in result:
            return None
        result[name] = value
    if "" in result or (escaped and not _unescape(result)):
        return None
    if omit_empty and not all(result.values()):
        return {name: value for name, value in result.items() if value}
    return result


def _unescape(found: dict[str, str]) -> bool:
    """Puts values in the place of what stands for them; False where something needs the closer look."""
    for name, value in found.items():
        if "%" in name or "+" in name:
            return False
        if "%" in value or "+" in value:
            octets = unquote_to_bytes(value.replace("+", " "))
            if b"\0" in octets:
                return False
            try:
                found[name] = octets.decode("utf-8")
            except UnicodeDecodeError:
                return False
    return True


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
