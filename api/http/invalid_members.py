"""What is wrong with one member of a request, told without repeating anything that was sent."""

import re

from api.http.errors import InvalidRequest

NAME = re.compile(r"[\w.\[\]-]{1,100}")
WORD = re.compile(r"[a-z][a-z_]{0,39}[0-9]{0,3}")

_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_COUNTED = {"str": "characters", "array": "items", "object": "members"}
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<= |>= |)(\d+)")
_RANGE = re.compile(r"Expected `(?:int|float)` ([<>]=?) (-?[\d.]+)")
_KIND = re.compile(r"Expected `([a-z |]+)`, got `[a-z]+`")
_BOUNDS = {"<= ": "at most ", ">= ": "at least ", "": "exactly ", "<=": "at most", ">=": "at least", "<": "less than"}


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
    """What msgspec has to say, as a phrase that follows the member's name, without the value that two of its messages
    repeat."""
    text = text.split(" - at `", 1)[0]
    if text.startswith("Invalid enum value"):
        return "is none of the allowed values"
    if match := _LENGTH.match(text):
        return f"must have {_BOUNDS[match[2]]}{match[3]} {_COUNTED[match[1]]}"
    if match := _RANGE.match(text):
        return f"must be {_BOUNDS.get(match[1], 'more than')} {match[2]}"
    if match := _KIND.match(text):
        return "must be " + " or ".join(_KINDS.get(kind, kind) for kind in match[1].split(" | "))
    if "datetime" in text:
        return "must be a time (RFC 3339)"
    # Of a pattern its page in the documentation says more than the expression itself.
    return "does not have the form that is asked for" if " matching regex " in text else "is not valid"
