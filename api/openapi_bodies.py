"""The bodies of requests in the OpenAPI document, with every limit that their types state.

The framework's account of a struct leaves out what stands further in: how long an element of a list may be, or that
unknown members are refused. What reads the bodies is msgspec, and so it is msgspec that tells of them here.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler

from api.hot_endpoints import FORM, JSON, REFERENCE

MERGE_PATCH = "application/merge-patch+json"


def describe_bodies(
    document: dict[str, Any], operations: Iterable[tuple[dict[str, Any], str, HTTPRouteHandler]]
) -> None:
    """Tells in each of the operations, given with its method and its handler, which body it takes."""
    taking = [(*each, kind) for each in operations if (kind := _kind(each[2])) is not None]
    # All at once, since names of structs that are alike are told apart only within one call.
    described, components = msgspec.json.schema_components([each[3] for each in taking], ref_template=REFERENCE)
    for (operation, method, handler, _), schema in zip(taking, described, strict=True):
        operation["requestBody"] = _body(method, handler, schema)
    document["components"]["schemas"] |= components


def drop_unused(document: dict[str, Any]) -> None:
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
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.rpartition("/")[2]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)
