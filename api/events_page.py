"""The text of `docs/events.md`: every event of the catalogue with what it records, on one page."""

import inspect
import types
from itertools import groupby
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from domain.event import Event
from domain.events import EVENTS

HEAD = """# Events

Generated from the catalogue in `domain/events.py` by `make docs`; change it there. A type is stored for ever: it is
never renamed and never used for anything else. Each event also has its position, id, stream, version, time, actor,
request id and the caller's address and user agent, which the ledger adds. *Sealed* members are about a person or a
client and are encrypted under a key of theirs; *of origin* are those that tell where a request came from, as address
and user agent do, and end with their month too; *hidden* ones are shown to nobody, auditors included. A member that has
its default may be missing from the stored event. *In doubt* are the events that are recorded also while the log has
diverged: ends, what replaces a leaked secret, and what was noticed. No others are.
"""


def page() -> str:
    """The page, its events in the order of their types."""
    ordered = sorted(EVENTS, key=lambda event: event.type)
    parts = [HEAD]
    for noun, events in groupby(ordered, key=lambda event: event.type.partition(".")[0]):
        parts.append(f"\n## {noun}\n")
        parts.extend(_section(event) for event in events)
    return "".join(parts)


def _section(event: type[Event]) -> str:
    meaning = " ".join((inspect.getdoc(event) or "").split())
    mark = " *In doubt.*" if event.in_doubt else ""
    lines = [f"\n### `{event.type}`\n", f"\n{meaning}{mark}\n"]
    fields = msgspec.structs.fields(event)
    if fields:
        lines.append("\n| member | type | default | |\n|---|---|---|---|\n")
        # The hints of the class itself, because msgspec resolves names away that read better as they were written.
        hints = get_type_hints(event, include_extras=True)
        lines.extend(_row(event, field, hints[field.name]) for field in fields)
    return "".join(lines)


def _row(event: type[Event], field: msgspec.structs.FieldInfo, hint: Any) -> str:
    told = (("sealed", event.personal), ("of origin", event.of_origin), ("hidden", event.hidden))
    marks = [name for name, fields in told if field.name in fields]
    return f"| `{field.encode_name}` | {_kind(hint)} | {_default(field)} | {', '.join(marks)} |\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    # A structure's default is itself without anything in it.
    return "`{}`" if isinstance(value, msgspec.Struct) else f"`{msgspec.json.encode(value).decode()}`"


def _kind(hint: Any) -> str:
    origin, parameters = get_origin(hint), get_args(hint)
    if hasattr(hint, "__metadata__"):
        return _kind(parameters[0])
    if hint is type(None):
        return "null"
    if origin is Literal:
        return " ".join(f"`{choice}`" for choice in parameters)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in parameters if part is not msgspec.UnsetType)
    if origin in (tuple, list, frozenset):
        return f"list of {_kind(parameters[0])}"
    if origin is dict:
        return f"{_kind(parameters[0])} → {_kind(parameters[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "{" + ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(hint)) + "}"
    return {str: "text", int: "number", bool: "true or false", float: "number"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )
