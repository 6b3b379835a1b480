"""What is to end, by whichever name it is known: the secret, its digest, a client, a person, a version, an address."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.arrival import normalise
from api.leaks import presented
from api.leaks.gathered import Gathered
from api.leaks.targets import Target, of_secret, together
from api.problems import Invalid, Missing, Unprocessable
from domain import account, client
from domain.event import Moment
from domain.incident import Leaked
from eventstore import issued
from eventstore.asking import Connection
from eventstore.ledger import Ledger
from eventstore.present import incidents
from eventstore.present.folds import Folds
from security.extraction import MOST
from security.tokens import Format

NAMING = ("secret", "sha256", "client_id", "account_id", "secret_id", "address")
"""The names under which a target is asked for; exactly one is given."""


class Parts(NamedTuple):
    """What it takes to look something up."""

    ledger: Ledger
    format: Format


async def find(parts: Parts, named: Mapping[str, str], since: Moment | None) -> list[Target]:
    """The target of one of the names above; of a text with several secrets one for each client.

    Raises the problem that says what is wrong with it.
    """
    if len(named) != 1:
        raise Invalid.field(list(named)[1] if named else "secret", "give exactly one of " + ", ".join(NAMING))
    ((name, value),) = named.items()
    match name:
        case "secret":
            return await _of_text(parts, value)
        case "sha256":
            return _or_missing(await parts.ledger.read(issued_targets, (bytes.fromhex(value),)), "secret")
        case "secret_id":
            return _or_missing([await parts.ledger.read(of_secret_version, value)], "secret version")
        case "client_id":
            known: client.State = await parts.ledger.state(client.stream(value))
            return _or_missing([Target("client", client_id=value) if known.exists else None], "client")
        case "account_id":
            person: account.State = await parts.ledger.state(account.stream(value))
            return _or_missing([Target("account", account_id=value) if person.exists else None], "person")
    address = normalise(value)
    if address is None:
        raise Invalid.field("address", "must be an IP address")
    return [Target("address", gathered=Gathered(address, since))]


async def _of_text(parts: Parts, text: str) -> list[Target]:
    found = (await presented.secrets_in(text, parts.format)).secrets
    if not found:
        raise Invalid.field("secret", presented.nothing_in(text, parts.format))
    if len(found) > MOST:
        raise Unprocessable(f"At most {MOST:,} secrets at a time.")
    targets = await parts.ledger.read(issued_targets, [each.sha256 for each in found])
    return _or_missing(targets, "secret")


def issued_targets(connection: Connection, digests: Sequence[bytes]) -> list[Target]:
    """The targets of those of the digests that were issued here, one for each client."""
    found = issued.find_all(connection, digests)
    return together([of_secret(connection, found[digest]) for digest in digests if digest in found])


def _or_missing(targets: Sequence[Target | None], what: str) -> list[Target]:
    found = [target for target in targets if target is not None]
    if not found:
        raise Missing(f"There is no such {what}.")
    return found


def misfit(targets: Sequence[Target], *, rotate: bool, disable_client: bool, since: bool) -> tuple[str, str] | None:
    """What is asked for besides and has nothing to be done to: the member and why; None when all fits."""
    if (rotate or disable_client) and all(target.client_id is None for target in targets):
        return "rotate" if rotate else "disable_client", "needs a client, and this names none"
    if since and not all(target.kind == "address" or target.cuts_off for target in targets):
        return "since", "means nothing for a single token: its grant ends as a whole"
    return None


def open_incident(folds: Folds, target: Target) -> str | None:
    """The id of the incident that a containment of this goes on with."""
    if target.leaked:
        return incidents.open_about(folds, sha256=[each.sha256 for each in target.leaked])
    if target.kind == "address":
        return None
    return incidents.open_about(folds, client_id=target.client_id, account_id=target.account_id, target=target.kind)


def of_secret_version(connection: Connection, secret_id: str) -> Target | None:
    """The target of a version's id; None when there is none."""
    digest = issued.digest_of_secret_version(connection, secret_id)
    found = None if digest is None else issued.find(connection, digest)
    if found is None or found.kind != "client_secret" or found.secret_id != secret_id:
        return None
    leaked = (Leaked(found.sha256, "client_secret"),)
    return Target("secret_version", found.client_id, secret_ids=(secret_id,), leaked=leaked)
