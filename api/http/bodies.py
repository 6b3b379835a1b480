"""Request bodies: how large, of which media type, and read strictly. For `@asgi` handlers and ordinary ones alike.

Accepted are `application/json`, `application/merge-patch+json` (RFC 7396) and `application/x-www-form-urlencoded`, each
where a handler says so. No other `+json` type is: its name promises a meaning that the server would have to know.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

import msgspec
from litestar import Litestar, Request
from litestar.datastructures.multi_dicts import FormMultiDict
from litestar.enums import RequestEncodingType
from litestar.routes import HTTPRoute
from litestar.types import Empty

from api.http import strict_parsing
from api.http.errors import InvalidRequest, TooLarge, WrongMediaType, invalid_member, name_to_tell
from api.http.request_context import Receive, Scope, fields, header_values

Encoding = Literal["json", "form"]

FORM: tuple[Encoding, ...] = ("form",)
TYPES: dict[str, Encoding] = {
    "application/json": "json",
    "application/merge-patch+json": "json",
    "application/x-www-form-urlencoded": "form",
}
STRICT = ("/admin", "/audit", "/leaks", "/credentials", "/dashboards")
"""Where an unknown query parameter is refused."""

PARAMETERS = "query_parameters"
"""What a handler's `opt` calls the names of its query parameters."""

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

    Parameters other than `charset` mean nothing to these types and are passed over (RFC 9110 §8.3.1).
    """
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


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as more than `limit` bytes are announced or have come."""
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
    """The parameters of an OAuth request, from a form or a JSON object of strings; empty ones count as not sent.

    Raises InvalidRequest, TooLarge or WrongMediaType, which OAuth endpoints answer as `invalid_request`.
    """
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


def _parameters(scope: Scope, body: bytes) -> Parameters:
    if encoding(scope, ("form", "json")) == "form":
        given = Parameters(strict_parsing.read_form(body, repeatable=(RESOURCE,), omit_empty=True))
        # Most requests name none, and need not be read once more; its letters might stand there escaped.
        if b"resource" in body or b"%" in body:
            given.resource = tuple(
                value for name, value in strict_parsing.form_pairs(body) if name == RESOURCE and value
            )
        return given
    parameters = strict_parsing.read_json_object(body)
    for name, value in parameters.items():
        if not isinstance(value, str):
            raise InvalidRequest.field(name_to_tell(name), "must be a string")
    given = Parameters({name: value for name, value in parameters.items() if value})
    if named := given.pop(RESOURCE, None):
        given.resource = (named,)
    return given


class StrictRequest(Request[Any, Any, Any]):
    """A request whose `json()` and `form()` read strictly. `Litestar(request_class=StrictRequest)`.

    A handler takes its body as `data: JSONBody[SomeStruct]` and gets the struct decoded by its own type, so that
    nothing is converted on the way. `opt={"bodies": ("json", "form")}` says what it accepts; JSON alone is the default.
    An empty body leaves `data` to the parameter's default, or is a 400 without one.
    """

    async def body(self) -> bytes:
        if self._body is Empty:
            if self._connection_state.body is Empty:
                limit = self._limit()
                self._connection_state.body = await read_body(self.scope, self.receive, limit or 2**62)
            self._body = self._connection_state.body
        return self._body

    def _limit(self) -> int | None:
        """A handler of lists says so by `opt={"lists": True}`."""
        if self.route_handler.opt.get("lists"):
            limit: int = self.app.state.services.settings.list_body_limit
            return limit
        return self.route_handler.resolve_request_max_body_size() or None

    async def json(self) -> Any:
        if self._json is Empty:
            self._json = self._connection_state.json = self._decode(await self.body())
        return self._json

    async def form(self) -> FormMultiDict:
        return FormMultiDict(await self.parameters())

    async def parameters(self) -> dict[str, str]:
        """The parameters of a form body, each at most once."""
        body = await self.body()
        if not body:
            return {}
        encoding(self.scope, FORM)
        return strict_parsing.read_form(body)

    def _decode(self, body: bytes) -> Any:
        accepted: Collection[Encoding] = self.route_handler.opt.get("bodies", ("json",))
        declared = self.route_handler.parsed_fn_signature.parameters.get("data")
        kind = Any if declared is None else declared.annotation
        if encoding(self.scope, accepted) == "json":
            return strict_parsing.decode_json(body, kind)
        parameters = strict_parsing.read_form(body)
        try:
            return msgspec.convert(parameters, kind, strict=False)
        except msgspec.ValidationError as error:
            raise invalid_member(error) from None


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Refuses a doubled query parameter, of which the framework would take the last, and on the JSON API one that the
    handler does not have: a misspelt filter would show everything. `Litestar(before_request=…)`.

    A handler names those that may be repeated: `opt={"repeatable": ("type",)}`.
    """
    query: bytes = request.scope["query_string"]
    if not query:
        return
    handler = request.route_handler
    given = strict_parsing.read_form(query, repeatable=handler.opt.get("repeatable", ()))
    known = handler.opt.get(PARAMETERS)
    if known is not None and (unknown := given.keys() - known):
        name = min(unknown)
        words = f"is not known here; known are {', '.join(sorted(known))}" if known else "is not known here; none is"
        raise InvalidRequest.field(name_to_tell(name, "query"), words)


def name_parameters(app: Litestar) -> None:
    """Has every handler of the JSON API know its query parameters. OAuth's endpoints ignore others (RFC 6749 §3.1)."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith(STRICT):
            for handler, model in route.route_handler_map.values():
                if handler.opt.get("answers") != "page":
                    handler.opt[PARAMETERS] = frozenset(each.field_alias for each in model.expected_query_params)


def check_handlers(app: Litestar) -> None:
    """Raises RuntimeError when a handler lets the framework read a form by itself.

    That reader takes doubled parameters, and it keeps the last thousand bodies, passwords included, in a cache.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler, _ in route.route_handler_map.values():
                declared = handler.parsed_fn_signature.parameters.get("data")
                media_type = getattr(declared.kwarg_definition, "media_type", None) if declared else None
                if media_type in (RequestEncodingType.URL_ENCODED, RequestEncodingType.MULTI_PART):
                    raise RuntimeError(f"{handler}: take the form as JSONBody with opt={{'bodies': ('form',)}}")
