"""Parameters that many routes have: ids and names in their paths, and where a list goes on."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import PathParameter, QueryParameter

from api.http.errors import InvalidRequest, Missing
from domain import role, scope
from domain.factors import realm_policy
from domain.rules import registration
from security import base64url

# Lists in pages: `{"items": […], "next": cursor or null}`, with `?limit=` and `?after=`. A cursor is the key of the
# last item, no offset, so a page never shifts while others write. It is opaque to clients and needs no signature: it
# only says where to go on among what the caller may see anyway, and it is checked like any other parameter.

T = TypeVar("T")
R = TypeVar("R")
Key = tuple[int | str, ...]

DEFAULT = 50
LARGEST = 200
LONGEST_CURSOR = 2048

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=LARGEST, description="How many items a page has at most.")]
"""How a handler declares it: `limit: Limit = DEFAULT`."""

After = Annotated[
    str | None, QueryParameter(name="after", max_length=LONGEST_CURSOR, description="The `next` of the page before.")
]
"""How a handler declares it: `after: After = None`."""

AtMost = Annotated[
    int | None,
    QueryParameter(name="limit", ge=1, le=LARGEST, description="How many items a page has at most; without it, all."),
]
"""The same of a list that is short by its nature: `limit: AtMost = None`."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page. `next` is what `?after=` takes for the following one, null on the last."""

    items: list[T]
    next: str | None = None


def encode_cursor(kind: str, key: Key) -> str:
    """The cursor of a list's item. `kind` names the list, so that the cursor of one is refused by another."""
    return base64url.encode(msgspec.json.encode([kind, *key]))


def decode_cursor(kind: str, cursor: str | None, *types: type[int] | type[str]) -> Any:
    """The key that a cursor holds, as a tuple of these types; None for no cursor. Raises Invalid for any other text."""
    if cursor is None:
        return None
    refused = InvalidRequest.field("after", "is not a cursor of this list")
    if len(cursor) > LONGEST_CURSOR or not cursor.isascii():
        raise refused
    try:
        values = msgspec.json.decode(base64url.decode(cursor), type=list[int | str])
    except (ValueError, msgspec.DecodeError):
        raise refused from None
    key = tuple(values[1:])
    # Several texts stand for the same key: only the very one that was given out is taken back.
    if values[:1] != [kind] or len(key) != len(types) or encode_cursor(kind, key) != cursor:
        raise refused
    for value, kind_of_value in zip(key, types, strict=True):
        if type(value) is not kind_of_value or not _storable(value):
            raise refused
    return key


def _storable(value: int | str) -> bool:
    """Whether a database takes the value: 64 bits, and no NUL, which PostgreSQL has no text for."""
    return -(2**63) <= value < 2**63 if isinstance(value, int) else "\0" not in value


def page(rows: Sequence[R], limit: int, *, kind: str, key: Callable[[R], Key], item: Callable[[R], T]) -> Page[T]:
    """A page of at most `limit` items out of `limit + 1` rows, the further row telling only that there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([item(row) for row in shown], encode_cursor(kind, key(shown[-1])) if more and shown else None)


def behind(rows: Sequence[R], after: Key | None, key: Callable[[R], Key], *, descending: bool = False) -> list[R]:
    """Those rows of a list that is at hand as a whole, in the order of their keys, which come behind the one that a
    cursor names, whether that is still there or not."""
    if after is None:
        return list(rows)
    return [row for row in rows if (key(row) < after if descending else key(row) > after)]


def part(items: Sequence[R], limit: int | None, after: str | None, *, kind: str, name: Callable[[R], str]) -> Page[R]:
    """A page of a list that is at hand as a whole, in any order: behind the item that a cursor names, or from where
    that was."""
    found = decode_cursor(kind, after, str, int)
    start = 0
    if found is not None:
        last, number = found
        start = next((place for place, each in enumerate(items, 1) if name(each) == last), max(0, number - 1))
    end = len(items) if limit is None else start + limit
    shown = list(items[start:end])
    more = end < len(items) and shown
    return Page(shown, encode_cursor(kind, (name(shown[-1]), end)) if more else None)


def spelled(path: str, position: int) -> None:
    """Raises Missing where the number stands in a path in another spelling, such as `1_0` or `+1`: the framework takes
    for a number whatever Python does."""
    if str(position) not in path.split("/"):
        raise Missing("Nothing has this address.")


# What stands in paths, with its longest form: ids beyond it are a 400 that names the parameter. Where a rule of its own
# decides what can stand there, and answers 404 to everything else, the limit is only told.

LONGEST_ID = 128
"""Ours are shorter. What is named here ends up in keys of the database."""

ClientId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The client's id.")]
SecretId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The id of a version of its secret.")]
AccountId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The person's id.")]
TokenId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The initial access token's id.")]
GrantId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The grant's id.")]
SessionId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The sign-in's id.")]
IncidentId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The incident's id.")]
Slug = Annotated[
    str, PathParameter(max_length=registration.SLUG_MAXIMUM, description="The dashboard's name in addresses.")
]
Realm = Annotated[
    str,
    # What is longer is no realm, which is 400 or 404.
    PathParameter(description="The role's realm.", schema_extra={"max_length": realm_policy.NAME_MAXIMUM}),
]
RoleName = Annotated[str, PathParameter(max_length=role.NAME_MAXIMUM, description="The role's name.")]
ScopeName = Annotated[
    str,
    # The framework would count the slash before it.
    PathParameter(
        description="The scope's name; it may hold slashes.", schema_extra={"max_length": scope.NAME_MAXIMUM}
    ),
]
Digest = Annotated[
    str,
    PathParameter(
        description="The lower-case hex SHA-256 of the whole secret.",
        schema_extra={"min_length": 64, "max_length": 64, "pattern": "^[0-9a-f]{64}$"},
    ),
]
