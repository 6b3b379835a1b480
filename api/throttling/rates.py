"""Admits requests and tokens at a rate: of one address, and to one client."""

from functools import partial
from typing import Self

from api.http.errors import Throttled
from api.http.request_context import Scope, request_context
from api.oauth.client_authentication import Caller
from api.services import Services
from api.throttling.throttle import Admission, Limit, PerMinute, Throttle, public
from commands import failures
from eventstore.execution import Origin

# Admission to what anybody may call: so many requests of one address at once, and so many a second in the long run.


def admit(throttle: Throttle, scope: Scope, apart: str = "") -> None:
    """Counts a request to a public endpoint; raises 429 with `Retry-After` when its address has made too many.

    Endpoints that name something `apart` are counted by themselves: a flood elsewhere does not silence them.
    """
    admission = throttle.begin(*public(request_context(scope).address, apart))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after)


def charge(throttle: Throttle, scope: Scope, apart: str, more: int) -> None:
    """Counts so many more for a request that was let in and turned out to hold the work of several."""
    if more > 0:
        throttle.failed(*public(request_context(scope).address, apart), times=more)


# How many tokens are issued: to a client for itself, and for a person to a client, within a minute on this machine.

SECTION = "tokens"
TOO_MANY = "Too many tokens within a minute. Wait before the next one."


class Counted:
    """One request for tokens. What it counted is taken back where its block ends with a refusal or an error."""

    def __init__(self, services: Services, caller: Caller) -> None:
        self._here = services
        self._caller = caller
        self._admission: Admission | None = None

    async def for_itself(self, origin: Origin) -> None:
        """Counts a token that the client gets for itself; raises 429, which becomes a fact of the client, grouped."""
        caller, settings = self._caller, self._here.settings
        own = caller.client.tokens_per_minute
        limit = settings.client_tokens_per_minute if own is None else own
        admission = self._here.throttle.begin(Limit(SECTION, caller.client.client_id, PerMinute(limit)))
        if admission.retry_after is not None:
            make = partial(failures.token_limit, caller.client.client_id, limit)
            await self._here.tallies.note(caller.stream, "token_limit", make, origin)
            raise Throttled(admission.retry_after, TOO_MANY)
        self._admission = admission

    def for_person(self, account_id: str) -> None:
        """Counts tokens that the client gets for a person, once however often the lock is had; raises 429."""
        if self._admission is not None:
            return
        subject = f"{self._caller.client.client_id} {account_id}"
        limit = Limit(SECTION, subject, PerMinute(self._here.settings.person_tokens_per_minute))
        admission = self._here.throttle.begin(limit)
        if admission.retry_after is not None:
            raise Throttled(admission.retry_after, TOO_MANY)
        self._admission = admission

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and self._admission is not None:
            self._admission.take_back()
