"""What holds for people: their names, their roles, and that an administrator is always left."""

from collections.abc import Mapping, Sequence

from domain.decision import Outcome, refuse
from domain.refusal import Conflict
from domain.rules import administrative_scope, names, registration
from domain.rules.registration import malformed

ROLES_MAXIMUM = 50

RoleScopes = Mapping[str, tuple[str, ...]]
"""Role → what it allows, for those of the roles in question that exist in the realm."""


def realm(name: str) -> Outcome | None:
    """Refuses a realm that there is not."""
    return (
        None if name in registration.REALMS else malformed("realm", "must be one of " + ", ".join(registration.REALMS))
    )


def login_names(username: object | None, email: object | None) -> Outcome | None:
    """Refuses a person who could not say who they are."""
    return malformed("username", "a person needs a username or an e-mail address") if not (username or email) else None


def names_taken(*, username: bool, email: bool) -> Outcome | None:
    """Refuses a login name that somebody else in the realm has."""
    if username or email:
        return refuse(Conflict.NAME_TAKEN, field="username" if username else "email")
    return None


def profile(*, username: str | None, email: str | None, name: str | None) -> Outcome | None:
    """Refuses names that cannot stand; None is nothing to check."""
    for field, problem in (
        ("username", names.username_problem(username) if username is not None else None),
        ("email", names.email_problem(email) if email is not None else None),
        ("name", names.text_problem(name, names.DISPLAY_NAME_MAXIMUM) if name is not None else None),
    ):
        if problem:
            return malformed(field, problem)
    return None


def roles(
    given: Sequence[str], *, before: Sequence[str], role_scopes: RoleScopes, caller_scope: frozenset[str]
) -> Outcome | None:
    """Refuses roles that do not exist, and new ones that allow an administrative scope which the caller lacks."""
    if len(given) > ROLES_MAXIMUM or len(set(given)) != len(given):
        return malformed("roles", f"must be at most {ROLES_MAXIMUM} roles, each once")
    unknown = [str(place) for place, role in enumerate(given, 1) if role not in role_scopes]
    if unknown:
        return malformed("roles", "names roles that do not exist in this realm, in place " + ", ".join(unknown[:10]))
    added = [role for role in given if role not in before]
    return acting_as(added, role_scopes=role_scopes, caller_scope=caller_scope, field="roles")


def acting_as(
    having: Sequence[str], *, role_scopes: RoleScopes, caller_scope: frozenset[str], field: str = "password"
) -> Outcome | None:
    """Refuses to open the way to these roles to a caller who lacks an administrative scope that they allow."""
    allowed = [scope for role in having for scope in role_scopes.get(role, ())]
    return administrative_scope.handing_out(allowed, caller_scope=caller_scope, field=field)


def makes_administrator(having: Sequence[str], role_scopes: RoleScopes) -> bool:
    """Whether somebody with these roles can make administrators."""
    return any(administrative_scope.PEOPLE_WRITE in role_scopes.get(role, ()) for role in having)


def last_administrator() -> Outcome:
    """The refusal to leave the server without an enabled administrator."""
    return refuse(Conflict.LAST_ADMINISTRATOR, detail="nobody would be left who can make administrators")
