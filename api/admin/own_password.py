"""Passwords that are set over the JSON API. For one's own the present one is asked for, since whoever found a token is
not the person.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Request

from api.problems import Invalid, Throttled
from api.services import services
from api.sign_in import WrongCredentials, verify
from api.throttling.sign_in import Wait
from commands import passwords
from domain import account_sign_in
from eventstore.commands import Origin

FIELD = "current_password"


def check_length(request: Request[Any, Any, Any], password: str) -> None:
    """Raises Invalid, which never repeats the password."""
    if problem := passwords.password_problem(password, services(request).settings.password_minimum):
        raise Invalid.field("password", problem)


async def hashed(request: Request[Any, Any, Any], password: str, names: Sequence[str | None]) -> str:
    """Its hash. Raises Invalid for what is soon guessed of the person with these `names`; the hasher's Overloaded."""
    here = services(request)
    problem = await passwords.weakness_problem(
        password, names, ledger=here.ledger, issuer=here.settings.issuer, strength=here.strength
    )
    if problem:
        raise Invalid.field("password", problem)
    return await here.hasher.hash(password)


async def verify_own(
    request: Request[Any, Any, Any], realm: str, names: Sequence[str | None], password: str | None, origin: Origin
) -> str:
    """The event with the hash against which a person's present password is right, to be compared again under the lock.

    `names` are theirs, login names first. A wrong one is what a wrong sign-in under their name is, to the throttle and
    in the log. Raises Invalid without the right one, Throttled, and the hasher's Overloaded.
    """
    if password is None:
        raise Invalid.field(FIELD, "is needed to change one's own password")
    name = next(filter(None, names), "")
    try:
        verified = await verify(services(request), realm, name, password, origin)
    except WrongCredentials:
        raise Invalid.field(FIELD, account_sign_in.NOT_CURRENT) from None
    except Wait as wait:
        raise Throttled(wait.seconds) from None
    return verified.password
