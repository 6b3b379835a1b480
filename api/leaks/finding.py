"""What is to end, where the leaked secret itself is not at hand: by a secret version's id, or by an address."""

from sqlalchemy import Connection, select

from api.leaks.targets import GRANTS_AT_MOST, Target
from api.problems import Unprocessable
from domain.event import Moment
from eventstore import searching
from eventstore.following import address_key
from eventstore.ledger import Ledger
from eventstore.mapper import LogMapper
from eventstore.searching import Criteria
from eventstore.stored import events
from projections import secrets
from projections.event_index import Kind

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

_MAPPER = LogMapper()


def of_secret_version(connection: Connection, secret_id: str) -> Target | None:
    """The target of a version's id; None when there is none."""
    row = connection.execute(
        select(secrets.TABLE.c.client_id, secrets.TABLE.c.sha256).where(secrets.TABLE.c.secret_id == secret_id)
    ).first()
    if row is None:
        return None
    return Target("secret_version", row.client_id, None, secret_id, (), None, bytes(row.sha256).hex(), "client_secret")


def of_address(connection: Connection, ledger: Ledger, address: str, since: Moment | None) -> Target:
    """Every grant that was started, refreshed or used from an address, since a moment; 422 when there are too many."""
    head = ledger.changes.position
    low = 1 if since is None else searching.first_at(connection, since, head)
    from_there = ((Kind.ADDRESS, address_key(ledger.privacy, address)),)
    criteria = Criteria((from_there, _USING), low, head)
    found: dict[str, None] = {}
    start: int | None = None
    while True:
        part = searching.search(connection, criteria, GRANTS_AT_MOST, start)
        found |= dict.fromkeys(_grants(connection, part.positions))
        if len(found) > GRANTS_AT_MOST:
            raise Unprocessable(
                f"More than {GRANTS_AT_MOST} grants were used from there. Contain the client or the secret version."
            )
        if part.resume is None:
            return Target("address", grants=tuple(found))
        start = part.resume


def _grants(connection: Connection, positions: list[int]) -> list[str]:
    """The grants that events at these positions name."""
    if not positions:
        return []
    rows = connection.execute(select(events.c.originator_id, events.c.state).where(events.c.id.in_(positions)))
    return [_grant(stream, state) for stream, state in rows if _grant(stream, state)]


def _grant(stream: str, state: str) -> str:
    category, _, name = stream.partition(":")
    if category == "grant":
        return name
    grant_id: str | None = _MAPPER.recorded(state).event.grant_id
    return grant_id or ""
