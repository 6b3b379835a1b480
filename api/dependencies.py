"""How handlers take what they use: `ledger: Injected[Ledger]` in the signature is all there is to it.

The names are in `api.app`. A handler that names one pays 5 µs for it, and 0.1 ms for several, which the framework
resolves as tasks beside each other. So the hot endpoints (tokens, introspection, revocation, dashboards) read
`services` themselves, as do the pages, whose sessions need most of them.
"""

from typing import Annotated, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidationMarker

T = TypeVar("T")

Injected = NamedDependency[Annotated[T, SkipValidationMarker()]]
"""Marks a parameter of a handler that is given by its name."""
