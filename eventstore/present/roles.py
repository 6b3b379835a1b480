"""Roles: which there are a row says, what each allows its stream."""

from collections.abc import Iterable, Iterator

from domain import role
from eventstore.present.folds import Folds
from projections import roles


def all_of(folds: Folds, realm: str) -> Iterator[role.State]:
    """Every role of a realm, by name."""
    for name in roles.names_of(folds.connection, realm):
        state: role.State = folds.state(role.stream(realm, name))
        if state.exists:
            yield state


def defaults(folds: Folds, realm: str) -> tuple[str, ...]:
    """The roles of people who are made without any."""
    return tuple(each.name for each in all_of(folds, realm) if each.default)


def role_scopes(folds: Folds, realm: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What each of the named roles allows; those that do not exist are missing."""
    found: dict[str, role.State] = {name: folds.state(role.stream(realm, name)) for name in sorted(set(names))}
    return {name: state.scopes for name, state in found.items() if state.exists}


def naming_scope(folds: Folds, scope: str) -> bool:
    """Whether a role allows this scope."""
    return any(
        scope in folds.state(role.stream(realm, name)).scopes
        for realm, name in roles.may_name_scope(folds.connection, scope)
    )
