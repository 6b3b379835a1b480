"""Who has something done, as far as rules ask: nobody hands out an administrative scope that they lack."""

from collections.abc import Callable

from domain.rules.administrative_scope import ADMINISTRATIVE_SCOPES
from eventstore.view import View

Caller = Callable[[View], frozenset[str]]
"""What the caller may do as things stand under the lock."""


def operator(_: View) -> frozenset[str]:
    """Whoever runs the server and its command line, and the server itself: nothing could be kept from them."""
    return ADMINISTRATIVE_SCOPES
