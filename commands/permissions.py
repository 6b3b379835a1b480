"""What may be had, scopes and roles, and who hands it out: nobody gives an administrative scope that they lack."""

from collections.abc import Callable

from domain import role, scope
from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore import present
from eventstore.command import Command
from eventstore.view import View

CallerScope = Callable[[View], frozenset[str]]
"""Gives the scopes that the caller holds as things stand under the lock."""


def operator(_: View) -> frozenset[str]:
    """Gives every administrative scope: to the operator at the command line, and to the server itself."""
    return ADMINISTRATIVE_SCOPES


def put_scope(name: str, description: str, *, by: CallerScope) -> Command[scope.State]:
    """Defines a scope, or describes it anew."""
    return Command(
        scope.stream(name),
        lambda state, view: scope.put(state, now=view.now, name=name, description=description, caller_scope=by(view)),
    )


def retire_scope(name: str) -> Command[scope.State]:
    """Ends a scope that no client and no role names any more."""
    return Command(
        scope.stream(name),
        lambda state, view: scope.retire(
            state,
            now=view.now,
            name=name,
            in_use=view.look(present.has_client_with_scope, name) or view.look(present.has_role_with_scope, name),
        ),
    )


def put_role(
    realm: str, name: str, *, scopes_allowed: tuple[str, ...], default: bool, by: CallerScope
) -> Command[role.State]:
    """Defines a role, or changes it to this."""
    return Command(
        role.stream(realm, name),
        lambda state, view: role.put(
            state,
            now=view.now,
            realm=realm,
            name=name,
            scopes=scopes_allowed,
            default=default,
            caller_scope=by(view),
            known_scopes=view.look(present.existing_scopes, scopes_allowed),
            leaves_no_administrator=view.look(present.is_last_administrators_role, realm, name),
            realms=view.look(present.realms),
        ),
    )


def retire_role(realm: str, name: str, *, by: CallerScope) -> Command[role.State]:
    """Ends a role that nobody has."""
    return Command(
        role.stream(realm, name),
        lambda state, view: role.retire(
            state,
            now=view.now,
            caller_scope=by(view),
            leaves_no_administrator=view.look(present.is_last_administrators_role, realm, name),
            in_use=view.look(present.has_person_with_role, realm, name),
        ),
    )
