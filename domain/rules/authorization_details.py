"""Authorization details (RFC 9396): what a client asks for beyond names of scopes, each an object of a known type."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.decision import InvalidAuthorizationDetails, Outcome, Refusal, malformed
from domain.rules import json_schema
from domain.rules.client_metadata import ClientMetadata

MAXIMUM = 4_096
"""Bytes of all that one request asks for: with the longest scope it still fits into a token that is a JWT."""

OBJECTS_MAXIMUM = 10
DEPTH = 16
TYPES_MAXIMUM = 20
"""Types that one client may ask for."""

PARAMETER = "authorization_details"

AuthorizationDetails = tuple[dict[str, Any], ...]

_MALFORMED = Refusal(
    InvalidAuthorizationDetails.MALFORMED,
    f"authorization_details must be a JSON array of 1 to {OBJECTS_MAXIMUM} objects, each with a type, "
    f"{MAXIMUM} bytes together.",
    PARAMETER,
)


def read(text: str) -> AuthorizationDetails | Refusal:
    """The objects of a parameter; a refusal for anything that is none (§5)."""
    if len(text) > MAXIMUM or len(text.encode("utf-8", "surrogatepass")) > MAXIMUM:
        return _MALFORMED
    try:
        found = json.loads(
            text, object_pairs_hook=_members, parse_constant=_refuse, parse_float=_finite, parse_int=_whole
        )
        # Numbers may be longer in our words than in theirs.
        if len(text_of(found).encode()) > MAXIMUM:
            return _MALFORMED
    except (ValueError, RecursionError):
        return _MALFORMED
    if not isinstance(found, list) or not 1 <= len(found) <= OBJECTS_MAXIMUM:
        return _MALFORMED
    if not all(isinstance(each, dict) and isinstance(each.get("type"), str) for each in found):
        return _MALFORMED
    return tuple(found) if _depth(found) <= DEPTH and "\\u0000" not in json.dumps(found) else _MALFORMED


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members of one name")
    return found


def _refuse(_: str) -> None:
    raise ValueError("no JSON")


def _whole(text: str) -> int:
    found = int(text)
    if not -(2**63) <= found < 2**63:
        raise ValueError("too large")
    return found


def _finite(text: str) -> float:
    found = float(text)
    if found in (float("inf"), float("-inf")):
        raise ValueError("too large")
    return found


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def text_of(details: Sequence[Any]) -> str:
    """The one text of these objects, whatever the order of their members. Raises ValueError for half a surrogate."""
    text = json.dumps(details, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text.encode()
    return text


def parsed(text: str | None) -> AuthorizationDetails | None:
    """The objects of a text that was made by `text_of`."""
    return None if text is None else tuple(json.loads(text))


def requested(
    details: AuthorizationDetails, *, client: ClientMetadata, schema_of: Callable[[str], str | None]
) -> Refusal | None:
    """Refuses what this client may not ask for, or nobody (§5). `schema_of` gives the schema of a type."""
    for each in details:
        schema = schema_of(each["type"])
        if schema is None:
            return _refusal(InvalidAuthorizationDetails.UNKNOWN_TYPE, "names a type that there is not.")
        if each["type"] not in client.authorization_details_types:
            return _refusal(InvalidAuthorizationDetails.OUTSIDE_CLIENT, "names a type that is not this client's.")
        if not json_schema.fits(each, json.loads(schema)):
            return _refusal(InvalidAuthorizationDetails.SCHEMA, "is not as its type wants it.")
    return None


def places(
    asked: AuthorizationDetails, within: AuthorizationDetails | None, among: Sequence[int] | None = None
) -> tuple[int, ...] | Refusal:
    """Which of the approved objects are asked for: fewer, never others (§6.1), and none but those at the places
    `among`, where these are told."""
    approved = [text_of((each,)) for each in within or ()]
    wanted = [text_of((each,)) for each in asked]
    if any(each not in approved for each in wanted):
        return _refusal(InvalidAuthorizationDetails.WIDENED, "is not among what was approved.")
    found = {approved.index(each) for each in wanted}
    if among is not None and not found <= set(among):
        return _refusal(InvalidAuthorizationDetails.WIDENED, "is not among those of the token.")
    return tuple(sorted(found))


def at(details: AuthorizationDetails | None, chosen: Sequence[int] | None) -> AuthorizationDetails | None:
    """The objects at these places; all where none are told. None where there are none."""
    if details is None or chosen is None:
        return details
    return tuple(details[place] for place in chosen if place < len(details)) or None


def in_words(detail: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The members of an object for a person who reads them, but for its type."""
    return tuple((name, _word(value)) for name, value in detail.items() if name != "type")


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_word, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_word(each)}" for name, each in value.items())
    return json.dumps(value)


def registered(client: ClientMetadata) -> Outcome | None:
    """Refuses types that cannot stand in a registration (§10)."""
    types = client.authorization_details_types
    if len(types) > TYPES_MAXIMUM or len(set(types)) != len(types):
        return malformed("authorization_details_types", f"must name at most {TYPES_MAXIMUM} types, each once")
    return None


def _refusal(reason: InvalidAuthorizationDetails, words: str) -> Refusal:
    return Refusal(reason, f"An object of authorization_details {words}", PARAMETER)
