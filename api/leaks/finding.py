"""What is to end, by whichever name it is known: the secret, its digest, a client, a person, a version, an address."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from api.arrival import normalise
from api.leaks import presented
from api.leaks.gathered import Gathered
from api.leaks.targets import Target, of_secret
from api.problems import Invalid, Missing
from domain.event import Moment
from eventstore import issued
from eventstore.ledger import Ledger
from projections import accounts, clients, incidents, secrets
from security.tokens import Format

NAMING = ("secret", "sha256", "client_id", "account_id", "secret_id", "address")
"""The names under which a target is asked for; exactly one is given."""


class Parts(NamedTuple):
    """What it takes to look something up."""

    ledger: Ledger
    format: Format


async def find(parts: Parts, named: Mapping[str, str], since: Moment | None) -> Target:
    """The target of one of the names above. Raises the problem that says what is wrong with it."""
    if len(named) != 1:
        raise Invalid.field(list(named)[1] if named else "secret", "give exactly one of " + ", ".join(NAMING))
    ((name, value),) = named.items()
    match name:
        case "secret" | "sha256":
            return await _of_found(parts, name, value)
        case "secret_id":
            return _or_missing(await parts.ledger.read(of_secret_version, value), "secret version")
        case "client_id":
            client = await parts.ledger.read(clients.by_id, value)
            return _or_missing(None if client is None else Target("client", client_id=client.client_id), "client")
        case "account_id":
            person = await parts.ledger.read(accounts.by_id, value)
            return _or_missing(None if person is None else Target("account", account_id=person.account_id), "person")
    address = normalise(value)
    if address is None:
        raise Invalid.field("address", "must be an IP address")
    return Target("address", gathered=Gathered(address, since))


async def _of_found(parts: Parts, name: str, value: str) -> Target:
    if name == "secret":
        looked_at = presented.read(value, parts.format)
        if looked_at.problem is not None:
            raise Invalid.field("secret", looked_at.problem)
        value = looked_at.sha256
    return _or_missing(await parts.ledger.read(_issued, bytes.fromhex(value)), "secret")


def _issued(connection: Connection, digest: bytes) -> Target | None:
    found = issued.find(connection, digest)
    return None if found is None else of_secret(connection, found)


def _or_missing(target: Target | None, what: str) -> Target:
    if target is None:
        raise Missing(f"There is no such {what}.")
    return target


def misfit(target: Target, *, rotate: bool, disable_client: bool, since: bool) -> tuple[str, str] | None:
    """What is asked for besides and has nothing to be done to: the member and why; None when all fits."""
    if target.client_id is None and (rotate or disable_client):
        return "rotate" if rotate else "disable_client", "needs a client, and this names none"
    if since and target.kind != "address" and not target.cuts_off:
        return "since", "means nothing for a single token: its grant ends as a whole"
    return None


def open_incident(connection: Connection, target: Target) -> incidents.Incident | None:
    """The incident that a containment of this goes on with."""
    if target.sha256 is not None:
        return incidents.open_about(connection, sha256=target.sha256)
    if target.kind == "address":
        return None
    return incidents.open_about(
        connection, client_id=target.client_id, account_id=target.account_id, target=target.kind
    )


def of_secret_version(connection: Connection, secret_id: str) -> Target | None:
    """The target of a version's id; None when there is none."""
    row = connection.execute(
        select(secrets.TABLE.c.client_id, secrets.TABLE.c.sha256).where(secrets.TABLE.c.secret_id == secret_id)
    ).first()
    if row is None:
        return None
    return Target("secret_version", row.client_id, None, secret_id, (), None, bytes(row.sha256).hex(), "client_secret")
