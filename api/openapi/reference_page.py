"""The page at `/schema`: the OpenAPI document for people, one entry per operation."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from markupsafe import Markup, escape

from api.pages.templates import TEMPLATES

METHODS = ("get", "post", "put", "patch", "delete")
OTHER = "Further operations"

CODE = re.compile(r"`([^`]+)`")


def with_code(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before, markup is ours


ENVIRONMENT = TEMPLATES["sheet.html"].environment.overlay()
ENVIRONMENT.filters = ENVIRONMENT.filters | {"with_code": with_code}

TEMPLATE = ENVIRONMENT.from_string(
    """\
{% extends "sheet.html" %}
{% block title %}API documentation{% endblock %}
{% block width %} class="wide"{% endblock %}
{% block content %}
<h1>API documentation</h1>
<p>Everything that programs may call. Machines read
<a href="/schema/openapi.json">the OpenAPI document</a>, version {{ version }}.</p>
{% for group in groups %}
<section>
<h2>{{ group.name }}</h2>
<div class="operations">
{% for operation in group.operations %}
<details>
<summary><code class="method">{{ operation.method }}</code> <code class="path">{{ operation.path }}</code>
<span class="said">{{ operation.summary }}</span></summary>
{% if operation.description %}<p>{{ operation.description | with_code }}</p>{% endif %}
{% if operation.access %}<p class="quiet">Access by {{ operation.access }}</p>{% endif %}
{% if operation.members %}
<dl class="facts">
{% for member in operation.members %}
<dt><code>{{ member.name }}</code></dt>
<dd>{{ member.kind }}{% if member.required %}, required{% endif %}
{%- if member.meaning %}. {{ member.meaning | with_code }}{% endif %}</dd>
{% endfor %}
</dl>
{% endif %}
{% if operation.media_types %}<p class="quiet">Body: {{ operation.media_types | join(", ") }}</p>{% endif %}
{% if operation.example %}
<pre tabindex="0" role="group" aria-label="Example body"><code>{{ operation.example }}</code></pre>
{% endif %}
<ul class="answers">
{% for status, description in operation.answers %}
<li><code>{{ status }}</code> <span>{{ description | with_code }}</span></li>
{% endfor %}
</ul>
{% if operation.answer_example %}
<pre tabindex="0" role="group" aria-label="Example answer"><code>{{ operation.answer_example }}</code></pre>
{% endif %}
</details>
{% endfor %}
</div>
</section>
{% endfor %}
{% endblock %}
{% block colophon %}<p>This page loads nothing from other hosts and needs no JavaScript.</p>{% endblock %}
"""
)


class Member(msgspec.Struct, frozen=True):
    """One member of a body, or one parameter. `kind` is its type in words."""

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


def render(document: dict[str, Any]) -> bytes:
    """The page as UTF-8 HTML, in the frame of the server's other pages."""
    return TEMPLATE.render(version=document["info"]["version"], groups=entries(document)).encode()


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
        Member(given["name"], _kind(document, given.get("schema", {})), given.get("required", False), _meaning(given))
        for given in operation.get("parameters", ())
    ]
    answers = operation["responses"]
    examples = (_example(part) for status, answer in answers.items() if status != "default" for part in _parts(answer))
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


def _parts(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return list(answer.get("content", {}).values())


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


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if (reference := schema.get("$ref")) is not None:
        found: dict[str, Any] = document["components"]["schemas"].get(reference.rsplit("/", 1)[-1], {})
        return found
    return schema


def _members(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[Member]:
    resolved = _resolve(document, schema)
    required = resolved.get("required", ())
    for name, member in resolved.get("properties", {}).items():
        yield Member(name, _kind(document, member), name in required, _meaning(member))


def _meaning(schema: dict[str, Any]) -> str:
    """What is said of a member; of one that may be null it is said where it is not."""
    told = (each.get("description") for each in (schema, *schema.get("anyOf", ())))
    return next((text for text in told if text), "")


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A schema's type in words: `string`, `list of string`, `integer or null`, a struct's name."""
    if (reference := schema.get("$ref")) is not None:
        return str(reference.rsplit("/", 1)[-1])
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return " or ".join(dict.fromkeys(_kind(document, choice) for choice in choices))
    if "enum" in schema:
        return " or ".join(f"“{choice}”" for choice in schema["enum"])
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    return f"list of {_kind(document, schema.get('items', {}))}" if kind == "array" else str(kind)
