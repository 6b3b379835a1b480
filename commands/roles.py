"""What is done to roles: they are defined, changed and retired."""

from commands.callers import Caller
from domain import role
from eventstore import present
from eventstore.command import Command


def put(realm: str, name: str, *, scopes_allowed: tuple[str, ...], default: bool, by: Caller) -> Command[role.State]:
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
        ),
    )


def retire(realm: str, name: str, *, by: Caller) -> Command[role.State]:
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
