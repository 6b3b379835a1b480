"""The OpenAPI document at `/schema/openapi.json` and its page at `/schema`, which loads nothing from elsewhere."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import msgspec
from litestar import Litestar, Request, Router
from litestar.datastructures import ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server
from litestar.routes import HTTPRoute

from api.http.error_responses import PROBLEM, ProblemBody, vocabulary
from api.http.responses import JSON
from api.http.templates import HtmlPage, render, security_headers
from api.openapi.hot_endpoints import FORM, REFERENCE, HotEndpoint, describe
from api.services import is_of_process, services_of

PATH = "/schema"
MERGE_PATCH = "application/merge-patch+json"

ROOMS = re.compile(r"(?<=_)(?:[a-z][a-z_]*\.)+")
"""Where a struct stands, in the name that the framework gives to what holds it."""


PROBLEM_EXAMPLE = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "The request is not valid.",
    "errors": [{"field": "client_name", "detail": "is missing"}],
    "request_id": "7nXq2VbT0cLhR5dKw9PzEs",
}

SECURITY: dict[str, SecurityScheme] = {
    "bearer": SecurityScheme(
        type="http",
        scheme="bearer",
        description="An access token (RFC 6750). The scopes that an operation needs stand beside it.",
    ),
    "client": SecurityScheme(
        type="http",
        scheme="basic",
        description="Client id and secret (RFC 6749 §2.3.1). They may stand in the body instead; public clients send "
        "their `client_id` alone.",
    ),
}


class Member(msgspec.Struct, frozen=True):
    """One member of a body, or one parameter, of an operation. `kind` is its type in words."""

    name: str
    kind: str
    required: bool
    meaning: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as the page tells it."""

    method: str
    path: str
    summary: str
    description: str
    access: str
    members: tuple[Member, ...]
    media_types: tuple[str, ...]
    example: str
    answers: tuple[tuple[str, str], ...]
    answer_example: str


class Group(msgspec.Struct, frozen=True):
    """Operations that belong together, by their first tag."""

    name: str
    operations: tuple[Operation, ...]


class ReferencePage(HtmlPage, frozen=True, kw_only=True):
    """The OpenAPI document for people."""

    template: ClassVar[str] = "reference.html"
    version: str
    groups: tuple[Group, ...]


class DocumentPlugin(JsonRenderPlugin):
    """Serves the finished document, made once per app, at the first request for it."""

    def __init__(self, hot: Sequence[HotEndpoint]) -> None:
        super().__init__()
        self._hot = tuple(hot)
        self._finished: dict[str, Any] | None = None
        self._bytes: bytes | None = None

    def of(self, app: Litestar, generated: dict[str, Any]) -> dict[str, Any]:
        """The framework's document with everything added."""
        if self._finished is None:
            self._finished = finish(app, generated, self._hot)
        return self._finished

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if not is_of_process(request):
            # Of a further issuer it says the same of another server.
            server = {"url": services_of(request).settings.issuer}
            return msgspec.json.encode(self.of(request.app, openapi_schema) | {"servers": [server]})
        if self._bytes is None:
            self._bytes = msgspec.json.encode(self.of(request.app, openapi_schema))
        return self._bytes


class PagePlugin(OpenAPIRenderPlugin):
    """Serves the page: server-rendered, without scripts."""

    def __init__(self, document: DocumentPlugin) -> None:
        super().__init__(path="/")
        self._document = document
        self._page: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._page is None:
            document = self._document.of(request.app, openapi_schema)
            self._page = render(ReferencePage(version=document["info"]["version"], groups=entries(document)))
        return self._page


def openapi_config(version: str, hot: Sequence[HotEndpoint] = (), *, issuer: str = "/") -> OpenAPIConfig:
    """The configuration for `Litestar(openapi_config=…)`, with the `@asgi` endpoints that belong into the document."""
    document = DocumentPlugin(hot)
    headers = [ResponseHeader(name=name, value=value) for name, value in security_headers().items()]
    return OpenAPIConfig(
        title="Grantlog",
        version=version,
        description="An OAuth 2.0 authorization server and OpenID Provider whose every decision is an immutable event.",
        servers=[Server(url=issuer)],
        components=Components(security_schemes=dict(SECURITY)),
        render_plugins=[PagePlugin(document), document],
        use_handler_docstrings=True,
        openapi_router=Router(PATH, route_handlers=[], include_in_schema=False, response_headers=headers),
    )


def document(app: Litestar) -> dict[str, Any]:
    """The finished document of an app, for tests and tools."""
    config = app.openapi_config
    if config is None:
        raise RuntimeError("the app has no OpenAPI configuration")
    plugin = next(plugin for plugin in config.render_plugins if isinstance(plugin, DocumentPlugin))
    return plugin.of(app, app.openapi_schema.to_schema())


def finish(app: Litestar, generated: dict[str, Any], hot: Sequence[HotEndpoint]) -> dict[str, Any]:
    """A copy of the framework's document with refusals, bodies, examples and hot endpoints."""
    finished = deepcopy(generated)
    schemas = finished.setdefault("components", {}).setdefault("schemas", {})
    (_,), problem = msgspec.json.schema_components([ProblemBody], ref_template=REFERENCE)
    schemas |= problem
    known = [
        (finished["paths"][path][method], path, method, handler)
        for path, method, handler in _operations(app)
        if method in finished["paths"].get(path, ())
    ]
    _describe_bodies(finished, [(operation, method, handler) for operation, _, method, handler in known])
    for operation, path, _, handler in known:
        _describe_answers(operation, handler)
        _describe_refusals(operation, path, handler)
    for endpoint in hot:
        operations, components = describe(endpoint)
        schemas |= components
        finished["paths"].setdefault(endpoint.path, {}).update(operations)
    finished["paths"] = dict(sorted(finished["paths"].items()))
    _drop_unused(finished)
    _name_plainly(finished)
    return finished


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                yield route.path_format or "/", method.lower(), handler


def _describe_answers(operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    answer, media_types = handler.opt.get("answer"), handler.opt.get("media_types")
    for status, response in operation["responses"].items():
        if not status.startswith("2"):
            continue
        if media_types is not None:
            response["content"] = {name: {"schema": {"type": "string"}} for name in media_types}
        content = response.get("content", {}).get(JSON)
        if content is None:
            continue
        if "oneOf" in content["schema"]:
            # The framework's word for a union; but one struct may have all members of another (JSON Schema §10.2.1).
            content["schema"]["anyOf"] = content["schema"].pop("oneOf")
        if answer is not None:
            content["example"] = answer


def _describe_refusals(operation: dict[str, Any], path: str, handler: HTTPRouteHandler) -> None:
    """The framework's own idea of a 400 goes; whatever is refused looks as the place's vocabulary says."""
    responses = operation["responses"]
    responses.pop("400", None)
    if "204" in responses:
        # For a Response of None the framework promises a body of null; there is none (RFC 9110 §15.3.5).
        responses["204"].pop("content", None)
    words = vocabulary({"path": path, "headers": [], "route_handler": handler})
    if words == "page":
        responses["default"] = {"description": "Refused.", "content": {"text/html": {"schema": {"type": "string"}}}}
        return
    if words == "oauth":
        refused = {"schema": {"$ref": "#/components/schemas/OAuthErrorBody"}}
        responses["default"] = {"description": "Refused (RFC 6749 §5.2).", "content": {JSON: refused}}
        return
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    for status, response in responses.items():
        if status.startswith("4"):
            # What has a body of its own may be refused for other reasons too.
            response.setdefault("content", {}).setdefault(PROBLEM, {"schema": schema})
    responses["default"] = {
        "description": "Refused (RFC 9457): 400, 401, 403, 404, 409, 413, 415, 422, 429 or 503.",
        "content": {PROBLEM: {"schema": schema, "example": PROBLEM_EXAMPLE}},
    }


def _describe_bodies(
    document: dict[str, Any], operations: Iterable[tuple[dict[str, Any], str, HTTPRouteHandler]]
) -> None:
    """Tells in each of the operations, given with method and handler, which body it takes, as msgspec reads it: the
    framework's account leaves out how long an element of a list may be, or that unknown members are refused."""
    taking = [(*each, kind) for each in operations if (kind := _kind(each[2])) is not None]
    # All at once, since names of structs that are alike are told apart only within one call.
    described, components = msgspec.json.schema_components([each[3] for each in taking], ref_template=REFERENCE)
    for (operation, method, handler, _), schema in zip(taking, described, strict=True):
        operation["requestBody"] = _body(method, handler, schema)
    document["components"]["schemas"] |= components


def _drop_unused(document: dict[str, Any]) -> None:
    """Takes out the schemas that nothing refers to, such as those that the framework had made of the bodies."""
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    waiting = list(_references(document["paths"]))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += _references(schemas[name])
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in used}


def _name_plainly(document: dict[str, Any]) -> None:
    """Takes our folders out of the names of schemas, such as `Page_api.admin.realms.RealmBody_`: what is published
    keeps its name when a page moves."""
    schemas = document["components"]["schemas"]
    plain = {name: ROOMS.sub("", name) for name in schemas}
    times = Counter(plain.values())
    # Two of one name are still told apart.
    plain = {name: short if times[short] == 1 else name for name, short in plain.items()}
    document["components"]["schemas"] = {plain[name]: schema for name, schema in schemas.items()}
    for node in _referring(document):
        name = node["$ref"].rpartition("/")[2]
        node["$ref"] = REFERENCE.format(name=plain.get(name, name))


def _kind(handler: HTTPRouteHandler) -> Any:
    """The type of a handler's body: what its `opt={"body": …}` says if it reads it by itself; None for no body."""
    declared = handler.parsed_fn_signature.parameters.get("data")
    return handler.opt.get("body", None if declared is None else declared.annotation)


def _body(method: str, handler: HTTPRouteHandler, schema: dict[str, Any]) -> dict[str, Any]:
    accepted = handler.opt.get("bodies", ("json",))
    told: dict[str, Any] = {"schema": schema}
    if (example := handler.opt.get("example")) is not None:
        told["example"] = example
    content = {}
    if "json" in accepted:
        content[JSON] = told
    if "form" in accepted:
        content[FORM] = told
    if method == "patch":
        content[MERGE_PATCH] = told
    declared = handler.parsed_fn_signature.parameters.get("data")
    return {"required": declared is None or not declared.has_default, "content": content}


def _references(node: Any) -> Iterator[str]:
    """Names of the schemas that a part of the document refers to."""
    return (each["$ref"].rpartition("/")[2] for each in _referring(node))


def _referring(node: Any) -> Iterator[dict[str, Any]]:
    """The places in a part of the document that refer to a schema."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _referring(inner)


# The page at `/schema`: the document for people, one entry per operation.

METHODS = ("get", "post", "put", "patch", "delete")
OTHER = "Further operations"


def entries(document: dict[str, Any]) -> tuple[Group, ...]:
    """The document's operations in its order of paths, grouped by their first tag."""
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if (operation := item.get(method)) is not None:
                name = (operation.get("tags") or [OTHER])[0]
                groups.setdefault(name, []).append(_operation(document, path, method, operation))
    return tuple(Group(name, tuple(operations)) for name, operations in sorted(groups.items()))


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Operation:
    content = operation.get("requestBody", {}).get("content", {})
    body: dict[str, Any] = next(iter(content.values()), {})
    parameters = [
        Member(given["name"], _type(given.get("schema", {})), given.get("required", False), _meaning(given))
        for given in operation.get("parameters", ())
    ]
    answers = operation["responses"]
    told = [answer.get("content", {}).values() for status, answer in answers.items() if status != "default"]
    examples = (_example(part) for parts in told for part in parts)
    return Operation(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        access=_access(operation),
        members=(*parameters, *_members(document, body.get("schema", {}))),
        media_types=tuple(content),
        example=_example(body),
        answers=tuple((status, answer["description"]) for status, answer in answers.items()),
        answer_example=next((example for example in examples if example), ""),
    )


def _example(content: dict[str, Any]) -> str:
    example = content.get("example")
    if example is None:
        example = next((given["value"] for given in content.get("examples", {}).values()), None)
    return "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)


def _access(operation: dict[str, Any]) -> str:
    words = []
    for entry in operation.get("security") or ():
        for name, scopes in entry.items():
            words.append(f"{name}: {' '.join(scopes)}" if scopes else name)
    return ", or ".join(words)


def _members(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[Member]:
    if (reference := schema.get("$ref")) is not None:
        schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        yield Member(name, _type(member), name in required, _meaning(member))


def _meaning(schema: dict[str, Any]) -> str:
    """What is said of a member; of one that may be null it is said where it is not."""
    told = (each.get("description") for each in (schema, *schema.get("anyOf", ())))
    return next((text for text in told if text), "")


def _type(schema: dict[str, Any]) -> str:
    """A schema's type in words: `string`, `list of string`, `integer or null`, a struct's name."""
    if (reference := schema.get("$ref")) is not None:
        return str(reference.rsplit("/", 1)[-1])
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if "enum" in schema:
        return " or ".join(f"“{choice}”" for choice in schema["enum"])
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    return f"list of {_type(schema.get('items', {}))}" if kind == "array" else str(kind)
