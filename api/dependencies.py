"""How handlers take what they use: `ledger: Injected[Ledger]` in the signature is all there is to it.

The names are in `api.app`. The hot endpoints (tokens, introspection, revocation, dashboards) are no handlers of the
framework's and read `services` themselves: to resolve a name costs more than they have.
"""

from typing import Annotated, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidationMarker

T = TypeVar("T")

Injected = NamedDependency[Annotated[T, SkipValidationMarker()]]
"""Marks a parameter of a handler that is given by its name."""
