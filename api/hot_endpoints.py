"""How an `@asgi` endpoint is described, since the framework knows nothing of what such a handler reads and answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

REFERENCE = "#/components/schemas/{name}"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class OAuthErrorBody(msgspec.Struct, frozen=True, rename={"code": "error", "detail": "error_description"}):
    """RFC 6749 §5.2."""

    code: str
    detail: str | msgspec.UnsetType = msgspec.UNSET


class HotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a hot endpoint. `body` is the struct that it encodes, None for an empty one."""

    status: int
    description: str
    body: Any = None
    example: Any = None
    headers: Mapping[str, str] = {}


class HotEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A hot endpoint as the document tells it.

    `parameters` is a struct whose fields are the form's parameters, with their meaning in `Meta(description=…)`; a JSON
    object with the same members is accepted too unless `json` says otherwise. `examples` are request bodies by name.
    """

    path: str
    operation_id: str
    summary: str
    description: str
    parameters: Any
    answers: tuple[HotAnswer, ...]
    method: str = "post"
    json: bool = True
    examples: Mapping[str, Mapping[str, str]] = {}
    security: tuple[Mapping[str, tuple[str, ...]], ...] = ({"client": ()}, {})
    tags: tuple[str, ...] = ("OAuth",)


def describe(endpoint: HotEndpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """The endpoint's operation object and the schemas that it refers to (OpenAPI 3.1 §4.8.10)."""
    types = [endpoint.parameters, OAuthErrorBody, *(given.body for given in endpoint.answers if given.body is not None)]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    parameters, error, *bodies = schemas
    content: dict[str, Any] = {"schema": parameters}
    if endpoint.examples:
        content["examples"] = {name: {"value": dict(value)} for name, value in endpoint.examples.items()}
    operation = {
        "tags": list(endpoint.tags),
        "summary": endpoint.summary,
        "description": endpoint.description,
        "operationId": endpoint.operation_id,
        "security": [{name: list(scopes) for name, scopes in entry.items()} for entry in endpoint.security],
        "requestBody": {
            "required": True,
            "content": {FORM: content, **({JSON: content} if endpoint.json else {})},
        },
        "responses": {
            **_responses(endpoint.answers, bodies),
            "default": {"description": "Refused (RFC 6749 §5.2).", "content": {JSON: {"schema": error}}},
        },
    }
    return operation, components


def _responses(answers: tuple[HotAnswer, ...], bodies: list[dict[str, Any]]) -> dict[str, Any]:
    waiting = iter(bodies)
    responses: dict[str, Any] = {}
    for given in answers:
        response: dict[str, Any] = {"description": given.description}
        if given.headers:
            response["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in given.headers.items()
            }
        if given.body is not None:
            content: dict[str, Any] = {"schema": next(waiting)}
            if given.example is not None:
                content["example"] = given.example
            response["content"] = {JSON: content}
        responses[str(given.status)] = response
    return responses
