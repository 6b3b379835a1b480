"""Passwords that are to be set: measured, hashed, and of people who change their own the present one asked for."""

from collections.abc import Iterator, Mapping, Sequence

from api.http.errors import InvalidRequest, Throttled
from api.oauth.person_authentication import WrongCredentials, verify
from api.services import Services
from api.throttling.admission import Wait
from commands import people as commands
from domain import account
from domain.people.passwords import NOT_CURRENT
from domain.rules.standard_claims import ClaimValue, KeptClaim
from eventstore.execution import Origin

CALLED: tuple[KeptClaim, ...] = ("given_name", "family_name", "middle_name", "nickname", "preferred_username")
"""Claims that make a poor password, as names do."""


def check_length(services: Services, password: str) -> None:
    """Raises InvalidRequest, which never repeats the password."""
    if problem := commands.password_problem(password, services.settings.password_minimum):
        raise InvalidRequest.field("password", problem)


def called(claims: Mapping[KeptClaim, ClaimValue]) -> Iterator[str]:
    """What somebody is called besides the names that they sign in with."""
    return (value for name in CALLED if isinstance(value := claims.get(name), str))


async def hashed(services: Services, password: str, names: Sequence[str | None]) -> str:
    """Its hash. Raises InvalidRequest for what is soon guessed of the person with these `names`, and Overloaded."""
    problem = await commands.weakness_problem(
        password, names, ledger=services.ledger, issuer=services.settings.issuer, strength=services.strength
    )
    if problem:
        raise InvalidRequest.field("password", problem)
    return await services.hasher.hash(password)


async def hashed_for(services: Services, person: account.State, password: str) -> str:
    """The same for somebody who is known."""
    return await hashed(services, password, await names_of(services, person))


async def names_of(services: Services, person: account.State) -> list[str | None]:
    """What somebody is called and signs in with."""
    claims = [person.claims.get(name) for name in CALLED]
    return [await services.ledger.unseal(each) for each in (person.username, person.email, person.name, *claims)]


async def verify_own(services: Services, person: account.State, password: str | None, origin: Origin) -> str:
    """The event with the hash against which a person's present password is right, to be compared again under the lock:
    it is asked for when they change it, since a token that somebody found is not the person. A wrong one is what a
    wrong sign-in under their name is, to the throttle and in the log. Raises InvalidRequest without the right one,
    Throttled, and the hasher's Overloaded."""
    if password is None:
        raise InvalidRequest.field("current_password", "is needed to change one's own password")
    names = [await services.ledger.unseal(each) for each in (person.username, person.email, person.name)]
    try:
        verified = await verify(services, person.realm, next(filter(None, names), ""), password, origin)
    except WrongCredentials:
        raise InvalidRequest.field("current_password", NOT_CURRENT) from None
    except Wait as wait:
        raise Throttled(wait.seconds) from None
    if verified.password is None:
        raise AssertionError("a password was verified")
    return verified.password
