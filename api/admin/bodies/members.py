"""Members that several bodies of the administration have, with their limits and what they mean; and pages of a list."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from api.http.parameters import Page, encode_cursor
from domain.factors import realm_policy
from domain.rules import registration
from projections import tables as projected
from security.clock import Moment, format_rfc3339

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", bound=msgspec.Struct)

Realm = Annotated[
    str,
    Meta(
        max_length=realm_policy.NAME_MAXIMUM,
        description="The population that it is for: `administration`, `platform` or another that was made.",
    ),
]
ScopeText = Annotated[
    str,
    Meta(
        max_length=registration.SCOPES_TOGETHER + registration.SCOPES_MAXIMUM,
        description="Names of scopes with spaces between (RFC 6749 §3.3).",
    ),
]
ScopeName = Annotated[str, Meta(max_length=128)]
Time = Annotated[str, Meta(description="RFC 3339, UTC, microseconds.")]


def time_or_null(moment: Moment | None) -> str | None:
    """Shows a moment; None for none."""
    return None if moment is None else format_rfc3339(moment)


def shown(kind: type[S], row: object, *times: str, **members: Any) -> S:
    """Makes a body of a row: its `times` as answers show them, and `members` in the place of its own."""
    same = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in members}
    return kind(**same | {name: time_or_null(same[name]) for name in times}, **members)


def listed(kind: str, found: projected.RowPage[R, Any], item: Callable[[R], T]) -> Page[T]:
    """A page of a read model as it is answered. `kind` names the list in its cursors."""
    after = None
    if found.next is not None:
        after = encode_cursor(kind, found.next if isinstance(found.next, tuple) else (found.next,))
    return Page([item(row) for row in found.items], after)
