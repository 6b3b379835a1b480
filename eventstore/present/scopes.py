"""Scopes: whether there is one, and in which words a person is asked for it, its stream says."""

from collections.abc import Iterable

from domain import scope
from eventstore.present.folds import Folds
from projections import scopes


def existing(folds: Folds, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are defined."""
    return frozenset(name for name in names if folds.state(scope.stream(name)).exists)


def all_of(folds: Folds) -> tuple[str, ...]:
    """Every scope, by name."""
    named = scopes.names(folds.connection)
    return tuple(name for name in named if folds.state(scope.stream(name)).exists)


def descriptions(folds: Folds, names: Iterable[str]) -> dict[str, str]:
    """What to tell a person of each of the named scopes; those that do not exist are missing."""
    found: dict[str, scope.State] = {name: folds.state(scope.stream(name)) for name in sorted(set(names))}
    return {name: state.description for name, state in found.items() if state.exists}
