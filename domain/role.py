"""A role: what its people may have, in one realm. Stream `role:<realm>:<name>`."""

import re
from collections.abc import Collection

import msgspec
from msgspec.structs import replace

from domain.decision import Conflict, Forbidden, NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import administrative_scope, registration

NAME_MAXIMUM = 64

# Lower case alone, so that no two roles differ by case and no database's notion of it matters.
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_MAXIMUM - 1}}}")


def is_name(name: str) -> bool:
    """Whether a role can be called so."""
    return _NAME.fullmatch(name) is not None


def stream(realm: str, name: str) -> str:
    """The stream of this role."""
    return f"role:{realm}:{name}"


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a role allows, and whether people made without roles get it."""

    scopes: tuple[str, ...]
    default: bool


class RoleDefined(Event, frozen=True, kw_only=True):
    """A role came into being, or came back after it had been retired."""

    type = "role.defined"

    realm: str
    name: str
    scopes: tuple[str, ...]
    default: bool


class RoleChanged(Event, frozen=True, kw_only=True):
    """The role now allows something else, or became or ceased to be a default."""

    type = "role.changed"

    old: Definition
    new: Definition


class RoleRetired(Event, frozen=True, kw_only=True):
    """The role is no more."""

    type = "role.retired"
    in_doubt = True


EVENTS: tuple[type[Event], ...] = (RoleDefined, RoleChanged, RoleRetired)


class State(msgspec.Struct, frozen=True):
    """The role as its events tell."""

    exists: bool = False
    realm: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ()
    default: bool = False


INITIAL = State()


def put(
    state: State,
    *,
    now: Moment,
    realm: str,
    name: str,
    scopes: tuple[str, ...],
    default: bool = False,
    caller_scope: frozenset[str],
    known_scopes: frozenset[str],
    leaves_no_administrator: bool = False,
    realms: Collection[str] = registration.REALMS,
) -> Outcome:
    """Defines the role, or changes it. `leaves_no_administrator`: nobody has `people:write` but by this role."""
    refused = registration.realm(realm, realms)
    refused = refused or _refusal(state, realm, name, scopes, default, caller_scope, known_scopes)
    if refused:
        return refused
    if not state.exists:
        return accept(RoleDefined(realm=realm, name=name, scopes=scopes, default=default))
    if leaves_no_administrator and administrative_scope.PEOPLE_WRITE not in scopes:
        return refuse(Conflict.LAST_ADMINISTRATOR, detail="nobody would be left who can make administrators")
    old, new = Definition(scopes=state.scopes, default=state.default), Definition(scopes=scopes, default=default)
    return accept() if old == new else accept(RoleChanged(old=old, new=new))


def retire(
    state: State,
    *,
    now: Moment,
    caller_scope: frozenset[str],
    leaves_no_administrator: bool = False,
    in_use: bool = False,
) -> Outcome:
    """Ends a role that nobody has: if it came back, nobody shall find that they had kept it. A repeat is refused."""
    if not state.exists:
        return refuse(NotFound.UNKNOWN)
    if refused := administrative_scope.handing_out(state.scopes, caller_scope=caller_scope, field="scopes"):
        return refused
    if leaves_no_administrator:
        return refuse(Conflict.LAST_ADMINISTRATOR, detail="nobody would be left who can make administrators")
    if in_use:
        return refuse(Conflict.IN_USE, detail="people have this role")
    return accept(RoleRetired())


def _refusal(
    state: State,
    realm: str,
    name: str,
    scopes: tuple[str, ...],
    default: bool,
    caller_scope: frozenset[str],
    known_scopes: frozenset[str],
) -> Outcome | None:
    if not is_name(name):
        return malformed(
            "name", f"must have 1 to {NAME_MAXIMUM} lower-case letters, digits, dots, hyphens and underscores"
        )
    refused = registration.scope_names(scopes, known=known_scopes | frozenset(state.scopes), field="scopes")
    if refused:
        return refused
    if realm != "administration" and administrative_scope.administrative(scopes):
        return refuse(
            Forbidden.ADMINISTRATIVE_SCOPE,
            detail="administrative scopes are for roles of the realm administration",
            field="scopes",
        )
    if state.exists and (state.scopes, state.default) == (scopes, default):
        return None
    # What is taken away counts as well: nobody narrows people who may do more than they.
    return administrative_scope.handing_out((*scopes, *state.scopes), caller_scope=caller_scope, field="scopes")


def evolve(state: State, recorded: Recorded) -> State:
    """The role after one more event."""
    match recorded.event:
        case RoleDefined(realm=realm, name=name, scopes=scopes, default=default):
            return State(True, realm, name, scopes, default)
        case RoleChanged(new=new):
            return replace(state, scopes=new.scopes, default=new.default)
        case RoleRetired():
            return INITIAL
        case _:
            raise AssertionError(f"{recorded.type} is no event of a role")
