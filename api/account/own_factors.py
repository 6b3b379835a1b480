"""A person's second factors, told to them. They are set up and taken away on pages, where they are shown as well."""

from typing import Any

import msgspec
from litestar import Request, get

from api.account.own import asking, myself
from api.oauth.passkeys import usable
from api.services import services_of
from domain import account
from domain.factors import realm_policy
from security.clock import format_rfc3339

PATH = "/account/second-factors"
PAGE = "/account/factors"
"""The page of the same."""

EXAMPLE: dict[str, Any] = {
    "totp": {"enrolled_at": "2026-01-31T12:00:00.000000Z"},
    "passkeys": [
        {"id": "9hB3wXq5TnLc7vRk2ZsJ0d", "name": "Phone", "enrolled_at": "2026-01-31T12:00:00.000000Z", "usable": True}
    ],
    "recovery_codes_left": 9,
    "asked": True,
    "enrol_url": PAGE,
}


class OwnPasskeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey; one that is not `usable` was made under another name of this server."""

    id: str
    name: str | None
    enrolled_at: str
    usable: bool


class OwnTotpBody(msgspec.Struct, frozen=True, kw_only=True):
    """A generator of codes."""

    enrolled_at: str


class OwnFactorsBody(msgspec.Struct, frozen=True, kw_only=True):
    """What I have; `totp` is null without a generator. `asked` says whether I am asked for it when I sign in."""

    totp: OwnTotpBody | None
    passkeys: tuple[OwnPasskeyBody, ...]
    recovery_codes_left: int
    asked: bool
    enrol_url: str


@get(PATH, **asking(page=PAGE, answer=EXAMPLE), summary="My second factors")
async def read_own_factors(request: Request[Any, Any, Any]) -> OwnFactorsBody:
    """At `enrol_url` they are set up and taken away."""
    services = services_of(request)
    person: account.State = await services.ledger.state(account.stream(myself(request)))
    factors, here = person.factors, usable(services, person)
    policies = await services.ledger.state(realm_policy.STREAM)
    return OwnFactorsBody(
        totp=None if factors.totp is None else OwnTotpBody(enrolled_at=format_rfc3339(factors.enrolled_at)),
        passkeys=tuple(
            [
                OwnPasskeyBody(
                    id=each.factor_id,
                    name=await services.ledger.unseal(each.name),
                    enrolled_at=format_rfc3339(each.enrolled_at),
                    usable=each in here,
                )
                for each in factors.passkeys
            ]
        ),
        recovery_codes_left=len(factors.recovery_codes),
        asked=policies.of(person.realm).asks(factors),
        enrol_url=PAGE if person.realm == "platform" else f"{PAGE}?realm={person.realm}",
    )


ROUTES: list[Any] = [read_own_factors]
