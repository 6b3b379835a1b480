"""What is to end, by whichever name it is known: the secret, its digest, a client, a person, a version, an address."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from api.arrival import normalise
from api.leaks import presented
from api.leaks.targets import GRANTS_AT_MOST, Target, of_secret
from api.problems import Invalid, Missing, Unprocessable
from domain.event import Moment
from domain.sealed import Sealed
from eventstore import issued, searching
from eventstore.following import Follower
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper
from eventstore.privacy import Privacy
from eventstore.searching import Criteria
from eventstore.stored import events
from eventstore.unsealing import address_key
from projections import accounts, clients, incidents, secrets
from projections.event_index import Kind
from projections.grants import TABLE as GRANTS
from security.tokens import Format

_USING = tuple(
    (Kind.TYPE, tag)
    for tag in (
        b"grant.code_issued",
        b"grant.tokens_issued",
        b"grant.tokens_refreshed",
        b"usage.token_first_seen",
        b"usage.token_seen",
    )
)

NAMING = ("secret", "sha256", "client_id", "account_id", "secret_id", "address")
"""The names under which a target is asked for; exactly one is given."""

SEARCHED_AT_ONCE = 1_000
"""Events of an address that one reading looks at."""

_MAPPER = LogMapper()


class Parts(NamedTuple):
    """What it takes to look something up."""

    ledger: Ledger
    format: Format
    search_index: Follower


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
    await parts.search_index.follow()
    return await parts.ledger.read(of_address, parts.ledger, address, since)


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


def of_address(connection: Connection, ledger: Ledger, address: str, since: Moment | None) -> Target:
    """Every grant that lives and was started, refreshed or used from an address, since a moment; 422 for too many."""
    head = ledger.changes.position
    low = 1 if since is None else searching.first_at(connection, since, head)
    from_there = ((Kind.ADDRESS, address_key(ledger.privacy, address)),)
    criteria = Criteria((from_there, _USING), low, head)
    found: dict[str, None] = {}
    start: int | None = None
    while True:
        part = searching.search(connection, criteria, SEARCHED_AT_ONCE, start)
        named = set(_grants(connection, ledger.privacy, address, part.positions)) - found.keys()
        found |= dict.fromkeys(living(connection, named, ledger.clock.now()))
        if len(found) > GRANTS_AT_MOST:
            raise Unprocessable(
                f"More than {GRANTS_AT_MOST} living grants were used from there. "
                "Contain the client or the secret version, or name a later `since`."
            )
        if part.resume is None:
            return Target("address", grants=tuple(found))
        start = part.resume


def living(connection: Connection, named: Iterable[str], now: Moment) -> list[str]:
    """Those of these grants that have not ended, the oldest first."""
    query = select(GRANTS.c.grant_id).where(
        GRANTS.c.grant_id.in_(sorted(named)), GRANTS.c.expires_at > now, GRANTS.c.ended_position.is_(None)
    )
    return list(connection.scalars(query.order_by(GRANTS.c.started_position)))


def _grants(connection: Connection, privacy: Privacy, address: str, positions: list[int]) -> Iterator[str]:
    """The grants that events at these positions name, which were all caused from an address or tell of it."""
    if not positions:
        return
    rows = connection.execute(select(events.c.originator_id, events.c.state).where(events.c.id.in_(positions)))
    for stream, state in rows:
        category, _, name = stream.partition(":")
        if category == "grant":
            yield name
            continue
        use = _MAPPER.recorded(state)
        event: Any = use.event
        # Where a resource server tells who brought the token, its own address says nothing about the token.
        brought_from = Sealed(use.id, "told_ip", event.told_ip) if event.told_ip is not None else None
        if event.grant_id is not None and (brought_from is None or privacy.open(connection, brought_from) == address):
            yield event.grant_id
