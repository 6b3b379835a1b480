"""How a setting is written in the environment: the name of its variable, and the text that stands for its value."""

from pathlib import Path
from typing import Any, get_origin

import msgspec

PREFIX = "GRANTLOG_"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def convert(hint: Any, raw: Any) -> Any:
    """The value that a text stands for; several are separated by commas. Anything but a text is only checked.

    `hint` is the field's `Annotated` type. Raises ValueError, msgspec's ValidationError among them.
    """
    kind = hint.__origin__
    if get_origin(kind) is tuple and isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if isinstance(raw, str) and "\0" in raw:
        raise ValueError("holds a NUL character")
    if kind in (Path, Path | None):
        return Path(raw)
    if kind in (bool, bool | None) and isinstance(raw, str):
        return _switch(raw)
    return msgspec.convert(raw, hint, strict=False)


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if (value := known.get(text.strip().lower())) is None:
        raise ValueError("must be 1 or 0")
    return value


def words(error: Exception) -> str:
    """What is wrong with a value, without the value."""
    # msgspec repeats an invalid choice's value; a value may be a secret typed into the wrong variable.
    text = str(error)
    return "is none of the allowed values" if text.startswith("Invalid enum value") else text
