"""Who is admitted: requests at a rate, passwords after a look at what failed before."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from api.http.errors import Throttled
from api.http.request_context import Scope, request_context
from api.throttling.limits import Limits, private_keys, public, sign_in, sign_in_elsewhere, sign_in_known
from api.throttling.throttle import Admission, Throttle
from domain.event import Sealed
from eventstore.database import Connection
from eventstore.ledger import Ledger
from eventstore.personal_data import PersonalData, address_key
from eventstore.present import LoginCheck
from eventstore.search import Criteria, newest, search
from projections.event_index import NameKind
from security.mac import normalise

# Admission to what anybody may call: so many requests of one address at once, and so many a second in the long run.


def admit(throttle: Throttle, scope: Scope, apart: str = "") -> None:
    """Counts a request to a public endpoint; raises 429 with `Retry-After` when its address has made too many.
    Endpoints that name something `apart` are counted by themselves: a flood elsewhere does not silence them."""
    admission = throttle.begin(*public(request_context(scope).address, apart))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after)


def charge(throttle: Throttle, scope: Scope, apart: str, more: int) -> None:
    """Counts so many more for a request that was let in and turned out to hold the work of several. Those for which
    there is no room are owed."""
    if more > 0:
        throttle.charge(*public(request_context(scope).address, apart), times=more)


def admit_private_keys(throttle: Throttle, scope: Scope) -> None:
    """Counts a report in which something says that it is a private key; raises 429 as `admit` does."""
    admission = throttle.begin(*private_keys(request_context(scope).address))
    if admission.retry_after is not None:
        raise Throttled(admission.retry_after)


# Whether a password may be tried: by account and address, by address, and by account from where it is not at home.

LOOK_AGAIN = 0.02
"""Seconds between two looks whether attempts that are under way are over."""

PATIENCE = 500
"""Looks, after which there has been enough waiting for those."""

WAITING = 16
"""Attempts that one process has wait so, for one account from one address."""

SIGNED_IN = ("session.started", "grant.tokens_issued")
"""What tells that somebody was there and had a right password."""


class Wait(Exception):
    """Too many failures; `seconds` until the next attempt is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class Typed(NamedTuple):
    """Where somebody wants to sign in, under which name (normalised), and from where."""

    realm: str
    name: str
    address: str | None


Find = Callable[[], Awaitable[LoginCheck]]
"""Whose name it is, and who stands in for them where it is nobody's."""


async def admitted(
    throttle: Throttle, ledger: Ledger, typed: Typed, find: Find, device: str | None = None
) -> Admission:
    """Counts an attempt, on a `device` that is known for the name by what failed there alone; raises `Wait`."""
    if device is not None:
        known = await _wait(throttle, sign_in_known(typed.realm, typed.name, device))
        if known.retry_after is not None:
            raise Wait(known.retry_after)
        return known
    wait = await _begin(throttle, typed)
    if (
        wait.retry_after is not None
        and not throttle.is_at_home(*typed)
        and await _comes_home(throttle, ledger, typed, find)
    ):
        throttle.come_home(*typed)
        wait = await _begin(throttle, typed)
    if wait.retry_after is not None:
        raise Wait(wait.retry_after)
    return wait


async def forgive(throttle: Throttle, ledger: Ledger, typed: Typed, beside: Sealed | None) -> None:
    """After a success: what failed before from there is forgotten under each name of theirs, and they are at home.
    `beside` is the name that they have besides the typed one, if any."""
    throttle.come_home(*typed)
    name = await ledger.unseal(beside)
    if name is not None and (other := normalise(name)) != typed.name:
        throttle.forgive(sign_in(typed.realm, other, typed.address)[0])
        throttle.come_home(typed.realm, other, typed.address)


async def _begin(throttle: Throttle, typed: Typed) -> Admission:
    limits = sign_in(*typed)
    if not throttle.is_at_home(*typed):
        limits += sign_in_elsewhere(typed.realm, typed.name)
    return await _wait(throttle, limits)


async def _wait(throttle: Throttle, limits: Limits) -> Admission:
    """Waits for those under way where everything depends on them: anyone who is right several times at once is let
    in."""
    attempt = throttle.begin(*limits)
    waiting = throttle.waiting
    if not attempt.depends or waiting[limits[0]] >= WAITING:
        return attempt
    waiting[limits[0]] += 1
    try:
        for _ in range(PATIENCE):
            await asyncio.sleep(LOOK_AGAIN)
            attempt = throttle.begin(*limits)
            if not attempt.depends:
                break
    finally:
        waiting[limits[0]] -= 1
        if not waiting[limits[0]]:
            del waiting[limits[0]]
    return attempt


async def _comes_home(throttle: Throttle, ledger: Ledger, typed: Typed, find: Find) -> bool:
    """Whether the log tells that they have signed in from there, which is looked up for a name that nobody has too."""
    if typed.address is None or throttle.retry_after(*sign_in(*typed)) is not None:
        return False
    if throttle.is_stranger(*typed):
        return False
    login = await find()
    if login.neighbour is None:
        return False
    known = await ledger.read(_has_signed_in, ledger.privacy, login.neighbour.account_id, typed.address)
    if not known or login.found is None:
        throttle.note_stranger(*typed)
        return False
    return True


def _has_signed_in(connection: Connection, privacy: PersonalData, account_id: str, address: str) -> bool:
    filters = (
        ((NameKind.PERSON_ACTING, account_id.encode()),),
        ((NameKind.ADDRESS, address_key(privacy, address)),),
        tuple((NameKind.TYPE, name.encode()) for name in SIGNED_IN),
    )
    head = newest(connection)
    return bool(search(connection, Criteria(filters, 1, head, descending=True), 1).positions)
