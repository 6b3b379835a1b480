"""Callers of commands, as far as rules ask: nobody hands out an administrative scope that they lack."""

from collections.abc import Callable

from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.view import View

Caller = Callable[[View], frozenset[str]]
"""Gives the scopes that the caller holds as things stand under the lock."""


def operator(_: View) -> frozenset[str]:
    """Gives every administrative scope: to the operator at the command line, and to the server itself."""
    return ADMINISTRATIVE_SCOPES
