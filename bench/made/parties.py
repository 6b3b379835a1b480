"""Clients and people of a made log. The ledger's own commands register them, so that what refers to them is true."""

import asyncio
from typing import NamedTuple

from api.config.settings import Settings
from api.server.transparency import ensure_key
from commands import clients, people, permissions
from commands.permissions import operator
from commands.servers import install
from domain import client, consent
from domain.client import Registration
from domain.event import Actor, Moment
from eventstore.command import Command
from eventstore.execution import Executed, Origin, Step
from eventstore.ledger import Ledger
from eventstore.recorder import portions
from security.clock import ManualClock
from security.keyring import Keyring
from security.tokens import Format, new_id

SERVICES = 20
SHOPS = 5
PEOPLE = 200
TOGETHER = 25
"""People in one transaction."""

SCOPES = ("catalog:read", "orders:write")
CALLBACK = "https://shop.example/callback"
BY = Origin(Actor("system", None, {"user": "bench"}))
ROLE = "shopper"


class Party(NamedTuple):
    """A client and the version of its secret."""

    client_id: str
    secret_id: str


class Parties(NamedTuple):
    """Clients that act for themselves, clients for people, and the people, who have consented to each of those."""

    services: list[Party]
    shops: list[Party]
    people: list[str]


async def found(settings: Settings, keyring: Keyring, now: Moment) -> Parties:
    """Installs an empty database as it was at a moment."""
    ledger = await Ledger.open(settings.database_url, keyring, ManualClock(now))
    try:
        await install(ledger, keyring, Format(settings.token_prefix), settings.issuer, BY)
        await ensure_key(ledger, settings, BY)
        for name in SCOPES:
            await _execute(ledger, permissions.put_scope(name, f"Use {name}", by=operator))
        services = [await _client(ledger, settings, number, ("client_credentials",)) for number in range(SERVICES)]
        both = ("authorization_code", "refresh_token")
        shops = [await _client(ledger, settings, SERVICES + number, both) for number in range(SHOPS)]
        await _execute(ledger, permissions.put_role("platform", ROLE, scopes_allowed=SCOPES, default=True, by=operator))
        # Some at the same time, so that they share transactions; on a busy machine all would be more than one can take.
        accounts: list[str] = []
        for some in portions(range(PEOPLE), TOGETHER):
            accounts += await asyncio.gather(*(_person(ledger, number) for number in some))
        for shop in shops:
            for those in portions(accounts, TOGETHER):
                await asyncio.gather(*(_execute(ledger, _consent(each, shop.client_id)) for each in those))
        return Parties(services, shops, accounts)
    finally:
        await ledger.close()


async def _client(ledger: Ledger, settings: Settings, number: int, grant_types: tuple[str, ...]) -> Party:
    client_id, (_, secret) = new_id(), clients.mint_secret(Format(settings.token_prefix))
    attributes = client.Attributes(
        client_name=f"Made {number}",
        scope=SCOPES,
        grant_types=grant_types,
        redirect_uris=(CALLBACK,) if "authorization_code" in grant_types else (),
    )
    registration = Registration(attributes=attributes, secret=secret)
    await _execute(ledger, clients.register(client_id, registration, issuer=settings.issuer, by=operator))
    return Party(client_id, secret.secret_id)


async def _person(ledger: Ledger, number: int) -> str:
    account_id = new_id()
    person = people.PersonRegistration(
        realm="platform", username=f"made{number}", email=f"made{number}@example.test", name="Made Up", roles=(ROLE,)
    )
    await _execute(ledger, people.register(account_id, person, privacy=ledger.privacy, by=operator))
    return account_id


def _consent(account_id: str, client_id: str) -> Command[consent.State]:
    return Command(
        consent.stream(account_id, client_id),
        lambda state, view: consent.give(
            state, now=view.now, scope=SCOPES, redirect_uri=CALLBACK, within=SCOPES, registered=(CALLBACK,)
        ),
    )


async def _execute(ledger: Ledger, command: Step) -> Executed[None]:
    executed: Executed[None] = await ledger.execute(command, origin=BY)
    if executed.refusal is not None:
        raise AssertionError(f"what was to be made was refused: {executed.refusal}")
    return executed
