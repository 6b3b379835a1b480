"""Scope: what was asked for, within the client's own, as far as the person's roles allow (RFC 6749 §3.3)."""

from collections.abc import Container, Sequence

from domain import role
from domain.refusal import InvalidScope


def parse(text: str | None) -> tuple[str, ...] | None:
    """The names in a `scope` parameter, each once, in their order; None when it is missing or empty (RFC 6749 §3.1).

    Characters that no scope can have need no rule here: such a name does not exist.
    """
    names = tuple(dict.fromkeys(name for name in (text or "").split(" ") if name))
    return names or None


def granted(
    asked: tuple[str, ...] | None,
    *,
    within: Sequence[str],
    known: Container[str],
    roles: Sequence[role.State] | None,
) -> tuple[str, ...] | InvalidScope:
    """What a request gets.

    `within` is the client's scope, `known` holds the names that exist, `roles` are the person's; None where no person
    is involved. A name that is asked for outright must exist and be the client's; what the person may not have is left
    out silently, and so is everything ungranted when nothing was asked for.
    """
    if asked is not None:
        for name in asked:
            if name not in known:
                return InvalidScope.UNKNOWN
            if name not in within:
                return InvalidScope.OUTSIDE_CLIENT
    wanted: Sequence[str] = within if asked is None else asked
    allowed = None if roles is None else {name for each in roles if each.exists for name in each.scopes}
    scope = tuple(name for name in wanted if name in known and (allowed is None or name in allowed))
    return scope or InvalidScope.NOTHING_LEFT


def refreshed(
    asked: tuple[str, ...] | None,
    *,
    original: Sequence[str],
    within: Sequence[str],
    known: Container[str],
    roles: Sequence[role.State] | None,
) -> tuple[str, ...] | InvalidScope:
    """What a refreshed token gets: never more than the grant's `original` scope, which stays as it was (RFC 6749 §6).

    What client, roles or the server have lost since the grant began is left out here too.
    """
    if asked is not None and any(name not in original for name in asked):
        return InvalidScope.WIDENED
    still = tuple(name for name in original if name in within)
    return granted(asked, within=within if asked is not None else still, known=known, roles=roles)
