"""What handlers take by name: the parts of the server that they use, who calls, and what executes for the caller.

`ledger: Part[Ledger]` in a handler's signature is all there is to it. The hot endpoints (tokens, introspection,
revocation, dashboards) are no handlers of the framework's and read `services` themselves: to resolve a name costs more
than they have.
"""

from typing import Annotated, Any, TypeVar

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidationMarker

from api.access import caller, caller_scope
from api.idempotency import Once
from api.services import services

T = TypeVar("T")

Part = NamedDependency[Annotated[T, SkipValidationMarker()]]
"""Marks a parameter of a handler that is given by its name, see `DEPENDENCIES`."""

PARTS = ("ledger", "settings", "hasher", "strength", "uses", "derived", "follower", "search_index")
"""Those of the services that handlers take."""


def _part(name: str) -> Provide:
    def provide(request: Request[Any, Any, Any]) -> Any:
        return getattr(services(request), name)

    return Provide(provide, sync_to_thread=False)


DEPENDENCIES = {name: _part(name) for name in PARTS} | {
    # A query has a parameter of the short name.
    "token_format": _part("format"),
    "who": Provide(caller, sync_to_thread=False),
    "by": Provide(caller_scope, sync_to_thread=False),
    "once": Provide(Once, sync_to_thread=False),
}
"""`Litestar(dependencies=…)`. `who` is whom the route's guard let in, `by` what they may do under the lock."""
