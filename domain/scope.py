"""A scope (RFC 6749 §3.3): what it means in a person's words, and what of it a request gets. Stream `scope:<name>`."""

import re
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from domain import role
from domain.decision import Conflict, Forbidden, InvalidScope, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import administrative_scope, built_in_scope, people

DESCRIPTION_MAXIMUM = 300

NAME_MAXIMUM = 128

# scope-token without what a URL's path would not carry unharmed; the name stands in /admin/scopes/{name}.
_NAME = re.compile(rf"[a-z0-9][a-z0-9:._/*+-]{{0,{NAME_MAXIMUM - 1}}}")


def stream(name: str) -> str:
    """The stream of this scope."""
    return f"scope:{name}"


def streams(names: Iterable[str]) -> list[str]:
    """Those of several."""
    return [f"scope:{name}" for name in names]


class ScopeDefined(Event, frozen=True, kw_only=True):
    """A scope came into being, or came back after it had been retired."""

    type = "scope.defined"

    name: str
    description: str


class ScopeChanged(Event, frozen=True, kw_only=True):
    """The scope is described in other words."""

    type = "scope.changed"

    old: str
    new: str


class ScopeRetired(Event, frozen=True, kw_only=True):
    """The scope is no more."""

    type = "scope.retired"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (ScopeDefined, ScopeChanged, ScopeRetired)


class State(msgspec.Struct, frozen=True):
    """The scope as its events tell."""

    exists: bool = False
    name: str = ""
    description: str = ""


INITIAL = State()


def put(state: State, *, now: Moment, name: str, description: str, caller_scope: frozenset[str]) -> Outcome:
    """Defines the scope, or describes it anew. The list of administrative ones is closed."""
    if not _NAME.fullmatch(name):
        return malformed("name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits and inner : . _ / * + -")
    problem = people.text_problem(description, DESCRIPTION_MAXIMUM)
    if problem:
        return malformed("description", problem)
    if administrative_scope.is_administrative(name) and name not in administrative_scope.ADMINISTRATIVE_SCOPES:
        return refuse(Forbidden.ADMINISTRATIVE_SCOPE, detail="names of this family are reserved", field="name")
    refused = administrative_scope.handing_out((name,), caller_scope=caller_scope, field="name")
    if refused:
        return refused
    if name in built_in_scope.BUILT_IN:
        return _built_in()
    if not state.exists:
        return accept(ScopeDefined(name=name, description=description))
    return (
        accept() if state.description == description else accept(ScopeChanged(old=state.description, new=description))
    )


def retire(state: State, *, now: Moment, name: str, in_use: bool = False) -> Outcome:
    """Ends a scope that no client and no role names any more. A repeat is refused."""
    if name in built_in_scope.BUILT_IN:
        return _built_in()
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if administrative_scope.is_administrative(state.name):
        return refuse(Forbidden.ADMINISTRATIVE_SCOPE, detail="the server's own scopes stay")
    if in_use:
        return refuse(Conflict.IN_USE, detail="clients or roles name this scope")
    return accept(ScopeRetired())


def _built_in() -> Outcome:
    return refuse(Forbidden.BUILT_IN_SCOPE, detail="built-in scopes are as they are", field="name")


def evolve(state: State, recorded: Recorded) -> State:
    """The scope after one more event."""
    match recorded.event:
        case ScopeDefined(name=name, description=description):
            return State(True, name, description)
        case ScopeChanged(new=new):
            return replace(state, description=new)
        case ScopeRetired():
            return INITIAL
        case _:
            raise AssertionError(f"{recorded.type} is no event of a scope")


# Requests: what was asked for, within the client's own, as far as the person's roles allow ----------------------------


def parse(text: str | None) -> tuple[str, ...] | None:
    """The names in a `scope` parameter, each once, in their order; None when it is missing or empty (RFC 6749 §3.1).

    Blanks alone name nothing (§3.3), of which nothing is left: who asks for that does not want everything. Characters
    that no scope can have need no rule here: such a name does not exist.
    """
    if not text:
        return None
    return tuple(dict.fromkeys(name for name in text.split(" ") if name))


def granted(
    asked: tuple[str, ...] | None,
    *,
    within: Sequence[str],
    known: Container[str],
    roles: Sequence[role.State] | None,
    dashboard: bool = False,
) -> tuple[str, ...] | InvalidScope:
    """What a request gets.

    `within` is the client's scope, and `dashboard` whether it is one; `known` holds the names that exist, `roles` are
    the person's; None where no person is involved. A name that is asked for outright must exist and be the client's;
    what the person may not have is left out silently, and so is everything ungranted when nothing was asked for.
    """
    if roles is None and isinstance(within, tuple) and isinstance(known, frozenset) and known.issuperset(asked or ()):
        # Of names that exist, so that what is remembered is small whatever is asked for.
        return _granted_to_client(asked, within, known, dashboard)
    return _granted(asked, within, known, roles, dashboard)


def _granted(
    asked: tuple[str, ...] | None,
    within: Sequence[str],
    known: Container[str],
    roles: Sequence[role.State] | None,
    dashboard: bool,
) -> tuple[str, ...] | InvalidScope:
    wanted = _wanted(asked, within, known, dashboard)
    if isinstance(wanted, InvalidScope):
        return wanted
    return _left(wanted, known, None if roles is None else [each.scopes for each in roles if each.exists])


@lru_cache(maxsize=1_024)
def _granted_to_client(
    asked: tuple[str, ...] | None, within: tuple[str, ...], known: frozenset[str], dashboard: bool
) -> tuple[str, ...] | InvalidScope:
    """Narrows a scope where no person is involved, which follows from the names alone, and is asked for every token."""
    return _granted(asked, within, known, None, dashboard)


def requested(
    asked: tuple[str, ...] | None, *, within: Sequence[str], known: Container[str], dashboard: bool = False
) -> InvalidScope | None:
    """What is wrong with the scope of an authorization request no matter who signs in; None where that depends on
    them."""
    wanted = _wanted(asked, within, known, dashboard)
    if isinstance(wanted, InvalidScope):
        return wanted
    return None if any(name in known for name in wanted) else InvalidScope.NOTHING_LEFT


def refreshed(
    asked: tuple[str, ...] | None,
    *,
    original: Sequence[str],
    within: Sequence[str],
    known: frozenset[str],
    roles: Sequence[role.State] | None,
    dashboard: bool = False,
) -> tuple[str, ...] | InvalidScope:
    """What a refreshed token gets: of the grant's `original` scope what was not lost since, at most (RFC 6749 §6)."""
    if asked is None:
        theirs = None if roles is None else tuple([each.scopes for each in roles if each.exists])
        return _kept(tuple(original), tuple(within), known, theirs, dashboard)
    if any(name not in original for name in asked):
        return InvalidScope.WIDENED
    return granted(asked, within=within, known=known, roles=roles, dashboard=dashboard)


@lru_cache(maxsize=1_024)
def _kept(
    original: tuple[str, ...],
    within: tuple[str, ...],
    known: frozenset[str],
    theirs: tuple[tuple[str, ...], ...] | None,
    dashboard: bool,
) -> tuple[str, ...] | InvalidScope:
    """What was not lost, which follows from the names alone; `theirs` are those of each of the person's roles."""
    offered = built_in_scope.within(within, dashboard=dashboard)
    return _left([name for name in original if name in offered], known, theirs)


def still_allowed(scope: Sequence[str], *, roles: Sequence[role.State], dashboard: bool) -> tuple[str, ...]:
    """What a person's token may still do of the scope with which it was issued, as their `roles` are now."""
    allowed = {name for each in roles for name in each.scopes} | built_in_scope.BUILT_IN
    return tuple(name for name in built_in_scope.within(scope, dashboard=dashboard) if name in allowed)


def _wanted(
    asked: tuple[str, ...] | None, within: Sequence[str], known: Container[str], dashboard: bool
) -> tuple[str, ...] | InvalidScope:
    offered = built_in_scope.within(within, dashboard=dashboard)
    if asked is None:
        return built_in_scope.supplied(offered, dashboard=dashboard)
    for name in asked:
        if name not in known:
            return InvalidScope.UNKNOWN
        if name not in offered:
            return InvalidScope.OUTSIDE_CLIENT
    return asked


def _left(
    wanted: Sequence[str], known: Container[str], theirs: Iterable[Iterable[str]] | None
) -> tuple[str, ...] | InvalidScope:
    if theirs is None:
        # Built-in scopes speak of a person, and there is none.
        scope = tuple([name for name in wanted if name in known and name not in built_in_scope.BUILT_IN])
    else:
        allowed = {name for each in theirs for name in each} | built_in_scope.BUILT_IN
        scope = tuple([name for name in wanted if name in known and name in allowed])
    return scope or InvalidScope.NOTHING_LEFT
