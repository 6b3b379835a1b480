"""Admission to what anybody may call: so many requests of one address at once, and so many a second in the long run."""

from api import throttle
from api.answers import Scope
from api.arrival import arrival
from api.problems import Throttled
from api.services import Services


def admit(here: Services, scope: Scope) -> None:
    """Counts a request to a public endpoint; raises 429 with `Retry-After` when its address has made too many."""
    admission = here.throttle.begin(*throttle.public(arrival(scope).address))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after)
