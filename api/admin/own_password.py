"""Changing one's own password: the present one is asked for, since whoever found a token is not the person."""

from collections.abc import Sequence

from api.problems import Invalid, Throttled
from api.services import Services
from api.sign_in import WrongCredentials, verify
from api.throttling.sign_in import Wait
from domain import account_sign_in
from eventstore.commands import Origin

FIELD = "current_password"


async def verify_own(
    here: Services, realm: str, names: Sequence[str | None], password: str | None, origin: Origin
) -> str:
    """The event with the hash against which a person's present password is right, to be compared again under the lock.

    `names` are theirs, login names first. A wrong one is what a wrong sign-in under their name is, to the throttle and
    in the log. Raises Invalid without the right one, Throttled, and the hasher's Overloaded.
    """
    if password is None:
        raise Invalid.field(FIELD, "is needed to change one's own password")
    name = next(filter(None, names), "")
    try:
        verified = await verify(here, realm, name, password, origin)
    except WrongCredentials:
        raise Invalid.field(FIELD, account_sign_in.NOT_CURRENT) from None
    except Wait as wait:
        raise Throttled(wait.seconds) from None
    return verified.password
