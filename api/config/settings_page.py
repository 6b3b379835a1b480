"""What may be shown of the settings: the documentation page, the command line's table, the `server.started` event."""

import ast
import inspect
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

import msgspec

from api.config.settings import FIELDS, TYPES, Settings, plain, variable
from eventstore import database

MASKED = "***"
HEAD = """# Settings

Generated from `api/config/settings.py` by `make docs`; change it there. A setting comes from the
command line, else from the environment, else from a `.env` file in the working directory. An empty variable counts as
unset. Durations are seconds. `grantlog settings` shows the values in force.

| variable | meaning | default | allowed |
|---|---|---|---|
"""


class Shown(msgspec.Struct, frozen=True):
    """One setting as a person may see it; a secret's `value` is masked."""

    name: str
    variable: str
    value: str
    default: str
    meaning: str
    secret: bool


def _meanings() -> dict[str, str]:
    """What stands below each field of the struct in its source."""
    (struct,) = ast.parse(inspect.getsource(Settings)).body
    found = {}
    for field, below in pairwise(struct.body if isinstance(struct, ast.ClassDef) else ()):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


MEANINGS = _meanings()


def _metas(field: str) -> tuple[msgspec.Meta, ...]:
    return getattr(TYPES[field], "__metadata__", ())


def _extra(field: str) -> dict[str, Any]:
    return {name: value for meta in _metas(field) for name, value in (meta.extra or {}).items()}


def _text(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def masked(settings: Settings, field: str) -> str:
    """A setting's value as text; of a secret only whether it is set, of a database URL everything but the password."""
    text = _text(getattr(settings, field))
    concealed = _extra(field).get("secret")
    if concealed == "all":
        return MASKED if text else ""
    if concealed == "in_url" and text:
        return database.shown(text)
    return text


def shown(settings: Settings) -> list[Shown]:
    """Every setting for `grantlog settings`, in the struct's order."""
    return [
        Shown(
            name=field.name,
            variable=variable(field.name),
            value=masked(settings, field.name),
            default=_default(field),
            meaning=MEANINGS[field.name],
            secret="secret" in _extra(field.name),
        )
        for field in FIELDS
    ]


def effective(settings: Settings) -> dict[str, str]:
    """Settings for the `server.started` event: name → value, nothing secret, no paths of this machine."""
    kept_out = {"data_dir", "master_key_file"}
    return {
        field.name: masked(settings, field.name)
        for field in FIELDS
        if field.name not in kept_out and "secret" not in _extra(field.name)
    }


def _default(field: msgspec.structs.FieldInfo) -> str:
    derived = _extra(field.name).get("default")
    return str(derived) if derived else f"`{_text(field.default)}`"


def _allowed(field: str) -> str:
    kind, metas = plain(TYPES[field]), _metas(field)
    if get_origin(kind) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`1` `0`"
    for meta in metas:
        if meta.ge is not None:
            return f"{meta.ge} … {meta.le}"
        if meta.pattern is not None:
            return f"`{meta.pattern}`"
    return ""


def page() -> str:
    """The text of `docs/settings.md`."""
    rows = []
    for field in FIELDS:
        secret = " **Secret**: never shown or logged." if "secret" in _extra(field.name) else ""
        meaning = MEANINGS[field.name] + secret
        rows.append(f"| `{variable(field.name)}` | {meaning} | {_default(field)} | {_allowed(field.name)} |")
    return HEAD + "\n".join(rows) + "\n"
