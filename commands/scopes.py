"""What is done to scopes: they are defined, described anew and retired."""

from commands.callers import Caller
from domain import scope
from eventstore import present
from eventstore.command import Command


def put(name: str, description: str, *, by: Caller) -> Command[scope.State]:
    """Defines a scope, or describes it anew."""
    return Command(
        scope.stream(name),
        lambda state, view: scope.put(state, now=view.now, name=name, description=description, caller_scope=by(view)),
    )


def retire(name: str) -> Command[scope.State]:
    """Ends a scope that no client and no role names any more."""
    return Command(
        scope.stream(name),
        lambda state, view: scope.retire(
            state,
            now=view.now,
            in_use=view.look(present.has_client_with_scope, name) or view.look(present.has_role_with_scope, name),
        ),
    )
