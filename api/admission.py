"""Admission to what anybody may call: so many requests of one address at once, and so many a second in the long run."""

from api import throttle
from api.answers import Scope
from api.arrival import arrival
from api.problems import Throttled
from api.services import Services


def admit(here: Services, scope: Scope, apart: str = "") -> None:
    """Counts a request to a public endpoint; raises 429 with `Retry-After` when its address has made too many.

    Endpoints that name something `apart` are counted by themselves: a flood elsewhere does not silence them.
    """
    admission = here.throttle.begin(*throttle.public(arrival(scope).address, apart))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after)


def charge(here: Services, scope: Scope, apart: str, more: int) -> None:
    """Counts so many more for a request that was let in and turned out to hold the work of several."""
    if more > 0:
        here.throttle.failed(*throttle.public(arrival(scope).address, apart), times=more)
