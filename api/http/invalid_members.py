"""What is wrong with one member of a request, told without repeating anything that was sent."""

import re

from api.http.errors import InvalidRequest

NAME = re.compile(r"[\w.\[\]-]{1,100}")
WORD = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,3}")


def name_to_tell(sent: str, otherwise: str = "body") -> str:
    """A name that was sent, if it is a word as all of ours are: any other may be a secret, and is not repeated."""
    return sent if WORD.fullmatch(sent) else otherwise


def invalid_member(error: Exception, path: str | None = None) -> InvalidRequest:
    """A msgspec error as a 400 that names the member: its path is turned from `$.a[0].b` to `a[0].b`."""
    text, _, where = str(error).partition(" - at `")
    field = path or where.removesuffix("`").removeprefix("key in ").removeprefix("$").lstrip(".")
    parent = f"{field}." if field else ""
    if match := re.search(r"Object (missing required|contains unknown) field `(.*)`$", text, re.DOTALL):
        missing = match[1] == "missing required"
        name = parent + match[2] if missing or WORD.fullmatch(match[2]) else ""
        detail = "is missing" if missing else "is not known here"
        return InvalidRequest.field(name if NAME.fullmatch(name) else field or "body", detail)
    return InvalidRequest.field(field if NAME.fullmatch(field) else "body", without_value(text))


def without_value(text: str) -> str:
    """msgspec's words, without the value that two of its messages repeat."""
    text = text.split(" - at `", 1)[0]
    if text.startswith("Invalid enum value"):
        return "is none of the allowed values"
    if text.startswith("Invalid value"):
        return "is not valid"
    return text
